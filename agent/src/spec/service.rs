//! A service of a stack, as CreateService has it with names in place of ARNs (reference 3).

use serde::{Deserialize, Serialize};

use super::ids::{ContainerName, GroupName, NetworkMode, ServiceName, SubnetName};
use super::placement::Placement;
use super::task_definition::TaskDefinition;

/// What CreateService was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Unique in the cluster.
    pub service_name: ServiceName,
    /// The definition itself; the agent registers it and gives it a revision when its content is new.
    pub task_definition: TaskDefinition,
    /// How its containers are attached, after flags and defaults were applied.
    pub network_mode: NetworkMode,
    /// How many tasks there should be.
    pub desired_count: u32,
    /// FARGATE or EC2.
    pub launch_type: LaunchType,
    /// Whether tasks in awsvpc are placed on container instances, as those in any other mode always are: when EC2 is asked for
    /// and not only ECS's default, or the stack has `capacity`.
    #[serde(default)]
    pub on_instances: bool,
    /// The groups on each task's ENI; 1 to 5.
    pub security_groups: Vec<GroupName>,
    /// The subnets that tasks are spread over; 1 to 16.
    pub subnets: Vec<SubnetName>,
    /// Its Cloud Map registry; absent when nobody looks it up by DNS.
    pub discovery: Option<Discovery>,
    /// One task on each matching container instance, or as many as `desired_count` says.
    #[serde(default)]
    pub scheduling_strategy: SchedulingStrategy,
    /// Which container instances are taken, and in which order.
    #[serde(default)]
    pub placement: Placement,
    /// How a rolling deployment goes.
    pub deployment_configuration: DeploymentConfiguration,
    /// Seconds after a task's start in which unhealthy results do not stop it (3.6); default 0.
    pub health_check_grace_period_seconds: u32,
}

/// Where tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LaunchType {
    /// Each task by itself.
    Fargate,
    /// On container instances.
    Ec2,
}

/// `schedulingStrategy` (3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchedulingStrategy {
    /// As many tasks as `desired_count` says.
    #[default]
    Replica,
    /// One task on each container instance that matches.
    Daemon,
}

/// A Cloud Map service (reference 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    /// The name below the stack's DNS namespace.
    pub name: String,
    /// Seconds, 0–2147483647; the stack file's default is 10.
    pub ttl: u32,
    /// How many instances an answer holds.
    pub routing_policy: RoutingPolicy,
    /// What DNS answers with.
    #[serde(default)]
    pub record: RecordType,
}

/// The records of a Cloud Map service, with what ECS has to know for them (6.5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", tag = "type")]
pub enum RecordType {
    /// The task's own address.
    #[default]
    A,
    /// Address and port: in bridge and host mode those of the instance.
    #[serde(rename = "SRV")]
    Srv {
        /// Whose port it is.
        container_name: ContainerName,
        /// Which of its ports.
        container_port: u16,
    },
}

/// Cloud Map's routing policies (6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RoutingPolicy {
    /// Up to eight healthy instances, in random order.
    Multivalue,
    /// One healthy instance at random.
    Weighted,
}

/// Bounds of a rolling deployment (reference 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentConfiguration {
    /// Lower bound, percent of desiredCount, rounded up; default 100.
    pub minimum_healthy_percent: u32,
    /// Upper bound, percent of desiredCount, rounded down; default 200.
    pub maximum_percent: u32,
    /// Gives up on a deployment whose tasks keep failing (3.3).
    pub deployment_circuit_breaker: CircuitBreaker,
}

/// Deployment circuit breaker (3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Off by default.
    pub enable: bool,
    /// Whether the last completed deployment comes back.
    pub rollback: bool,
}

impl Default for DeploymentConfiguration {
    fn default() -> Self {
        Self {
            minimum_healthy_percent: 100,
            maximum_percent: 200,
            deployment_circuit_breaker: CircuitBreaker { enable: false, rollback: false },
        }
    }
}
