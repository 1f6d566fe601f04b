//! The labels on our containers: written at creation, read by a restarted agent to find its own.
//!
//! Labels are fixed at creation (an update answers 200 and changes nothing, pitfall 9): what becomes known later,
//! such as the task that takes a warm pause, lives in the store. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use netmodes::ids::EniId;
use serde::{Deserialize, Serialize};

/// The agent that a container belongs to. Two agents on one machine have different ones.
pub const OWNER: &str = "ecsnet.owner";
/// The stack.
pub const STACK: &str = "ecsnet.stack";
/// What the container is for, see [`Role`].
pub const ROLE: &str = "ecsnet.role";
/// The ENI that the container's namespace holds.
pub const ENI: &str = "ecsnet.eni";
/// The task id, 32 hex digits.
pub const TASK: &str = "ecsnet.task";
/// The container's name within its task.
pub const CONTAINER: &str = "ecsnet.container";
/// Hash of the spec that the container was made from.
pub const SPEC: &str = "ecsnet.spec";

/// ECS's own labels (reference 1.9).
pub const ECS_TASK_ARN: &str = "com.amazonaws.ecs.task-arn";
/// The container's name within its task, as ECS labels it.
pub const ECS_CONTAINER_NAME: &str = "com.amazonaws.ecs.container-name";
/// Family of the task definition.
pub const ECS_FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
/// Revision of the task definition.
pub const ECS_REVISION: &str = "com.amazonaws.ecs.task-definition-version";
/// The cluster's name.
pub const ECS_CLUSTER: &str = "com.amazonaws.ecs.cluster";

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The control plane.
    Agent,
    /// DNS and the metadata front of a VPC.
    Resolver,
    /// Holds a VPC's namespace.
    Vpc,
    /// Holds a container instance's namespace.
    Instance,
    /// Task metadata and credentials of a container instance.
    Front,
    /// Holds a task's namespace.
    Pause,
    /// A container of a task.
    App,
    /// One node of a load balancer.
    LbNode,
    /// An Envoy sidecar.
    Envoy,
    /// Runs a command for a user and goes.
    Helper,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 10] = [
        Self::Agent,
        Self::Resolver,
        Self::Vpc,
        Self::Instance,
        Self::Front,
        Self::Pause,
        Self::App,
        Self::LbNode,
        Self::Envoy,
        Self::Helper,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Resolver => "resolver",
            Self::Vpc => "vpc",
            Self::Instance => "instance",
            Self::Front => "front",
            Self::Pause => "pause",
            Self::App => "app",
            Self::LbNode => "lb-node",
            Self::Envoy => "envoy",
            Self::Helper => "helper",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| LabelError { label: ROLE, value: Some(text.to_owned()) })
    }
}

/// A label that is missing, or says what it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {label} {}", .value.as_ref().map_or("is missing".to_owned(), |v| format!("has the value `{v}`")))]
pub struct LabelError {
    /// Which label.
    pub label: &'static str,
    /// What it says.
    pub value: Option<String>,
}

/// Our labels of one container, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The agent that the container belongs to.
    pub owner: String,
    /// The stack; `None` for what serves all stacks, as the agent does.
    pub stack: Option<String>,
    /// What it is for.
    pub role: Role,
    /// The ENI in its namespace.
    pub eni: Option<EniId>,
    /// The task id.
    pub task: Option<String>,
    /// Its name within the task.
    pub container: Option<String>,
    /// Hash of its spec; Docker's side writes it, so it is not encoded.
    pub spec: Option<String>,
    /// ECS's own.
    pub ecs: Option<EcsLabels>,
}

/// ECS's own labels of a task's container (reference 1.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcsLabels {
    /// The task's ARN.
    pub task_arn: String,
    /// The container's name.
    pub container_name: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub revision: u32,
    /// The cluster, as `RunTask` names it.
    pub cluster: String,
}

