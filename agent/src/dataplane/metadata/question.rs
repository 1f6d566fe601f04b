//! What a front asks the agent: questions and replies of `agent.sock`, one JSON value a line.
//!
//! The agent listens in each front's directory ([`crate::control::front`]); the front asks over a connection for each
//! question. All else is answered from the published document, without the agent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Minutes for which a task is protected when nothing else is asked for (9.5).
pub const PROTECTION_MINUTES: u32 = 120;
/// The most minutes that can be asked for (9.5).
pub const MOST_PROTECTION_MINUTES: u32 = 2880;

/// What the agent is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FrontQuestion {
    /// The statistics of containers.
    Stats {
        /// Docker's id → Docker's id of the container whose network it has, which may be itself; none for the network of
        /// an instance, whose statistics are no container's.
        containers: BTreeMap<String, Option<String>>,
    },
    /// A task's protection against scale in and deployments, after the change if there is one.
    Protection {
        /// Whose.
        task_arn: String,
        /// What to change.
        change: Option<ProtectionChange>,
    },
}

/// A change of a task's protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectionChange {
    /// Whether it shall be protected.
    pub enabled: bool,
    /// For how long, 1–2880; without meaning when it shall not be.
    pub expires_in_minutes: u32,
}

/// What the agent replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FrontReply {
    /// By Docker's id: its JSON with `network_rate_stats`, or null for a container that does not run.
    Stats(BTreeMap<String, Value>),
    /// The protection as it is now.
    Protection(ProtectionState),
    /// ECS would not do it, for example `TASK_NOT_VALID` (3.11).
    Failure {
        /// In ECS's word.
        reason: String,
        /// In words.
        detail: String,
    },
    /// It could not be done.
    Error(String),
}

/// A task's protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectionState {
    /// Whether it is protected.
    pub enabled: bool,
    /// Until when; none when it is not.
    pub expiration: Option<Timestamp>,
}
