//! The sockets of a namespace that wait for flows (`ss -ltn`, `ss -lun`), by `sock_diag`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};
use nix::errno::Errno;

use super::error::KernelError;
use super::netns::Netns;
use crate::nft::Transport;
use crate::reach::listener::Listener;

// linux/sock_diag.h, linux/inet_diag.h, net/tcp_states.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Of `struct inet_diag_sockid`.
const SOCKET_ID: usize = 48;
/// Of `struct inet_diag_msg`.
const DESCRIPTION: usize = 72;
const HEADER: usize = 16;

/// Lists the listening TCP sockets, or the UDP sockets that take datagrams from anyone.
///
/// # Errors
/// When the namespace cannot be entered or the kernel refuses.
pub fn listeners(netns: &Netns, transport: Transport) -> Result<Vec<Listener>, KernelError> {
    netns.run(|| {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            found.extend(of_family(family as u8, transport)?);
        }
        Ok(found)
    })?
}

/// The index of a link, which is what a socket that is bound to it has; none when there is no such link.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn link_index(netns: &Netns, name: &str) -> Result<Option<u32>, KernelError> {
    netns.run(|| nix::net::if_::if_nametoindex(name).ok())
}

fn of_family(family: u8, transport: Transport) -> Result<Vec<Listener>, KernelError> {
    const WHAT: &str = "list listening sockets";
    let failed = |source| KernelError::io(WHAT.to_owned(), source);
    let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(failed)?;
    socket.bind_auto().map_err(failed)?;
    socket.connect(&NetlinkAddress::new(0, 0)).map_err(failed)?;
    let state = match transport {
        Transport::Tcp => TCP_LISTEN,
        Transport::Udp => TCP_CLOSE,
    };
    socket.send(&request(family, transport.number(), 1 << state), 0).map_err(failed)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(failed)?;
        let mut rest = datagram.as_slice();
        while let Some(header) = rest.first_chunk::<HEADER>() {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let Some(body) = rest.get(HEADER..length) else { break };
            match i32::from(u16::from_ne_bytes([header[4], header[5]])) {
                libc::NLMSG_DONE => return Ok(found),
                libc::NLMSG_ERROR => {
                    let code = body.first_chunk().map_or(-libc::EBADMSG, |code| i32::from_ne_bytes(*code));
                    // A kernel without IPv6, or without this protocol's half of sock_diag for it, has no such sockets.
                    return match Errno::from_raw(code.saturating_neg()) {
                        Errno::ENOENT if family == libc::AF_INET6 as u8 => Ok(found),
                        errno => Err(KernelError::new(WHAT, errno)),
                    };
                }
                _ => found.extend(listener(body, transport)),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn request(family: u8, protocol: u8, states: u32) -> Vec<u8> {
    let length = (HEADER + 8 + SOCKET_ID) as u32;
    let mut message = Vec::with_capacity(length as usize);
    message.extend(length.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([family, protocol, 0, 0]);
    message.extend(states.to_ne_bytes());
    message.resize(length as usize, 0);
    message
}

/// Reads one `struct inet_diag_msg`; none for a socket that is on no port or talks to one peer alone.
fn listener(body: &[u8], transport: Transport) -> Option<Listener> {
    let head = body.first_chunk::<DESCRIPTION>()?;
    let word = |at: usize| -> Option<[u8; 4]> { head.get(at..)?.first_chunk().copied() };
    let port = |at: usize| -> Option<u16> { head.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) };
    let (own, peer) = (port(4)?, port(6)?);
    if own == 0 || peer != 0 {
        return None;
    }
    let address: IpAddr = match i32::from(head[0]) {
        libc::AF_INET => Ipv4Addr::from(word(8)?).into(),
        libc::AF_INET6 => Ipv6Addr::from(*head.get(8..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    let link = u32::from_ne_bytes(word(40)?);
    let queue = (u32::from_ne_bytes(word(56)?), u32::from_ne_bytes(word(60)?));
    let mut v6_only = false;
    let mut rest = body.get(DESCRIPTION..).unwrap_or_default();
    while let Some([l0, l1, k0, k1]) = rest.first_chunk() {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let Some(value) = rest.get(4..length) else { break };
        if u16::from_ne_bytes([*k0, *k1]) == INET_DIAG_SKV6ONLY {
            v6_only = value.first() == Some(&1);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Listener {
        address: SocketAddr::new(address, own),
        v6_only,
        link: (link != 0).then_some(link),
        queue: (transport == Transport::Tcp).then_some(queue),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::reach::listener::{Taker, taker};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_description_however_garbled_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            listener(&bytes, Transport::Tcp);
        }
    }

    #[test]
    fn listening_sockets_are_listed_as_they_are_bound() {
        let Ok(netns) = Netns::anonymous() else {
            eprintln!("skipped: making a network namespace needs root");
            return;
        };
        netns
            .run(|| {
                let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
                assert!(up.expect("ip is installed").success());
            })
            .unwrap();
        let sockets = netns
            .run(|| {
                let tcp = TcpListener::bind("127.0.0.1:80").unwrap();
                let both = TcpListener::bind("[::]:81").unwrap();
                // A connection that stands is no listener.
                let open = TcpStream::connect("127.0.0.1:80").unwrap();
                let udp = UdpSocket::bind("0.0.0.0:53").unwrap();
                let talking = UdpSocket::bind("127.0.0.1:54").unwrap();
                talking.connect("127.0.0.1:53").unwrap();
                (tcp, both, open, udp, talking)
            })
            .unwrap();
        let shown = |transport| {
            let mut found: Vec<_> =
                listeners(&netns, transport).unwrap().iter().map(|l| (l.address.to_string(), l.v6_only)).collect();
            found.sort();
            found
        };
        assert_eq!(shown(Transport::Tcp), [("127.0.0.1:80".to_owned(), false), ("[::]:81".to_owned(), false)]);
        assert_eq!(shown(Transport::Udp), [("0.0.0.0:53".to_owned(), false)]);
        let tcp = listeners(&netns, Transport::Tcp).unwrap();
        let waiting = tcp.iter().find(|l| l.address.port() == 80).unwrap().queue.unwrap();
        assert_eq!(waiting.0, 1, "nobody has accepted it");
        let address = "10.0.0.4".parse().unwrap();
        assert_eq!(taker(&tcp, address, 81, None), Taker::Socket("[::]:81".parse().unwrap()));
        drop(sockets);
    }
}
