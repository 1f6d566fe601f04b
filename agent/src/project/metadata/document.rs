//! The task and container documents of the metadata endpoint (reference 9.2, 9.3), spelled as ECS spells them.
//!
//! Of version 4; what versions 3 and 2 show is less ([`TaskDocument::to_v3`]). Values are made by the projection, which
//! alone knows where they come from. A field that is empty is left out, as ECS does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::spec::service::LaunchType;

/// What a task is told of itself (9.2). Times are printed as RFC 3339 in UTC, with nanoseconds as far as they are not zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TaskDocument {
    /// The cluster's ARN on Fargate, its name on EC2.
    pub cluster: String,
    /// The task's ARN.
    #[serde(rename = "TaskARN")]
    pub task_arn: String,
    /// Of its task definition.
    pub family: String,
    /// Of its task definition; a string.
    pub revision: String,
    /// Empty for a task outside a service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// `service:NAME` or `family:FAMILY`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// RUNNING or STOPPED.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub desired_status: String,
    /// Where it is, as `lastStatus` says.
    pub known_status: String,
    /// Its containers; on EC2 in awsvpc mode the pause too, with [`ContainerType::CniPause`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerDocument>,
    /// What is set at the task's level; none without either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TaskLimits>,
    /// When its first image began to be pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_started_at: Option<Timestamp>,
    /// When its last image was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_stopped_at: Option<Timestamp>,
    /// When an essential container ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_stopped_at: Option<Timestamp>,
    /// For example `us-east-1a`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub availability_zone: String,
    /// For example `use1-az1`.
    #[serde(rename = "AvailabilityZoneID", default, skip_serializing_if = "String::is_empty")]
    pub availability_zone_id: String,
    /// Of version 4 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<LaunchType>,
    /// Of version 4 only, for example `vpc-0123456789abcdef0`.
    #[serde(rename = "VPCID", default, skip_serializing_if = "String::is_empty")]
    pub vpc_id: String,
    /// On Fargate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_drift: Option<ClockDrift>,
    /// On Fargate.
    #[serde(rename = "EphemeralStorageMetrics", default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<EphemeralStorage>,
    /// Always there in version 4.
    #[serde(default)]
    pub fault_injection_enabled: bool,
}

/// The limits of a task, or of a container in versions 2 to 4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskLimits {
    /// vCPU, for example 0.25.
    #[serde(rename = "CPU", default, skip_serializing_if = "Option::is_none", serialize_with = "as_short_number")]
    pub cpu: Option<f64>,
    /// MiB.
    #[serde(rename = "Memory", default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// A whole number without a fraction, as ECS prints it: `1`, not `1.0`.
// Serde hands fields over by reference.
#[allow(clippy::ref_option)]
fn as_short_number<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        None => serializer.serialize_none(),
        // In this range every whole f64 is a u32.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(n) if n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(n) => serializer.serialize_u32(*n as u32),
        Some(n) => serializer.serialize_f64(*n),
    }
}

/// How well the clock is kept (9.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ClockDrift {
    /// Milliseconds.
    pub clock_error_bound: f64,
    /// When that was known.
    pub reference_timestamp: Timestamp,
    /// SYNCHRONIZED or `NOT_SYNCHRONIZED`.
    pub clock_synchronization_status: String,
}

/// MiB of the task's own storage (9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EphemeralStorage {
    /// In use.
    pub utilized: u64,
    /// What there is.
    pub reserved: u64,
}

/// What a container is told of itself (9.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ContainerDocument {
    /// Docker's id. Empty before it is created.
    pub docker_id: String,
    /// In the task definition.
    pub name: String,
    /// Docker's name, without a slash.
    pub docker_name: String,
    /// As the task definition has it.
    pub image: String,
    /// `sha256:…`.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// The port mappings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortDocument>,
    /// The five of ECS (1.9) and the task definition's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// RUNNING or STOPPED.
    pub desired_status: String,
    /// For example PULLED, RUNNING, STOPPED.
    pub known_status: String,
    /// Of an ended container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Always there.
    pub limits: ContainerLimits,
    /// When Docker made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What it is for.
    #[serde(rename = "Type")]
    pub kind: ContainerType,
    /// None without a health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ContainerHealth>,
    /// What is mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeDocument>,
    /// Of version 4 only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_driver: String,
    /// Of version 4 only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub log_options: BTreeMap<String, String>,
    /// Of version 4 only: `arn:aws:ecs:R:A:container/CLUSTER/TASKID/UUID`.
    #[serde(rename = "ContainerARN", default, skip_serializing_if = "String::is_empty")]
    pub container_arn: String,
    /// One in every mode but `none`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkDocument>,
    /// On Fargate.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub snapshotter: String,
    /// None without a restart policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<u64>,
}

