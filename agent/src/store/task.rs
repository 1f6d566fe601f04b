//! A task's record: from the decision to start it until an hour after its end (reference 2.8, 2.10).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spec::ids::{ContainerName, DeploymentId, GroupName, InstanceId, ServiceName, SubnetName, TaskId};
use crate::spec::service::LaunchType;
use crate::spec::task_definition::{TaskDefinition, TransportProtocol};
use netmodes::bridge::Attachment;
use netmodes::ids::NetworkMode;
use netmodes::vpc::eni::Eni;

/// `lastStatus` of a task, in order (2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    /// Its network is being made.
    Provisioning,
    /// Images and containers.
    Pending,
    /// Containers run, the registry does not know it yet.
    Activating,
    /// In service.
    Running,
    /// Leaving the registry.
    Deactivating,
    /// Containers are being told to stop.
    Stopping,
    /// Its network is being removed.
    Deprovisioning,
    /// Over; nothing of it is left but this record.
    Stopped,
}

impl TaskStatus {
    /// As ECS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// A task, from the decision to start it until an hour after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// 32 hex digits.
    pub id: TaskId,
    /// Its service.
    pub service: ServiceName,
    /// The deployment that it belongs to.
    pub deployment: DeploymentId,
    /// Of its task definition.
    pub revision: u32,
    /// What it is made from.
    pub definition: TaskDefinition,
    /// Where it runs.
    pub availability_zone: String,
    /// FARGATE or EC2.
    #[serde(default = "fargate")]
    pub launch_type: LaunchType,
    /// The container instance that it was placed on; absent on Fargate, and in awsvpc where nobody asked for instances.
    #[serde(default)]
    pub instance: Option<InstanceId>,
    /// How its containers are attached, with what was leased for it.
    pub network: TaskNetwork,
    /// By container: the part of its metadata paths that nobody can guess (2.6).
    #[serde(default)]
    pub endpoints: BTreeMap<ContainerName, String>,
    /// The part of its credentials path that nobody can guess.
    #[serde(default)]
    pub credentials_id: String,
    /// Until when scale in and deployments leave it alone (3.11).
    #[serde(default)]
    pub protected_until: Option<Timestamp>,
    /// Whether its service has a registry that it is entered in.
    pub registers: bool,
    /// Where it is.
    pub status: TaskStatus,
    /// Why and when it was told to stop; while absent, `desiredStatus` is RUNNING.
    pub stop: Option<Stop>,
    /// What is known of its containers beyond what Docker tells.
    pub containers: BTreeMap<ContainerName, ContainerRecord>,
    /// Whether it was ever RUNNING.
    pub ran: bool,
    /// Whether its essential checks have ever all passed.
    pub was_healthy: bool,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// When all its containers had started.
    pub started_at: Option<Timestamp>,
    /// When nothing of it was left.
    pub stopped_at: Option<Timestamp>,
    /// When it passed other points.
    #[serde(default)]
    pub times: Times,
    /// Grows with each change.
    pub version: u64,
}

/// The points of a task's life that its status does not tell (2.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Its network was there.
    pub connectivity_at: Option<Timestamp>,
    /// Its images began to be had.
    pub pull_started_at: Option<Timestamp>,
    /// All its images were there.
    pub pull_stopped_at: Option<Timestamp>,
    /// An essential container had ended, or the last of all.
    pub execution_stopped_at: Option<Timestamp>,
}

/// What a task was on before its record said so; it shows nowhere but in `ps`.
fn fargate() -> LaunchType {
    LaunchType::Fargate
}

/// What a task has of the network, by its mode (reference 1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum TaskNetwork {
    /// A netns and an ENI of its own.
    Awsvpc(Attached),
    /// Each container behind its instance's bridge.
    Bridge {
        /// By container; one with `disableNetworking` has none.
        attachments: BTreeMap<ContainerName, Attachment>,
        /// In the order of the port mappings.
        bindings: Vec<PortBinding>,
    },
    /// In its instance's netns.
    Host {
        /// Host ports are container ports.
        bindings: Vec<PortBinding>,
    },
    /// Loopback only.
    None,
}

/// An ENI with its lease, and how it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The network interface; the lease of its address.
    pub eni: Eni,
    /// Its subnet's name.
    pub subnet: SubnetName,
    /// UUID of the attachment (1.6).
    pub attachment: String,
    /// Names of the groups on the ENI.
    pub groups: Vec<GroupName>,
}

