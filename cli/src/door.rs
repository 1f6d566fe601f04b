//! How a connection to the agent is opened: its socket, or a process in its container that relays to the socket.
//!
//! The second way costs a process for each request. It is for a socket whose directory the caller may not enter, and for
//! an engine on another machine, whose files nobody here sees. Used by `client` alone.

use std::path::{Path, PathBuf};

use agent::runtime::image::BINARY;
use agent::runtime::{Docker, ExecOptions, OutputStream};
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::client::{ClientError, not_connected};
use crate::commands::roles::RELAYING;

/// What is held of bytes that one side has written and the other has not read.
const HELD_BYTES: usize = 64 * 1024;

/// Where the agent is reached.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// At a socket of this machine.
    Socket(PathBuf),
    /// At a socket that only its container has.
    Docker {
        /// The engine.
        docker: Docker,
        /// The agent's container.
        container: String,
        /// The socket, as the container sees it.
        socket: PathBuf,
    },
}

/// Both directions of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Door {
    /// Opens one connection.
    pub(crate) async fn open(&self) -> Result<Box<dyn Stream>, ClientError> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|source| not_connected(path, source))?;
                Ok(Box::new(stream))
            }
            Self::Docker { docker, container, socket } => through(docker, container, socket).await,
        }
    }
}

/// Runs the relay in the container and waits for its word that it is connected.
async fn through(docker: &Docker, container: &str, socket: &Path) -> Result<Box<dyn Stream>, ClientError> {
    let words = [BINARY, "relay", "--socket", &socket.to_string_lossy()].map(str::to_owned).to_vec();
    let options = ExecOptions { stdin: true, ..Default::default() };
    let mut session = docker.exec(container, words, options).await?;
    let mut seen = Vec::new();
    while seen.len() < RELAYING.len() {
        match session.output.next().await {
            Some(Ok(frame)) if frame.stream == OutputStream::Stdout => seen.extend_from_slice(&frame.bytes),
            Some(Ok(_)) => {}
            // It ended without the word: nobody listens there yet.
            Some(Err(_)) | None => return Err(ClientError::NoAgent { socket: socket.to_owned() }),
        }
    }
    if !seen.starts_with(RELAYING.as_bytes()) {
        return Err(ClientError::NoAgent { socket: socket.to_owned() });
    }
    let (ours, theirs) = tokio::io::duplex(HELD_BYTES);
    let (mut from_us, mut to_us) = tokio::io::split(theirs);
    let (mut output, mut input) = (session.output, session.input);
    let early = seen.split_off(RELAYING.len());
    tokio::spawn(async move {
        if to_us.write_all(&early).await.is_err() {
            return;
        }
        while let Some(Ok(frame)) = output.next().await {
            if frame.stream == OutputStream::Stdout && to_us.write_all(&frame.bytes).await.is_err() {
                return;
            }
        }
        let _ = to_us.shutdown().await;
    });
    tokio::spawn(async move {
        // What goes wrong here shows as the end of the answer.
        let _ = tokio::io::copy(&mut from_us, &mut input).await;
        let _ = input.shutdown().await;
    });
    Ok(Box::new(ours))
}
