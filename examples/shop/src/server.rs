//! The roles: an HTTP/1.1 server that, for each request, asks its upstreams and answers with the path.
//!
//! One request to a connection. 200 when everything down the path answered, 502 when something did not; the answer is the
//! same picture in both cases. Every path but `/health` is answered alike, so that a load balancer's path rules have
//! something to lead to. State: none.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::arguments::Role;
use crate::client::{self, Answer, Patience};
use crate::hop::{Failure, Hop};

/// How long a client may take to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection to an upstream may take: inside one machine it takes well under a millisecond.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to leave a listener alone that cannot accept (out of file descriptors), instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One service as it runs here.
#[derive(Debug, Clone)]
pub struct Service {
    /// Which one.
    pub role: Role,
    /// Shown in the answers.
    pub hostname: String,
    /// URLs to ask for each request, in the order of the answers.
    pub upstreams: Vec<String>,
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, service: Service) -> Infallible {
    let service = Arc::new(service);
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A connection that is gone already has no address any more.
        let Ok(local) = stream.local_addr() else { continue };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(&service, request, local.ip(), from));
            // An error here is a client that broke off: nothing is owed to it.
            let _ = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn answer(
    service: &Service,
    request: Request<Incoming>,
    local: IpAddr,
    from: SocketAddr,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    if request.uri().path() == "/health" {
        return Ok(respond(StatusCode::OK, "text/plain", "ok\n".into()));
    }
    let hop = travel(service, local, from).await;
    let status = if hop.is_complete() { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
    log(service, &hop, status);
    if request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "text")) {
        return Ok(respond(status, "text/plain; charset=utf-8", hop.to_text()));
    }
    Ok(match serde_json::to_string(&hop) {
        Ok(json) => respond(status, "application/json", json + "\n"),
        Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
    })
}

/// Asks every upstream, all at once, and puts the path together.
async fn travel(service: &Service, local: IpAddr, from: SocketAddr) -> Hop {
    let patience = Patience { connect: CONNECT_TIMEOUT, whole: service.role.upstream_timeout() };
    let asked = service.upstreams.iter().map(|url| async move { (url, client::get(url, patience).await) });
    let mut hop = Hop {
        service: service.role.name().into(),
        address: local,
        hostname: service.hostname.clone(),
        from,
        hops: Vec::new(),
        failures: Vec::new(),
    };
    for (url, result) in join_all(asked).await {
        match result {
            Ok(answer) => {
                // A request that came over localhost says nothing about our address; the way on does.
                if hop.address.is_loopback() {
                    hop.address = answer.local.ip();
                }
                match read_hop(url, &answer) {
                    Ok(next) => hop.hops.push(next),
                    Err(failure) => hop.failures.push(failure),
                }
            }
            Err(error) => hop.failures.push(error.to_failure(url)),
        }
    }
    hop
}

/// An upstream's answer as a hop; its own failures come with it, inside.
fn read_hop(url: &str, answer: &Answer) -> Result<Hop, Failure> {
    let known = matches!(answer.status, StatusCode::OK | StatusCode::BAD_GATEWAY);
    match serde_json::from_slice(&answer.body) {
        Ok(hop) if known => Ok(hop),
        _ => Err(Failure {
            url: url.into(),
            address: Some(answer.peer),
            reason: "unexpected answer".into(),
            message: format!("{url}: {} answered {} and nothing that the shop knows", answer.peer, answer.status),
        }),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// One line for each request but the health checks, on stdout, where `ecsnet logs` finds it.
fn log(service: &Service, hop: &Hop, status: StatusCode) {
    let mut line = format!("{} {} <- {}: {}", service.role.name(), hop.address, hop.from, status.as_u16());
    for failure in &hop.failures {
        line = format!("{line}; {}", failure.message);
    }
    // Nobody reads the log: no reason to stop serving.
    let _: io::Result<()> = writeln!(io::stdout(), "{line}");
}
