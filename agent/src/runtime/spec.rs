//! What a container is made of: a value that `plan` writes and `create.rs` turns into Docker's own words.
//!
//! The value is complete (nothing is chosen later), so its hash is the container's identity: a container whose
//! `ecsnet.spec` label has the same hash is the one that was asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::labels::{self, Role};

/// Docker's id of a container: 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Everything that Docker needs to make one container. Restart is always Docker's `no`: the plan brings things back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The name in Docker, see [`super::names`].
    pub name: String,
    /// Image reference; it must be on this machine already.
    pub image: String,
    /// What the container is for.
    pub role: Role,
    /// Labels of ours, see [`super::labels`]. They win over `docker_labels`.
    pub labels: BTreeMap<String, String>,
    /// The user's own `dockerLabels`.
    pub docker_labels: BTreeMap<String, String>,
    /// Which network namespace it lives in.
    pub network: Network,
    /// Host name; refused by Docker in a joined namespace.
    pub hostname: Option<String>,
    /// Name servers of `/etc/resolv.conf`; refused by Docker in a joined namespace.
    pub dns: Vec<IpAddr>,
    /// Search domains of `/etc/resolv.conf`; refused by Docker in a joined namespace.
    pub dns_search: Vec<String>,
    /// Lines of `/etc/hosts`; refused by Docker in a joined namespace.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Arguments; `None` leaves the image's.
    pub command: Option<Vec<String>>,
    /// What is run; `None` leaves the image's.
    pub entry_point: Option<Vec<String>>,
    /// Working directory; `None` leaves the image's.
    pub working_directory: Option<String>,
    /// Environment, in order.
    pub environment: Vec<(String, String)>,
    /// `user`, `user:group`, `uid` or `uid:gid`; `None` leaves the image's.
    pub user: Option<String>,
    /// Relative CPU weight (cgroup v1 shares, at least 2).
    pub cpu_shares: Option<i64>,
    /// Processor time in each 100 ms, in µs.
    pub cpu_quota_us: Option<i64>,
    /// Hard memory limit.
    pub memory_mib: Option<i64>,
    /// Soft memory limit.
    pub memory_reservation_mib: Option<i64>,
    /// Parent cgroup, see [`super::cgroup`].
    pub cgroup_parent: Option<String>,
    /// The task definition's health check. `None` switches the image's own off, as ECS ignores it (reference 2.3).
    pub health_check: Option<HealthCheck>,
    /// Seconds from SIGTERM to SIGKILL when Docker stops the container by itself.
    pub stop_timeout: Option<u32>,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// A pseudo terminal (`pseudoTerminal`).
    pub tty: bool,
    /// Standard input stays open (`interactive`).
    pub interactive: bool,
    /// All capabilities and devices of the host.
    pub privileged: bool,
    /// A small init as process 1 (`initProcessEnabled`).
    pub init: bool,
    /// Directories and volumes.
    pub mounts: Vec<Mount>,
    /// Capabilities to add, as `NET_ADMIN`.
    pub cap_add: Vec<String>,
    /// Capabilities to take away.
    pub cap_drop: Vec<String>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's namespaces (`systemControls`).
    pub sysctls: BTreeMap<String, String>,
    /// How much of the output Docker keeps.
    pub log_files: LogFiles,
    /// `dockerSecurityOptions`.
    pub security_options: Vec<String>,
    /// `host` for the process namespace of the host, `container:NAME` for another container's; `None` for one of its own.
    pub pid_mode: Option<String>,
    /// `host`, `none`, `shareable`, or `container:NAME`; `None` for one of its own that nobody can join.
    pub ipc_mode: Option<String>,
    /// Variables whose values are not here: what they are called and what the definition calls their source. The values
    /// are brought when the container is created, so that they are in no hash, no label and no log.
    pub secrets: Vec<(String, String)>,
    /// Containers whose mounts it has too: Docker's name, and whether it may not write to them.
    pub volumes_from: Vec<(String, bool)>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Size of `/dev/shm`.
    pub shared_memory_mib: Option<i64>,
    /// File systems in memory: path, and options as `mount` takes them.
    pub tmpfs: BTreeMap<String, String>,
    /// Memory and swap together.
    pub memory_swap_mib: Option<i64>,
    /// How willingly the kernel swaps it out, 0–100.
    pub swappiness: Option<i64>,
}

