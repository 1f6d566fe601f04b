//! The control socket: requests and replies of `resolver.sock`, one JSON value a line, and its serving side.
//!
//! The agent says `load` after it has written a zone, the CLI asks `status` and `query` (`ecsnet dig`); both by
//! [`super::client`]. A connection may carry any number of requests, answered in order. The socket is made under another
//! name with mode 0600 and renamed, so that it is never open to others and a killed predecessor's file is replaced.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use super::CONTROL_SOCKET;

/// The longest line: a DNS message of 64 KiB in hex, and what is around it.
pub(super) const LINE_BYTES: u64 = 160 * 1024;

/// What the resolver is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// `{"load": N}`: read `zone.json`, which must hold generation N or later, and serve it.
    Load(u64),
    /// `{"status": {}}`
    Status {},
    /// `{"query": "<hex>"}`: answer a DNS message in wire form as a client on TCP would be answered.
    Query(String),
}

/// What the resolver replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// `{"generation": N}`: the generation served after a `load`.
    Generation(u64),
    /// `{"status": {...}}`
    Status(Status),
    /// `{"answer": "<hex>"}`: the DNS message that answers a `query`.
    Answer(String),
    /// `{"error": "..."}`
    Error(String),
}

/// The resolver's state as it is, not as it was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The generation served; none before the first zone.
    pub generation: Option<u64>,
    /// The addresses that are listened on.
    pub listening: Vec<IpAddr>,
    /// What stands in the way of the zone on disk, in words: a file that cannot be served (the last good zone is), or
    /// addresses that cannot be listened on. Retried with the next `load`.
    pub problem: Option<String>,
    /// Counts since the resolver began.
    pub counters: Counters,
}

/// Counts since the resolver began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Questions answered, those over the control socket too.
    pub queries: u64,
    /// Answers that the name does not exist.
    pub nxdomain: u64,
    /// Packets above the limit of their source.
    pub dropped: u64,
    /// Questions sent on to other servers.
    pub forwarded: u64,
}

/// Makes the socket in `dir`, in place of one that is there.
pub(super) fn bind(dir: &Path) -> io::Result<UnixListener> {
    let unfinished = dir.join(format!("{CONTROL_SOCKET}.new"));
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
    std::fs::rename(&unfinished, dir.join(CONTROL_SOCKET))?;
    Ok(listener)
}

/// Replies to the requests of one connection by `reply` until it ends.
pub(super) async fn converse<F, R>(mut stream: UnixStream, reply: F)
where
    F: Fn(Request) -> R,
    R: Future<Output = Reply>,
{
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let line = match read_line(&mut read).await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => {
                debug!(%error, "control connection broke");
                return;
            }
        };
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => reply(request).await,
            Err(error) => Reply::Error(format!("request not understood: {error}")),
        };
        if let Err(error) = write_line(&mut write, &answer).await {
            debug!(%error, "control client went away");
            return;
        }
    }
}

/// One line without its end; none when the other side has closed. A line without end or too long is an error.
pub(super) async fn read_line(read: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    read.take(LINE_BYTES).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a line is cut or too long")),
    }
}

/// One value as one line.
pub(super) async fn write_line(write: &mut (impl AsyncWriteExt + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// Bytes as lower-case hex digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reverse of [`to_hex`]; none for an odd count or anything but hex digits.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_and_replies_read_as_documented() {
        let json = |value: &Request| serde_json::to_string(value).unwrap();
        assert_eq!(json(&Request::Load(7)), r#"{"load":7}"#);
        assert_eq!(json(&Request::Status {}), r#"{"status":{}}"#);
        assert_eq!(json(&Request::Query("00".into())), r#"{"query":"00"}"#);
        assert_eq!(serde_json::to_string(&Reply::Generation(7)).unwrap(), r#"{"generation":7}"#);
        assert_eq!(serde_json::to_string(&Reply::Error("no".into())).unwrap(), r#"{"error":"no"}"#);
    }

    proptest! {
        #[test]
        fn hex_goes_there_and_back(bytes: Vec<u8>) {
            prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }

        #[test]
        fn anything_else_is_not_hex(text in "[0-9a-f]{0,4}[^0-9a-fA-F][0-9a-f]{0,4}") {
            prop_assert_eq!(from_hex(&text), None);
        }
    }
}
