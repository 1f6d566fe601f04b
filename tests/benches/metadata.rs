//! `bench-metadata`: the metadata endpoint while 200 tasks poll it, beside a bare hyper server with one fixed answer.
//!
//! Ours is the role itself, `ecsnet metadata`, with a front of 200 tasks of two containers each; the floor answers the
//! same number of bytes without looking at the request. Both are processes of their own on loopback, where every task has
//! an address of its own to ask from. The limit of 40 requests a second is switched off: what is measured is the server.
//! No root, no Docker.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use e2e::bench::{Outcome, Row, Samples, publish, rounds};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Tasks that poll.
const TASKS: u16 = 200;
/// Requests of each task in a round, over one connection, one after another.
const REQUESTS: u32 = 50;
/// Requests of one task alone, whose times are those of an answer.
const ALONE: u32 = 200;
/// Worst allowed ratio to the bare server.
const GOAL: f64 = 2.0;
/// Longer means broken, never slow.
const BROKEN_AFTER: Duration = Duration::from_secs(60);

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, port, length] = &arguments[..]
        && verb == "floor"
    {
        return floor(port.parse()?, length.parse()?).await;
    }
    let dir = tempfile::Builder::new().prefix("ecsnet-bench-").tempdir()?;
    let ours = Server::ours(dir.path()).await?;
    let length = ours.ask(0, 1).await?.1;
    let floor = Server::floor(length).await?;

    let mut all = (Samples::of("ecsnet, 200 tasks"), Samples::of("bare hyper, 200 tasks"));
    let mut one = (Samples::of("ecsnet, one task"), Samples::of("bare hyper, one task"));
    let rounds = rounds(11);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        // Who comes first profits or suffers from what the last one left, so they change places.
        let mut sides = [(&ours, &mut all.0, &mut one.0), (&floor, &mut all.1, &mut one.1)];
        if round % 2 == 1 {
            sides.reverse();
        }
        for (server, all, one) in sides {
            all.push(server.all().await?);
            one.push(server.ask(0, ALONE).await?.0 / ALONE);
        }
    }
    let rate = |samples: &Samples| f64::from(TASKS) * f64::from(REQUESTS) / samples.median() * 1e3;
    println!(
        "an answer of {length} bytes; requests a second of {TASKS} tasks: ecsnet {:.0}, bare hyper {:.0}",
        rate(&all.0),
        rate(&all.1)
    );
    let row = |name: String, (ours, other): &(Samples, Samples), goal| Row {
        name,
        ours: ours.clone(),
        other: other.clone(),
        goal,
    };
    let rows = [
        row(format!("metadata: {TASKS} tasks, {REQUESTS} requests each"), &all, Some(GOAL)),
        row("metadata: one answer".to_owned(), &one, None),
    ];
    publish("metadata", "The metadata endpoint", &rows, &[&all.0, &all.1])
}

/// A server in a process of its own, which ends with this value.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

impl Server {
    async fn ours(dir: &Path) -> Outcome<Self> {
        let binary = std::env::var_os("ECSNET_BIN").ok_or("ECSNET_BIN is not set: run this by `make bench`")?;
        let address = free_address().await?;
        let dir = dir.join("front");
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        std::fs::write(dir.join("front.json"), front(address).to_string())?;
        let mut command = Command::new(binary);
        command.arg("metadata").arg("--dir").arg(&dir);
        Self::start(command, address).await
    }

    async fn floor(length: usize) -> Outcome<Self> {
        let address = free_address().await?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", &address.port().to_string(), &length.to_string()]);
        Self::start(command, address).await
    }

