//! From a DNS message to its answer on the wire: header rules, EDNS, truncation, packet limit, counters.
//!
//! [`super::sockets`] registers it with `hickory_server::Server`, which has parsed the message; [`super::control`] asks it
//! for the CLI. What the answer is, [`super::answer`] decides. It holds no lock while it answers: the index is a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Record, RecordType};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};
use tracing::{debug, warn};

use super::answer::{Outcome, answer};
use super::forward::{Forwarder, Question};
use super::index::Index;
use super::limit::PacketLimit;

/// The largest UDP answer, whatever the client takes; as most servers have it.
const UDP_PAYLOAD: u16 = 4096;
/// The extended error option and codes used of it (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
const NOT_READY: u16 = 14;
const NO_REACHABLE_AUTHORITY: u16 = 22;
const NETWORK_ERROR: u16 = 23;

/// How often each thing happened since the resolver began.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) queries: AtomicU64,
    pub(super) nxdomain: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) forwarded: AtomicU64,
}

/// What all sockets answer from; cloned for each, all alike.
#[derive(Debug, Clone)]
pub(super) struct Handler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    index: ArcSwapOption<Index>,
    limit: PacketLimit,
    forwarder: Forwarder,
    counters: Counters,
}

/// An answer before it is put on the wire.
#[derive(Debug, Default)]
struct Reply {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    authentic_data: bool,
    /// Code and text of an extended error, seen by clients that speak EDNS.
    explanation: Option<(u16, String)>,
}

impl Reply {
    fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }

    fn explained(code: ResponseCode, error: u16, text: impl Into<String>) -> Self {
        Self { code, explanation: Some((error, text.into())), ..Self::default() }
    }
}

