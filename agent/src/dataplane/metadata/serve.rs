//! A front's life: loads the document at its start and on `load`, serves until it is told to end.
//!
//! One owner for sockets and document ([`Loader`], behind a lock that only control requests take); tasks never wait for
//! it. A document that cannot be read or served leaves the last good one in force and shows in the log and in `status`.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tracing::{info, warn};

use super::control::{LINE_BYTES, Reply, Request, Status};
use super::http::{Api, Serving};
use super::index::{FrontError, Index};
use super::sockets::{Broken, Sockets};
use super::{CONTROL_SOCKET, FRONT_FILE};
use crate::dataplane::published::{self, ReadError};
use crate::dataplane::termination::termination;
use crate::project::metadata::Front;

/// Why a front could not begin or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// SIGTERM could not be listened for.
    #[error("cannot install a signal handler: {0}")]
    Signal(#[source] io::Error),
    /// The front's directory is not there and could not be made.
    #[error("cannot make the metadata front's directory {}: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The control socket could not be made, or accepts no more.
    #[error("cannot serve the control socket {}: {source}", socket.display())]
    Control {
        /// The socket's path.
        socket: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A socket accepts no more. The process ends with it, so that the plan sees it and makes a new one.
    #[error("the metadata front's socket on {address} broke: {source}")]
    Broken {
        /// What is not served any more.
        address: SocketAddr,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
}

/// Why the document on disk is not in force.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{} cannot be served: {source}", file.display())]
    Front { file: PathBuf, source: FrontError },
    #[error("generation {generation} is served, but {}", problems.join("; "))]
    Listen { generation: u64, problems: Vec<String> },
}

/// Serves a front from `dir` until SIGTERM or SIGINT. The body of `ecsnet metadata --dir DIR`.
///
/// # Errors
/// When the front cannot begin, or a socket breaks.
pub async fn run(dir: &Path) -> Result<(), ServeError> {
    let ended = termination().map_err(ServeError::Signal)?;
    serve_front(dir, ended).await
}

/// Serves a front from `dir` until `shutdown`: for `ecsnet metadata`, and for the resolver, which does it for its VPC.
///
/// The directory is made if it is not there. Without a document nothing is listened on until one comes.
///
/// # Errors
/// When the front cannot begin, or a socket breaks. What is wrong with a document is in the log and in `status`.
pub async fn serve_front(dir: &Path, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| ServeError::Directory { dir: dir.to_owned(), source })?;
    let serving = Arc::new(Serving::new(dir.to_owned()));
    let (broken_sender, mut broken) = mpsc::unbounded_channel();
    let sockets = Sockets::new(serving.clone(), broken_sender);
    let mut loader = Loader { dir: dir.to_owned(), serving, sockets, problem: None };
    if dir.join(FRONT_FILE).exists() {
        // Logged and kept for `status`; the next `load` tries again.
        let _kept = loader.load(0).await;
    } else {
        info!(dir = %dir.display(), "no metadata yet");
    }
    let control_error = |source| ServeError::Control { socket: dir.join(CONTROL_SOCKET), source };
    // After the first load: who can connect finds the document of before in force.
    let listener = published::bind(dir, CONTROL_SOCKET).map_err(control_error)?;
    let loader = Arc::new(Mutex::new(loader));
    let conversation = |stream| {
        let loader = loader.clone();
        async move { published::converse(stream, LINE_BYTES, Reply::Error, |request| reply(request, &loader)).await }
    };
    tokio::select! {
        () = shutdown => Ok(()),
        Some(Broken { address, source }) = broken.recv() => Err(ServeError::Broken { address, source }),
        error = published::accept(listener, conversation) => Err(control_error(error)),
    }
}

async fn reply(request: Request, loader: &Mutex<Loader>) -> Reply {
    match request {
        Request::Load(generation) => match loader.lock().await.load(generation).await {
            Ok(served) => Reply::Generation(served),
            Err(error) => Reply::Error(error.to_string()),
        },
        Request::Status {} => Reply::Status(loader.lock().await.status()),
    }
}

/// Brings the document on disk into force; the one owner of what that takes.
#[derive(Debug)]
struct Loader {
    dir: PathBuf,
    serving: Arc<Serving>,
    sockets: Sockets,
    problem: Option<String>,
}

impl Loader {
    /// Reads the document, of `wanted` or later, and serves it. It is in force before sockets change, so that a new
    /// address never answers from an old one.
    async fn load(&mut self, wanted: u64) -> Result<u64, LoadError> {
        let outcome = self.try_load(wanted).await;
        match &outcome {
            Ok(generation) => {
                info!(generation, "metadata in force");
                self.problem = None;
            }
            Err(error) => {
                warn!(%error, "metadata not in force");
                self.problem = Some(error.to_string());
            }
        }
        outcome
    }

    async fn try_load(&mut self, wanted: u64) -> Result<u64, LoadError> {
        let file = self.dir.join(FRONT_FILE);
        let front = published::read(file.clone(), "front", wanted, |front: &Front| front.generation).await?;
        let generation = front.generation;
        let tasks = front.listen.iter().map(|address| (*address, Api::Tasks));
        let introspection = front.introspection.iter().flat_map(|of| of.listen.iter());
        let wanted: BTreeSet<_> = tasks.chain(introspection.map(|address| (*address, Api::Introspection))).collect();
        let index = Index::new(front).map_err(|source| LoadError::Front { file, source })?;
        self.serving.load(index);
        match self.sockets.listen(wanted).await {
            Ok(()) => Ok(generation),
            Err(failed) => {
                let problems = failed.iter().map(ToString::to_string).collect();
                Err(LoadError::Listen { generation, problems })
            }
        }
    }

    fn status(&self) -> Status {
        Status {
            generation: self.serving.index().map(|index| index.front.generation),
            listening: self.sockets.addresses(),
            problem: self.problem.clone(),
        }
    }
}
