//! The task protection endpoint: what a `PUT` may say, and the answers (reference 9.5).
//!
//! The protection itself is the agent's; it is asked over `agent.sock`.

use hyper::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::question::{FrontReply, MOST_PROTECTION_MINUTES, PROTECTION_MINUTES, ProtectionChange};
use super::reply::{Reply, json};

/// What the body of a `PUT` asks for, before it is known which task asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Body {
    enabled: Option<bool>,
    minutes: Option<i64>,
}

/// Reads a body as Go does: the first value in it, keys in either case, null as if it were not there.
pub(super) fn read(body: &[u8]) -> Option<Body> {
    let first = serde_json::Deserializer::from_slice(body).into_iter::<Value>().next()?.ok()?;
    let Value::Object(fields) = first else { return None };
    let mut read = Body::default();
    for (name, value) in fields {
        if name.eq_ignore_ascii_case("ProtectionEnabled") {
            read.enabled = serde_json::from_value(value).ok()?;
        } else if name.eq_ignore_ascii_case("ExpiresInMinutes") {
            read.minutes = serde_json::from_value(value).ok()?;
        } else {
            return None;
        }
    }
    Some(read)
}

impl Body {
    /// The change that is asked for, or why it cannot be made.
    pub(super) fn change(self) -> Result<ProtectionChange, &'static str> {
        let enabled = self.enabled.ok_or("Invalid request: does not contain 'ProtectionEnabled' field")?;
        let minutes = match self.minutes {
            None => Some(PROTECTION_MINUTES),
            Some(minutes) => u32::try_from(minutes).ok(),
        };
        match minutes {
            Some(expires_in_minutes @ 1..=MOST_PROTECTION_MINUTES) => {
                Ok(ProtectionChange { enabled, expires_in_minutes })
            }
            _ => Err("Invalid request: 'ExpiresInMinutes' must be between 1 and 2880"),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    protection: Option<Protection<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Protection<'a> {
    /// Null without an end.
    expiration_date: Option<Timestamp>,
    protection_enabled: bool,
    task_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure<'a> {
    arn: &'a str,
    detail: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Error<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    arn: &'a str,
    code: &'a str,
    message: &'a str,
}

/// An error; the ARN is empty when no task is known. There is no `requestID`: no request has reached AWS.
pub(super) fn error(status: StatusCode, task_arn: &str, code: &str, message: &str) -> Reply {
    let error = Some(Error { arn: task_arn, code, message });
    json(status, &Answer { protection: None, failure: None, error })
}

/// The body cannot be read.
pub(super) fn undecodable() -> Reply {
    let message = "UpdateTaskProtection: failed to decode request";
    error(StatusCode::BAD_REQUEST, "", "InvalidParameterException", message)
}

/// No task asks with this id, or not from there.
pub(super) fn unknown() -> Reply {
    error(StatusCode::NOT_FOUND, "", "ResourceNotFoundException", "Failed to find a task for the request")
}

/// The task has no role, with whose credentials ECS would be asked.
pub(super) fn no_role(task_arn: &str) -> Reply {
    let message = "Invalid Request: no task IAM role credentials available for task";
    error(StatusCode::FORBIDDEN, task_arn, "AccessDeniedException", message)
}

/// What the agent has replied.
pub(super) fn answer(task_arn: &str, reply: &FrontReply) -> Reply {
    let (protection, failure) = match reply {
        FrontReply::Protection(state) => {
            let (expiration_date, protection_enabled) = (state.expiration, state.enabled);
            (Some(Protection { expiration_date, protection_enabled, task_arn }), None)
        }
        FrontReply::Failure { reason, detail } => (None, Some(Failure { arn: task_arn, detail, reason })),
        FrontReply::Error(message) => {
            return error(StatusCode::INTERNAL_SERVER_ERROR, task_arn, "ServerException", message);
        }
        FrontReply::Stats(_) => {
            let message = "the agent replied with something else than asked: it is of another version of ecsnet";
            return error(StatusCode::INTERNAL_SERVER_ERROR, task_arn, "ServerException", message);
        }
    };
    json(StatusCode::OK, &Answer { protection, failure, error: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::default(r#"{"ProtectionEnabled":true}"#, true, 120)]
    #[case::least(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":1}"#, true, 1)]
    #[case::most(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":2880}"#, true, 2880)]
    #[case::off(r#"{"ProtectionEnabled":false}"#, false, 120)]
    #[case::null(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":null}"#, true, 120)]
    #[case::lower(r#" {"protectionenabled":true} trailing"#, true, 120)]
    fn a_change(#[case] body: &str, #[case] enabled: bool, #[case] expires_in_minutes: u32) {
        let change = read(body.as_bytes()).unwrap().change();
        assert_eq!(change, Ok(ProtectionChange { enabled, expires_in_minutes }));
    }

    #[rstest]
    #[case::nothing("")]
    #[case::no_object("[]")]
    #[case::unknown_field(r#"{"ProtectionEnabled":true,"More":1}"#)]
    #[case::no_bool(r#"{"ProtectionEnabled":"true"}"#)]
    #[case::no_whole_number(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":1.5}"#)]
    fn not_decodable(#[case] body: &str) {
        assert_eq!(read(body.as_bytes()), None);
    }

    #[rstest]
    #[case(r#"{"ExpiresInMinutes":5}"#)]
    #[case(r#"{"ProtectionEnabled":null}"#)]
    #[case(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":0}"#)]
    #[case(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":2881}"#)]
    #[case(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":-1}"#)]
    #[case(r#"{"ProtectionEnabled":true,"ExpiresInMinutes":4294967297}"#)]
    fn not_possible(#[case] body: &str) {
        assert!(read(body.as_bytes()).unwrap().change().is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_not(body: Vec<u8>) {
            read(&body);
        }
    }
}
