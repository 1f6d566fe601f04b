//! Task definitions, as RegisterTaskDefinition has them (reference 2.1–2.4): the part that ecsnet acts on.

use std::collections::BTreeMap;
use std::time::Duration;

use netmodes::nft::Transport;
use serde::{Deserialize, Serialize};

use super::ids::ContainerName;
use super::volume::{MountPoint, Volume, VolumesFrom};

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
    /// What its containers may mount (2.5).
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// The role whose credentials its containers are given; without one they get none.
    #[serde(default)]
    pub task_role_arn: Option<String>,
    /// Whose processes its containers see; absent means each its own.
    #[serde(default)]
    pub pid_mode: Option<PidMode>,
    /// Whose shared memory, semaphores and queues its containers see; absent means each its own.
    #[serde(default)]
    pub ipc_mode: Option<IpcMode>,
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
    /// Where `environment` is from beside the definition; their variables are in it already, before its own.
    #[serde(default)]
    pub environment_files: Vec<String>,
    /// Variables whose values are elsewhere; over `environment` where both have a name.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Whether it is started again in place when it ends (2.9).
    #[serde(default)]
    pub restart_policy: Option<RestartPolicy>,
    /// Volumes of the task definition.
    #[serde(default)]
    pub mount_points: Vec<MountPoint>,
    /// Mounts of other containers.
    #[serde(default)]
    pub volumes_from: Vec<VolumesFrom>,
    /// All capabilities and devices of the host; never on Fargate.
    #[serde(default)]
    pub privileged: bool,
    /// `no-new-privileges`, `label:…`, `apparmor:…`.
    #[serde(default)]
    pub docker_security_options: Vec<String>,
    /// Kernel parameters, name and value; `net.*` holds for the whole task in awsvpc, and who starts last wins.
    #[serde(default)]
    pub system_controls: Vec<(String, String)>,
    /// Devices of the host.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Size of `/dev/shm`, MiB.
    #[serde(default)]
    pub shared_memory_size: Option<u32>,
    /// File systems in memory.
    #[serde(default)]
    pub tmpfs: Vec<Tmpfs>,
    /// Swap beyond `memory`, MiB; 0 for none.
    #[serde(default)]
    pub max_swap: Option<u32>,
    /// 0–100; without `max_swap` it means nothing.
    #[serde(default)]
    pub swappiness: Option<u32>,
    /// Options of `json-file`, the log that every container has here.
    #[serde(default)]
    pub log_options: BTreeMap<String, String>,
    /// Other containers of the task that it knows by name, in bridge mode (1.7).
    #[serde(default)]
    pub links: Vec<Link>,
    /// Its own name; not in awsvpc.
    #[serde(default)]
    pub hostname: Option<String>,
    /// More lines of its hosts file, name and address; not in awsvpc.
    #[serde(default)]
    pub extra_hosts: Vec<(String, String)>,
    /// Instead of the VPC's resolver; not in awsvpc.
    #[serde(default)]
    pub dns_servers: Vec<String>,
    /// Instead of the VPC's domain; not in awsvpc.
    #[serde(default)]
    pub dns_search_domains: Vec<String>,
    /// Whether it has loopback alone; not in awsvpc.
    #[serde(default)]
    pub disable_networking: bool,
    /// The stack file puts our own binary in its place, which does nothing and is healthy.
    #[serde(default)]
    pub stub: bool,
}

/// `pidMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PidMode {
    /// The host's processes.
    Host,
    /// Those of all containers of the task.
    Task,
}

/// `ipcMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcMode {
    /// The host's.
    Host,
    /// One for all containers of the task.
    Task,
    /// Each its own, without `/dev/shm`.
    None,
}

/// A variable whose value stands outside of the definition. The value itself is never part of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// The variable.
    pub name: String,
    /// Name or ARN of an SSM parameter, or the ARN of a secret of Secrets Manager, also with `:json-key:stage:version`.
    pub value_from: String,
}

/// `restartPolicy` (2.9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartPolicy {
    /// Whether it is in force.
    pub enabled: bool,
    /// Ends with these codes are final; at most 50.
    pub ignored_exit_codes: Vec<i64>,
    /// A run shorter than this is final; 60–1800 s, default 300.
    pub restart_attempt_period: Duration,
}

/// A device of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Absolute.
    pub host_path: String,
    /// Absolute; the host's when absent.
    pub container_path: Option<String>,
    /// Any of `read`, `write`, `mknod`; all of them when empty.
    pub permissions: Vec<String>,
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tmpfs {
    /// Absolute.
    pub container_path: String,
    /// MiB.
    pub size: u32,
    /// `noexec`, `mode=1777`, …
    pub mount_options: Vec<String>,
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
    /// The port inside the task; the first one of a `containerPortRange`.
    pub container_port: u16,
    /// The last one of a `containerPortRange`.
    #[serde(default)]
    pub last_container_port: Option<u16>,
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

impl PortMapping {
    /// How many ports follow one another: 1 but for a range.
    pub fn count(&self) -> u16 {
        self.last_container_port.map_or(1, |last| last.saturating_sub(self.container_port).saturating_add(1))
    }
}

/// `links`: another container of the task under one name more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The other one.
    pub container_name: ContainerName,
    /// What it is called beside its own name.
    pub alias: Option<String>,
}

impl TransportProtocol {
    /// As ECS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl From<TransportProtocol> for Transport {
    fn from(protocol: TransportProtocol) -> Self {
        match protocol {
            TransportProtocol::Tcp => Self::Tcp,
            TransportProtocol::Udp => Self::Udp,
        }
    }
}

impl From<Transport> for TransportProtocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
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
