//! A VPC of throw-away namespaces: routed veths as ecsnet lays them, made by `ip`, so the filter is tested alone.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use netmodes::kernel::netns::Netns;
use netmodes::nft::{Dropped, Filter, LinkName};
use netmodes::security::group::Ruleset;
use netmodes::vpc::eni::{Eni, MacAddress};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn};

use super::{address, eni_id};

/// How long a packet may take that is not dropped; they take microseconds.
pub const SILENCE: Duration = Duration::from_millis(300);
/// Where the uplink leads.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
/// The VPC's own address on the uplink.
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);

pub struct Lab {
    pub vpc: Netns,
    pub filter: Filter,
    pub outside: Option<Netns>,
    tasks: BTreeMap<u8, Netns>,
}

/// What to send.
#[derive(Debug, Clone, Copy)]
pub enum Probe {
    Tcp(u16),
    Udp(u16),
    Icmp(u8, u8),
    /// Another protocol, by number.
    Raw(u8),
}

impl Lab {
    /// The namespaces and links of these ENIs, filtered before the first link is there. `None` without privileges.
    pub fn new(ruleset: &Ruleset) -> Option<Self> {
        let Ok(vpc) = Netns::anonymous() else {
            eprintln!("skipped: needs root");
            return None;
        };
        let mut filter = Filter::open(&vpc).unwrap();
        filter.ensure(ruleset).unwrap();
        vpc.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap()).unwrap();
        let mut commands = "link set lo up\nroute add blackhole 10.0.0.0/16\n".to_owned();
        for local in ruleset.router.local_addresses() {
            commands += &format!("address add {local}/32 dev lo\n");
        }
        ip(&vpc, &commands);
        let mut lab = Self { vpc, filter, outside: None, tasks: BTreeMap::new() };
        if ruleset.router.internet {
            lab.add_uplink();
        }
        for n in 4..30 {
            if ruleset.enis.contains_key(&eni_id(n)) {
                lab.add_task(n);
            }
        }
        Some(lab)
    }

    fn add_task(&mut self, n: u8) {
        let id = eni_id(n);
        let (link, own, gateway) = (Eni::link_name(&id), MacAddress::of_eni(&id), MacAddress::of_gateway(&id));
        let (address, task) = (address(n), Netns::anonymous().unwrap());
        let path = path(&task);
        ip(
            &self.vpc,
            &format!(
                "link add {link} address {gateway} mtu 9001 type veth peer name eth0 address {own} mtu 9001 netns {path}\n\
                 link set {link} up\n\
                 route add {address}/32 dev {link}\n\
                 neighbour add {address} lladdr {own} dev {link} nud permanent\n"
            ),
        );
        ip(
            &task,
            &format!(
                "link set lo up\nlink set eth0 up\n\
                 address add {address}/24 dev eth0 noprefixroute\n\
                 route add 10.0.0.1/32 dev eth0 scope link\n\
                 neighbour add 10.0.0.1 lladdr {gateway} dev eth0 nud permanent\n\
                 route add default via 10.0.0.1\n"
            ),
        );
        carry(&[(&self.vpc, &link), (&task, "eth0")]);
        self.tasks.insert(n, task);
    }

    fn add_uplink(&mut self) {
        let outside = Netns::anonymous().unwrap();
        let path = path(&outside);
        ip(
            &self.vpc,
            &format!(
                "link add eth0 type veth peer name uplink0 netns {path}\nlink set eth0 up\n\
                 address add {UPLINK}/24 dev eth0\nroute add default via {OUTSIDE}\n"
            ),
        );
        ip(
            &outside,
            &format!(
                "link set lo up\nlink set uplink0 up\naddress add {OUTSIDE}/24 dev uplink0\nroute add 10.0.0.0/16 via {UPLINK}\n"
            ),
        );
        carry(&[(&self.vpc, "eth0"), (&outside, "uplink0")]);
        self.outside = Some(outside);
    }

    pub fn task(&self, n: u8) -> &Netns {
        &self.tasks[&n]
    }

    /// Takes another ruleset into force.
    pub fn set(&mut self, ruleset: &Ruleset) {
        self.filter.ensure(ruleset).unwrap();
    }

    /// Whether a new flow gets from task to task, and its answer back.
    pub fn reaches(&self, from: u8, to: u8, probe: Probe) -> bool {
        match probe {
            Probe::Icmp(kind, code) => {
                let message = icmp(kind, code);
                raw(self.task(from), self.task(to), address(to), 1, &message, |got| got.starts_with(&message))
            }
            Probe::Raw(number) => raw(self.task(from), self.task(to), address(to), number, &[0; 20], |_| true),
            probe => answers(self.task(from), address(to), probe),
        }
    }

    pub fn dropped(&mut self, n: u8) -> Dropped {
        self.filter.counters().unwrap()[&LinkName::new(&Eni::link_name(&eni_id(n)))]
    }

    /// An open flow between two tasks.
    pub fn connect(&self, from: u8, to: u8, port: u16) -> Flow {
        flow(self.task(from), self.task(to), address(to), port)
    }

    /// An open UDP exchange between two tasks: both have sent.
    pub fn exchange(&self, from: u8, to: u8, port: u16) -> Exchange {
        let open = |port: u16, n: u8| {
            let socket = self.task(n).run(|| UdpSocket::bind((address(n), port))).unwrap().unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            socket
        };
        let (client, server) = (open(0, from), open(port, to));
        client.connect((address(to), port)).unwrap();
        server.connect(client.local_addr().unwrap()).unwrap();
        let exchange = Exchange { client, server };
        assert!(exchange.there() && exchange.back());
        exchange
    }
}

