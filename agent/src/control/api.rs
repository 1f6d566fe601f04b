//! What goes over the control socket: requests, answers and their shapes, shared by the agent and the CLI.
//!
//! Listings have AWS's own shapes (DescribeTasks, DescribeServices) with what AWS has no field for under `ecsnet`.
//! Streams are one JSON value a line. An error is an [`ErrorReply`] with status 4xx or 5xx.
//!
//! | request | answer |
//! |---|---|
//! | `GET /version` | [`Version`] |
//! | `POST /shutdown` | nothing; the agent ends, what runs goes on |
//! | `POST /up` [`UpRequest`] | [`UpReply`] |
//! | `POST /plan` [`UpRequest`] | [`UpReply`], nothing is changed |
//! | `POST /down?stack=NAME` | nothing; `/progress` tells when it is gone |
//! | `GET /stacks` | list of [`StackSummary`] |
//! | `GET /progress?stack=NAME` | stream of [`Progress`], one at once and one after each change, ending when the stack is gone |
//! | `GET /tasks?stack=NAME` | [`Tasks`]; without `stack`, of all stacks |
//! | `GET /tasks/watch?stack=NAME` | stream of [`Tasks`], one at once and one after each change |
//! | `GET /services?stack=NAME` | [`Services`] |
//! | `GET /events?stack=NAME&follow=true` | stream of [`ServiceEvent`], oldest first |
//! | `GET /target?target=T` | list of [`Target`]: the tasks that it names |
//! | `GET /logs?target=T&follow=true&tail=N` | stream of [`LogLine`] |
//! | `GET /forward?target=T&port=N` | 101, then the bytes of a TCP connection to that port of the task ([`FORWARD_PROTOCOL`]) |
//! | `POST /stop` [`StopRequest`] | [`TaskView`] |
//! | `POST /scale` [`ScaleRequest`] | nothing |
//! | `GET /instances?stack=NAME` | [`ContainerInstances`]; without `stack`, of all stacks |
//! | `POST /instance` [`InstanceRequest`] | the instance, as [`ContainerInstances`] has it |
//! | `GET /inspect?kind=K&id=I` | a JSON object; kinds: task, service, instance, eni, subnet, security-group, stack |
//! | `POST /dig` [`DigRequest`] | [`DigReply`] |

use std::collections::BTreeMap;
use std::net::IpAddr;

use netmodes::ids::NetworkMode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::runtime::Credentials;
use crate::secret::SecretValue;
use crate::spec::stack::Stack;

/// What `/forward` is upgraded to.
pub const FORWARD_PROTOCOL: &str = "ecsnet-tcp";

/// Who answers on the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The package's version.
    pub version: String,
    /// First 12 hex digits of the SHA-256 of its binary: tells two builds of one version apart.
    pub build: String,
    /// Its process.
    pub pid: u32,
    /// The mark on everything that it owns in Docker.
    pub owner: String,
    /// Where its state is.
    pub data_dir: String,
    /// Docker's name of its container; `None` for one that runs as a process of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReply {
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit code that it means: 1 it failed, 2 the input is wrong, 3 the machine lacks something.
    pub exit_code: u8,
}

/// Start or change a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpRequest {
    /// All of it; what it does not name any more goes.
    pub stack: Stack,
    /// Values of the secrets that its task definitions name, by `valueFrom`.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretValue>,
    /// The caller's credentials for the registries of its images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credentials>,
}

/// What `up` changed, or `plan` would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpReply {
    /// One line a change, in the order in which they take effect; empty when nothing differs.
    pub changes: Vec<ChangeLine>,
    /// What the stack asks for and ecsnet does not enforce.
    pub notes: Vec<String>,
}

/// One difference between what runs and what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeLine {
    /// `+` made, `~` changed, `-` removed.
    pub sign: char,
    /// For example `service web` or `security group orders`.
    pub what: String,
    /// For example `desiredCount 2 → 3`; empty where the sign says it all.
    pub detail: String,
}

/// A stack in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackSummary {
    /// Its name.
    pub name: String,
    /// `ACTIVE`, or `DELETING` after `down`.
    pub status: String,
    /// Tasks that are not STOPPED.
    pub tasks: u32,
}

