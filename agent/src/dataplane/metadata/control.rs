//! The control socket's words: requests and replies of `front.sock`, one JSON value a line.
//!
//! The agent says `load` after it has written a front, by [`super::client`].

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The longest line; none of them is long.
pub(super) const LINE_BYTES: u64 = 64 << 10;

/// What a front is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// `{"load": N}`: read `front.json`, which must hold generation N or later, and serve it.
    Load(u64),
    /// `{"status": {}}`
    Status {},
}

/// What a front replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// `{"generation": N}`: the generation served after a `load`.
    Generation(u64),
    /// `{"status": {...}}`
    Status(Status),
    /// `{"error": "..."}`
    Error(String),
}

/// The front's state as it is, not as it was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The generation served; none before the first document.
    pub generation: Option<u64>,
    /// What is listened on.
    pub listening: Vec<SocketAddr>,
    /// What stands in the way of the document on disk, in words: a file that cannot be served (the last good one is), or
    /// addresses that cannot be listened on. Retried with the next `load`.
    pub problem: Option<String>,
}
