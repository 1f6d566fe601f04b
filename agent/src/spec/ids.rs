//! Names and ids above the network: what ECS calls things, as types that cannot be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use netmodes::ids::{EniId, GroupId, NetworkMode, SubnetId, VpcId};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name, taken as it is: it was validated where it came in.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A stack, `[a-z][a-z0-9-]{0,30}`; also the name of its ECS cluster.
    StackName);
name!(
    /// A service, `[A-Za-z0-9_-]{1,255}` (reference 3.1).
    ServiceName);
name!(
    /// A container of a task definition (reference 2.2).
    ContainerName);
name!(
    /// A security group's name, unique in its VPC; `default` is the VPC's own.
    GroupName);
name!(
    /// A subnet's name in the stack file.
    SubnetName);
name!(
    /// A task's id: 32 hex digits (reference 10.6).
    TaskId);
name!(
    /// A container instance's id: 32 hex digits (reference 10.6).
    InstanceId);
name!(
    /// A deployment's id: `ecs-svc/` and 19 digits (reference 3.4).
    DeploymentId);

impl InstanceId {
    /// The id whose 32 hex digits are `bits`.
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }

    /// Its first eight digits, for tables.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl TaskId {
    /// The id whose 32 hex digits are `bits`.
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }

    /// Its first eight digits, for tables.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl DeploymentId {
    /// The id with 19 decimal digits made from `bits`.
    pub fn from_bits(bits: u128) -> Self {
        let floor = 10u128.pow(18);
        Self(format!("ecs-svc/{}", floor + bits % (9 * floor)))
    }
}

/// The account in every ARN: ecsnet has no accounts, and tools want twelve digits (reference 10.6).
pub const ACCOUNT: &str = "000000000000";

/// ARNs in AWS's forms (reference 10.6).
pub mod arn {
    use sha2::{Digest as _, Sha256};

    use super::{ACCOUNT, ContainerName, InstanceId, ServiceName, StackName, TaskId};

    /// `arn:aws:ecs:R:A:cluster/NAME`; a stack is a cluster.
    pub fn cluster(region: &str, stack: &StackName) -> String {
        format!("arn:aws:ecs:{region}:{ACCOUNT}:cluster/{stack}")
    }

    /// `arn:aws:ecs:R:A:service/CLUSTER/NAME`.
    pub fn service(region: &str, stack: &StackName, service: &ServiceName) -> String {
        format!("arn:aws:ecs:{region}:{ACCOUNT}:service/{stack}/{service}")
    }

    /// `arn:aws:ecs:R:A:task/CLUSTER/<32 hex>`.
    pub fn task(region: &str, stack: &StackName, task: &TaskId) -> String {
        format!("arn:aws:ecs:{region}:{ACCOUNT}:task/{stack}/{task}")
    }

    /// `arn:aws:ecs:R:A:container-instance/CLUSTER/<32 hex>`.
    pub fn container_instance(region: &str, stack: &StackName, instance: &InstanceId) -> String {
        format!("arn:aws:ecs:{region}:{ACCOUNT}:container-instance/{stack}/{instance}")
    }

    /// `arn:aws:ecs:R:A:container/CLUSTER/TASK/UUID`; the same container of the same task has the same one.
    pub fn container(region: &str, stack: &StackName, task: &TaskId, container: &ContainerName) -> String {
        let hash = Sha256::digest(format!("{task}/{container}").as_bytes());
        let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
        let uuid = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-");
        format!("arn:aws:ecs:{region}:{ACCOUNT}:container/{stack}/{task}/{uuid}")
    }

    /// `arn:aws:ecs:R:A:task-definition/FAMILY:REV`.
    pub fn task_definition(region: &str, family: &str, revision: u32) -> String {
        format!("arn:aws:ecs:{region}:{ACCOUNT}:task-definition/{family}:{revision}")
    }
}
