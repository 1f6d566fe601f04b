//! Task definitions, as RegisterTaskDefinition has them (reference 2.1–2.4): the part that ecsnet acts on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::ContainerName;

/// A task definition; its revision is given by the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDefinition {
    /// 1–255 letters, digits, `_`, `-`.
    pub family: String,
    /// CPU units of the whole task (1024 is one vCPU): a CFS quota over all its containers.
    pub cpu: Option<u32>,
    /// Memory of the whole task, MiB.
    pub memory: Option<u32>,
    /// At least one, at least one of them essential, names unique.
    pub container_definitions: Vec<ContainerDefinition>,
}

/// A container of a task definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDefinition {
    /// Unique in the task definition.
    pub name: ContainerName,
    /// Image reference, tag or digest.
    pub image: String,
    /// Whether its end is the task's end (2.9); default true.
    pub essential: bool,
    /// Replaces the image's.
    pub command: Option<Vec<String>>,
    /// Replaces the image's.
    pub entry_point: Option<Vec<String>>,
    /// Replaces the image's.
    pub working_directory: Option<String>,
    /// user, user:group, uid or uid:gid.
    pub user: Option<String>,
    /// In the order given; a later entry of the same name wins.
    pub environment: Vec<(String, String)>,
    /// CPU units; absent or 0 means 2 shares.
    pub cpu: u32,
    /// Hard limit, MiB.
    pub memory: Option<u32>,
    /// Soft limit, MiB.
    pub memory_reservation: Option<u32>,
    /// Ports that it serves.
    pub port_mappings: Vec<PortMapping>,
    /// What it waits for (2.4).
    pub depends_on: Vec<Dependency>,
    /// How its health is seen; the image's own check is ignored (2.3).
    pub health_check: Option<HealthCheck>,
    /// Seconds that dependents wait for it (2.4).
    pub start_timeout: Option<u32>,
    /// Seconds from SIGTERM to SIGKILL; default 30 (2.7).
    pub stop_timeout: Option<u32>,
    /// Whether its root file system is read only.
    pub readonly_root_filesystem: bool,
    /// Whether it gets a terminal.
    pub pseudo_terminal: bool,
    /// Whether its standard input is held open.
    pub interactive: bool,
    /// Whether Docker puts an init in front of it.
    pub init_process_enabled: bool,
    /// Capabilities beyond Docker's default.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken from Docker's default.
    pub capabilities_drop: Vec<String>,
    /// Limits by name, soft and hard.
    pub ulimits: Vec<Ulimit>,
    /// Labels of the user's.
    pub docker_labels: BTreeMap<String, String>,
}

/// A resource limit of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// Never above `hard_limit`.
    pub soft_limit: i64,
    /// The most that the container may raise it to.
    pub hard_limit: i64,
}

/// A port that a container serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The port inside the task.
    pub container_port: u16,
    /// On the instance; in awsvpc absent or equal to `container_port`.
    pub host_port: Option<u16>,
    /// TCP or UDP.
    pub protocol: TransportProtocol,
    /// Name, for Service Connect.
    pub name: Option<String>,
    /// http, http2 or grpc; absent means tcp.
    pub app_protocol: Option<String>,
}

/// Protocol of a port mapping; default tcp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A container waits for another one (2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The other one.
    pub container_name: ContainerName,
    /// What must have happened to it.
    pub condition: Condition,
}

/// Conditions of `dependsOn` (2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Condition {
    /// It has started, whether or not it still runs.
    Start,
    /// It has exited, with any code.
    Complete,
    /// It has exited with 0; any other end is final.
    Success,
    /// It passed its health check once.
    Healthy,
}

/// A container health check (2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// First element `CMD` or `CMD-SHELL`.
    pub command: Vec<String>,
    /// 5–300 s, default 30.
    pub interval: Duration,
    /// 2–60 s, default 5.
    pub timeout: Duration,
    /// 1–10, default 3.
    pub retries: u32,
    /// 0–300 s, default none.
    pub start_period: Duration,
}

impl TaskDefinition {
    /// The container of that name.
    pub fn container(&self, name: &ContainerName) -> Option<&ContainerDefinition> {
        self.container_definitions.iter().find(|c| &c.name == name)
    }

    /// Every port that the task serves, over all containers.
    pub fn port_mappings(&self) -> impl Iterator<Item = &PortMapping> {
        self.container_definitions.iter().flat_map(|c| &c.port_mappings)
    }
}
