//! A container instance's record: from the decision to have it until it is no longer wanted (reference 3.5, 10.6).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::task::Attached;
use crate::observe::HolderId;
use crate::spec::ids::InstanceId;

/// A container instance of a stack's cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// 32 hex digits, the end of its ARN.
    pub id: InstanceId,
    /// `i-` and 17 hex digits.
    pub ec2_instance_id: String,
    /// Its group in the stack file's `capacity`; absent when the stack sizes itself.
    pub group: Option<String>,
    /// `m5.large`, …; absent where the stack file gave numbers.
    pub instance_type: Option<String>,
    /// CPU units that it registered.
    pub cpu: u32,
    /// MiB that it registered.
    pub memory: u32,
    /// ENIs that tasks in awsvpc may have on it; absent when that is not limited (5.5).
    pub eni_limit: Option<u32>,
    /// The user's and ECS's own (`ecs.availability-zone`, …).
    pub attributes: BTreeMap<String, String>,
    /// Its subnet's zone.
    pub availability_zone: String,
    /// Its network interface.
    pub network: Attached,
    /// What it is to do.
    pub status: InstanceStatus,
    /// Whether it should run: `instance stop` says no, `instance start` yes.
    pub wanted: bool,
    /// Whether it goes for good once it is empty: the stack file has it no more, or nothing needs it.
    pub leaving: bool,
    /// The run of its holder that its tasks are on, once it was linked and bridged; absent while it is not up.
    pub run: Option<HolderId>,
    /// The host port that was chosen last (1.7).
    pub last_port: Option<u16>,
    /// The address on its bridge that was leased last.
    pub last_bridge_address: Option<Ipv4Addr>,
    /// When it was first connected.
    pub registered_at: Option<Timestamp>,
    /// Since when no task has needed it.
    pub idle_since: Option<Timestamp>,
}

/// `status` of a container instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstanceStatus {
    /// Tasks are placed on it.
    Active,
    /// None is placed on it, and those of services move away.
    Draining,
}

impl InstanceStatus {
    /// As ECS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
        }
    }
}

impl Instance {
    /// Whether tasks may be placed on it: also on one that has not come up yet, whose tasks wait in PROVISIONING as those of
    /// a capacity provider do, but not on one that was lost.
    pub fn takes_tasks(&self) -> bool {
        let is_there = self.is_connected() || self.registered_at.is_none();
        self.status == InstanceStatus::Active && is_there && self.wanted && !self.leaving
    }

    /// `agentConnected`.
    pub fn is_connected(&self) -> bool {
        self.run.is_some()
    }

    /// Its address in the VPC.
    pub fn address(&self) -> Option<IpAddr> {
        self.network.eni.primary_address()
    }
}
