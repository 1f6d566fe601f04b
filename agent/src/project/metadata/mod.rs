//! The front: all that a task sees at 169.254.170.2 in one network namespace, as one value.
//!
//! Projected from the desired and the observed state, written by [`crate::apply`] as `front.json` (mode 0600) into the
//! front's directory, served by [`crate::dataplane::metadata`]. There is one front for a VPC, where awsvpc tasks ask and
//! the source address tells who it is, and one for each container instance, where the containers of bridge and host tasks
//! ask (pitfall 7). It says what is answered, never how; no I/O, no clock. Semantics reference 2.6 and 9.1–9.5.

mod credentials;
mod document;
mod environment;
#[cfg(test)]
pub(crate) mod example;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

pub use credentials::{CREDENTIALS_HOURS, FrontCredentials, Keys, expiration_of_renewed, local_keys};
pub(crate) use document::object_of;
pub use document::{
    ClockDrift, ContainerDocument, ContainerHealth, ContainerLimits, ContainerType, EphemeralStorage, NetworkDocument,
    PortDocument, TaskDocument, TaskLimits, VolumeDocument,
};
pub use environment::{METADATA_ADDRESS, environment};

/// What is answered in one network namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Front {
    /// Counted up by the writer with every change, so that it can ask whether what it wrote is what is served.
    pub generation: u64,
    /// Addresses and ports to listen on: 169.254.170.2:80.
    pub listen: Vec<SocketAddr>,
    /// Requests of each caller; what is above is answered 429. `null` switches it off.
    #[serde(default = "default_request_limit")]
    pub request_limit: Option<RateLimit>,
    /// The tasks that are answered.
    pub tasks: Vec<FrontTask>,
    /// Whose keys its tasks with a role are given: for who publishes it, and not written.
    #[serde(skip)]
    pub profile: Option<String>,
    /// The introspection API of a container instance; a VPC's front has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<Introspection>,
}

impl Front {
    /// The document with these keys for every task that has a role.
    pub fn with_keys(&self, keys: Option<Keys>) -> Self {
        let mut front = self.clone();
        for credentials in front.tasks.iter_mut().filter_map(|task| task.credentials.as_mut()) {
            credentials.keys.clone_from(&keys);
        }
        front
    }

    /// Whether a container is answered that asks by that endpoint id.
    pub fn knows(&self, endpoint_id: &str) -> bool {
        self.tasks.iter().any(|task| task.endpoints.contains_key(endpoint_id))
    }
}

/// How many requests a caller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// In the long run, each second.
    pub per_second: u32,
    /// At once, after a rest.
    pub burst: u32,
}

impl RateLimit {
    /// 40 requests a second with a burst of 60 (9.1).
    pub const OF_ECS: Self = Self { per_second: 40, burst: 60 };
}

fn default_request_limit() -> Option<RateLimit> {
    Some(RateLimit::OF_ECS)
}

/// A task and what it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontTask {
    /// The task's ARN; `document` has the same.
    pub task_arn: String,
    /// Which container each endpoint id stands for: random id → container name in `document` (2.6). Unguessable.
    pub endpoints: BTreeMap<String, String>,
    /// Addresses that the task asks from; from any other it is as if the task did not exist. Empty in host mode, where
    /// every task of the instance has the same: then the id alone tells.
    #[serde(default)]
    pub sources: Vec<IpAddr>,
    /// Whether `/v2/metadata` and `/v2/stats` work: in awsvpc mode, where the source address alone tells the task (9.1).
    #[serde(default)]
    pub v2: bool,
    /// Docker's id of the container whose network statistics are every container's: the pause of an awsvpc task (9.3).
    /// None in the other modes: there `bridge` among a container's networks says that it has one of its own.
    #[serde(default)]
    pub network_holder: Option<String>,
    /// What it is told of itself.
    pub document: TaskDocument,
    /// Tags, in `taskWithTags` only (9.2).
    #[serde(default)]
    pub tags: Tags,
    /// What `/v2/credentials/<id>` answers; none without a task role.
    #[serde(default)]
    pub credentials: Option<FrontCredentials>,
}

/// What `taskWithTags` adds (9.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tags {
    /// Of the task.
    #[serde(rename = "TaskTags", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub task: BTreeMap<String, String>,
    /// Of its container instance.
    #[serde(rename = "ContainerInstanceTags", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub container_instance: BTreeMap<String, String>,
    /// Why there are none, when they could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<TagError>,
}

/// Why tags are missing (9.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagError {
    /// `TaskTags` or `ContainerInstanceTags`.
    pub error_field: String,
    /// For example `ThrottlingException`.
    pub error_code: String,
    /// In words.
    pub error_message: String,
    /// Of the answer that failed.
    pub status_code: u16,
    /// Of the answer that failed.
    pub request_id: String,
    /// Whose tags.
    #[serde(rename = "ResourceARN")]
    pub resource_arn: String,
}

/// The introspection API of a container instance, on port 51678 (9.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introspection {
    /// Addresses and ports to listen on.
    pub listen: Vec<SocketAddr>,
    /// Who may ask: the instance itself and the containers on its Docker bridge. Others are hung up on.
    pub sources: Vec<IpNetwork>,
    /// The cluster's name.
    pub cluster: String,
    /// The instance.
    pub container_instance_arn: String,
}
