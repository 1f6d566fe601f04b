//! Real packets from inside a task's namespace: sockets that are opened there by a thread that ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

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
    let netns = File::open(&task.netns).expect("the task's namespace");
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
