//! What every role shares that serves a published document: the document's file, and the control socket beside it.
//!
//! The agent puts the document into the role's directory by rename and says on the socket which generation it wants
//! served; the role reads it, keeps the last good one when it cannot, and says so. Requests and replies are JSON values,
//! one a line; a connection may carry any number of them, answered in order. The socket is made under another name with
//! mode 0600 and renamed, so that it is never open to others and a killed predecessor's file is replaced.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tracing::debug;

/// Why the document on disk cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is not there, or not for us.
    #[error("cannot read {}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    /// It is something else, or of another version of ecsnet.
    #[error("{} is not a {kind}: {source}", file.display())]
    Parse { file: PathBuf, kind: &'static str, source: serde_json::Error },
    /// It is not the one that was asked for.
    #[error("{} holds generation {found}, asked for was {wanted}", file.display())]
    Older { file: PathBuf, found: u64, wanted: u64 },
}

/// The document in `file`, a `kind` in words, whose `generation` must be `wanted` or later.
pub(crate) async fn read<T: DeserializeOwned>(
    file: PathBuf,
    kind: &'static str,
    wanted: u64,
    generation: impl Fn(&T) -> u64,
) -> Result<T, ReadError> {
    let bytes = match tokio::fs::read(&file).await {
        Ok(bytes) => bytes,
        Err(source) => return Err(ReadError::Read { file, source }),
    };
    let document: T = match serde_json::from_slice(&bytes) {
        Ok(document) => document,
        Err(source) => return Err(ReadError::Parse { file, kind, source }),
    };
    match generation(&document) {
        found if found < wanted => Err(ReadError::Older { file, found, wanted }),
        _ => Ok(document),
    }
}

/// Makes the socket `name` in `dir`, in place of one that is there.
pub(crate) fn bind(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let unfinished = dir.join(format!("{name}.new"));
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
    std::fs::rename(&unfinished, dir.join(name))?;
    Ok(listener)
}

/// Has `converse` serve each connection; returns only when the socket is unusable.
pub(crate) async fn accept<C>(listener: UnixListener, mut converse: impl FnMut(UnixStream) -> C) -> io::Error
where
    C: Future<Output = ()> + Send + 'static,
{
    let mut conversations = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return error,
        };
        conversations.spawn(converse(stream));
        while conversations.try_join_next().is_some() {}
    }
}

/// Replies to the requests of one connection until it ends; `misunderstood` makes the reply to what is no request.
///
/// A line may have `most` bytes.
pub(crate) async fn converse<Q, A, R>(
    mut stream: UnixStream,
    most: u64,
    misunderstood: impl Fn(String) -> A,
    reply: impl Fn(Q) -> R,
) where
    Q: DeserializeOwned,
    A: Serialize,
    R: Future<Output = A>,
{
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let line = match read_line(&mut read, most).await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => {
                debug!(%error, "control connection broke");
                return;
            }
        };
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => reply(request).await,
            Err(error) => misunderstood(format!("request not understood: {error}")),
        };
        if let Err(error) = write_line(&mut write, &answer).await {
            debug!(%error, "control client went away");
            return;
        }
    }
}

/// One request over a connection of its own, and the line that answers it, of `most` bytes.
pub(crate) async fn exchange(socket: &Path, request: &impl Serialize, most: u64) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).await?;
    let (read, mut write) = stream.split();
    write_line(&mut write, request).await?;
    read_line(&mut BufReader::new(read), most).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// One line without its end; none when the other side has closed. A line without end or too long is an error.
async fn read_line(read: &mut (impl AsyncBufReadExt + Unpin), most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    read.take(most).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a line is cut or too long")),
    }
}

/// One value as one line.
async fn write_line(write: &mut (impl AsyncWriteExt + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    write.write_all(&line).await
}
