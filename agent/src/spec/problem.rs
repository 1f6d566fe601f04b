//! What is wrong with an input, as data: found by validation, placed in a file by the CLI, mapped to the wire by the AWS API.
//!
//! An AWS text stands in one place, where the problem is found.

use serde::{Deserialize, Serialize};

/// One finding about an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whether it stops the input from being used.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// AWS's error code where AWS has one (`ClientException`, `InvalidParameterException`), else a short word of ours.
    pub code: String,
    /// What is wrong, in AWS's words where AWS has them.
    pub message: String,
    /// What to do about it, or what is known instead.
    pub hint: Option<String>,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// The input is refused.
    Error,
    /// The input is used, and this part of it has no effect here.
    Warning,
    /// The input is used, and this is what follows from it.
    Note,
}

/// A place in the input: which document, and a JSON pointer into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file as the user named it; empty for the stack file itself.
    pub document: String,
    /// JSON pointer (RFC 6901), for example `/services/web/desiredCount`; empty for the whole document.
    pub pointer: String,
    /// Whether the key is meant, not its value.
    pub at_key: bool,
}

impl Place {
    /// The value at a pointer of a document.
    pub fn value(document: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self { document: document.into(), pointer: pointer.into(), at_key: false }
    }

    /// The key at a pointer of a document.
    pub fn key(document: impl Into<String>, pointer: impl Into<String>) -> Self {
        Self { document: document.into(), pointer: pointer.into(), at_key: true }
    }
}

impl Problem {
    /// A problem that stops the input.
    pub fn error(place: Place, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, code: code.into(), message: message.into(), hint: None }
    }

    /// A part of the input that has no effect here.
    pub fn warning(place: Place, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, code, message) }
    }

    /// What follows from a part of the input that is used.
    pub fn note(place: Place, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(place, code, message) }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
