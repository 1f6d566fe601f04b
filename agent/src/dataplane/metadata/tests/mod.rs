//! A front as a task sees it: real TCP and unix sockets on loopback, a client that asks from the task's own address.

mod agent;
mod connections;
mod credentials;
mod documents;
mod introspection;
mod life;
mod protection;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::question::{FrontQuestion, FrontReply};
use super::{AGENT_SOCKET, FRONT_FILE, ServeError, client, serve_front};
use crate::dataplane::published;
use crate::project::metadata::{Front, example};

/// Means "broken", never "slow".
const DEADLINE: Duration = Duration::from_secs(60);

const WEB: &str = "127.10.0.1";
const LONE: &str = "127.10.0.2";
const BATCH: &str = "127.10.0.3";
/// Where host mode asks from, and whoever is no task.
const HOST: &str = "127.0.0.1";

/// Any port of loopback.
fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// As the agent does it: whole, then renamed.
fn write_front(dir: &Path, front: &Front) {
    write_file(dir, &serde_json::to_vec(front).unwrap());
}

fn write_file(dir: &Path, bytes: &[u8]) {
    let unfinished = dir.join("front.json.new");
    std::fs::write(&unfinished, bytes).unwrap();
    std::fs::rename(&unfinished, dir.join(FRONT_FILE)).unwrap();
}

/// A front running in this process; dropped with its sockets.
struct Running {
    dir: TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    /// Serves the example.
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Serves the example, changed.
    async fn with(change: impl FnOnce(&mut Front)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut front = example::front(anywhere());
        change(&mut front);
        write_front(dir.path(), &front);
        let (stop, stopped) = oneshot::channel();
        let owned = dir.path().to_owned();
        let running = tokio::spawn(async move {
            serve_front(&owned, async {
                let _dropped = stopped.await;
            })
            .await
        });
        let status = eventually(async || client::status(dir.path()).await.ok()).await;
        assert_eq!(status.problem, None);
        Self { address: status.listening[0], dir, stop: Some(stop), running }
    }

    /// Asks from an address.
    async fn get(&self, source: &str, path: &str) -> Answer {
        self.ask(source, "GET", path, "").await
    }

    async fn ask(&self, source: &str, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 169.254.170.2\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let mut stream = self.connect(source).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(stream).await
    }

    async fn connect(&self, source: &str) -> TcpStream {
        connect(self.address, source).await.unwrap()
    }

    /// Answers the front's questions as the agent would, until dropped.
    fn agent<R: Future<Output = FrontReply> + Send>(
        &self,
        reply: impl Fn(FrontQuestion) -> R + Clone + Send + Sync + 'static,
    ) -> AbortOnDrop {
        let listener = published::bind(self.dir.path(), AGENT_SOCKET).unwrap();
        AbortOnDrop(tokio::spawn(async move {
            let most = super::agent::LINE_BYTES;
            published::accept(listener, move |stream| {
                let reply = reply.clone();
                async move { published::converse(stream, most, FrontReply::Error, reply).await }
            })
            .await;
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.running.abort();
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(address: SocketAddr, source: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0)).unwrap();
    timeout(DEADLINE, socket.connect(address)).await.unwrap()
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn read(mut stream: TcpStream) -> Self {
        let mut text = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no HTTP: {text:?}")).parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The JSON of an answer that is expected to be good.
    #[track_caller]
    fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// Status and JSON string of an error.
    #[track_caller]
    fn error(&self) -> (u16, String) {
        (self.status, self.json().as_str().unwrap().to_owned())
    }
}

async fn eventually<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let polled = async {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    };
    timeout(DEADLINE, polled).await.unwrap()
}
