//! The roles chained on loopback: real sockets, ports chosen by the kernel, and for names a small DNS server of the test's own.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use shop::arguments::Role;
use shop::client::{self, Patience};
use shop::hop::Hop;
use shop::resolve::resolve;
use shop::server::{Service, serve};
use tokio::net::{TcpListener, UdpSocket};

const PATIENCE: Patience = Patience { connect: Duration::from_secs(10), whole: Duration::from_secs(30) };

/// Serves `role` on a port of its own; it ends with the test's runtime.
async fn start(role: Role, upstreams: &[SocketAddr]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstreams = upstreams.iter().map(|address| format!("http://{address}/")).collect();
    tokio::spawn(serve(listener, Service { role, hostname: format!("host-of-{}", role.name()), upstreams }));
    address
}

/// A port that nobody listens on: bound, so that nobody else gets it, but never listening.
fn closed_port() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = client::get(&format!("http://{address}{path}"), PATIENCE).await.unwrap();
    (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_request_travels_through_all_services_and_shows_its_path() {
    let users = start(Role::Users, &[]).await;
    let stock = start(Role::Stock, &[]).await;
    let orders = start(Role::Orders, &[stock, users]).await;
    let web = start(Role::Web, &[orders]).await;

    let (status, body) = ask(web, "/").await;
    assert_eq!(status, 200);
    let hop: Hop = serde_json::from_str(&body).unwrap();
    assert_eq!((hop.service.as_str(), hop.hostname.as_str()), ("web", "host-of-web"));
    assert_eq!(hop.hops.len(), 1);
    let orders = &hop.hops[0];
    assert_eq!(orders.service, "orders");
    let behind: Vec<&str> = orders.hops.iter().map(|hop| hop.service.as_str()).collect();
    assert_eq!(behind, ["stock", "users"]);
    assert!(orders.hops.iter().all(|hop| hop.address == Ipv4Addr::LOCALHOST && hop.from.port() != 0));

    let (status, text) = ask(web, "/?text").await;
    assert_eq!(status, 200);
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["web", "orders", "stock", "users"]);
}

#[tokio::test]
async fn a_refused_upstream_shows_at_the_hop_that_met_it() {
    let (_kept, closed) = closed_port();
    let stock = start(Role::Stock, &[]).await;
    let orders = start(Role::Orders, &[stock, closed]).await;
    let web = start(Role::Web, &[orders]).await;

    let (status, body) = ask(web, "/").await;
    assert_eq!(status, 502);
    let hop: Hop = serde_json::from_str(&body).unwrap();
    assert!(hop.failures.is_empty());
    let orders = &hop.hops[0];
    assert_eq!(orders.hops[0].service, "stock");
    assert_eq!(orders.failures.len(), 1);
    assert_eq!(orders.failures[0].reason, "refused");
    assert_eq!(orders.failures[0].address, Some(closed));
    assert_eq!(orders.failures[0].url, format!("http://{closed}/"));
}

#[tokio::test]
async fn health_does_not_depend_on_what_is_behind() {
    let (_kept, closed) = closed_port();
    let web = start(Role::Web, &[closed]).await;
    assert_eq!(ask(web, "/health").await, (200, "ok\n".into()));
}

#[tokio::test]
async fn an_answer_that_is_not_the_shops_is_a_failure() {
    let orders = start(Role::Orders, &[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = listener.local_addr().unwrap();
    let upstreams = vec![format!("http://{orders}/health")];
    tokio::spawn(serve(listener, Service { role: Role::Web, hostname: String::new(), upstreams }));
    let (status, body) = ask(web, "/").await;
    let hop: Hop = serde_json::from_str(&body).unwrap();
    assert_eq!((status, hop.failures[0].reason.as_str()), (502, "unexpected answer"));
}

/// Answers as Cloud Map does: `a.test` has an A record, `srv.test` has SRV records only, `empty.test` has nothing.
async fn dns() -> TokioResolver {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 1232];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = answer_dns(&Message::from_vec(&buffer[..length]).unwrap());
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let mut udp = ConnectionConfig::udp();
    udp.port = port;
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    builder.build().unwrap()
}

fn answer_dns(query: &Message) -> Message {
    let question = query.queries[0].clone();
    let address = RData::A(A::new(10, 0, 0, 9));
    let name = question.name().to_string();
    let data = match (name.as_str(), question.query_type()) {
        ("a.test." | "i-2.srv.test.", RecordType::A) => vec![address],
        ("srv.test.", RecordType::SRV) => {
            let srv = |port, target| RData::SRV(SRV::new(1, 1, port, Name::from_ascii(target).unwrap()));
            vec![srv(32769, "i-2.srv.test."), srv(32768, "i-1.srv.test.")]
        }
        _ => vec![],
    };
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    if !["a.test.", "srv.test.", "i-2.srv.test.", "empty.test."].contains(&name.as_str()) {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for data in data {
        answer.add_answer(Record::from_rdata(question.name().clone(), 10, data));
    }
    answer.add_query(question);
    answer
}

#[tokio::test]
async fn a_records_lead_to_the_urls_port_and_srv_records_to_their_own() {
    let resolver = dns().await;
    let found = |host| resolve(&resolver, host, 8080);
    assert_eq!(found("a.test").await.unwrap(), "10.0.0.9:8080".parse().unwrap());
    assert_eq!(found("srv.test").await.unwrap(), "10.0.0.9:32769".parse().unwrap());
    assert_eq!(found("empty.test").await.unwrap_err().reason(), "no records");
    assert_eq!(found("gone.test").await.unwrap_err().to_string(), "there is no name `gone.test`");
}
