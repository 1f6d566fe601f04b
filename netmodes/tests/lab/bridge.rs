//! Container instances in the lab's VPC: their containers, and servers that tell who asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use netmodes::bridge::{Attachment, AttachmentId, PublishedPort};
use netmodes::ids::GroupId;
use netmodes::instance_network::InstanceNetwork;
use netmodes::kernel::netns::Netns;
use netmodes::nft::{Filter, Transport};
use netmodes::security::group::{Peer, Rule, Ruleset, SecurityGroup, Traffic};
use netmodes::vpc::eni::Eni;

use super::{Lab, Task};

/// How long a packet may take that is not dropped; they take microseconds.
pub const SILENCE: Duration = Duration::from_millis(400);

/// The lab's VPC with its filter, in which every ENI is in a group that lets everything through.
pub struct Stage {
    pub lab: Lab,
    pub filter: Filter,
    pub ruleset: Ruleset,
}

pub struct Instance {
    pub eni: Eni,
    pub network: InstanceNetwork,
}

pub struct Container {
    pub attachment: Attachment,
    pub netns: Netns,
}

impl Stage {
    pub async fn open() -> Option<Self> {
        let lab = Lab::open().await?;
        let mut filter = Filter::open(lab.vpc.netns()).unwrap();
        let all = vec![Rule { traffic: Traffic::All, peer: Peer::Cidr("0.0.0.0/0".parse().unwrap()) }];
        let open = SecurityGroup { id: open_group(), name: "open".into(), ingress: all.clone(), egress: all };
        let ruleset = Ruleset {
            router: lab.router.clone(),
            groups: BTreeMap::from([(open_group(), open)]),
            enis: BTreeMap::new(),
            flow_log: false,
        };
        filter.ensure(&ruleset).unwrap();
        Some(Self { lab, filter, ruleset })
    }

    /// An ENI with a namespace of its own.
    pub async fn task(&mut self, number: u128, address: &str) -> Task {
        let task = Task { eni: self.admit(number, address), netns: Netns::anonymous().unwrap() };
        self.lab.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
        task
    }

    pub async fn instance(&mut self, number: u128, address: &str) -> Instance {
        let eni = self.admit(number, address);
        let network = instance_network().await;
        network.ensure_instance().await.unwrap();
        self.lab.vpc.ensure_eni(&eni, network.netns()).await.unwrap();
        Instance { eni, network }
    }

    fn admit(&mut self, number: u128, address: &str) -> Eni {
        let eni = Eni { groups: vec![open_group()], ..super::eni(number, &[address]) };
        self.ruleset.enis.insert(eni.id.clone(), eni.clone());
        self.filter.ensure(&self.ruleset).unwrap();
        eni
    }
}

pub fn open_group() -> GroupId {
    GroupId::from_bits(1)
}

pub async fn instance_network() -> InstanceNetwork {
    InstanceNetwork::open(Netns::anonymous().unwrap()).await.unwrap()
}

impl Instance {
    /// A container at 172.17.0.`last`.
    pub async fn container(&self, last: u8) -> Container {
        container(&self.network, last).await
    }

    pub fn publish(&self, ports: &[PublishedPort]) {
        self.network.ensure_ports(&ports.iter().copied().collect()).unwrap();
    }
}

pub fn attachment(last: u8) -> Attachment {
    Attachment::new(AttachmentId::from_bits(0xabc_0000_0000 + u128::from(last)), Ipv4Addr::new(172, 17, 0, last))
}

pub async fn container(network: &InstanceNetwork, last: u8) -> Container {
    let container = Container { attachment: attachment(last), netns: Netns::anonymous().unwrap() };
    network.ensure_attachment(&container.attachment, &container.netns).await.unwrap();
    container
}

/// `host_port` to 172.17.0.`last`:`port`, over TCP and over UDP.
pub fn both(host_port: u16, last: u8, port: u16) -> [PublishedPort; 2] {
    [Transport::Tcp, Transport::Udp].map(|protocol| PublishedPort {
        protocol,
        host_port,
        container_address: Ipv4Addr::new(172, 17, 0, last),
        container_port: port,
    })
}

/// Answers over TCP and UDP, for as long as the test's process lives, with `name` and the address that asked.
pub fn serve(netns: &Netns, address: &str, name: &'static str) {
    let address: SocketAddr = address.parse().unwrap();
    let (tcp, udp) = netns.run(|| (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap())).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = tcp.accept() {
            let _ = stream.write_all(format!("{name} {}", peer.ip()).as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            // As long as the question, so that what is big comes back big.
            let answer = format!("{name} {}", peer.ip());
            let _ = udp.send_to(format!("{answer:length$}").as_bytes(), peer);
        }
    });
}

/// What is answered over TCP; the error when nothing is.
pub fn ask_tcp(from: &Netns, to: &str) -> Result<String, std::io::Error> {
    let to = to.parse().unwrap();
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, SILENCE)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
    .unwrap()
}

pub fn ask_udp(from: &Netns, to: &str) -> Result<String, std::io::Error> {
    ask_by(&asker(from, 0), to, 1)
}

/// A UDP socket with that source port.
pub fn asker(from: &Netns, port: u16) -> UdpSocket {
    let socket = from.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

/// Asks `to` with `length` bytes; the answer without what fills it up.
pub fn ask_by(socket: &UdpSocket, to: &str, length: usize) -> Result<String, std::io::Error> {
    socket.connect(to.parse::<SocketAddr>().unwrap())?;
    socket.send(&vec![b'x'; length])?;
    let mut buffer = vec![0; 65536];
    let received = socket.recv(&mut buffer)?;
    assert!(received >= length);
    Ok(String::from_utf8_lossy(&buffer[..received]).trim_end().to_owned())
}

/// What is answered over either protocol, which must be the same; `None` is silence or a refusal.
pub fn ask(from: &Netns, to: &str) -> Option<String> {
    let (tcp, udp) = (ask_tcp(from, to).ok(), ask_udp(from, to).ok());
    assert_eq!(tcp, udp, "TCP and UDP to {to}");
    tcp
}

/// `ip` or another tool, in a namespace.
pub fn tool(netns: &Netns, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = netns.run(|| Command::new(words[0]).args(&words[1..]).output()).unwrap();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
