//! Answers of the endpoint as they go over the wire, in ECS's own words for each error (reference 9.3–9.5).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::path::{CredentialsVersion, Version};

/// What is sent.
pub(super) type Reply = Response<Full<Bytes>>;

/// A JSON value.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    // Nothing of ours cannot be printed; if it could not be, ECS's agent sends this.
    let body = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    with_type(status, "application/json", body)
}

/// Text.
pub(super) fn text(status: StatusCode, text: &'static str) -> Reply {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// Go's answer to a path that it does not know.
pub(super) fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Above the limit.
pub(super) fn too_many() -> Reply {
    text(StatusCode::TOO_MANY_REQUESTS, "You have reached maximum request limit.")
}

/// To the same path without empty parts, as Go does it. A path that cannot be sent is not known.
pub(super) fn moved(to: &str) -> Reply {
    let Ok(location) = HeaderValue::from_str(to) else { return not_found() };
    let mut reply = with_type(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", "");
    reply.headers_mut().insert(LOCATION, location);
    reply
}

/// Which handler an error is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    /// A container's document.
    Container(Version),
    /// A task's document.
    Task(Version),
    /// A container's statistics.
    ContainerStats(Version),
    /// A task's statistics.
    TaskStats(Version),
}

impl Handler {
    /// What an error begins with.
    fn prefix(self) -> String {
        let (version, what) = match self {
            Self::Container(version) => (version, "container metadata handler"),
            Self::Task(version) => (version, "task metadata handler"),
            Self::ContainerStats(version) => (version, "container stats handler"),
            Self::TaskStats(version) => (version, "task stats handler"),
        };
        let version = match version {
            Version::V3 => "V3",
            Version::V4 => "V4",
        };
        format!("{version} {what}")
    }

    /// No task is asked for with this id, or not from there.
    pub(super) fn unknown(self, id: &str) -> Reply {
        let reason = match self {
            Self::Container(_) => {
                "unable to get container ID from request: unable to get docker ID from v3 endpoint ID"
            }
            _ => "unable to get task arn from request: unable to get task Arn from v3 endpoint ID",
        };
        json(StatusCode::NOT_FOUND, &format!("{}: {reason}: {id}", self.prefix()))
    }

    /// The agent is needed and does not answer.
    pub(super) fn away(self, reason: &str) -> Reply {
        json(StatusCode::SERVICE_UNAVAILABLE, &format!("{}: {reason}", self.prefix()))
    }
}

/// An error of the credentials' paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialsError {
    NoId,
    Unknown,
    Uninitialized,
}

#[derive(Serialize)]
struct CredentialsErrorBody {
    code: &'static str,
    message: String,
    #[serde(rename = "HTTPErrorCode")]
    status: u16,
}

/// An error of the credentials' paths (9.4).
pub(super) fn credentials_error(version: CredentialsVersion, error: CredentialsError) -> Reply {
    let (status, code, words) = match error {
        CredentialsError::NoId => (StatusCode::BAD_REQUEST, "NoIdInRequest", "No Credential ID in the request"),
        CredentialsError::Unknown => (StatusCode::BAD_REQUEST, "InvalidIdInRequest", "Credentials not found"),
        CredentialsError::Uninitialized => {
            (StatusCode::SERVICE_UNAVAILABLE, "CredentialsUninitialized", "Credentials uninitialized for ID")
        }
    };
    let prefix = match version {
        CredentialsVersion::V1 => "CredentialsV1Request: ",
        CredentialsVersion::V2 => "CredentialsV2Request: ",
    };
    json(status, &CredentialsErrorBody { code, message: format!("{prefix}{words}"), status: status.as_u16() })
}
