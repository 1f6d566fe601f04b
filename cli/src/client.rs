//! The CLI's end of the control socket: HTTP/1.1 with JSON over a unix socket (`agent::control::api` has the shapes).
//!
//! One connection a request, so a stream that is read slowly holds up nothing else. Starts no agent (`start_agent` does)
//! and prints nothing.

use std::io;
use std::path::{Path, PathBuf};

use agent::control::api::{ErrorReply, FORWARD_PROTOCOL};
use agent::runtime::{Docker, RuntimeError};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::door::Door;
use crate::failure::{FAILED, MACHINE};

/// Why the agent gave no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens there.
    #[error("no agent answers at {}", socket.display())]
    NoAgent {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket is not ours to use.
    #[error("no permission to use the agent's socket {}", socket.display())]
    Permission {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be used for another reason.
    #[error("cannot connect to {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The agent went away, or does not speak HTTP.
    #[error("the agent broke off the answer to {request}")]
    Broken {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The request cannot be put into HTTP or JSON.
    #[error("cannot send {request}")]
    Unsendable {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not of the agreed shape.
    #[error("cannot read the agent's answer to {request}")]
    Unreadable {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An error without a reason in it.
    #[error("the agent answered {request} with {status}")]
    Status {
        /// Method and path.
        request: String,
        /// The status.
        status: StatusCode,
    },
    /// The agent is asked through Docker, which does not answer.
    #[error(transparent)]
    Docker(#[from] RuntimeError),
    /// The agent says why not.
    #[error("{}", .0.message)]
    Refused(ErrorReply),
}

impl ClientError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Permission { .. } => MACHINE,
            Self::Refused(reply) => reply.exit_code,
            Self::Docker(error) if error.is_requirement() => MACHINE,
            _ => FAILED,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Permission { .. } => Some("run ecsnet as root or as a member of the group `docker`".to_owned()),
            Self::Broken { .. } => Some("the agent may have ended: `docker logs ecsnet-agent` has its log".to_owned()),
            Self::Refused(reply) => reply.hint.clone(),
            Self::Docker(error) => error.remedy(),
            _ => None,
        }
    }

    /// Whether there is just no agent.
    pub(crate) fn is_no_agent(&self) -> bool {
        matches!(self, Self::NoAgent { .. })
    }
}

/// What makes of a request a connection.
const UPGRADE: [(HeaderName, &str); 2] = [(header::CONNECTION, "upgrade"), (header::UPGRADE, FORWARD_PROTOCOL)];

/// The way to one agent. Holds no connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    door: Door,
}

impl Client {
    /// A client of the agent at `socket`; nothing is tried yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self { door: Door::Socket(socket.to_owned()) }
    }

    /// A client of the agent in `container`, whose socket cannot be opened from here.
    pub(crate) fn through_docker(docker: Docker, container: String, socket: PathBuf) -> Self {
        Self { door: Door::Docker { docker, container, socket } }
    }

    /// Asks for one value.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<&str>)],
    ) -> Result<T, ClientError> {
        let (request, response) = self.send(Method::GET, path, query, Bytes::new()).await?;
        value(request, response).await
    }

    /// Sends `body` and gives the answer; an empty answer reads as `()`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<&str>)],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| ClientError::Unsendable { request: format!("POST {path}"), source: error.into() })?;
        let (request, response) = self.send(Method::POST, path, query, body.into()).await?;
        value(request, response).await
    }

    /// Asks for values as they come, one JSON value a line, until the agent ends the stream.
    pub(crate) async fn stream<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<&str>)],
    ) -> Result<impl Stream<Item = Result<T, ClientError>> + use<T>, ClientError> {
        let (request, response) = self.send(Method::GET, path, query, Bytes::new()).await?;
        if !response.status().is_success() {
            return Err(refusal(request, response).await);
        }
        let lines = Lines { request, body: response.into_body(), pending: BytesMut::new() };
        Ok(stream::try_unfold(lines, |mut lines| async move {
            let Some(line) = lines.next().await? else { return Ok(None) };
            let value = serde_json::from_slice(&line)
                .map_err(|source| ClientError::Unreadable { request: lines.request.clone(), source })?;
            Ok(Some((value, lines)))
        }))
    }

    /// A connection that the agent carries on to a port of a task.
    pub(crate) async fn forward(
        &self,
        target: &str,
        port: u16,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, ClientError> {
        let port = port.to_string();
        let query = [("target", Some(target)), ("port", Some(port.as_str()))];
        let (request, response) = self.request(Method::GET, "/forward", &query, Bytes::new(), &UPGRADE).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(request, response).await);
        }
        let upgraded = hyper::upgrade::on(response).await;
        upgraded.map(TokioIo::new).map_err(|source| ClientError::Broken { request, source })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<&str>)],
        body: Bytes,
    ) -> Result<(String, Response<Incoming>), ClientError> {
        self.request(method, path, query, body, &[]).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<&str>)],
        body: Bytes,
        headers: &[(HeaderName, &str)],
    ) -> Result<(String, Response<Incoming>), ClientError> {
        let name = format!("{method} {path}");
        let connection = self.door.open().await?;
        let broken = |source| ClientError::Broken { request: name.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(broken)?;
        // Ends with the connection; what goes wrong on it comes out of the request and of its body.
        tokio::spawn(connection.with_upgrades());
        let request = Request::builder()
            .method(method)
            .uri(with_query(path, query))
            .header(header::HOST, "ecsnet")
            .header(header::CONTENT_TYPE, "application/json");
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, *value))
            .body(Full::new(body))
            .map_err(|error| ClientError::Unsendable { request: name.clone(), source: error.into() })?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((name, response))
    }
}

