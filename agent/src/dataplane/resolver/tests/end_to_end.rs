//! The resolver as a client sees it: real UDP, TCP and unix sockets on loopback addresses of the test's own.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::dataplane::resolver::client::{self, ClientError};
use crate::dataplane::resolver::{CONTROL_SOCKET, ResolverError, ZONE_FILE, run_on};
use crate::project::zone::{Answers, Instance, Origin, Routing, Srv, Zone};

/// Not 53, so that no privilege is needed; the addresses make it free.
const PORT: u16 = 5353;
/// Means "broken", never "slow".
const DEADLINE: Duration = Duration::from_secs(60);

/// A loopback address that no other test has: all of 127.0.0.0/8 is local.
fn own_address() -> IpAddr {
    let [b, c, d] = rand::random::<[u8; 3]>();
    Ipv4Addr::new(127, b.clamp(1, 254), c, d.clamp(1, 254)).into()
}

fn zone(generation: u64, listen: Vec<IpAddr>) -> Zone {
    Zone {
        generation,
        listen,
        authoritative: vec![Origin::new("shop.local")],
        names: BTreeMap::from([("web.shop.local".into(), service(&["10.0.0.4", "10.0.0.5"]))]),
        private_names: None,
        forward: Vec::new(),
        packet_limit: None,
    }
}

fn service(addresses: &[&str]) -> Answers {
    let instance = |address: &&str| Instance {
        id: (*address).into(),
        healthy: true,
        addresses: vec![address.parse().unwrap()],
        srv: None,
    };
    Answers {
        ttl: 10,
        routing: Routing::Multivalue,
        instances: addresses.iter().map(instance).collect(),
        ptr: Vec::new(),
    }
}

/// Eight SRV records with long targets: more than 512 bytes.
fn large_service() -> Answers {
    let instance = |id: u16| {
        let target = format!("{id}{}.grpc.shop.local", "0123456789abcdef".repeat(3));
        let srv = Srv { priority: 1, weight: 1, port: 8000 + id, target };
        Instance { id: id.to_string(), healthy: true, addresses: Vec::new(), srv: Some(srv) }
    };
    Answers { ttl: 10, routing: Routing::Multivalue, instances: (1..=8).map(instance).collect(), ptr: Vec::new() }
}

/// As the agent does it: whole, then renamed.
fn write_zone(dir: &Path, zone: &Zone) {
    write_file(dir, &serde_json::to_vec(zone).unwrap());
}

fn write_file(dir: &Path, bytes: &[u8]) {
    let unfinished = dir.join("zone.json.tmp");
    std::fs::write(&unfinished, bytes).unwrap();
    std::fs::rename(&unfinished, dir.join(ZONE_FILE)).unwrap();
}

/// A resolver running in this process; dropped with its sockets.
struct Resolver {
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ResolverError>>,
}

