//! Asks the servers of the zone for names that are not ours, as the Amazon resolver recurses for public names.
//!
//! Called by [`super::handler`]. Each question goes out anew, with an id and source port of its own, over UDP and again over
//! TCP when the answer was cut. It never caches and never asks a root server: the host's resolvers do both.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

/// How often the list of servers is gone through.
const ROUNDS: usize = 2;
/// For one server, once.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// For all; glibc and musl ask again after 5 s, so an answer has to be there before.
const WHOLE: Duration = Duration::from_millis(4500);
/// Questions under way at once; each holds a socket.
const AT_ONCE: usize = 512;
/// What fits a path of common MTU (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("{AT_ONCE} questions are under way already")]
    Busy,
    #[error("no answer within {WHOLE:?} from any of {0:?}")]
    Timeout(Vec<SocketAddr>),
    #[error("no server of {servers:?} could be asked; the last: {last}")]
    Failed { servers: Vec<SocketAddr>, last: io::Error },
}

/// What of the client's message is sent on.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) query: Query,
    pub(super) checking_disabled: bool,
    /// The DO bit, when the client sent EDNS.
    pub(super) dnssec_ok: Option<bool>,
}

/// Bounds the questions under way.
#[derive(Debug)]
pub(super) struct Forwarder {
    under_way: Semaphore,
}

impl Forwarder {
    pub(super) fn new() -> Self {
        Self { under_way: Semaphore::new(AT_ONCE) }
    }

    /// The first usable answer of `servers`, asked in order. SERVFAIL and REFUSED count as none while another can be asked.
    pub(super) async fn forward(&self, servers: &[SocketAddr], question: &Question) -> Result<Message, ForwardError> {
        let _permit = self.under_way.try_acquire().map_err(|_| ForwardError::Busy)?;
        match timeout(WHOLE, ask_all(servers, question)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ForwardError::Timeout(servers.to_vec())),
        }
    }
}

async fn ask_all(servers: &[SocketAddr], question: &Question) -> Result<Message, ForwardError> {
    let mut refused = None;
    let mut last = io::Error::other("there is none");
    for _ in 0..ROUNDS {
        for server in servers {
            match timeout(ATTEMPT, ask(*server, question)).await {
                Ok(Ok(answer)) => match answer.metadata.response_code {
                    ResponseCode::ServFail | ResponseCode::Refused => refused = Some(answer),
                    _ => return Ok(answer),
                },
                Ok(Err(error)) => {
                    debug!(%server, %error, query = %question.query, "upstream did not answer");
                    last = error;
                }
                Err(_) => {
                    last = io::Error::new(io::ErrorKind::TimedOut, format!("{server} was silent for {ATTEMPT:?}"))
                }
            }
        }
        if let Some(answer) = refused.take() {
            return Ok(answer);
        }
    }
    Err(ForwardError::Failed { servers: servers.to_vec(), last })
}

/// Asks one server over UDP, and over TCP when its answer was cut.
async fn ask(server: SocketAddr, question: &Question) -> io::Result<Message> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = question.checking_disabled;
    message.add_query(question.query.clone());
    if let Some(dnssec_ok) = question.dnssec_ok {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD).set_dnssec_ok(dnssec_ok);
        message.set_edns(edns);
    }
    let wire = message.to_vec().map_err(io::Error::other)?;
    let answer = ask_udp(server, &message, &wire).await?;
    if answer.metadata.truncation { ask_tcp(server, &message, &wire).await } else { Ok(answer) }
}

async fn ask_udp(server: SocketAddr, asked: &Message, wire: &[u8]) -> io::Result<Message> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: the kernel lets in no packet of another sender, and reports a closed port.
    socket.connect(server).await?;
    socket.send(wire).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).and_then(|bytes| Message::from_vec(bytes).ok());
        // Anything else may be a late or a forged packet: the right one can still come.
        if let Some(answer) = answer.filter(|answer| answers(answer, asked)) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, asked: &Message, wire: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(wire.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), wire].concat()).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if answers(&answer, asked) { Ok(answer) } else { Err(io::Error::other("the answer is for another question")) }
}

fn answers(answer: &Message, asked: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == asked.metadata.id
        && (answer.queries == asked.queries
            || (answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError))
}
