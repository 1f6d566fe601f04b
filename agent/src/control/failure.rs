//! An error on its way to the CLI: a message, a hint, and the exit code that the CLI leaves with.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::api::ErrorReply;
use crate::plan::up;
use crate::reconcile::chain;
use crate::store::sqlite::StoreError;

/// An error on its way to the CLI.
pub(super) struct Failure(pub(super) ErrorReply);

impl From<ErrorReply> for Failure {
    fn from(reply: ErrorReply) -> Self {
        Self(reply)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(ErrorReply {
            message: chain(&error),
            hint: Some("nothing was changed; make room or repair the disk and try again".into()),
            exit_code: 1,
        })
    }
}

impl From<up::Refused> for Failure {
    fn from(error: up::Refused) -> Self {
        Self(ErrorReply { message: error.to_string(), hint: None, exit_code: 2 })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = if self.0.exit_code == 2 { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
        (status, Json(self.0)).into_response()
    }
}

pub(super) fn failure(message: impl Into<String>, exit_code: u8) -> Failure {
    Failure(ErrorReply { message: message.into(), hint: None, exit_code })
}
