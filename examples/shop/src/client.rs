//! One HTTP/1.1 GET over one connection of its own, in plain text. No redirect, no retry, no second address.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::hop::Failure;
use crate::resolve::{ResolveError, beside, resolve, system_resolver};

/// A body larger than this is refused: the other end is not trusted with our memory.
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For each answer of DNS, and for the connection. A security group drops what it refuses, so this is how long that takes.
    pub connect: Duration,
    /// For the whole of it, to the last byte of the body.
    pub whole: Duration,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// As sent.
    pub status: StatusCode,
    /// Whole.
    pub body: Bytes,
    /// Our end of the connection: the task's own address towards this peer.
    pub local: SocketAddr,
    /// The address that answered.
    pub peer: SocketAddr,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not a URL that we can ask.
    #[error("`{url}` is not a URL of the form http://host[:port]/path")]
    Url {
        /// As given.
        url: String,
    },
    /// The name led nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No connection in time; what a security group does looks like this.
    #[error("no connection to {address} within {} s", limit.as_secs_f64())]
    ConnectTimeout {
        /// Where to.
        address: SocketAddr,
        /// How long we waited.
        limit: Duration,
    },
    /// The kernel says no.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Refused, unreachable …
        #[source]
        source: io::Error,
    },
    /// Connected, then silence.
    #[error("{address} accepted the connection but did not answer within {} s", limit.as_secs_f64())]
    AnswerTimeout {
        /// Who.
        address: SocketAddr,
        /// For the whole request.
        limit: Duration,
    },
    /// Connected, then something other than HTTP, or the connection broke.
    #[error("{address} broke off or did not answer in HTTP")]
    Broken {
        /// Who.
        address: SocketAddr,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CallError {
    /// The cause in a word or two: the same for the same cause, for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Url { .. } => "bad url",
            Self::Resolve(error) => error.reason(),
            Self::ConnectTimeout { .. } | Self::AnswerTimeout { .. } => "timeout",
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => "refused",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
                _ => "no connection",
            },
            Self::Broken { .. } => "broken answer",
        }
    }

    /// The address that was tried, when there was one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Url { .. } | Self::Resolve(_) => None,
            Self::ConnectTimeout { address, .. }
            | Self::Connect { address, .. }
            | Self::AnswerTimeout { address, .. }
            | Self::Broken { address, .. } => Some(*address),
        }
    }

    /// The error and its causes in one line.
    pub fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// As it stands in the answer of the service that asked `url`.
    pub fn to_failure(&self, url: &str) -> Failure {
        Failure {
            url: url.into(),
            address: self.address(),
            reason: self.reason().into(),
            message: format!("{url}: {}", self.sentence()),
        }
    }
}

/// Asks `url`.
pub async fn get(url: &str, patience: Patience) -> Result<Answer, CallError> {
    let bad_url = || CallError::Url { url: url.into() };
    let uri: Uri = url.parse().map_err(|_| bad_url())?;
    let (Some("http"), Some(host), Some(authority)) = (uri.scheme_str(), uri.host(), uri.authority()) else {
        return Err(bad_url());
    };
    let deadline = Instant::now() + patience.whole;
    let connect = patience.connect.min(patience.whole);
    let address = find(host, uri.port_u16().unwrap_or(80), connect).await?;

    let stream = match timeout(connect, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(CallError::Connect { address, source }),
        Err(_) => return Err(CallError::ConnectTimeout { address, limit: connect }),
    };
    let local = stream.local_addr().map_err(|source| CallError::Connect { address, source })?;

    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| bad_url())?;
    match timeout_at(deadline, exchange(stream, request)).await {
        Ok(Ok((status, body))) => Ok(Answer { status, body, local, peer: address }),
        Ok(Err(source)) => Err(CallError::Broken { address, source }),
        Err(_) => Err(CallError::AnswerTimeout { address, limit: patience.whole }),
    }
}

async fn find(host: &str, port: u16, timeout: Duration) -> Result<SocketAddr, ResolveError> {
    // An IPv6 address stands in brackets.
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    if !host.contains('.') {
        let hosts = tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default();
        return Ok(SocketAddr::new(beside(&hosts, host), port));
    }
    resolve(&system_resolver(timeout)?, host, port).await
}

async fn exchange(
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Takes the sender along: the connection ends with it, even if the other end would keep it open.
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT_BYTES).collect().await?.to_bytes();
        Ok((status, body))
    };
    // The connection moves while the answer is read; both run in this one future, so giving up drops both.
    let drive = async { connection.await.err() };
    let (answer, _) = futures_util::future::join(answer, drive).await;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), whole: Duration::from_secs(10) };

    #[tokio::test]
    async fn a_closed_port_is_refused_with_its_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let failure = get(&format!("http://{address}/"), PATIENCE).await.unwrap_err().to_failure("http://users/");
        assert_eq!(failure.reason, "refused");
        assert_eq!(failure.address, Some(address));
        let message = format!("http://users/: cannot connect to {address}: Connection refused (os error 111)");
        assert_eq!(failure.message, message);
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_a_timeout() {
        // Accepted by the kernel's backlog, never read.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Patience { whole: Duration::from_millis(50), ..PATIENCE };
        let error = get(&format!("http://{address}/"), patience).await.unwrap_err();
        assert_eq!(error.reason(), "timeout");
        assert_eq!(error.sentence(), format!("{address} accepted the connection but did not answer within 0.05 s"));
    }

    #[rstest::rstest]
    #[case("https://users/")]
    #[case("/only/a/path")]
    #[case("users:8080")]
    #[case("http://")]
    #[tokio::test]
    async fn only_plain_http_urls_are_asked(#[case] url: &str) {
        assert_eq!(get(url, PATIENCE).await.unwrap_err().reason(), "bad url");
    }
}