/// Where a stack stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Whether every service is steady (reference 3.9) and the network is built.
    pub steady: bool,
    /// Whether the stack is on its way out.
    pub deleting: bool,
    /// Whether a service has given up (circuit breaker): `up` fails with its events.
    pub failed: Option<String>,
    /// What stands in the way, one line each, with since when; for example
    /// `service web: task 1a2b3c4d: CannotPullContainerError: …`.
    pub waiting: Vec<String>,
    /// Tasks that are not STOPPED, and those that stopped since the last `up`.
    pub tasks: Vec<TaskView>,
    /// Services.
    pub services: Vec<ServiceView>,
    /// Images being pulled: reference and where it stands.
    pub pulls: Vec<(String, String)>,
}

/// `{"tasks": […]}` as of DescribeTasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    /// Newest last.
    pub tasks: Vec<TaskView>,
}

/// `{"services": […]}` as of DescribeServices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// By name.
    pub services: Vec<ServiceView>,
}

/// A task as DescribeTasks shows it (reference 2.11).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// `arn:aws:ecs:…:task/CLUSTER/ID`.
    pub task_arn: String,
    /// `arn:aws:ecs:…:cluster/NAME`.
    pub cluster_arn: String,
    /// With revision.
    pub task_definition_arn: String,
    /// `service:NAME`.
    pub group: String,
    /// The deployment's id.
    pub started_by: String,
    /// FARGATE or EC2.
    pub launch_type: String,
    /// The zone of its subnet.
    pub availability_zone: String,
    /// RUNNING or STOPPED.
    pub desired_status: String,
    /// PROVISIONING … STOPPED (2.8).
    pub last_status: String,
    /// HEALTHY, UNHEALTHY or UNKNOWN (2.3).
    pub health_status: String,
    /// Its ENI.
    pub attachments: Vec<Value>,
    /// The container instance that it is on; absent on Fargate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container_instance_arn: Option<String>,
    /// Its containers, as DescribeTasks shows them: `name`, `image`, `lastStatus`, `exitCode`, `reason`, `healthStatus`, …
    pub containers: Vec<Value>,
    /// CPU units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Why it stopped (2.10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_code: Option<String>,
    /// Why it stopped, in words (2.10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_reason: Option<String>,
    /// RFC 3339, as are all times.
    pub created_at: String,
    /// When all its containers had started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was told to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping_at: Option<String>,
    /// When nothing of it was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<String>,
    /// `CONNECTED` once its network was there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connectivity: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connectivity_at: Option<String>,
    /// When its images began to be had.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pull_started_at: Option<String>,
    /// When all its images were there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pull_stopped_at: Option<String>,
    /// When an essential container had ended, or the last of all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub execution_stopped_at: Option<String>,
    /// Grows with each change.
    pub version: u64,
    /// What AWS has no field for.
    pub ecsnet: TaskExtra,
}

/// What AWS has no field for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskExtra {
    /// Its stack.
    pub stack: String,
    /// Its service.
    pub service: String,
    /// The task's id alone.
    pub task_id: String,
    /// The zone of its subnet.
    pub zone: String,
    /// `awsvpc`, `bridge`, `host` or `none`.
    pub network_mode: String,
    /// Its address; absent once it is STOPPED and the address is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Names of the groups on its ENI.
    pub security_groups: Vec<String>,
    /// Host ports, in bridge mode.
    pub host_ports: Vec<u16>,
    /// `/proc/<pid>/ns/net` of its holder; absent while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// What it waits for, when it is not where it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// A service as DescribeServices shows it (reference 3.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// `arn:aws:ecs:…:service/CLUSTER/NAME`.
    pub service_arn: String,
    /// Its name.
    pub service_name: String,
    /// Its cluster.
    pub cluster_arn: String,
    /// ACTIVE, DRAINING.
    pub status: String,
    /// How many there should be.
    pub desired_count: u32,
    /// RUNNING tasks.
    pub running_count: u32,
    /// Tasks on their way up.
    pub pending_count: u32,
    /// FARGATE or EC2.
    pub launch_type: String,
    /// With revision.
    pub task_definition: String,
    /// `deployments` of DescribeServices, PRIMARY first.
    pub deployments: Vec<Value>,
    /// Newest first, 100 at most: `id`, `createdAt`, `message`.
    pub events: Vec<Value>,
    /// What AWS has no field for: `stack`, `steady`, `dnsName`, `securityGroups`.
    pub ecsnet: Value,
}

