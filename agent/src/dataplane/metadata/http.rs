//! HTTP as tasks speak it: from a request on a connection to an answer, and what one connection may cost.
//!
//! Headers and a body that do not come in time, answers that are not taken, too many connections from one address: all
//! end the connection that is at fault and no other.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use super::agent::{self, AgentError};
use super::answer::{self, Answer};
use super::index::Index;
use super::introspection;
use super::limit::Throttle;
use super::path::Asked;
use super::reply::{self, Reply};

/// For a request's headers, and for what comes after it on the same connection; that of ECS's agent.
const READ_TIME: Duration = Duration::from_secs(5);
/// For what was sent to be taken; that of ECS's agent.
const WRITE_MILLISECONDS: u32 = 5_000;
/// For the agent to have seen a container that asks in its first moment, which takes it some milliseconds.
const SEEN_TIME: Duration = Duration::from_secs(1);
/// A request's headers, all together.
const HEADER_BYTES: usize = 16 << 10;
/// A request's body.
const BODY_BYTES: usize = 16 << 10;
/// Connections of one address at a time.
const CONNECTIONS_OF_ONE: usize = 128;
/// Connections at a time. A process may have 1024 files open where nobody has raised it.
const CONNECTIONS: usize = 768;

/// Which of the two APIs a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Api {
    /// Metadata, credentials, task protection.
    Tasks,
    /// The instance's own.
    Introspection,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Serving {
    /// What is served; none before the first document.
    index: ArcSwapOption<Index>,
    /// Told of each change of `index`.
    loaded: Notify,
    /// Where the agent listens.
    pub(super) dir: PathBuf,
    throttle: Throttle,
    // A std mutex: held for one look-up, never over an await.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// Counts a connection while it lives.
#[derive(Debug)]
pub(super) struct Open {
    serving: Arc<Serving>,
    source: IpAddr,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.serving.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

impl Serving {
    /// Nothing yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        let (index, loaded) = (ArcSwapOption::empty(), Notify::new());
        Self { index, loaded, dir, throttle: Throttle::default(), open: Mutex::default() }
    }

    /// Serves `index` from now on.
    pub(super) fn load(&self, index: Index) {
        self.index.store(Some(Arc::new(index)));
        self.loaded.notify_waiters();
    }

    /// What is served now.
    pub(super) fn index(&self) -> Option<Arc<Index>> {
        self.index.load_full()
    }

    /// What is served once the container that asks is seen in it; after [`SEEN_TIME`] whatever is served then.
    ///
    /// A container runs before the agent knows Docker's id of it, and programs read that id first of all, and once.
    async fn index_with(&self, id: &str, source: IpAddr) -> Option<Arc<Index>> {
        let seen = async {
            loop {
                let mut loaded = pin!(self.loaded.notified());
                loaded.as_mut().enable();
                let index = self.index();
                if index.as_ref().is_none_or(|index| !index.is_unseen(id, source)) {
                    return index;
                }
                loaded.await;
            }
        };
        timeout(SEEN_TIME, seen).await.unwrap_or_else(|_| self.index())
    }

    /// Room for a connection from `peer`; none when it, or all together, have too many.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Open> {
        let source = peer.ip().to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let of_one = open.entry(source).or_insert(0);
        if *of_one >= CONNECTIONS_OF_ONE || all >= CONNECTIONS {
            if *of_one == 0 {
                open.remove(&source);
            }
            return None;
        }
        *of_one += 1;
        drop(open);
        Some(Open { serving: self.clone(), source })
    }
}

/// Serves one connection to its end.
pub(super) async fn converse(stream: TcpStream, open: Open, api: Api) {
    // Without it an answer that is not taken would be kept for a quarter of an hour.
    if let Err(error) = setsockopt(&stream, TcpUserTimeout, &WRITE_MILLISECONDS) {
        debug!(%error, "cannot limit how long an answer waits");
    }
    let (serving, source) = (open.serving.clone(), open.source);
    let service = service_fn(move |request| {
        let serving = serving.clone();
        async move { Ok::<_, Infallible>(respond(&serving, api, source, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIME).max_buf_size(HEADER_BYTES);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        debug!(%source, %error, "connection ended");
    }
    drop(open);
}

async fn respond(serving: &Serving, api: Api, source: IpAddr, request: Request<Incoming>) -> Reply {
    // There is no socket before there is a document.
    let Some(mut index) = serving.index() else { return reply::not_found() };
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path(), head.uri.query());
    if api == Api::Introspection {
        return introspection::answer(&index, path, query);
    }
    let asked = Asked::of(path, query);
    if let Some(limit) = index.front.request_limit
        && !serving.throttle.admits(index.caller(asked.id(), source), limit, Instant::now())
    {
        return reply::too_many();
    }
    if path.contains("//") {
        return reply::moved(&without_empty_parts(path, query));
    }
    let body = match (&asked, &head.method) {
        (Asked::Protection(_), &Method::PUT) => match read(body).await {
            Ok(body) => body,
            Err(reply) => return reply,
        },
        // What is not read is not waited for: hyper drops a short rest and hangs up on a long one.
        _ => Bytes::new(),
    };
    if let Asked::Container(_, id) | Asked::Task(_, id, _) | Asked::ContainerStats(_, id) | Asked::TaskStats(_, id) =
        asked
        && let Some(later) = serving.index_with(id, source).await
    {
        index = later;
    }
    let now = Timestamp::now();
    let request = answer::Request { method: &head.method, asked, body: &body, source, now };
    let (question, then) = match answer::answer(&index, request) {
        Answer::Ready(reply) => return reply,
        Answer::Ask(question, then) => (question, then),
    };
    match agent::ask(&serving.dir, &question).await {
        Ok(reply) => then.finish(reply),
        Err(error @ AgentError::Late) => then.late(&error.to_string()),
        Err(error) => {
            debug!(%error, "the agent was not asked");
            then.away(&error.to_string())
        }
    }
}

/// A body that is not too long and comes in time.
async fn read(body: Incoming) -> Result<Bytes, Reply> {
    let refused = |status, words| {
        let mut reply = reply::text(status, words);
        reply.headers_mut().insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
        reply
    };
    match timeout(READ_TIME, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or was cut\n")),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
    }
}

fn without_empty_parts(path: &str, query: Option<&str>) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let path = format!("/{}", parts.join("/"));
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}