/// A TCP connection with both ends in hand.
pub struct Flow {
    pub client: TcpStream,
    pub server: TcpStream,
    /// Whom the server sees.
    pub peer: SocketAddr,
}

impl Flow {
    pub fn there(&mut self) -> bool {
        carries(&mut self.client, &mut self.server)
    }

    pub fn back(&mut self) -> bool {
        carries(&mut self.server, &mut self.client)
    }
}

/// Two connected UDP sockets.
pub struct Exchange {
    client: UdpSocket,
    server: UdpSocket,
}

impl Exchange {
    pub fn there(&self) -> bool {
        self.client.send(b"x").is_ok() && self.server.recv(&mut [0]).is_ok()
    }

    pub fn back(&self) -> bool {
        self.server.send(b"x").is_ok() && self.client.recv(&mut [0]).is_ok()
    }
}

pub fn flow(from: &Netns, to: &Netns, address: Ipv4Addr, port: u16) -> Flow {
    let listener = to.run(|| TcpListener::bind((address, port))).unwrap().unwrap();
    let client = from.run(|| TcpStream::connect_timeout(&(address, port).into(), SILENCE)).unwrap().unwrap();
    let (server, peer) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
    }
    let mut flow = Flow { client, server, peer };
    assert!(flow.there() && flow.back());
    flow
}

fn carries(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").is_ok() && to.read_exact(&mut [0]).is_ok()
}

/// Whether a TCP or UDP flow to a closed port is answered: by a reset, or by an ICMP error. Silence is a drop.
pub fn answers(from: &Netns, to: Ipv4Addr, probe: Probe) -> bool {
    let error = from
        .run(|| match probe {
            Probe::Tcp(port) => TcpStream::connect_timeout(&(to, port).into(), SILENCE).err(),
            Probe::Udp(port) => {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_read_timeout(Some(SILENCE)).unwrap();
                socket.connect((to, port)).unwrap();
                socket.send(b"x").and_then(|_| socket.recv(&mut [0])).err()
            }
            Probe::Icmp(..) | Probe::Raw(_) => unreachable!("needs both ends"),
        })
        .unwrap();
    error.is_none_or(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Whether an echo is answered.
pub fn pings(from: &Netns, to: Ipv4Addr) -> bool {
    let request = icmp(8, 0);
    // Type 0 with the same identifier and number.
    raw(from, from, to, 1, &request, |got| got.first() == Some(&0) && got.get(4..8) == request.get(4..8))
}

/// Whether a packet sent from `from` makes one come to `to` of which `is_it`, after the IP header, is true.
pub fn raw(
    from: &Netns,
    to: &Netns,
    address: Ipv4Addr,
    protocol: u8,
    payload: &[u8],
    is_it: impl Fn(&[u8]) -> bool,
) -> bool {
    let open = || {
        let number = i32::from(protocol);
        // SAFETY: no pointers; the descriptor is owned by the caller at once.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, number) };
        assert!(fd >= 0, "raw socket: {}", std::io::Error::last_os_error());
        // SAFETY: fresh, and nobody else's.
        unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) }
    };
    let (receiver, sender) = (to.run(open).unwrap(), from.run(open).unwrap());
    let timeout = nix::sys::time::TimeVal::new(0, SILENCE.as_micros() as i64);
    nix::sys::socket::setsockopt(&receiver, nix::sys::socket::sockopt::ReceiveTimeout, &timeout).unwrap();
    let [a, b, c, d] = address.octets();
    if nix::sys::socket::sendto(sender.as_raw_fd(), payload, &SockaddrIn::new(a, b, c, d, 0), MsgFlags::empty())
        .is_err()
    {
        return false;
    }
    let mut buffer = [0; 100];
    while let Ok(length) = nix::sys::socket::recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        if buffer.get(20..length).is_some_and(&is_it) {
            return true;
        }
    }
    false
}

/// An ICMP message without data, its checksum right, of an identifier of its own: to conntrack each is a new flow.
pub fn icmp(kind: u8, code: u8) -> Vec<u8> {
    static IDENTIFIER: AtomicU16 = AtomicU16::new(1);
    let [high, low] = IDENTIFIER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut message = vec![kind, code, 0, 0, high, low, 0, 1];
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&folded.to_be_bytes());
    message
}

/// A link whose peer has just come up sends nothing until the kernel's link watch has run; asking for that one link
/// makes it run (`rtnl_getlink` calls `linkwatch_sync_dev`, since Linux 6.13).
fn carry(links: &[(&Netns, &str)]) {
    for (netns, link) in links {
        netns
            .run(|| {
                let shown = Command::new("ip").args(["link", "show", "dev", link]).output().expect("ip is installed");
                assert!(String::from_utf8_lossy(&shown.stdout).contains("LOWER_UP"), "{link} does not come up");
            })
            .unwrap();
    }
}

fn path(netns: &Netns) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
}

pub fn ip(netns: &Netns, commands: &str) {
    netns
        .run(|| {
            let mut child =
                Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip is installed");
            child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "ip:\n{commands}");
        })
        .unwrap();
}

/// A datagram under a source address that is not the sender's.
pub fn send_as(netns: &Netns, source: Ipv4Addr, to: SocketAddr) {
    netns
        .run(|| {
            let socket = nix::sys::socket::socket(
                AddressFamily::Inet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                None::<SockProtocol>,
            )
            .unwrap();
            // Lets a socket be bound to an address that is not on any link.
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpTransparent, &true).unwrap();
            let socket = UdpSocket::from({
                let [a, b, c, d] = source.octets();
                nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
                socket
            });
            socket.send_to(b"x", to).unwrap();
        })
        .unwrap();
}
