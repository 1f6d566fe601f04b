//! The steps that a plan is made of: small, idempotent, with everything inside that doing them needs.
//!
//! The list of kinds is data ([`Step::KINDS`]): the crash tests walk it and kill the agent before and after each.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use netmodes::bridge::{Attachment, PublishedPort};
use netmodes::security::group::Ruleset;
use netmodes::vpc::eni::Eni;
use netmodes::vpc::router::Router;

use crate::project::metadata::Front;
use crate::project::zone::Zone;
use crate::runtime::ContainerSpec;
use crate::runtime::cgroup::TaskCgroup;
use crate::spec::ids::{ContainerName, EniId, InstanceId, StackName, TaskId};

/// Where a front answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrontPlace {
    /// In the VPC's netns, for its tasks in awsvpc.
    Vpc,
    /// In an instance's netns, for its tasks in bridge and host mode.
    Instance(InstanceId),
}

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
    /// Starts what answers at 169.254.170.2 in the netns of a container instance.
    StartFront {
        /// Its stack.
        stack: StackName,
        /// The instance.
        instance: InstanceId,
        /// The container.
        spec: Box<ContainerSpec>,
    },
    /// Writes what a front answers, and has it answer that.
    PublishFront {
        /// Its stack.
        stack: StackName,
        /// Which front.
        place: FrontPlace,
        /// The container that serves it, by Docker name.
        server: String,
        /// What it should answer, without keys; generation and keys are filled in when it is written.
        front: Box<Front>,
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
    /// Starts the container that holds the netns of a container instance.
    HoldInstance {
        /// The container.
        spec: Box<ContainerSpec>,
    },
    /// Makes an instance's bridge, and all that its netns is but for the ENI.
    BuildBridge {
        /// The instance.
        instance: InstanceId,
        /// The holder of its netns.
        holder: String,
    },
    /// Links a container's netns to its instance's bridge.
    AttachContainer {
        /// The instance.
        instance: InstanceId,
        /// The holder of the instance's netns.
        holder: String,
        /// The holder of the container's netns.
        pause: String,
        /// What should be there.
        attachment: Attachment,
    },
    /// Has exactly these host ports of an instance lead to containers.
    PublishPorts {
        /// The instance.
        instance: InstanceId,
        /// The holder of its netns.
        holder: String,
        /// All of them.
        ports: BTreeSet<PublishedPort>,
    },
    /// Takes a container off its instance's bridge, with what connection tracking knows of it; planned once no host port
    /// leads there.
    DetachContainer {
        /// The instance.
        instance: InstanceId,
        /// The holder of its netns.
        holder: String,
        /// What should go.
        attachment: Attachment,
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
    /// Deletes what connection tracking knows of an ENI's addresses (pitfall 1).
    ForgetFlows {
        /// Its stack.
        stack: StackName,
        /// The holder of the VPC's namespace.
        vpc: String,
        /// The ENI that had them.
        eni: EniId,
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
    pub const KINDS: [&'static str; 23] = [
        "ImportImage",
        "HoldVpc",
        "ApplyFilter",
        "BuildRouter",
        "StartResolver",
        "PublishZone",
        "StartFront",
        "PublishFront",
        "HoldTask",
        "LinkEni",
        "HoldInstance",
        "BuildBridge",
        "AttachContainer",
        "PublishPorts",
        "PullImage",
        "StartContainer",
        "StopContainer",
        "DetachContainer",
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
            Self::StartFront { .. } => 6,
            Self::PublishFront { .. } => 7,
            Self::HoldTask { .. } => 8,
            Self::LinkEni { .. } => 9,
            Self::HoldInstance { .. } => 10,
            Self::BuildBridge { .. } => 11,
            Self::AttachContainer { .. } => 12,
            Self::PublishPorts { .. } => 13,
            Self::PullImage { .. } => 14,
            Self::StartContainer { .. } => 15,
            Self::StopContainer { .. } => 16,
            Self::DetachContainer { .. } => 17,
            Self::UnlinkEni { .. } => 18,
            Self::ForgetFlows { .. } => 19,
            Self::RemoveContainer { .. } => 20,
            Self::RemoveRemains { .. } => 21,
            Self::RemoveFiles { .. } => 22,
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
            | Self::HoldInstance { spec }
            | Self::StartFront { spec, .. }
            | Self::StartContainer { spec, .. } => format!("container {}", spec.name),
            Self::StopContainer { name, .. } | Self::RemoveContainer { name } => format!("container {name}"),
            Self::ApplyFilter { stack, .. } => format!("filter of {stack}"),
            Self::BuildRouter { stack, .. } => format!("router of {stack}"),
            Self::PublishZone { stack, .. } => format!("zone of {stack}"),
            Self::PublishFront { stack, place: FrontPlace::Vpc, .. } => format!("front of {stack}"),
            Self::PublishFront { place: FrontPlace::Instance(id), .. } => format!("front of instance {id}"),
            Self::LinkEni { eni, .. } => format!("ENI {}", eni.id),
            Self::UnlinkEni { eni, .. } => format!("ENI {eni}"),
            Self::PullImage { image, .. } => format!("image {image}"),
            Self::ForgetFlows { eni, .. } => format!("flows of ENI {eni}"),
            Self::BuildBridge { instance, .. } => format!("bridge of instance {instance}"),
            Self::PublishPorts { instance, .. } => format!("ports of instance {instance}"),
            Self::AttachContainer { attachment, .. } | Self::DetachContainer { attachment, .. } => {
                format!("link {}", attachment.id)
            }
            Self::RemoveRemains { task, .. } => format!("remains of task {task}"),
            Self::RemoveFiles { stack } => format!("files of {stack}"),
        }
    }
}