/// What a container is for (9.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContainerType {
    /// One of the task definition's.
    #[default]
    Normal,
    /// Holds an awsvpc task's network.
    CniPause,
    /// Holds a task's processes or memory.
    NamespacePause,
    /// Old: a volume without a host path.
    EmptyHostVolume,
    /// AWS's own beside a task.
    ManagedDaemon,
}

/// The limits of a container (9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerLimits {
    /// CPU units, 1024 to a vCPU; 2 at least.
    #[serde(rename = "CPU")]
    pub cpu: u32,
    /// MiB.
    #[serde(rename = "Memory", default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

impl Default for ContainerLimits {
    fn default() -> Self {
        Self::new(0, None)
    }
}

impl ContainerLimits {
    /// Of `cpu` units, raised to the least that Linux knows (9.3), and `memory` MiB.
    pub fn new(cpu: u32, memory: Option<u64>) -> Self {
        Self { cpu: cpu.max(2), memory }
    }
}

/// A port mapping (9.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PortDocument {
    /// In the container.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Of the instance in bridge mode; `container_port` in awsvpc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// In bridge mode, `0.0.0.0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// A container's health (9.3); its keys begin in lower case, unlike all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerHealth {
    /// HEALTHY, UNHEALTHY or UNKNOWN.
    pub status: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_since: Option<Timestamp>,
    /// Of the last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Of the last check.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// What is mounted into a container (9.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct VolumeDocument {
    /// Docker's name of a volume.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docker_name: String,
    /// On the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// In the container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub destination: String,
}

/// A container's network (9.3). Bridge and host mode have the first three fields only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct NetworkDocument {
    /// `awsvpc`, `bridge`, `host`.
    pub network_mode: String,
    /// The ENI's, or Docker's.
    #[serde(rename = "IPv4Addresses", default, skip_serializing_if = "Vec::is_empty")]
    pub ipv4_addresses: Vec<String>,
    /// The ENI's, or Docker's.
    #[serde(rename = "IPv6Addresses", default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_addresses: Vec<String>,
    /// 0 in awsvpc mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment_index: Option<u32>,
    /// The ENI's.
    #[serde(rename = "MACAddress", default, skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// For example `10.0.2.0/24`.
    #[serde(rename = "IPv4SubnetCIDRBlock", default, skip_serializing_if = "String::is_empty")]
    pub ipv4_subnet_cidr_block: String,
    /// For example `fd00:1::/64`.
    #[serde(rename = "IPv6SubnetCIDRBlock", default, skip_serializing_if = "String::is_empty")]
    pub ipv6_subnet_cidr_block: String,
    /// The VPC's base + 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain_name_servers: Vec<String>,
    /// For example `ec2.internal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain_name_search_list: Vec<String>,
    /// `ip-10-0-2-106.ec2.internal`.
    #[serde(rename = "PrivateDNSName", default, skip_serializing_if = "String::is_empty")]
    pub private_dns_name: String,
    /// The subnet's base + 1 with the prefix length: `10.0.2.1/24`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subnet_gateway_ipv4_address: String,
    /// With the prefix length.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subnet_gateway_ipv6_address: String,
}

/// What a task's document has in version 4 alone.
const TASK_V4: [&str; 8] = [
    "ServiceName",
    "Group",
    "AvailabilityZoneID",
    "LaunchType",
    "VPCID",
    "ClockDrift",
    "EphemeralStorageMetrics",
    "FaultInjectionEnabled",
];
/// What a container's document has in version 4 alone.
const CONTAINER_V4: [&str; 4] = ["LogDriver", "LogOptions", "ContainerARN", "Snapshotter"];

impl TaskDocument {
    /// As versions 3 and 2 show it, but for the containers.
    pub fn to_v3(&self) -> Map<String, Value> {
        let mut fields = object_of(&Self { containers: Vec::new(), ..self.clone() });
        for field in TASK_V4 {
            fields.shift_remove(field);
        }
        if !self.containers.is_empty() {
            let containers = self.containers.iter().map(|c| Value::Object(c.to_v3())).collect();
            fields.insert("Containers".to_owned(), Value::Array(containers));
        }
        fields
    }
}

impl ContainerDocument {
    /// As versions 3 and 2 show it: of a network, mode and addresses (9.3).
    pub fn to_v3(&self) -> Map<String, Value> {
        let networks = self.networks.iter().map(|network| NetworkDocument {
            network_mode: network.network_mode.clone(),
            ipv4_addresses: network.ipv4_addresses.clone(),
            ipv6_addresses: network.ipv6_addresses.clone(),
            ..NetworkDocument::default()
        });
        let mut fields = object_of(&Self { networks: networks.collect(), ..self.clone() });
        for field in CONTAINER_V4 {
            fields.shift_remove(field);
        }
        fields
    }
}

/// A document's fields; there is no way for these types not to be an object.
pub(crate) fn object_of(document: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(document) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}