impl Handler {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            index: ArcSwapOption::empty(),
            limit: PacketLimit::new(Instant::now()),
            forwarder: Forwarder::new(),
            counters: Counters::default(),
        }))
    }

    /// Answers from `index` from now on; questions being answered finish with the one they began with.
    pub(super) fn swap(&self, index: Arc<Index>) {
        self.0.index.store(Some(index));
    }

    pub(super) fn index(&self) -> Option<Arc<Index>> {
        self.0.index.load_full()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The answer to one message in wire form, as a client on TCP gets it, outside of the packet limit.
    pub(super) async fn answer_wire(&self, wire: Vec<u8>) -> Result<Vec<u8>, ProtoError> {
        let request = Request::from_bytes(wire, ([127, 0, 0, 1], 0).into(), Protocol::Tcp)?;
        let capture = Capture::default();
        self.respond(&request, capture.clone()).await;
        Ok(capture.take())
    }

    async fn respond<R: ResponseHandler>(&self, request: &Request, mut response: R) -> ResponseInfo {
        self.0.counters.queries.fetch_add(1, Ordering::Relaxed);
        let reply = self.reply(request).await;
        if reply.code == ResponseCode::NXDomain {
            self.0.counters.nxdomain.fetch_add(1, Ordering::Relaxed);
        }
        match send(request, &reply, &mut response).await {
            Ok(info) => info,
            Err(error) => {
                warn!(%error, client = %request.src(), "answer could not be sent");
                not_sent(&request.metadata)
            }
        }
    }

    async fn reply(&self, request: &Request) -> Reply {
        if request.version() > 0 {
            return Reply::code(ResponseCode::BADVERS);
        }
        if request.metadata.op_code != OpCode::Query {
            return Reply::code(ResponseCode::NotImp);
        }
        let [question] = request.queries.queries() else { return Reply::code(ResponseCode::FormErr) };
        let query = question.original();
        let transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
        if query.query_class() != DNSClass::IN || transfer {
            return Reply::code(ResponseCode::Refused);
        }
        let Some(index) = self.index() else {
            return Reply::explained(ResponseCode::Refused, NOT_READY, "the resolver has no zone yet");
        };
        // In a statement of its own: the generator must not live over the await below.
        let outcome = answer(&index, query.name(), query.query_type(), &mut rand::rng());
        match outcome {
            Outcome::Records(answers) => Reply { answers, ..Reply::default() },
            Outcome::NoData(soa) => Reply { authorities: vec![soa], ..Reply::default() },
            Outcome::NoName(soa) => Reply { code: ResponseCode::NXDomain, authorities: vec![soa], ..Reply::default() },
            Outcome::NotOurs if index.forward.is_empty() => Reply::explained(
                ResponseCode::ServFail,
                NO_REACHABLE_AUTHORITY,
                "the stack has internet: false, only names of its VPC are resolved",
            ),
            Outcome::NotOurs if !request.metadata.recursion_desired => Reply::code(ResponseCode::Refused),
            Outcome::NotOurs => {
                let question = Question {
                    query: query.clone(),
                    checking_disabled: request.metadata.checking_disabled,
                    dnssec_ok: request.edns.as_ref().map(|edns| edns.flags().dnssec_ok),
                };
                self.forward(&index, &question).await
            }
        }
    }

    async fn forward(&self, index: &Index, question: &Question) -> Reply {
        self.0.counters.forwarded.fetch_add(1, Ordering::Relaxed);
        match self.0.forwarder.forward(&index.forward, question).await {
            Ok(answer) => Reply {
                code: answer.metadata.response_code,
                answers: answer.answers,
                authorities: answer.authorities,
                additionals: answer.additionals,
                authentic_data: answer.metadata.authentic_data,
                explanation: None,
            },
            Err(error) => {
                debug!(%error, query = %question.query, "forwarding failed");
                Reply::explained(ResponseCode::ServFail, NETWORK_ERROR, error.to_string())
            }
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, response: R) -> ResponseInfo {
        let limit = self.0.index.load().as_ref().and_then(|index| index.packet_limit);
        if limit.is_some_and(|limit| !self.0.limit.admits(request.src().ip(), limit, Instant::now())) {
            self.0.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return not_sent(&request.metadata);
        }
        self.respond(request, response).await
    }
}

/// Puts a reply on the wire: whole over TCP; over UDP as many records as fit the client, with TC if some did not.
///
/// As the Amazon resolver does, it sets RA and never AA: to a client it is a recursive server for all names.
async fn send<R: ResponseHandler>(
    request: &Request,
    reply: &Reply,
    response: &mut R,
) -> Result<ResponseInfo, NetError> {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = reply.code;
    metadata.recursion_available = true;
    metadata.authentic_data = reply.authentic_data;

    // An OPT record goes to those who sent one (RFC 6891). Over UDP the library bounds the message by its size.
    let edns = request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(request.max_payload().min(UDP_PAYLOAD)).set_dnssec_ok(asked.flags().dnssec_ok);
        if let Some((code, text)) = &reply.explanation {
            let data = [&code.to_be_bytes(), text.as_bytes()].concat();
            edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, data));
        }
        edns
    });
    let mut fits = HeaderCounts {
        answers: count(&reply.answers),
        authorities: count(&reply.authorities),
        additionals: count(&reply.additionals),
        ..HeaderCounts::default()
    };
    if request.protocol() == Protocol::Udp {
        let limit = edns.as_ref().map_or(512, Edns::max_payload);
        // The library would leave out the OPT record, which comes last: keep its place free.
        let room = limit.saturating_sub(edns.as_ref().map_or(0, opt_length));
        let cut = measure(request, reply, metadata, room)?;
        metadata.truncation = cut.truncation;
        fits = cut.counts();
    }
    let mut builder = MessageResponseBuilder::from_message_request(request);
    if let Some(edns) = &edns {
        builder.edns(edns);
    }
    let message = builder.build(
        metadata,
        reply.answers.iter().take(fits.answers.into()),
        reply.authorities.iter().take(fits.authorities.into()),
        [],
        reply.additionals.iter().take(fits.additionals.into()),
    );
    response.send_response(message).await
}

/// How many records of each section fit `room` bytes, and whether any is left out.
fn measure(request: &Request, reply: &Reply, mut metadata: Metadata, room: u16) -> Result<ResponseInfo, ProtoError> {
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(room);
    // Codes above 15 need an OPT record, which is not part of this measure.
    metadata.response_code = ResponseCode::NoError;
    MessageResponseBuilder::from_message_request(request)
        .build(metadata, &reply.answers, &reply.authorities, [], &reply.additionals)
        .destructive_emit(&mut encoder)
}

/// Bytes of an OPT record: root name, type, class, TTL, length, and its options with a header of 4 bytes each.
fn opt_length(edns: &Edns) -> u16 {
    let options = edns.options().as_ref().iter().map(|(_, option)| option.len().saturating_add(4));
    options.fold(11, u16::saturating_add)
}

fn count(records: &[Record]) -> u16 {
    u16::try_from(records.len()).unwrap_or(u16::MAX)
}

/// What the library's caller is told when nothing was sent; it does nothing with it.
fn not_sent(request: &Metadata) -> ResponseInfo {
    let metadata = Metadata::new(request.id, MessageType::Response, request.op_code);
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}

/// Keeps the answer instead of sending it.
#[derive(Debug, Clone, Default)]
struct Capture(Arc<std::sync::Mutex<Vec<u8>>>);

impl Capture {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[async_trait::async_trait]
impl ResponseHandler for Capture {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(u16::MAX);
        let info = response.destructive_emit(&mut encoder)?;
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = bytes;
        Ok(info)
    }
}
