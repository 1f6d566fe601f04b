//! The steps that a plan is made of: small, idempotent, with everything inside that doing them needs.
//!
//! The list of kinds is data ([`Step::KINDS`]): the crash tests walk it and kill the agent before and after each.

use std::net::IpAddr;
use std::time::Duration;

use netmodes::security::group::Ruleset;
use netmodes::vpc::eni::Eni;
use netmodes::vpc::router::Router;

use crate::project::zone::Zone;
use crate::runtime::ContainerSpec;
use crate::runtime::cgroup::TaskCgroup;
use crate::spec::ids::{ContainerName, EniId, StackName, TaskId};

/// One thing to do, possible now.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Makes the image of our own binary.
    ImportImage,
    /// Starts the container that holds the VPC's namespace.
    HoldVpc {
        /// Its stack.
        stack: StackName,
        /// The container.
        spec: Box<ContainerSpec>,
    },
    /// Brings the VPC's filter to this ruleset, in one transaction.
    ApplyFilter {
        /// Its stack.
        stack: StackName,
        /// The holder of the VPC's namespace, by Docker name.
        vpc: String,
        /// All of it; only what differs is sent.
        ruleset: Box<Ruleset>,
    },
    /// Brings the VPC's namespace to this router; planned once its filter is closed.
    BuildRouter {
        /// Its stack.
        stack: StackName,
        /// The holder of the VPC's namespace.
        vpc: String,
        /// What should be there.
        router: Router,
    },
    /// Starts the resolver in the VPC's namespace.
    StartResolver {
        /// Its stack.
        stack: StackName,
        /// The container.
        spec: Box<ContainerSpec>,
    },
    /// Writes the zone and has the resolver serve it.
    PublishZone {
        /// Its stack.
        stack: StackName,
        /// The resolver, by Docker name.
        resolver: String,
        /// What it should serve; the generation is filled in when it is written.
        zone: Box<Zone>,
    },
    /// Starts the pause container that holds a task's namespace, in the task's own cgroup where it has a size.
    HoldTask {
        /// The container.
        spec: Box<ContainerSpec>,
        /// What all the task's containers are in.
        cgroup: Option<TaskCgroup>,
    },
    /// Links a task's ENI; planned once the filter knows it.
    LinkEni {
        /// Its stack.
        stack: StackName,
        /// The holder of the VPC's namespace.
        vpc: String,
        /// The holder of the task's namespace.
        holder: String,
        /// What should be linked.
        eni: Box<Eni>,
    },
    /// Has an image in Docker, pulled when it is not there.
    PullImage {
        /// The stack of the task that wants it first.
        stack: StackName,
        /// The task that wants it first.
        task: TaskId,
        /// Its container.
        container: ContainerName,
        /// The reference.
        image: String,
    },
    /// Creates and starts a container of a task.
    StartContainer {
        /// Its stack.
        stack: StackName,
        /// Its task.
        task: TaskId,
        /// Its name in the task definition.
        container: ContainerName,
        /// The container.
        spec: Box<ContainerSpec>,
    },
    /// SIGTERM, and SIGKILL after the grace.
    StopContainer {
        /// Its name in Docker.
        name: String,
        /// From SIGTERM to SIGKILL.
        grace: Duration,
    },
    /// Takes an ENI out of the VPC.
    UnlinkEni {
        /// Its stack.
        stack: StackName,
        /// The holder of the VPC's namespace.
        vpc: String,
        /// Which one.
        eni: EniId,
    },
    /// Deletes what connection tracking knows of a task's addresses (pitfall 1).
    ForgetFlows {
        /// Its stack.
        stack: StackName,
        /// The holder of the VPC's namespace.
        vpc: String,
        /// The task that had them.
        task: TaskId,
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// Removes a container, running or not.
    RemoveContainer {
        /// Its name in Docker.
        name: String,
    },
    /// Removes what a task's containers leave behind; planned once they are gone.
    RemoveRemains {
        /// The task.
        task: TaskId,
        /// Volumes that go with it, by Docker name.
        volumes: Vec<String>,
        /// Its parent cgroup.
        cgroup: Option<String>,
    },
    /// Removes what a stack had on disk; planned once its containers are gone.
    RemoveFiles {
        /// The stack.
        stack: StackName,
    },
}

impl Step {
    /// Every kind, in the order in which a stack meets them.
    pub const KINDS: [&'static str; 16] = [
        "ImportImage",
        "HoldVpc",
        "ApplyFilter",
        "BuildRouter",
        "StartResolver",
        "PublishZone",
        "HoldTask",
        "LinkEni",
        "PullImage",
        "StartContainer",
        "StopContainer",
        "UnlinkEni",
        "ForgetFlows",
        "RemoveContainer",
        "RemoveRemains",
        "RemoveFiles",
    ];

    /// Its kind, one of [`Step::KINDS`].
    pub fn kind(&self) -> &'static str {
        let index = match self {
            Self::ImportImage => 0,
            Self::HoldVpc { .. } => 1,
            Self::ApplyFilter { .. } => 2,
            Self::BuildRouter { .. } => 3,
            Self::StartResolver { .. } => 4,
            Self::PublishZone { .. } => 5,
            Self::HoldTask { .. } => 6,
            Self::LinkEni { .. } => 7,
            Self::PullImage { .. } => 8,
            Self::StartContainer { .. } => 9,
            Self::StopContainer { .. } => 10,
            Self::UnlinkEni { .. } => 11,
            Self::ForgetFlows { .. } => 12,
            Self::RemoveContainer { .. } => 13,
            Self::RemoveRemains { .. } => 14,
            Self::RemoveFiles { .. } => 15,
        };
        Self::KINDS[index]
    }

    /// What it works on: of two steps with the same object only one is done at a time.
    pub fn object(&self) -> String {
        match self {
            Self::ImportImage => "own image".to_owned(),
            Self::HoldVpc { spec, .. }
            | Self::StartResolver { spec, .. }
            | Self::HoldTask { spec, .. }
            | Self::StartContainer { spec, .. } => format!("container {}", spec.name),
            Self::StopContainer { name, .. } | Self::RemoveContainer { name } => format!("container {name}"),
            Self::ApplyFilter { stack, .. } => format!("filter of {stack}"),
            Self::BuildRouter { stack, .. } => format!("router of {stack}"),
            Self::PublishZone { stack, .. } => format!("zone of {stack}"),
            Self::LinkEni { eni, .. } => format!("ENI {}", eni.id),
            Self::UnlinkEni { eni, .. } => format!("ENI {eni}"),
            Self::PullImage { image, .. } => format!("image {image}"),
            Self::ForgetFlows { task, .. } => format!("flows of task {task}"),
            Self::RemoveRemains { task, .. } => format!("remains of task {task}"),
            Self::RemoveFiles { stack } => format!("files of {stack}"),
        }
    }
}
