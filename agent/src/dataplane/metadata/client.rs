//! The other end of `front.sock`, for the agent.
//!
//! One connection for each call, with a deadline: a front that is gone or stuck never holds up its caller.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::CONTROL_SOCKET;
use super::control::{LINE_BYTES, Reply, Request, Status};
use crate::dataplane::published;

/// For a whole call.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No front listens there, or it went away.
    #[error("cannot talk to the metadata front at {}: {source}", socket.display())]
    Io {
        /// The control socket.
        socket: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// No reply in time.
    #[error("the metadata front at {} did not reply within {CALL_TIMEOUT:?}", socket.display())]
    Timeout {
        /// The control socket.
        socket: PathBuf,
    },
    /// The front says no; what is served is the last good document, or this one on fewer addresses than it asks for.
    #[error("the metadata front reports: {0}")]
    Refused(String),
    /// A reply of another kind than asked for: another version of ecsnet is on the other end.
    #[error("the metadata front at {} replied with something else than asked: {reply}", socket.display())]
    Unexpected {
        /// The control socket.
        socket: PathBuf,
        /// The reply as received.
        reply: String,
    },
}

/// Has the front serve the document in `dir`, which must be of `generation` or later. The generation now served.
///
/// # Errors
/// When the front is not there or cannot serve it; it goes on with the last good one.
pub async fn load(dir: &Path, generation: u64) -> Result<u64, ClientError> {
    match call(dir, &Request::Load(generation)).await? {
        Reply::Generation(served) => Ok(served),
        other => Err(unexpected(dir, format!("{other:?}"))),
    }
}

/// What the front in `dir` serves.
///
/// # Errors
/// When the front is not there.
pub async fn status(dir: &Path) -> Result<Status, ClientError> {
    match call(dir, &Request::Status {}).await? {
        Reply::Status(status) => Ok(status),
        other => Err(unexpected(dir, format!("{other:?}"))),
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
        Err(_) => Err(unexpected(dir, String::from_utf8_lossy(&line).into_owned())),
    }
}

fn unexpected(dir: &Path, reply: String) -> ClientError {
    ClientError::Unexpected { socket: dir.join(CONTROL_SOCKET), reply }
}