impl Resolver {
    async fn start(dir: &Path) -> Self {
        let (stop, stopped) = oneshot::channel();
        let owned = dir.to_owned();
        let running = tokio::spawn(async move {
            run_on(&owned, PORT, async {
                let _dropped = stopped.await;
            })
            .await
        });
        eventually(async || client::status(dir).await.ok()).await;
        Self { stop, running }
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        timeout(DEADLINE, self.running).await.unwrap().unwrap().unwrap();
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

async fn started(change: impl FnOnce(&mut Zone)) -> (TempDir, IpAddr, Resolver) {
    let dir = TempDir::new().unwrap();
    let address = own_address();
    let mut zone = zone(1, vec![address]);
    change(&mut zone);
    write_zone(dir.path(), &zone);
    let resolver = Resolver::start(dir.path()).await;
    (dir, address, resolver)
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

/// The answer over UDP and its length on the wire.
async fn ask_udp(server: IpAddr, message: &Message) -> (Message, usize) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    // Connected: an answer from another address than the one asked would never arrive.
    socket.connect((server, PORT)).await.unwrap();
    socket.send(&message.to_vec().unwrap()).await.unwrap();
    let mut buffer = vec![0; 65535];
    let length = timeout(DEADLINE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    (answer, length)
}

async fn ask_tcp(server: IpAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect((server, PORT)).await.unwrap();
    let wire = message.to_vec().unwrap();
    stream.write_u16(wire.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&wire).await.unwrap();
    let mut buffer = vec![0; timeout(DEADLINE, stream.read_u16()).await.unwrap().unwrap().into()];
    stream.read_exact(&mut buffer).await.unwrap();
    Message::from_vec(&buffer).unwrap()
}

fn addresses(answer: &Message) -> Vec<String> {
    let mut data: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    data.sort();
    data
}

/// Code and text of the extended error.
fn extended_error(answer: &Message) -> Option<(u16, String)> {
    match answer.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(_, data) => {
            Some((u16::from_be_bytes([data[0], data[1]]), String::from_utf8(data[2..].to_vec()).unwrap()))
        }
        _ => None,
    }
}

#[tokio::test]
async fn udp_tcp_and_control_socket_give_the_same_answer_in_the_case_of_the_question() {
    let (dir, server, _resolver) = started(|_| {}).await;
    let asked = question("WEB.shop.Local.", RecordType::A);
    let wire = client::query(dir.path(), &asked.to_vec().unwrap()).await.unwrap();
    for answer in [ask_udp(server, &asked).await.0, ask_tcp(server, &asked).await, Message::from_vec(&wire).unwrap()] {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
        assert_eq!(addresses(&answer), ["10.0.0.4", "10.0.0.5"]);
        assert!(answer.edns.is_none());
        for record in &answer.answers {
            assert_eq!(record.name.to_ascii(), "WEB.shop.Local.");
            assert_eq!(record.ttl, 10);
        }
        assert_eq!(answer.queries[0].name().to_ascii(), "WEB.shop.Local.");
    }
}

#[tokio::test]
async fn a_missing_type_and_a_missing_name_differ_and_both_bring_the_soa() {
    let (dir, server, _resolver) = started(|_| {}).await;
    for (name, kind, code) in [
        ("web.shop.local.", RecordType::AAAA, ResponseCode::NoError),
        ("no.shop.local.", RecordType::A, ResponseCode::NXDomain),
    ] {
        let (answer, _) = ask_udp(server, &question(name, kind)).await;
        assert_eq!(answer.metadata.response_code, code, "{name}");
        assert!(answer.answers.is_empty());
        let [soa] = &answer.authorities[..] else { panic!("no SOA for {name}") };
        assert!(matches!(soa.data, RData::SOA(_)));
        assert_eq!((soa.name.to_ascii().as_str(), soa.ttl), ("shop.local.", 15));
    }
    assert_eq!(client::status(dir.path()).await.unwrap().counters.nxdomain, 1);
}

#[tokio::test]
async fn udp_is_cut_to_what_the_client_takes_and_tcp_is_whole() {
    let (_dir, server, _resolver) = started(|zone| {
        zone.names.insert("grpc.shop.local".into(), large_service());
    })
    .await;
    let plain = question("grpc.shop.local.", RecordType::SRV);
    for (asked, limit, whole) in [
        (plain.clone(), 512, false),
        (with_edns(plain.clone(), 512), 512, false),
        (with_edns(plain.clone(), 100), 512, false),
        (with_edns(plain.clone(), 1232), 1232, true),
        (with_edns(plain.clone(), 65535), 4096, true),
    ] {
        let (answer, length) = ask_udp(server, &asked).await;
        assert!(length <= limit, "{length} bytes for a client that takes {limit}");
        assert_eq!(answer.metadata.truncation, !whole);
        assert_eq!(answer.answers.len() == 8, whole);
        assert!(!answer.answers.is_empty());
        assert_eq!(answer.edns.is_some(), asked.edns.is_some(), "an OPT record for those who sent one, also when cut");
    }
    let answer = ask_tcp(server, &plain).await;
    assert!(!answer.metadata.truncation);
    assert_eq!(answer.answers.len(), 8);
}

#[tokio::test]
async fn what_is_not_a_plain_question_is_refused_by_its_code() {
    let (_dir, server, _resolver) = started(|_| {}).await;
    let mut notify = question("web.shop.local.", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    let mut chaos = question("web.shop.local.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut twice = question("web.shop.local.", RecordType::A);
    twice.add_query(Query::query(Name::from_ascii("a.shop.local.").unwrap(), RecordType::A));
    let mut later = with_edns(question("web.shop.local.", RecordType::A), 1232);
    later.edns.as_mut().unwrap().set_version(1);
    for (asked, code) in [
        (notify, ResponseCode::NotImp),
        (chaos, ResponseCode::Refused),
        (twice, ResponseCode::FormErr),
        (question("shop.local.", RecordType::AXFR), ResponseCode::Refused),
        (later, ResponseCode::BADVERS),
    ] {
        let (answer, _) = ask_udp(server, &asked).await;
        // As numbers: 16 is BADVERS and BADSIG.
        assert_eq!(u16::from(answer.metadata.response_code), u16::from(code));
        assert!(answer.answers.is_empty());
    }
}

#[tokio::test]
async fn a_load_is_in_force_when_it_is_answered() {
    let (dir, server, _resolver) = started(|_| {}).await;
    for generation in 2..50 {
        let mut next = zone(generation, vec![server]);
        let address = format!("10.0.1.{generation}");
        next.names.insert("web.shop.local".into(), service(&[&address]));
        write_zone(dir.path(), &next);
        assert_eq!(client::load(dir.path(), generation).await.unwrap(), generation);
        let (answer, _) = ask_udp(server, &question("web.shop.local.", RecordType::A)).await;
        assert_eq!(addresses(&answer), [address]);
    }
}

#[tokio::test]
async fn a_zone_that_cannot_be_served_leaves_the_last_good_one_in_force() {
    let (dir, server, _resolver) = started(|_| {}).await;
    let bad_name =
        Zone { names: BTreeMap::from([("Web.shop.local".into(), service(&["10.0.0.4"]))]), ..zone(2, vec![server]) };
    let any_address = zone(2, vec![Ipv4Addr::UNSPECIFIED.into()]);
    let loops = Zone { forward: vec![SocketAddr::new(server, 53)], ..zone(2, vec![server]) };
    let bad = [
        (b"{ not json".to_vec(), "is not a zone"),
        (serde_json::to_vec(&bad_name).unwrap(), "not in lower case"),
        (serde_json::to_vec(&any_address).unwrap(), "cannot be listened on"),
        (serde_json::to_vec(&loops).unwrap(), "ask the resolver itself"),
        (serde_json::to_vec(&zone(1, vec![server])).unwrap(), "holds generation 1, asked for was 2"),
    ];
    for (bytes, reason) in bad {
        write_file(dir.path(), &bytes);
        let Err(ClientError::Refused(text)) = client::load(dir.path(), 2).await else { panic!("{reason}: loaded") };
        assert!(text.contains(reason), "{text}");
        let status = client::status(dir.path()).await.unwrap();
        assert_eq!((status.generation, status.problem), (Some(1), Some(text)));
        let (answer, _) = ask_udp(server, &question("web.shop.local.", RecordType::A)).await;
        assert_eq!(addresses(&answer), ["10.0.0.4", "10.0.0.5"]);
    }
    write_zone(dir.path(), &zone(2, vec![server]));
    assert_eq!(client::load(dir.path(), 2).await.unwrap(), 2);
    assert_eq!(client::status(dir.path()).await.unwrap().problem, None);
}

#[tokio::test]
async fn addresses_come_and_go_and_one_that_is_missing_keeps_no_other_from_being_served() {
    let (dir, first, _resolver) = started(|_| {}).await;
    let (second, missing) = (own_address(), "192.0.2.1".parse().unwrap());
    write_zone(dir.path(), &zone(2, vec![second, missing]));
    let Err(ClientError::Refused(text)) = client::load(dir.path(), 2).await else { panic!("loaded") };
    assert!(text.contains("cannot listen on 192.0.2.1"), "{text}");
    let status = client::status(dir.path()).await.unwrap();
    assert_eq!((status.generation, status.listening), (Some(2), vec![second]));
    ask_udp(second, &question("web.shop.local.", RecordType::A)).await;
    assert!(TcpStream::connect((first, PORT)).await.is_err());
    let _free_again = UdpSocket::bind((first, PORT)).await.unwrap();
}

#[tokio::test]
async fn a_restart_serves_the_last_zone_and_replaces_the_socket_of_its_predecessor() {
    let (dir, server, resolver) = started(|_| {}).await;
    resolver.end().await;
    let socket = dir.path().join(CONTROL_SOCKET);
    assert!(socket.exists(), "it is left behind, as by a kill");
    assert!(matches!(client::status(dir.path()).await, Err(ClientError::Io { .. })));
    let _resolver = Resolver::start(dir.path()).await;
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let (answer, _) = ask_udp(server, &question("web.shop.local.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["10.0.0.4", "10.0.0.5"]);
}

#[tokio::test]
async fn without_a_zone_it_refuses_until_one_comes() {
    let dir = TempDir::new().unwrap();
    let _resolver = Resolver::start(dir.path()).await;
    let asked = with_edns(question("web.shop.local.", RecordType::A), 1232).to_vec().unwrap();
    let answer = Message::from_vec(&client::query(dir.path(), &asked).await.unwrap()).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    assert_eq!(extended_error(&answer).unwrap().0, 14);
    write_zone(dir.path(), &zone(1, vec![own_address()]));
    assert_eq!(client::load(dir.path(), 1).await.unwrap(), 1);
    let answer = Message::from_vec(&client::query(dir.path(), &asked).await.unwrap()).unwrap();
    assert_eq!(answer.answers.len(), 2);
}

#[tokio::test]
async fn other_names_are_forwarded_past_a_dead_server_and_whole() {
    let (_upstream_dir, upstream, _upstream) = started(|zone| {
        zone.authoritative = vec![Origin::new("example.com")];
        zone.names = BTreeMap::from([
            ("www.example.com".into(), service(&["192.0.2.80"])),
            ("large.example.com".into(), large_service()),
        ]);
    })
    .await;
    let dead = own_address();
    let (dir, server, _resolver) =
        started(|zone| zone.forward = [dead, upstream].map(|address| SocketAddr::new(address, PORT)).to_vec()).await;

    let (answer, _) = ask_udp(server, &question("www.Example.com.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["192.0.2.80"]);
    // Without EDNS the upstream cuts it, so it has been asked again over TCP.
    let answer = ask_tcp(server, &question("large.example.com.", RecordType::SRV)).await;
    assert_eq!(answer.answers.len(), 8);
    let (answer, _) = ask_udp(server, &question("no.example.com.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(matches!(answer.authorities[0].data, RData::SOA(_)));
    // What is ours never leaves.
    let (answer, _) = ask_udp(server, &question("no.shop.local.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(client::status(dir.path()).await.unwrap().counters.forwarded, 3);
}

#[tokio::test]
async fn nothing_is_forwarded_without_servers_and_the_answer_says_why() {
    let (dir, server, _resolver) = started(|_| {}).await;
    let asked = with_edns(question("www.example.com.", RecordType::A), 1232);
    let (answer, _) = ask_udp(server, &asked).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let (code, text) = extended_error(&answer).unwrap();
    assert_eq!(code, 22);
    assert!(text.contains("internet: false"), "{text}");
    assert_eq!(client::status(dir.path()).await.unwrap().counters.forwarded, 0);
}

#[tokio::test]
async fn packets_above_the_limit_are_dropped_silently() {
    let (dir, server, _resolver) = started(|zone| zone.packet_limit = Some(10)).await;
    let socket = UdpSocket::bind((own_address(), 0)).await.unwrap();
    socket.connect((server, PORT)).await.unwrap();
    let wire = question("web.shop.local.", RecordType::A).to_vec().unwrap();
    for _ in 0..100 {
        socket.send(&wire).await.unwrap();
    }
    // In one second or, when the burst meets its end, in two: 10 answers for each.
    let counted = eventually(async || {
        let counters = client::status(dir.path()).await.unwrap().counters;
        (counters.queries + counters.dropped == 100).then_some(counters)
    })
    .await;
    assert!(counted.dropped > 0, "{counted:?}");
    let mut buffer = [0; 512];
    for _ in 0..counted.queries {
        timeout(DEADLINE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    }
    assert!(socket.try_recv(&mut buffer).is_err(), "an answer more than questions let in");
    // Another address has a budget of its own.
    ask_udp(server, &question("web.shop.local.", RecordType::A)).await;
}

#[tokio::test]
async fn garbage_on_any_socket_does_no_harm() {
    let (dir, server, _resolver) = started(|_| {}).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for length in [0_usize, 1, 11, 12, 40, 600, 4000] {
        let bytes: Vec<u8> = (0..length).map(|_| rand::random()).collect();
        socket.send_to(&bytes, (server, PORT)).await.unwrap();
        let mut tcp = TcpStream::connect((server, PORT)).await.unwrap();
        tcp.write_all(&bytes).await.unwrap();
        let _any_reply = client::query(dir.path(), &bytes).await;
        let mut control = tokio::net::UnixStream::connect(dir.path().join(CONTROL_SOCKET)).await.unwrap();
        control.write_all(&[bytes.as_slice(), b"\n"].concat()).await.unwrap();
    }
    let (answer, _) = ask_udp(server, &question("web.shop.local.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["10.0.0.4", "10.0.0.5"]);
}