    async fn start(mut command: Command, address: SocketAddr) -> Outcome<Self> {
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut server = Self { process, address };
        let begin = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let ended = server.process.try_wait()?;
            if ended.is_some() || begin.elapsed() > BROKEN_AFTER {
                return Err(format!("{command:?} does not answer ({ended:?})").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(server)
    }

    /// How long all tasks together take for their requests.
    async fn all(&self) -> Outcome<Duration> {
        let begin = Instant::now();
        let address = self.address;
        let tasks: Vec<_> =
            (0..TASKS).map(|task| tokio::spawn(async move { poll(address, task, REQUESTS).await })).collect();
        for task in tasks {
            task.await??;
        }
        Ok(begin.elapsed())
    }

    /// How long one task takes for so many requests, and the bytes of its answers' body.
    async fn ask(&self, task: u16, requests: u32) -> Outcome<(Duration, usize)> {
        let begin = Instant::now();
        let length = poll(self.address, task, requests).await?;
        Ok((begin.elapsed(), length))
    }
}

/// A task's requests for its own document, one after another; the bytes of an answer's body.
async fn poll(address: SocketAddr, task: u16, requests: u32) -> Outcome<usize> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source(task).into(), 0))?;
    let mut stream = tokio::time::timeout(BROKEN_AFTER, socket.connect(address)).await??;
    stream.set_nodelay(true)?;
    let request = format!("GET /v4/{}/task HTTP/1.1\r\nHost: 169.254.170.2\r\n\r\n", endpoint(task, "app"));
    let mut read = Vec::with_capacity(16 << 10);
    let mut length = 0;
    for _ in 0..requests {
        stream.write_all(request.as_bytes()).await?;
        read.clear();
        length = tokio::time::timeout(BROKEN_AFTER, answer(&mut stream, &mut read)).await??;
    }
    Ok(length)
}

/// Reads one answer; the bytes of its body.
async fn answer(stream: &mut TcpStream, read: &mut Vec<u8>) -> Outcome<usize> {
    loop {
        if stream.read_buf(read).await? == 0 {
            return Err("the server hung up".into());
        }
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&read[..end])?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(head.to_owned().into());
        }
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.ok_or("an answer without its length")?;
        if read.len() >= end + 4 + length {
            return Ok(length);
        }
    }
}

async fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}

fn source(task: u16) -> Ipv4Addr {
    let [high, low] = (task + 1).to_be_bytes();
    Ipv4Addr::new(127, 77, high, low)
}

fn endpoint(task: u16, container: &str) -> String {
    format!("{task:08x}-0000-4000-8000-{container}")
}

/// What the agent would publish.
fn front(address: SocketAddr) -> Value {
    let tasks: Vec<Value> = (0..TASKS).map(task).collect();
    json!({ "generation": 1, "listen": [address], "request_limit": null, "tasks": tasks })
}

fn task(task: u16) -> Value {
    let arn = format!("arn:aws:ecs:us-east-1:000000000000:task/shop/{task:032x}");
    let network = json!({
        "NetworkMode": "awsvpc", "IPv4Addresses": [source(task)], "AttachmentIndex": 0,
        "MACAddress": "0e:9e:32:c7:48:85", "IPv4SubnetCIDRBlock": "10.0.2.0/24", "DomainNameServers": ["10.0.0.2"],
        "PrivateDNSName": "ip-10-0-2-106.ec2.internal", "SubnetGatewayIpv4Address": "10.0.2.1/24",
    });
    let container = |name: &str| {
        json!({
            "DockerId": format!("{task:064x}"), "Name": name, "DockerName": format!("ecs-web-7-{name}"), "Image": "web:7",
            "ImageID": format!("sha256:{task:064x}"), "Ports": [{"ContainerPort": 80, "Protocol": "tcp", "HostPort": 80}],
            "Labels": {
                "com.amazonaws.ecs.cluster": "shop", "com.amazonaws.ecs.container-name": name,
                "com.amazonaws.ecs.task-arn": arn, "com.amazonaws.ecs.task-definition-family": "web",
                "com.amazonaws.ecs.task-definition-version": "7",
            },
            "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING", "Limits": {"CPU": 128, "Memory": 256},
            "CreatedAt": "2026-08-01T12:00:02Z", "StartedAt": "2026-08-01T12:00:03Z", "Type": "NORMAL",
            "LogDriver": "json-file", "ContainerARN": format!("{arn}/{name}"), "Networks": [network],
        })
    };
    json!({
        "task_arn": arn, "endpoints": {endpoint(task, "app"): "app", endpoint(task, "log"): "log"},
        "sources": [source(task)], "v2": true,
        "document": {
            "Cluster": "shop", "TaskARN": arn, "Family": "web", "Revision": "7", "ServiceName": "web",
            "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING", "Limits": {"CPU": 0.25, "Memory": 512},
            "AvailabilityZone": "us-east-1a", "LaunchType": "EC2", "VPCID": "vpc-0123456789abcdef0",
            "Containers": [container("app"), container("log")],
        },
    })
}

/// Answers so many bytes to whatever is asked, until it is killed.
async fn floor(port: u16, length: usize) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let body = Bytes::from(vec![b' '; length]);
    loop {
        let (stream, _) = listener.accept().await?;
        let body = body.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_: Request<_>| {
                let body = body.clone();
                async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
            });
            // A client that hangs up is at its end.
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