impl Labels {
    /// Labels of an owner's container that belongs to no stack yet.
    pub fn new(owner: impl Into<String>, role: Role) -> Self {
        Self { owner: owner.into(), stack: None, role, eni: None, task: None, container: None, spec: None, ecs: None }
    }

    /// As Docker has them, without the spec's hash.
    pub fn encode(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        let mut put = |label: &str, value: &str| out.insert(label.to_owned(), value.to_owned());
        put(OWNER, &self.owner);
        put(ROLE, self.role.as_str());
        let optional = [(STACK, &self.stack), (TASK, &self.task), (CONTAINER, &self.container)];
        for (label, value) in optional {
            if let Some(value) = value {
                put(label, value);
            }
        }
        if let Some(eni) = &self.eni {
            put(ENI, eni.as_str());
        }
        if let Some(ecs) = &self.ecs {
            put(ECS_TASK_ARN, &ecs.task_arn);
            put(ECS_CONTAINER_NAME, &ecs.container_name);
            put(ECS_FAMILY, &ecs.family);
            put(ECS_REVISION, &ecs.revision.to_string());
            put(ECS_CLUSTER, &ecs.cluster);
        }
        out
    }

    /// Reads them back; labels that are not ours are passed over.
    pub fn decode(labels: &BTreeMap<String, String>) -> Result<Self, LabelError> {
        let optional = |label: &'static str| labels.get(label).cloned();
        let required = |label: &'static str| optional(label).ok_or(LabelError { label, value: None });
        let eni = optional(ENI)
            .map(|text| text.parse().map_err(|_| LabelError { label: ENI, value: Some(text) }))
            .transpose()?;
        let ecs = match optional(ECS_TASK_ARN) {
            None => None,
            Some(task_arn) => {
                let revision = required(ECS_REVISION)?;
                Some(EcsLabels {
                    task_arn,
                    container_name: required(ECS_CONTAINER_NAME)?,
                    family: required(ECS_FAMILY)?,
                    revision: revision
                        .parse()
                        .map_err(|_| LabelError { label: ECS_REVISION, value: Some(revision.clone()) })?,
                    cluster: required(ECS_CLUSTER)?,
                })
            }
        };
        Ok(Self {
            owner: required(OWNER)?,
            stack: optional(STACK),
            role: required(ROLE)?.parse()?,
            eni,
            task: optional(TASK),
            container: optional(CONTAINER),
            spec: optional(SPEC),
            ecs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Labels {
        Labels {
            stack: Some("shop".to_owned()),
            eni: Some(EniId::from_bits(7)),
            task: Some("0".repeat(32)),
            container: Some("web".to_owned()),
            ecs: Some(EcsLabels {
                task_arn: "arn:aws:ecs:local:000000000000:task/shop/0".to_owned(),
                container_name: "web".to_owned(),
                family: "web".to_owned(),
                revision: 3,
                cluster: "shop".to_owned(),
            }),
            ..Labels::new("default", Role::App)
        }
    }

    #[test]
    fn labels_come_back_as_they_were_written() {
        for role in Role::ALL {
            for labels in [full(), Labels::new("b", role)] {
                assert_eq!(Labels::decode(&labels.encode()), Ok(labels));
            }
        }
    }

    #[test]
    fn what_a_label_cannot_say_is_an_error() {
        let damaged = |label: &str, value: Option<&str>| {
            let mut map = full().encode();
            match value {
                Some(value) => map.insert(label.to_owned(), value.to_owned()),
                None => map.remove(label),
            };
            Labels::decode(&map).unwrap_err().to_string()
        };
        assert_eq!(damaged(OWNER, None), "label ecsnet.owner is missing");
        assert_eq!(damaged(ROLE, Some("king")), "label ecsnet.role has the value `king`");
        assert_eq!(damaged(ENI, Some("eni-1")), "label ecsnet.eni has the value `eni-1`");
        assert_eq!(
            damaged(ECS_REVISION, Some("x")),
            "label com.amazonaws.ecs.task-definition-version has the value `x`"
        );
    }
}