/// One line of `ecsnet events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEvent {
    /// Its stack.
    pub stack: String,
    /// Its service; empty for what concerns the stack.
    pub service: String,
    /// UUID.
    pub id: String,
    /// RFC 3339.
    pub created_at: String,
    /// In ECS's words where ECS has them (3.8).
    pub message: String,
}

/// A task that a TARGET names, with what `exec` and `run` need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its stack.
    pub stack: String,
    /// Its service.
    pub service: String,
    /// Its id.
    pub task_id: String,
    /// PROVISIONING … STOPPED.
    pub last_status: String,
    /// Its ENI's address.
    pub address: Option<IpAddr>,
    /// Its network mode.
    pub network_mode: NetworkMode,
    /// Its containers in the order of the task definition, with their Docker names; the essential ones say so.
    pub containers: Vec<TargetContainer>,
    /// The holder of its network namespace.
    pub holder: Option<Holder>,
}

/// A container of a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetContainer {
    /// Name in the task definition.
    pub name: String,
    /// Name in Docker.
    pub docker_name: String,
    /// Whether its end is the task's.
    pub essential: bool,
    /// Whether it runs now.
    pub running: bool,
    /// The holder of the network namespace that it is in.
    pub holder: Option<Holder>,
}

/// What holds a task's network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Its name in Docker.
    pub docker_name: String,
    /// Its process, in the host's pid namespace.
    pub pid: i32,
    /// The task's `/etc/hosts`, on the host.
    pub hosts_path: String,
    /// The task's `/etc/resolv.conf`, on the host.
    pub resolv_conf_path: String,
}

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// The task.
    pub task_id: String,
    /// Its service.
    pub service: String,
    /// The container.
    pub container: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// RFC 3339.
    pub time: String,
    /// Without the line's end; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// A line of `flow-log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FlowLogLine {
    /// What happens from now on will be seen.
    #[serde(rename_all = "camelCase")]
    Started {
        /// How long one window takes.
        seconds: u64,
    },
    /// A record.
    #[serde(rename_all = "camelCase")]
    Record {
        /// In the default format of version 2.
        line: String,
    },
}

/// StopTask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopRequest {
    /// A TARGET that names one task.
    pub target: String,
    /// Replaces "Task stopped by user".
    pub reason: Option<String>,
}

/// `{"containerInstances": […]}` as of DescribeContainerInstances, with what AWS has no field for under `ecsnet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerInstances {
    /// By stack and id.
    pub container_instances: Vec<Value>,
}

/// UpdateContainerInstancesState, StopInstances, StartInstances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRequest {
    /// The container instance's id or its first characters, its EC2 id or its address.
    pub target: String,
    /// What becomes of it.
    pub action: InstanceAction,
}

/// What becomes of a container instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceAction {
    /// No task is placed on it any more, and those of services move away.
    Drain,
    /// It is switched off, with all that is on it.
    Stop,
    /// It runs, and tasks are placed on it: undoes both.
    Start,
}

/// UpdateService with a desiredCount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleRequest {
    /// `SERVICE` or `STACK/SERVICE`, and the count; all or none are done.
    pub counts: Vec<(String, u32)>,
}

/// A question for a stack's resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigRequest {
    /// The stack; where there is one only, it may be left out.
    pub stack: Option<String>,
    /// A name, with or without the final dot; an address for a reverse look-up.
    pub name: String,
    /// `A`, `AAAA`, `SRV`, `PTR`, `SOA`, …; default `A` (`PTR` for an address).
    pub record_type: Option<String>,
    /// Ask from inside that task, over its network; without it the resolver is asked over its own socket.
    pub from: Option<String>,
}

/// What the resolver answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigReply {
    /// The name that was asked for.
    pub name: String,
    /// The type that was asked for.
    pub record_type: String,
    /// NOERROR, NXDOMAIN, SERVFAIL, REFUSED, …
    pub status: String,
    /// `NAME TTL IN TYPE DATA`, in the order of the answer.
    pub answers: Vec<String>,
    /// The SOA of a negative answer.
    pub authorities: Vec<String>,
    /// Which resolver was asked, and from where, for people.
    pub server: String,
    /// Microseconds.
    pub microseconds: u64,
}
