//! Which socket of a namespace takes a new flow, or why none does. Pure; [`crate::kernel::listening`] reads the sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket that waits for flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// What it is bound to.
    pub address: SocketAddr,
    /// Bound to IPv6 alone.
    pub v6_only: bool,
    /// The one link that it is bound to, by index.
    pub link: Option<u32>,
    /// TCP connections that stand and that nobody has accepted yet, and how many of them there may be.
    pub queue: Option<(u32, u32)>,
}

/// What takes a flow to an address and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taker {
    /// This socket.
    Socket(SocketAddr),
    /// This socket would, but its program accepts nothing: as many connections wait as may (backlog).
    Full(SocketAddr),
    /// Sockets on the port are bound to loopback alone.
    LoopbackOnly(Vec<SocketAddr>),
    /// Sockets on the port are bound to other addresses, to IPv6 alone, or to another link.
    Elsewhere(Vec<SocketAddr>),
    /// No socket is on the port; those there are.
    Nobody(Vec<u16>),
}

/// What takes a flow to `address` and `port` which comes in by `link`.
pub fn taker(listeners: &[Listener], address: IpAddr, port: u16, link: Option<u32>) -> Taker {
    let on_port: Vec<&Listener> = listeners.iter().filter(|l| l.address.port() == port).collect();
    let mut takers: Vec<&&Listener> = on_port.iter().filter(|l| takes(l, address, link)).collect();
    // As the kernel chooses: the one that is bound most narrowly.
    takers.sort_by_key(|l| (l.address.ip().is_unspecified(), l.link.is_none(), l.address.is_ipv6()));
    if let Some(taker) = takers.first() {
        // The kernel lets one more wait than the program asked for.
        let full = taker.queue.is_some_and(|(waiting, most)| waiting > most);
        return if full { Taker::Full(taker.address) } else { Taker::Socket(taker.address) };
    }
    let mut bound: Vec<SocketAddr> = on_port.iter().map(|l| l.address).collect();
    bound.sort_unstable();
    bound.dedup();
    if bound.is_empty() {
        let mut ports: Vec<u16> = listeners.iter().map(|l| l.address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        return Taker::Nobody(ports);
    }
    if bound.iter().all(|a| plain(a.ip()).is_loopback()) { Taker::LoopbackOnly(bound) } else { Taker::Elsewhere(bound) }
}

fn takes(listener: &Listener, address: IpAddr, link: Option<u32>) -> bool {
    if listener.link.is_some() && listener.link != link {
        return false;
    }
    match (plain(listener.address.ip()), address) {
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(_)) => !listener.v6_only,
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(_)) | (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(_)) => true,
        (bound, address) => bound == address,
    }
}

/// `::ffff:10.0.0.4` is 10.0.0.4.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn on(text: &str) -> Listener {
        Listener { address: text.parse().unwrap(), v6_only: false, link: None, queue: Some((0, 128)) }
    }

    fn to(listeners: &[Listener], port: u16) -> Taker {
        taker(listeners, "10.0.0.5".parse().unwrap(), port, Some(7))
    }

    #[rstest]
    #[case("0.0.0.0:80")]
    #[case("[::]:80")]
    #[case("10.0.0.5:80")]
    #[case("[::ffff:10.0.0.5]:80")]
    fn a_socket_on_any_or_the_very_address_takes_it(#[case] bound: &str) {
        assert_eq!(to(&[on(bound)], 80), Taker::Socket(bound.parse().unwrap()));
    }

    #[test]
    fn the_narrower_socket_is_the_one() {
        assert_eq!(to(&[on("[::]:80"), on("10.0.0.5:80")], 80), Taker::Socket("10.0.0.5:80".parse().unwrap()));
    }

    #[rstest]
    #[case("127.0.0.1:80")]
    #[case("127.0.0.53:80")]
    #[case("[::1]:80")]
    fn one_on_loopback_alone_is_told_from_none(#[case] bound: &str) {
        assert_eq!(to(&[on(bound), on("0.0.0.0:81")], 80), Taker::LoopbackOnly(vec![bound.parse().unwrap()]));
    }

    #[test]
    fn one_that_is_bound_elsewhere_is_named() {
        let v6_only = Listener { v6_only: true, ..on("[::]:80") };
        assert_eq!(to(&[v6_only], 80), Taker::Elsewhere(vec!["[::]:80".parse().unwrap()]));
        assert_eq!(to(&[on("10.0.0.9:80")], 80), Taker::Elsewhere(vec!["10.0.0.9:80".parse().unwrap()]));
        let other_link = Listener { link: Some(1), ..on("0.0.0.0:80") };
        assert_eq!(to(&[other_link], 80), Taker::Elsewhere(vec!["0.0.0.0:80".parse().unwrap()]));
        assert!(matches!(to(&[Listener { link: Some(7), ..other_link }], 80), Taker::Socket(_)));
    }

    #[test]
    fn where_none_is_the_ports_that_are_served_are_named() {
        assert_eq!(to(&[on("0.0.0.0:81"), on("[::]:81"), on("0.0.0.0:22")], 80), Taker::Nobody(vec![22, 81]));
        assert_eq!(to(&[], 80), Taker::Nobody(vec![]));
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let full = Listener { queue: Some((2, 1)), ..on("0.0.0.0:80") };
        assert_eq!(to(&[full], 80), Taker::Full("0.0.0.0:80".parse().unwrap()));
        assert!(matches!(to(&[Listener { queue: Some((1, 1)), ..full }], 80), Taker::Socket(_)));
    }
}
