//! Real packets from inside a task's namespace: sockets that are opened there by a thread that ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::lab::Task;

/// What is dropped does not answer within this.
const PATIENCE: Duration = Duration::from_millis(700);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Bytes went there and came back.
    Answered,
    /// Nothing came back: a security group drops silently.
    Dropped,
    /// Somebody said no: nobody listens there.
    Refused,
}

/// Runs `work` in a task's network namespace, on a thread of its own.
pub fn inside<T: Send>(task: &Task, work: impl FnOnce() -> T + Send) -> T {
    within(&task.netns, work)
}

/// Runs `work` in a network namespace, `/proc/<pid>/ns/net`, on a thread of its own.
pub fn within<T: Send>(netns: &str, work: impl FnOnce() -> T + Send) -> T {
    let netns = File::open(netns).expect("the namespace");
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).expect("root enters a namespace");
            work()
        });
        inside.join().expect("the probe ends")
    })
}

/// A TCP echo server inside a task, for as long as the test runs.
pub fn serve_tcp(task: &Task, port: u16) {
    let listener = inside(task, || TcpListener::bind(("0.0.0.0", port)).expect("a free port"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// A UDP echo server inside a task, for as long as the test runs.
pub fn serve_udp(task: &Task, port: u16) {
    let socket = inside(task, || UdpSocket::bind(("0.0.0.0", port)).expect("a free port"));
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
}

/// Opens a TCP connection from a task; it stays open with what is returned.
pub fn connect(from: &Task, to: &Task, port: u16) -> Result<TcpStream, Outcome> {
    let address = SocketAddr::new(to.address.parse::<IpAddr>().expect("an address"), port);
    let stream = inside(from, || TcpStream::connect_timeout(&address, PATIENCE));
    let stream = stream.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Outcome::Refused,
        _ => Outcome::Dropped,
    })?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Ok(stream)
}

/// Whether bytes still go and come over an open connection.
pub fn exchange(stream: &mut TcpStream) -> Outcome {
    let mut buffer = [0; 4];
    match stream.write_all(b"ping").and_then(|()| stream.read_exact(&mut buffer)) {
        Ok(()) => Outcome::Answered,
        Err(_) => Outcome::Dropped,
    }
}

/// One TCP connection with an exchange.
pub fn tcp(from: &Task, to: &Task, port: u16) -> Outcome {
    match connect(from, to, port) {
        Ok(mut stream) => exchange(&mut stream),
        Err(outcome) => outcome,
    }
}

/// One UDP exchange, from a source port when one is given.
pub fn udp(from: &Task, to: &Task, port: u16, source_port: u16) -> Outcome {
    let address = SocketAddr::new(to.address.parse::<IpAddr>().expect("an address"), port);
    let socket = inside(from, || UdpSocket::bind(("0.0.0.0", source_port)).expect("a free port"));
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.connect(address).expect("an address");
    let mut buffer = [0; 4];
    match socket.send(b"ping").and_then(|_| socket.recv(&mut buffer)) {
        Ok(_) => Outcome::Answered,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Dropped,
    }
}

/// Runs a command of the host's in a task's network namespace; its exit code and standard output.
pub fn command(task: &Task, program: &str, arguments: &[&str]) -> (i32, String) {
    let output = inside(task, || Command::new(program).args(arguments).stdin(Stdio::null()).output());
    let output = output.expect("the command is there");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One ICMP echo request to an address.
pub fn ping(from: &Task, to: &str) -> Outcome {
    match command(from, "busybox", &["ping", "-c", "1", "-W", "1", to]).0 {
        0 => Outcome::Answered,
        _ => Outcome::Dropped,
    }
}

/// A TCP connection from a source port that may be used again at once.
pub fn connect_from_port(from: &Task, source_port: u16, to: &Task, port: u16) -> Result<TcpStream, Outcome> {
    let address: Ipv4Addr = to.address.parse().expect("an IPv4 address");
    let socket = inside(from, || {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        setsockopt(&socket, sockopt::ReuseAddr, &true).expect("an option");
        // Also limits how long connect takes.
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(700)).expect("an option");
        bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, source_port)).expect("a free port");
        socket
    });
    match nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, port))) {
        Ok(()) => {
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            Ok(stream)
        }
        Err(nix::errno::Errno::ECONNREFUSED) => Err(Outcome::Refused),
        Err(_) => Err(Outcome::Dropped),
    }
}

/// A UDP flow that goes on: the socket keeps its source port.
pub struct UdpFlow(UdpSocket);

impl UdpFlow {
    /// A socket in `from`, towards `to`.
    pub fn open(from: &Task, to: &Task, port: u16) -> Self {
        let address = SocketAddr::new(to.address.parse::<IpAddr>().expect("an address"), port);
        let socket = inside(from, || UdpSocket::bind(("0.0.0.0", 0)).expect("a free port"));
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.connect(address).expect("an address");
        Self(socket)
    }

    /// One more exchange.
    pub fn exchange(&self) -> Outcome {
        let mut buffer = [0; 4];
        match self.0.send(b"ping").and_then(|_| self.0.recv(&mut buffer)) {
            Ok(_) => Outcome::Answered,
            Err(_) => Outcome::Dropped,
        }
    }
}

/// Whether a datagram that claims to come from `source`, sent by `from`, gets to `to`.
///
/// `source` is given to `from`'s interface for the time of the probe, as root in the task could.
pub fn datagram_arrives(from: &Task, source: &str, to: &Task, port: u16) -> bool {
    let listener = inside(to, || UdpSocket::bind(("0.0.0.0", port)).expect("a free port"));
    listener.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let is_own = from.address == source;
    let alias = format!("{source}/32");
    if !is_own {
        assert_eq!(command(from, "ip", &["address", "add", &alias, "dev", "lo"]).0, 0, "root may add an address");
    }
    let socket = inside(from, || UdpSocket::bind((source, 0)).expect("an address"));
    socket.send_to(b"ping", (to.address.as_str(), port)).expect("a datagram leaves the task");
    let mut buffer = [0; 4];
    let arrived = listener.recv(&mut buffer).is_ok();
    if !is_own {
        command(from, "ip", &["address", "del", &alias, "dev", "lo"]);
    }
    arrived
}