impl ContainerSpec {
    /// A container of `image` under `name` with loopback only and nothing else set.
    pub fn new(name: impl Into<String>, image: impl Into<String>, role: Role) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            role,
            labels: BTreeMap::new(),
            docker_labels: BTreeMap::new(),
            network: Network::None,
            hostname: None,
            dns: Vec::new(),
            dns_search: Vec::new(),
            extra_hosts: Vec::new(),
            command: None,
            entry_point: None,
            working_directory: None,
            environment: Vec::new(),
            user: None,
            cpu_shares: None,
            cpu_quota_us: None,
            memory_mib: None,
            memory_reservation_mib: None,
            cgroup_parent: None,
            health_check: None,
            stop_timeout: None,
            read_only: false,
            tty: false,
            interactive: false,
            privileged: false,
            init: false,
            mounts: Vec::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            ulimits: Vec::new(),
            sysctls: BTreeMap::new(),
            log_files: LogFiles::default(),
            security_options: Vec::new(),
            pid_mode: None,
            ipc_mode: None,
            secrets: Vec::new(),
            volumes_from: Vec::new(),
            devices: Vec::new(),
            shared_memory_mib: None,
            tmpfs: BTreeMap::new(),
            memory_swap_mib: None,
            swappiness: None,
        }
    }

    /// The hash that the label `ecsnet.spec` carries: 32 hex digits over all fields that say something.
    ///
    /// What is empty, absent or off is left out, so a later version with more fields gives the same hash for the
    /// same container and adopts it.
    pub fn hash(&self) -> String {
        let text = serde_json::to_value(self).map(|v| without_defaults(v).to_string()).unwrap_or_default();
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// All labels as Docker gets them: the user's, ours over them, role and hash over all.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut all = self.docker_labels.clone();
        all.extend(self.labels.clone());
        all.insert(labels::ROLE.to_owned(), self.role.as_str().to_owned());
        all.insert(labels::SPEC.to_owned(), self.hash());
        all
    }
}

/// Drops the entries of objects that hold nothing: null, false, empty text, list or object.
fn without_defaults(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, without_defaults(value)))
                .filter(|(_, value)| match value {
                    Value::Null | Value::Bool(false) => false,
                    Value::Array(items) => !items.is_empty(),
                    Value::Object(fields) => !fields.is_empty(),
                    _ => true,
                })
                .collect(),
        ),
        other => other,
    }
}

/// Which network namespace a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Network {
    /// One of its own with loopback only; the agent fills it.
    None,
    /// One of its own on Docker's bridge: the VPC's holder with `internet: true` (pitfall 4).
    DockerBridge,
    /// The host's: the agent's own container.
    Host,
    /// That of another container, by id or name.
    JoinContainer(String),
}

/// A health check as Docker runs it (reference 2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// First element `CMD` or `CMD-SHELL` (`NONE` switches it off).
    pub command: Vec<String>,
    /// From one check's end to the next check's start.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
    /// Time after the start in which failures do not count; zero for none.
    pub start_period: Duration,
}

/// A directory of the host, or a volume of Docker's, inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute host path, or the name of a volume, which Docker makes when it is absent.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// The container cannot write to it.
    pub read_only: bool,
    /// Docker makes a host path that is absent, as a directory; else the container is refused.
    pub make_source: bool,
    /// How the volume is made when it is absent.
    pub volume: Option<NewVolume>,
}

impl Mount {
    /// A path or volume that is there already.
    pub fn new(source: impl Into<String>, target: impl Into<String>, read_only: bool) -> Self {
        Self { source: source.into(), target: target.into(), read_only, make_source: false, volume: None }
    }
}

/// A volume as Docker makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVolume {
    /// Whether Docker may make it; else it has to be there.
    pub make: bool,
    /// Docker's `local` when absent.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A device of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host_path: String,
    /// Path in the container.
    pub container_path: String,
    /// Of `rwm`.
    pub permissions: String,
}

/// One resource limit, named as in ECS (`nofile`, …).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name.
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// Docker's `json-file` log: how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    /// Size of one file in MiB.
    pub size_mib: u32,
    /// Number of files.
    pub files: u32,
}

impl Default for LogFiles {
    /// Three files of 10 MiB: a task that talks without end does not fill the disk.
    fn default() -> Self {
        Self { size_mib: 10, files: 3 }
    }
}

/// Which of a process's two outputs bytes came from. A terminal has one only, shown as standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_what_is_said_and_nothing_else() {
        let spec = ContainerSpec::new("a", "image:1", Role::App);
        let same: ContainerSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec, same);
        assert_eq!(spec.hash(), same.hash());
        assert_eq!(spec.hash().len(), 32);
        let tty = ContainerSpec { tty: true, ..spec.clone() };
        assert_ne!(spec.hash(), tty.hash());
        let empty_command = ContainerSpec { command: Some(vec![String::new()]), ..spec.clone() };
        assert_ne!(spec.hash(), empty_command.hash());
    }

    #[test]
    fn our_labels_win_over_the_user_s() {
        let mut spec = ContainerSpec::new("a", "image:1", Role::App);
        spec.docker_labels.insert(labels::OWNER.to_owned(), "somebody".to_owned());
        spec.docker_labels.insert(labels::ROLE.to_owned(), "vpc".to_owned());
        spec.docker_labels.insert("team".to_owned(), "shop".to_owned());
        spec.labels.insert(labels::OWNER.to_owned(), "default".to_owned());
        let all = spec.all_labels();
        assert_eq!(all[labels::OWNER], "default");
        assert_eq!(all[labels::ROLE], "app");
        assert_eq!(all["team"], "shop");
    }
}
