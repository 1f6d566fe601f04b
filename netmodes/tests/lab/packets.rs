//! Real packets from inside a namespace: UDP and TCP by the standard library, echo requests by a raw socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use netmodes::kernel::netns::Netns;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// Far longer than any answer takes here; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A UDP socket inside, bound to `address` and any port or the given one.
pub fn udp(netns: &Netns, address: &str) -> UdpSocket {
    let address: SocketAddr = address.parse().unwrap();
    let socket = netns.run(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends from one socket to the other and gives what arrived, with its sender.
pub fn send_udp(from: &UdpSocket, to: &UdpSocket, text: &str) -> (String, SocketAddr) {
    from.send_to(text.as_bytes(), to.local_addr().unwrap()).unwrap();
    received(to)
}

pub fn received(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = vec![0; 65536];
    let (length, sender) = socket.recv_from(&mut buffer).expect("a datagram arrives");
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), sender)
}

/// Whether nothing has arrived up to now.
pub fn is_empty(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let nothing = matches!(socket.recv_from(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
    nothing
}

/// One byte there and back over TCP; gives the sender's address as the server saw it.
pub fn exchange_tcp(client: &Netns, server: &Netns, address: IpAddr) -> SocketAddr {
    let listener = server.run(|| TcpListener::bind((address, 0))).unwrap().unwrap();
    let target = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, sender) = listener.accept().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
        sender
    });
    let mut stream = client.run(|| TcpStream::connect_timeout(&target, PATIENCE)).unwrap().expect("TCP connects");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
    serving.join().unwrap()
}

/// An ICMP echo request to an IPv4 address, `size` bytes of data; waits for its reply.
pub fn ping(netns: &Netns, target: Ipv4Addr, size: usize) {
    let raw = || socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp);
    let raw: OwnedFd = netns.run(raw).unwrap().unwrap();
    // Not UDP, but the same system calls, with a timeout and owned.
    let raw = UdpSocket::from(raw);
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    request.resize(8 + size, 0xa5);
    let checksum = checksum(&request).to_be_bytes();
    request[2..4].copy_from_slice(&checksum);
    raw.send_to(&request, (target, 0)).unwrap();
    let mut buffer = vec![0; 65536];
    loop {
        let (length, sender) = raw.recv_from(&mut buffer).expect("an echo reply arrives");
        let icmp = &buffer[usize::from(buffer[0] & 0xf) * 4..length];
        if sender.ip() == IpAddr::V4(target) && icmp[0] == 0 && icmp[4..8] == [0x12, 0x34, 0, 1] {
            assert_eq!(icmp.len(), request.len());
            return;
        }
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
