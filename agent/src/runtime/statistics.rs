//! What Docker measures of a container, as Docker's own JSON.
//!
//! Past bollard, whose types would leave out what they do not know; the metadata endpoint has to pass the JSON on
//! unchanged (reference 9.3). A connection for each request, closed when its reader is dropped.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};

/// Samples of one container, one a second, until it or the connection is gone.
pub type StatisticsStream = BoxStream<'static, Result<Value, RuntimeError>>;

/// The longest sample that is taken.
const SAMPLE_BYTES: usize = 4 << 20;

impl Docker {
    /// One sample, at once, without the previous one in it (`precpu_stats`). See [`is_of_running`].
    ///
    /// # Errors
    /// When there is no such container, or Docker does not answer.
    pub async fn sample(&self, container: &str) -> Result<Value, RuntimeError> {
        let what = format!("measure container {container}");
        let mut stream = self.measure(container, "stream=false&one-shot=true").await?;
        stream
            .next()
            .await
            .unwrap_or_else(|| Err(RuntimeError::Unexpected { what, detail: "no statistics came".to_owned() }))
    }

    /// A sample now and then one each second, each with the one before in it (`precpu_stats`).
    ///
    /// # Errors
    /// When there is no such container, or Docker does not answer.
    pub async fn samples(&self, container: &str) -> Result<StatisticsStream, RuntimeError> {
        self.measure(container, "stream=true").await
    }

    async fn measure(&self, container: &str, how: &str) -> Result<StatisticsStream, RuntimeError> {
        let what = format!("measure container {container}");
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if container.is_empty() || !container.chars().all(known) {
            return Err(RuntimeError::Absent { what, message: "that is no container's name or id".to_owned() });
        }
        let path = format!("/containers/{container}/stats?{how}");
        let answer = timeout(ANSWER_TIME, request(self.address(), &path));
        let away = |source: io::Error| RuntimeError::Unreachable { what: what.clone(), source: source.into() };
        let answer = answer.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(away)?;
        let status = answer.status();
        let lines = lines(what.clone(), answer.into_body());
        if status == StatusCode::OK {
            return Ok(lines);
        }
        let message = match lines.boxed().next().await {
            Some(Ok(Value::Object(said))) => said.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => format!("status {status}"),
        };
        Err(match status {
            StatusCode::NOT_FOUND => RuntimeError::Absent { what, message },
            _ => RuntimeError::Refused { what, message },
        })
    }
}

/// Whether a sample is that of a running container: of one that does not run, Docker says when nothing was read.
pub fn is_of_running(sample: &Value) -> bool {
    is_a_time(&sample["read"])
}

/// Whether a sample has the one before in it.
pub fn has_previous(sample: &Value) -> bool {
    is_a_time(&sample["preread"])
}

/// Go's zero time is in year 1.
fn is_a_time(time: &Value) -> bool {
    time.as_str().is_some_and(|time| !time.starts_with("0001-"))
}

async fn request(address: &str, path: &str) -> io::Result<Response<Incoming>> {
    if let Some(socket) = address.strip_prefix("unix://") {
        return send(UnixStream::connect(socket).await?, path).await;
    }
    let host = address.split_once("://").map_or(address, |(_, host)| host).trim_end_matches('/');
    send(TcpStream::connect(host).await?, path).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
) -> io::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends when the body is read or dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to Docker for statistics ended");
        }
    });
    let request = Request::get(path).header(HOST, "docker").body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    sender.send_request(request).await.map_err(io::Error::other)
}

/// One JSON value a line.
fn lines(what: String, body: Incoming) -> StatisticsStream {
    let state = (body, BytesMut::new(), what);
    try_unfold(state, |(mut body, mut read, what)| async move {
        loop {
            if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let line = read.split_to(end + 1);
                let value = serde_json::from_slice(&line);
                let value = value.map_err(|error| unexpected(&what, &error))?;
                return Ok(Some((value, (body, read, what))));
            }
            if read.len() > SAMPLE_BYTES {
                return Err(unexpected(&what, &"a line without end"));
            }
            match body.frame().await {
                None if read.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => read.extend_from_slice(b"\n"),
                Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(error)) => return Err(RuntimeError::Unreachable { what, source: Box::new(error) }),
            }
        }
    })
    .boxed()
}

fn unexpected(what: &str, detail: &impl ToString) -> RuntimeError {
    RuntimeError::Unexpected { what: what.to_owned(), detail: detail.to_string() }
}
