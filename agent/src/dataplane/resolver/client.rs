//! The other end of `resolver.sock`, for the agent (`load`) and the CLI (`status`, `query`).
//!
//! One connection for each call, with a deadline: a resolver that is gone or stuck never holds up its caller.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::CONTROL_SOCKET;
use super::control::{LINE_BYTES, Reply, Request, Status, from_hex, to_hex};
use crate::dataplane::published;

/// For a whole call. Forwarding gives up after 4.5 s, so a query is answered within it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No resolver listens there, or it went away.
    #[error("cannot talk to the resolver at {}: {source}", socket.display())]
    Io {
        /// The control socket.
        socket: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// No reply in time.
    #[error("the resolver at {} did not reply within {CALL_TIMEOUT:?}", socket.display())]
    Timeout {
        /// The control socket.
        socket: PathBuf,
    },
    /// The resolver says no; the zone in force is the last good one, or this one on fewer addresses than it asks for.
    #[error("the resolver reports: {0}")]
    Refused(String),
    /// A reply of another kind than asked for: another version of ecsnet is on the other end.
    #[error("the resolver at {} replied with something else than asked: {reply}", socket.display())]
    Unexpected {
        /// The control socket.
        socket: PathBuf,
        /// The reply as received.
        reply: String,
    },
}

/// Has the resolver serve the zone in `dir`, which must be of `generation` or later. The generation now served.
pub async fn load(dir: &Path, generation: u64) -> Result<u64, ClientError> {
    match call(dir, &Request::Load(generation)).await? {
        Reply::Generation(served) => Ok(served),
        other => Err(unexpected(dir, &other)),
    }
}

/// What the resolver in `dir` serves, and its counters.
pub async fn status(dir: &Path) -> Result<Status, ClientError> {
    match call(dir, &Request::Status {}).await? {
        Reply::Status(status) => Ok(status),
        other => Err(unexpected(dir, &other)),
    }
}

/// The answer to a DNS message, both in wire form, as a client inside the VPC gets it over TCP.
pub async fn query(dir: &Path, message: &[u8]) -> Result<Vec<u8>, ClientError> {
    match call(dir, &Request::Query(to_hex(message))).await? {
        Reply::Answer(hex) => match from_hex(&hex) {
            Some(answer) => Ok(answer),
            None => Err(unexpected(dir, &Reply::Answer(hex))),
        },
        other => Err(unexpected(dir, &other)),
    }
}

async fn call(dir: &Path, request: &Request) -> Result<Reply, ClientError> {
    let socket = dir.join(CONTROL_SOCKET);
    let line = match timeout(CALL_TIMEOUT, published::exchange(&socket, request, LINE_BYTES)).await {
        Ok(Ok(line)) => line,
        Ok(Err(source)) => return Err(ClientError::Io { socket, source }),
        Err(_) => return Err(ClientError::Timeout { socket }),
    };
    match serde_json::from_slice(&line) {
        Ok(Reply::Error(text)) => Err(ClientError::Refused(text)),
        Ok(reply) => Ok(reply),
        Err(_) => Err(ClientError::Unexpected { socket, reply: String::from_utf8_lossy(&line).into_owned() }),
    }
}

fn unexpected(dir: &Path, reply: &Reply) -> ClientError {
    ClientError::Unexpected { socket: dir.join(CONTROL_SOCKET), reply: format!("{reply:?}") }
}
