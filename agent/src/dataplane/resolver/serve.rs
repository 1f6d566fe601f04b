//! The resolver's process: loads the zone at its start and on `load`, serves until SIGTERM, and serves the VPC's metadata
//! beside it, which spares a container for each VPC.
//!
//! One owner for sockets and zone ([`Loader`], behind a lock that only control requests take); DNS answers never wait for
//! it. A zone that cannot be read or served leaves the last good one in force and shows in the log and in `status`.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Mutex, mpsc};
use tracing::{info, warn};

use super::control::{self, Counters, Reply, Request, Status, from_hex, to_hex};
use super::handler::Handler;
use super::index::{Index, ZoneError};
use super::sockets::{Broken, Sockets};
use super::{CONTROL_SOCKET, ZONE_FILE};
use crate::dataplane::metadata::{self, ServeError};
use crate::dataplane::published::{self, ReadError};
use crate::dataplane::termination::termination;
use crate::project::zone::Zone;

/// The port of DNS, on UDP and TCP.
pub const DNS_PORT: u16 = 53;

/// Why the resolver could not begin or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// SIGTERM could not be listened for.
    #[error("cannot install a signal handler: {0}")]
    Signal(#[source] io::Error),
    /// The control socket could not be made, or accepts no more.
    #[error("cannot serve the control socket {}: {source}", socket.display())]
    Control {
        /// The socket's path.
        socket: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A DNS socket ended by itself. The process ends with it, so that the plan sees it and makes a new one.
    #[error("the sockets on {address} broke: {reason}")]
    Broken {
        /// The address that is not served any more.
        address: IpAddr,
        /// In the library's words.
        reason: String,
    },
    /// The VPC's metadata front ended by itself.
    #[error(transparent)]
    Metadata(#[from] ServeError),
}

/// Why the zone on disk is not in force.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{} cannot be served: {source}", file.display())]
    Zone { file: PathBuf, source: ZoneError },
    #[error("generation {generation} is served, but {}", problems.join("; "))]
    Listen { generation: u64, problems: Vec<String> },
}

/// Serves the VPC's DNS from `dir`, and its metadata from `front` in it, until SIGTERM or SIGINT. The body of
/// `ecsnet resolver --dir DIR`.
pub async fn run(dir: &Path) -> Result<(), ResolverError> {
    let ended = termination().map_err(ResolverError::Signal)?;
    run_on(dir, DNS_PORT, ended).await
}

/// [`run`] with another port and end, for tests and benches.
pub async fn run_on(dir: &Path, dns_port: u16, ended: impl Future<Output = ()>) -> Result<(), ResolverError> {
    let handler = Handler::new();
    let (broken_sender, mut broken) = mpsc::unbounded_channel();
    let sockets = Sockets::new(handler.clone(), dns_port, broken_sender);
    let mut loader = Loader { dir: dir.to_owned(), handler: handler.clone(), sockets, problem: None };
    if dir.join(ZONE_FILE).exists() {
        // Logged and kept for `status`; the next `load` tries again.
        let _kept = loader.load(0).await;
    } else {
        info!(dir = %dir.display(), "no zone yet");
    }
    let control_error = |source| ResolverError::Control { socket: dir.join(CONTROL_SOCKET), source };
    // After the first load: who can connect finds the zone of before in force.
    let listener = published::bind(dir, CONTROL_SOCKET).map_err(control_error)?;
    let loader = Arc::new(Mutex::new(loader));
    let conversation = |stream| {
        let (handler, loader) = (handler.clone(), loader.clone());
        async move {
            let reply = |request| reply(request, &handler, &loader);
            published::converse(stream, control::LINE_BYTES, Reply::Error, reply).await;
        }
    };
    let front = dir.join(metadata::DIRECTORY_OF_VPC);
    tokio::select! {
        () = ended => {
            info!("told to end");
            Ok(())
        }
        Some(Broken { address, reason }) = broken.recv() => Err(ResolverError::Broken { address, reason }),
        error = published::accept(listener, conversation) => Err(control_error(error)),
        front = metadata::serve_front(&front, std::future::pending()) => Ok(front?),
    }
}

async fn reply(request: Request, handler: &Handler, loader: &Mutex<Loader>) -> Reply {
    match request {
        Request::Load(generation) => match loader.lock().await.load(generation).await {
            Ok(served) => Reply::Generation(served),
            Err(error) => Reply::Error(error.to_string()),
        },
        Request::Status {} => Reply::Status(loader.lock().await.status()),
        Request::Query(hex) => {
            let Some(wire) = from_hex(&hex) else { return Reply::Error("the query is not hex".into()) };
            match handler.answer_wire(wire).await {
                Ok(answer) => Reply::Answer(to_hex(&answer)),
                Err(error) => Reply::Error(format!("the query is not a DNS message: {error}")),
            }
        }
    }
}

/// Brings the zone on disk into force; the one owner of what that takes.
#[derive(Debug)]
struct Loader {
    dir: PathBuf,
    handler: Handler,
    sockets: Sockets,
    problem: Option<String>,
}

impl Loader {
    /// Reads the zone, of `wanted` or later, and serves it. Records are in force before sockets change, so that a new
    /// address never answers from an old zone.
    async fn load(&mut self, wanted: u64) -> Result<u64, LoadError> {
        let outcome = self.try_load(wanted).await;
        match &outcome {
            Ok(generation) => {
                info!(generation, "zone in force");
                self.problem = None;
            }
            Err(error) => {
                warn!(%error, "zone not in force");
                self.problem = Some(error.to_string());
            }
        }
        outcome
    }

    async fn try_load(&mut self, wanted: u64) -> Result<u64, LoadError> {
        let file = self.dir.join(ZONE_FILE);
        let zone = published::read(file.clone(), "zone", wanted, |zone: &Zone| zone.generation).await?;
        let index = match Index::new(&zone) {
            Ok(index) => Arc::new(index),
            Err(source) => return Err(LoadError::Zone { file, source }),
        };
        self.handler.swap(index.clone());
        match self.sockets.listen(&index.listen).await {
            Ok(()) => Ok(index.generation),
            Err(failed) => Err(LoadError::Listen {
                generation: index.generation,
                problems: failed.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    fn status(&self) -> Status {
        let counters = self.handler.counters();
        Status {
            generation: self.handler.index().map(|index| index.generation),
            listening: self.sockets.addresses(),
            problem: self.problem.clone(),
            counters: Counters {
                queries: counters.queries.load(Ordering::Relaxed),
                nxdomain: counters.nxdomain.load(Ordering::Relaxed),
                dropped: counters.dropped.load(Ordering::Relaxed),
                forwarded: counters.forwarded.load(Ordering::Relaxed),
            },
        }
    }
}