/// The lines of a body.
struct Lines {
    request: String,
    body: Incoming,
    pending: BytesMut,
}

impl Lines {
    /// The next line that is not empty, without its end.
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line = self.pending.split_to(end + 1).freeze();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.pending.extend_from_slice(data);
                    }
                }
                Some(Err(source)) => return Err(ClientError::Broken { request: self.request.clone(), source }),
                None if self.pending.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some(self.pending.split().freeze())),
            }
        }
    }
}

async fn value<T: DeserializeOwned>(request: String, response: Response<Incoming>) -> Result<T, ClientError> {
    if !response.status().is_success() {
        return Err(refusal(request, response).await);
    }
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(source) => return Err(ClientError::Broken { request, source }),
    };
    let text: &[u8] = if body.trim_ascii().is_empty() { b"null" } else { &body };
    serde_json::from_slice(text).map_err(|source| ClientError::Unreadable { request, source })
}

async fn refusal(request: String, response: Response<Incoming>) -> ClientError {
    let status = response.status();
    match response.into_body().collect().await {
        Ok(body) => match serde_json::from_slice(&body.to_bytes()) {
            Ok(reply) => ClientError::Refused(reply),
            Err(_) => ClientError::Status { request, status },
        },
        Err(source) => ClientError::Broken { request, source },
    }
}

/// Why a socket did not open.
pub(crate) fn not_connected(socket: &Path, source: io::Error) -> ClientError {
    let socket = socket.to_owned();
    match source.kind() {
        // A socket file that an agent left behind refuses.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoAgent { socket },
        io::ErrorKind::PermissionDenied => ClientError::Permission { socket },
        _ => ClientError::Connect { socket, source },
    }
}

/// `path?name=value&…` with what is not unreserved (RFC 3986, 2.3) percent-encoded; names without a value are left out.
fn with_query(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut uri = path.to_owned();
    let mut separator = '?';
    for (name, value) in query {
        let Some(value) = value else { continue };
        uri.push(separator);
        uri.push_str(name);
        uri.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
                _ => uri.push_str(&format!("%{byte:02X}")),
            }
        }
        separator = '&';
    }
    uri
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[test]
    fn a_query_is_encoded_and_leaves_out_what_is_absent() {
        assert_eq!(
            with_query("/logs", &[("target", Some("shop/web é")), ("tail", None), ("follow", Some("true"))]),
            "/logs?target=shop%2Fweb%20%C3%A9&follow=true"
        );
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_no_agent() {
        let error = Client::new(Path::new("/nonexistent/a.sock")).get::<()>("/version", &[]).await.unwrap_err();
        assert!(error.is_no_agent());
        insta::assert_snapshot!(error, @"no agent answers at /nonexistent/a.sock");
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_no_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(Client::new(&path).get::<()>("/version", &[]).await.unwrap_err().is_no_agent());
    }

    #[test]
    fn a_socket_of_root_says_what_to_do() {
        let error = not_connected(Path::new("/run/ecsnet/agent.sock"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(error.exit_code(), MACHINE);
        insta::assert_snapshot!(error, @"no permission to use the agent's socket /run/ecsnet/agent.sock");
        insta::assert_snapshot!(error.hint().unwrap(), @"run ecsnet as root or as a member of the group `docker`");
    }

    /// One connection that answers with these bytes and is then closed.
    fn answering(bytes: &'static [u8]) -> (tempfile::TempDir, Client) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            tokio::io::AsyncReadExt::read(&mut peer, &mut head).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut peer, bytes).await.unwrap();
        });
        (folder, Client::new(&path))
    }

    async fn stream_of(bytes: &'static [u8]) -> Vec<Result<u32, ClientError>> {
        let (_folder, client) = answering(bytes);
        client.stream::<u32>("/events", &[]).await.unwrap().collect().await
    }

    #[tokio::test]
    async fn a_value_may_come_in_pieces() {
        let seen = stream_of(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n3\r\n2\n3\r\n2\r\n\n\n\r\n2\r\n45\r\n0\r\n\r\n",
        )
        .await;
        let seen: Vec<u32> = seen.into_iter().map(Result::unwrap).collect();
        assert_eq!(seen, [12, 3, 45]);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_no_end() {
        let seen = stream_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n7\n\r\n").await;
        assert!(matches!(seen[..], [Ok(7), Err(ClientError::Broken { .. })]), "{seen:?}");
    }

    #[tokio::test]
    async fn an_empty_answer_is_nothing() {
        let (_folder, client) = answering(b"HTTP/1.1 204 No Content\r\n\r\n");
        client.post::<()>("/shutdown", &[], &()).await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_words_its_hint_and_its_code() {
        let (_folder, client) = answering(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 67\r\n\r\n{\"message\":\"no stack `a`\",\"hint\":\"there is `shop`\",\"exitCode\":2}   ",
        );
        let error = client.get::<u32>("/tasks", &[]).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.exit_code()), ("no stack `a`", 2));
        assert_eq!(error.hint().as_deref(), Some("there is `shop`"));
    }
}