/// A port of an instance that leads to a container; a `networkBinding` of DescribeTasks (1.7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// Whose port mapping it is.
    pub container: ContainerName,
    /// TCP or UDP.
    pub protocol: TransportProtocol,
    /// In the container; the first one of a range.
    pub container_port: u16,
    /// On the instance; the first one of a range.
    pub host_port: u16,
    /// How many ports follow one another: 1 but for a `containerPortRange`.
    pub count: u16,
    /// Whether it was chosen here: it does not count as a reserved port of its instance.
    pub dynamic: bool,
}

impl PortBinding {
    /// Every host port of it.
    pub fn ports(&self) -> impl Iterator<Item = (TransportProtocol, u16)> + use<> {
        let (protocol, first) = (self.protocol, self.host_port);
        (0..self.count).filter_map(move |offset| Some((protocol, first.checked_add(offset)?)))
    }
}

/// The decision to stop a task (2.10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// `stopCode`.
    pub code: StopCode,
    /// `stoppedReason`.
    pub reason: String,
    /// `stoppingAt`.
    pub at: Timestamp,
}

/// `stopCode` (2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCode {
    /// It was never RUNNING.
    TaskFailedToStart,
    /// An essential container ended (2.9).
    EssentialContainerExited,
    /// StopTask.
    UserInitiated,
    /// Scale in, deployment, failed health checks.
    ServiceSchedulerInitiated,
    /// Its container instance went.
    TerminationNotice,
}

impl StopCode {
    /// As ECS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            Self::TerminationNotice => "TerminationNotice",
        }
    }

    /// Whether the task ended by itself, asked by nobody.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::TaskFailedToStart | Self::EssentialContainerExited)
    }
}

/// What is known of a container beyond what Docker tells now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Whether its process was ever seen running.
    pub started: bool,
    /// When its process was first seen running.
    pub started_at: Option<Timestamp>,
    /// Whether its health check ever passed.
    pub was_healthy: bool,
    /// Whether it is over.
    pub stopped: bool,
    /// Absent when it never ran (2.9).
    pub exit_code: Option<i64>,
    /// `CannotPullContainerError: …` and its kin (2.10).
    pub reason: Option<String>,
    /// How often its restart policy has started it again (2.9).
    #[serde(default)]
    pub restarts: u32,
    /// When, by Docker, the run began that is to be followed by another one; that one begins later.
    #[serde(default)]
    pub restart_of: Option<Timestamp>,
}

impl Task {
    /// Whether it should go on.
    pub fn is_wanted(&self) -> bool {
        self.stop.is_none()
    }

    /// Whether it holds its address.
    pub fn holds_lease(&self) -> bool {
        self.status != TaskStatus::Stopped
    }

    /// Its own network interface, in awsvpc.
    pub fn attached(&self) -> Option<&Attached> {
        match &self.network {
            TaskNetwork::Awsvpc(attached) => Some(attached),
            _ => None,
        }
    }

    /// Its own ENI, in awsvpc.
    pub fn eni(&self) -> Option<&Eni> {
        self.attached().map(|attached| &attached.eni)
    }

    /// Its network mode.
    pub fn mode(&self) -> NetworkMode {
        match self.network {
            TaskNetwork::Awsvpc(_) => NetworkMode::Awsvpc,
            TaskNetwork::Bridge { .. } => NetworkMode::Bridge,
            TaskNetwork::Host { .. } => NetworkMode::Host,
            TaskNetwork::None => NetworkMode::None,
        }
    }

    /// Its containers' links to the bridge of its instance, in bridge mode.
    pub fn attachments(&self) -> impl Iterator<Item = (&ContainerName, &Attachment)> {
        let attachments = match &self.network {
            TaskNetwork::Bridge { attachments, .. } => Some(attachments),
            _ => None,
        };
        attachments.into_iter().flatten()
    }

    /// The ports of its instance that lead to it, in bridge and host mode.
    pub fn bindings(&self) -> &[PortBinding] {
        match &self.network {
            TaskNetwork::Bridge { bindings, .. } | TaskNetwork::Host { bindings } => bindings,
            TaskNetwork::Awsvpc(_) | TaskNetwork::None => &[],
        }
    }

    /// The record of a container.
    pub fn container(&self, name: &ContainerName) -> ContainerRecord {
        self.containers.get(name).cloned().unwrap_or_default()
    }
}
