//! `ecsnet dig`: a question for a stack's resolver, over its own socket or from inside a task, and its answer in words.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use netmodes::kernel::netns::Netns;

use super::api::{DigReply, DigRequest, ErrorReply};
use crate::dataplane::resolver::client;
use crate::reconcile::chain;

/// How long an answer may take on its way through the VPC.
const PATIENCE: Duration = Duration::from_secs(5);

fn wrong(message: String) -> ErrorReply {
    ErrorReply { message, hint: None, exit_code: 2 }
}

fn failed(message: String) -> ErrorReply {
    ErrorReply { message, hint: None, exit_code: 1 }
}

/// What is asked, checked.
///
/// # Errors
/// When the name or the type is none.
pub fn question(request: &DigRequest) -> Result<Query, ErrorReply> {
    let address = request.name.parse::<IpAddr>().ok();
    let kind = match &request.record_type {
        Some(kind) => kind
            .to_ascii_uppercase()
            .parse::<RecordType>()
            .map_err(|_| wrong(format!("`{kind}` is not a record type")))?,
        None if address.is_some() => RecordType::PTR,
        None => RecordType::A,
    };
    let mut name = match address {
        Some(address) => Name::from(address),
        None => Name::from_utf8(&request.name)
            .map_err(|error| wrong(format!("`{}` is not a DNS name: {error}", request.name)))?,
    };
    name.set_fqdn(true);
    Ok(Query::query(name, kind))
}

/// Asks the resolver over the socket in `dir`.
///
/// # Errors
/// When it does not answer.
pub async fn ask_socket(dir: &Path, query: Query) -> Result<DigReply, ErrorReply> {
    let started = Instant::now();
    let wire = encode(&query)?;
    let answer = client::query(dir, &wire).await.map_err(|error| failed(chain(&error)))?;
    read(&query, &answer, "the resolver, over its own socket".to_owned(), started)
}

/// Asks `server` over UDP from inside a task's namespace: the way that the task's own questions go.
///
/// # Errors
/// When the namespace cannot be entered or no answer comes.
pub async fn ask_from(netns: Netns, server: IpAddr, from: String, query: Query) -> Result<DigReply, ErrorReply> {
    let started = Instant::now();
    let answer = exchange(netns, server, encode(&query)?).await?;
    read(&query, &answer, format!("{server}, from {from}"), started)
}

/// What a name was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// NOERROR, NXDOMAIN, SERVFAIL, …
    pub status: String,
    /// The A records' addresses, in the order of the answer.
    pub addresses: Vec<IpAddr>,
}

/// Asks `server` from inside a task's namespace for the addresses of a name.
///
/// # Errors
/// When the namespace cannot be entered, the name is none, or no answer comes.
pub async fn addresses_from(netns: Netns, server: IpAddr, name: &str) -> Result<Addresses, ErrorReply> {
    let mut parsed = Name::from_utf8(name).map_err(|error| wrong(format!("`{name}` is not a DNS name: {error}")))?;
    parsed.set_fqdn(true);
    let answer = exchange(netns, server, encode(&Query::query(parsed, RecordType::A))?).await?;
    let message = message(&answer)?;
    let addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        _ => None,
    });
    Ok(Addresses { status: status(message.metadata.response_code), addresses: addresses.collect() })
}

/// An SRV record, with the addresses of its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its data, as `dig` prints it without the last dot: `1 1 32768 1a2b….users.shop.local`.
    pub data: String,
    /// The port.
    pub port: u16,
    /// The A records of the target.
    pub addresses: Vec<IpAddr>,
}

/// Asks `server` from inside a task's namespace for the SRV records of a name, and for the addresses of their targets.
///
/// # Errors
/// As [`addresses_from`].
pub async fn services_from(netns: &Netns, server: IpAddr, name: &str) -> Result<Vec<Service>, ErrorReply> {
    let again = || netns.try_clone().map_err(|error| failed(chain(&error)));
    let mut parsed = Name::from_utf8(name).map_err(|error| wrong(format!("`{name}` is not a DNS name: {error}")))?;
    parsed.set_fqdn(true);
    let answer = exchange(again()?, server, encode(&Query::query(parsed, RecordType::SRV))?).await?;
    let mut services = Vec::new();
    for record in &message(&answer)?.answers {
        let RData::SRV(srv) = &record.data else { continue };
        let target = srv.target.to_utf8();
        let found = addresses_from(again()?, server, &target).await?;
        let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
        let data = format!("{priority} {weight} {port} {}", target.trim_end_matches('.'));
        services.push(Service { data, port, addresses: found.addresses });
    }
    Ok(services)
}

/// One question over UDP, and its answer, in wire form.
async fn exchange(netns: Netns, server: IpAddr, wire: Vec<u8>) -> Result<Vec<u8>, ErrorReply> {
    let exchange = move || -> Result<Vec<u8>, String> {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = netns.run(|| UdpSocket::bind(any)).map_err(|error| chain(&error))?.map_err(|e| e.to_string())?;
        let talk = || -> std::io::Result<Vec<u8>> {
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect((server, 53))?;
            socket.send(&wire)?;
            let mut buffer = vec![0; 65536];
            let length = socket.recv(&mut buffer)?;
            buffer.truncate(length);
            Ok(buffer)
        };
        talk().map_err(|error| format!("no answer from {server}: {error}"))
    };
    let answer = tokio::task::spawn_blocking(exchange).await.map_err(|error| failed(error.to_string()))?;
    answer.map_err(failed)
}

fn message(wire: &[u8]) -> Result<Message, ErrorReply> {
    Message::from_vec(wire).map_err(|error| failed(format!("an answer that is no DNS message: {error}")))
}

fn encode(query: &Query) -> Result<Vec<u8>, ErrorReply> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    message.to_vec().map_err(|error| failed(error.to_string()))
}

fn read(query: &Query, wire: &[u8], server: String, started: Instant) -> Result<DigReply, ErrorReply> {
    let message = message(wire)?;
    let lines = |records: &[Record]| records.iter().map(line).collect();
    Ok(DigReply {
        name: query.name().to_utf8(),
        record_type: query.query_type().to_string(),
        status: status(message.metadata.response_code),
        answers: lines(&message.answers),
        authorities: lines(&message.authorities),
        server,
        microseconds: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    })
}

fn line(record: &Record) -> String {
    format!("{} {} {} {} {}", record.name, record.ttl, record.dns_class, record.record_type(), record.data)
}

fn status(code: hickory_proto::op::ResponseCode) -> String {
    use hickory_proto::op::ResponseCode;
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("{other:?}").to_uppercase(),
    }
}
