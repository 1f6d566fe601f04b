//! A whole stack: one VPC, one cluster, one Cloud Map namespace, and the services in them.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::capacity::InstanceGroup;
use super::ids::{GroupName, ServiceName, StackName, SubnetName};
use super::security_group::SecurityGroup;
use super::service::Service;

/// The validated stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stack {
    /// Its name, and its cluster's.
    pub name: StackName,
    /// Only spelled in names and ARNs; default `us-east-1`.
    pub region: String,
    /// The Cloud Map private DNS namespace, lower case without a trailing dot, default `<name>.local`.
    pub dns_namespace: String,
    /// Its network.
    pub vpc: Vpc,
    /// Groups of container instances; absent when there are as many as the tasks need.
    #[serde(default)]
    pub capacity: Option<Vec<InstanceGroup>>,
    /// The profile of the user's AWS credentials that tasks with a role are given; absent for local ones that AWS knows not.
    #[serde(default)]
    pub credentials_profile: Option<String>,
    /// Every group, by name: the user's, the VPC's `default`, and the one that a service gets by itself.
    pub security_groups: BTreeMap<GroupName, SecurityGroup>,
    /// Its services, by name.
    pub services: BTreeMap<ServiceName, Service>,
}

/// The network of a stack (reference 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vpc {
    /// Its block, `/16` to `/28`, host bits cleared.
    pub cidr: IpNetwork,
    /// Whether packets may leave the VPC.
    pub internet: bool,
    /// Whether the host has a route into the VPC.
    #[serde(default)]
    pub host_access: bool,
    /// Its subnets, in the order of the file; none overlaps another.
    pub subnets: Vec<Subnet>,
}

/// A subnet as a stack names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// Unique in the stack.
    pub name: SubnetName,
    /// The whole zone name, for example `us-east-1a`.
    pub availability_zone: String,
    /// Its block, inside the VPC's.
    pub cidr: IpNetwork,
}
