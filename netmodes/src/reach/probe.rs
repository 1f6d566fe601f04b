//! Opens a flow in earnest, from the sender's namespace, and says what became of it. No rule is read here.
//!
//! A datagram that nobody answers may have been dropped or taken: connection tracking tells, since a flow is confirmed there
//! only when its first packet has passed every chain. Each attempt is a flow of its own, under a source port that the kernel
//! chooses, and is given up when `patience` is over. Blocks for as long, so it is not for a thread of the async runtime.

use std::io::{Error, ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::Outcome;
use super::path::Opening;
use crate::kernel::conntrack;
use crate::kernel::error::KernelError;
use crate::kernel::netns::Netns;

/// How long an answer may well take: a SYN that was lost is sent again after one second, and a kernel that has sent several
/// ICMP errors sends one more each second.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its fate.
    pub outcome: Outcome,
    /// From the first packet to the answer, or until it was given up.
    pub took: Duration,
}

/// Opens a flow from `from` to `to`, and waits for an answer for `patience`, usually [`PATIENCE`].
///
/// `passes` are the namespaces that it passes, in turn: a VPC's, and those of instances at either end; none when it stays on
/// loopback.
///
/// # Errors
/// When the namespace cannot be entered, or the kernel refuses a socket.
pub fn attempt(
    from: &Netns,
    passes: &[&Netns],
    to: IpAddr,
    opening: Opening,
    patience: Duration,
) -> Result<Seen, KernelError> {
    let started = Instant::now();
    let outcome = match opening {
        Opening::Tcp(port) => tcp(from, SocketAddr::new(to, port), patience),
        Opening::Udp(port) => udp(from, passes, SocketAddr::new(to, port), patience),
        Opening::Icmp(kind, code) => icmp(from, to, (kind, code), patience),
    }?;
    Ok(Seen { outcome, took: started.elapsed() })
}

/// Waits for a datagram's or an echo's answer: sent twice, since the first may be lost.
fn tries(patience: Duration) -> [Duration; 2] {
    [patience / 3, patience - patience / 3]
}

fn tcp(from: &Netns, to: SocketAddr, patience: Duration) -> Result<Outcome, KernelError> {
    match from.run(|| TcpStream::connect_timeout(&to, patience))? {
        Ok(_) => Ok(Outcome::Connected),
        Err(error) => fate(error, || format!("connect to {to}")),
    }
}

fn udp(from: &Netns, passes: &[&Netns], to: SocketAddr, patience: Duration) -> Result<Outcome, KernelError> {
    let what = || format!("send a datagram to {to}");
    let open = || -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        setsockopt(&socket.as_fd(), sockopt::Ipv4RecvErr, &true)?;
        socket.connect(to)?;
        Ok(socket)
    };
    let socket = from.run(open)?.map_err(|source| KernelError::io(what(), source))?;
    for wait in tries(patience) {
        socket.set_read_timeout(Some(wait)).map_err(|source| KernelError::io(what(), source))?;
        // Empty, so that the program at the other end has least to do with it.
        match socket.send(&[]).and_then(|_| socket.recv(&mut [0; 1])) {
            Ok(_) => return Ok(Outcome::Connected),
            Err(error) if is_silence(&error) => {}
            Err(error) => return fate(error, what),
        }
    }
    let (mut source, mut destination) = (socket.local_addr().map_err(|source| KernelError::io(what(), source))?, to);
    for netns in passes {
        match conntrack::beyond(netns, Opening::Udp(0).protocol(), source, destination)? {
            // As the next one sees it: a container behind its instance's address, a host port as the container's.
            Some(translated) => (source, destination) = translated,
            None => return Ok(Outcome::TimedOut),
        }
    }
    Ok(Outcome::Delivered)
}

fn icmp(from: &Netns, to: IpAddr, (kind, code): (u8, u8), patience: Duration) -> Result<Outcome, KernelError> {
    let what = || format!("send an ICMP message to {to}");
    let open = || -> std::io::Result<std::fs::File> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, socket};
        use std::os::fd::AsRawFd as _;
        let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)?;
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to, 0)))?;
        Ok(socket.into())
    };
    let mut socket = from.run(open)?.map_err(|source| KernelError::io(what(), source))?;
    // To connection tracking, an identifier is what a port is; the thread's own number keeps two attempts apart.
    let identifier = nix::unistd::gettid().as_raw() as u16;
    for (number, wait) in (1u16..).zip(tries(patience)) {
        let request = message(kind, code, identifier, number);
        match exchange(&mut socket, &request, identifier, wait) {
            Ok(true) => return Ok(Outcome::Connected),
            Ok(false) => {}
            Err(error) => return fate(error, what),
        }
    }
    Ok(Outcome::TimedOut)
}

/// Whether the reply to an echo request came in time.
fn exchange(socket: &mut std::fs::File, request: &[u8], identifier: u16, wait: Duration) -> std::io::Result<bool> {
    use std::io::Write as _;
    let deadline = Instant::now() + wait;
    socket.write_all(request)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = nix::sys::time::TimeVal::new(left.as_secs() as i64, i64::from(left.subsec_micros()).max(1));
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &left)?;
        let mut packet = [0; 256];
        match socket.read(&mut packet) {
            Ok(length) => {
                let header = usize::from(packet[0] & 0xf) * 4;
                let reply = packet.get(header..length).unwrap_or_default();
                if let [0, _, _, _, high, low, ..] = reply
                    && u16::from_be_bytes([*high, *low]) == identifier
                {
                    return Ok(true);
                }
            }
            Err(error) if is_silence(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// An ICMP message without data, its checksum right.
fn message(kind: u8, code: u8, identifier: u16, number: u16) -> [u8; 8] {
    let ([a, b], [c, d]) = (identifier.to_be_bytes(), number.to_be_bytes());
    let sum = u32::from(u16::from_be_bytes([kind, code])) + u32::from(identifier) + u32::from(number);
    let folded = (sum & 0xffff) + (sum >> 16);
    let [e, f] = (!(folded + (folded >> 16)) as u16).to_be_bytes();
    [kind, code, e, f, a, b, c, d]
}

fn is_silence(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn fate(error: Error, what: impl FnOnce() -> String) -> Result<Outcome, KernelError> {
    if is_silence(&error) {
        return Ok(Outcome::TimedOut);
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED | Errno::ECONNRESET) => Ok(Outcome::Refused),
        Some(Errno::EHOSTUNREACH | Errno::ENETUNREACH) => Ok(Outcome::Unreachable),
        _ => Err(KernelError::io(what(), error)),
    }
}
