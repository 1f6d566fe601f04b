//! Doing a step: Docker by [`crate::runtime`], the kernel by `netmodes`, the resolver's files. Decides nothing.
//!
//! Each step may be repeated and may be cut at any point. What was seen when it was done comes back as [`Seen`], which
//! the reconcile loop folds into what is observed; nothing is taken for granted.

pub mod crash;
mod network;
mod zone;

use std::path::PathBuf;

use netmodes::ids::EniId;
use netmodes::kernel::error::KernelError;
use netmodes::nft::NftError;
use netmodes::security::group::Ruleset;
use netmodes::vpc::router::Router;

use crate::dataplane::resolver::client::ClientError;
use crate::observe::HolderId;
use crate::plan::Setting;
use crate::plan::step::Step;
use crate::project::zone::Zone;
use crate::runtime::{ContainerSpec, Docker, ObservedContainer, PullError, PullProgress, RuntimeError};
use crate::spec::ids::{ContainerName, StackName, TaskId};

pub use network::{NetworkLook, Networks};

/// What was seen when a step was done.
#[derive(Debug)]
pub enum Seen {
    /// The image of our own binary is in Docker.
    OwnImage(String),
    /// A container, or that there is none of that name.
    Container(String, Option<Box<ObservedContainer>>),
    /// An image is in Docker.
    Image(String),
    /// A container of a task can never start, in ECS's words.
    CannotStart {
        /// Its stack.
        stack: StackName,
        /// Its task.
        task: TaskId,
        /// Its name.
        container: ContainerName,
        /// `CannotPullContainerError: …` and its kin.
        reason: String,
    },
    /// The router of a VPC stands.
    Router(StackName, HolderId, Router),
    /// A ruleset is in force.
    Filter(StackName, HolderId, Box<Ruleset>),
    /// An ENI is linked to that namespace, or absent.
    Link(StackName, HolderId, EniId, Option<HolderId>),
    /// The resolver serves a zone.
    Zone(StackName, HolderId, Box<Zone>),
    /// No tracked flow of a task's addresses is left.
    Forgotten(TaskId),
    /// Nothing of a stack is left.
    StackGone(StackName),
}

/// Why a step failed; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Docker.
    #[error(transparent)]
    Docker(#[from] RuntimeError),
    /// The kernel, links and routes.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel, filter.
    #[error(transparent)]
    Filter(#[from] NftError),
    /// The resolver.
    #[error(transparent)]
    Resolver(#[from] ClientError),
    /// A file.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A holder that should run does not; the plan sees to it.
    #[error("container {name} does not run")]
    NoHolder {
        /// Its name in Docker.
        name: String,
    },
    /// An image that cannot be had now for a reason that is Docker's being away.
    #[error("cannot pull: {0}")]
    Pull(PullError),
}

impl ApplyError {
    /// Whether Docker is away, which is no failure of the step.
    pub fn is_docker_away(&self) -> bool {
        match self {
            Self::Docker(error) => error.is_unreachable() || error.is_requirement(),
            Self::Pull(PullError::Unreachable { .. }) => true,
            _ => false,
        }
    }
}

/// Says where a pull stands.
pub type OnPull = Box<dyn Fn(&str, &PullProgress) + Send + Sync>;

/// Does steps.
pub struct Applier {
    docker: Docker,
    setting: Setting,
    networks: Networks,
    on_pull: OnPull,
}

impl Applier {
    /// An applier for one connection to Docker.
    pub fn new(docker: Docker, setting: Setting, on_pull: OnPull) -> Self {
        let networks = Networks::new(docker.clone());
        Self { docker, setting, networks, on_pull }
    }

    /// The namespaces that are open.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Does one step.
    ///
    /// # Errors
    /// When it could not be done; doing it again is harmless.
    pub async fn apply(&self, step: Step) -> Result<Vec<Seen>, ApplyError> {
        crash::point("before", step.kind());
        let kind = step.kind();
        let seen = self.perform(step).await;
        if seen.is_ok() {
            crash::point("after", kind);
        }
        seen
    }

    async fn perform(&self, step: Step) -> Result<Vec<Seen>, ApplyError> {
        match step {
            Step::ImportImage => Ok(vec![Seen::OwnImage(self.docker.ensure_own_image().await?)]),
            Step::HoldVpc { spec, .. } | Step::HoldTask { spec } => self.start(&spec).await,
            Step::StartResolver { stack, spec } => {
                zone::prepare(&self.setting.resolver_dir(&stack))?;
                self.start(&spec).await
            }
            Step::ApplyFilter { stack, vpc, ruleset } => {
                let network = self.networks.open(&vpc).await?;
                // Flows are counted only while the filter logs, so that what is left of a log is seen by its rules alone.
                if !ruleset.flow_log {
                    network.links.ensure_accounting(false)?;
                }
                network.ensure_filter(&ruleset)?;
                if ruleset.flow_log {
                    network.links.ensure_accounting(true)?;
                }
                Ok(vec![Seen::Filter(stack, network.holder.clone(), ruleset)])
            }
            Step::BuildRouter { stack, vpc, router } => {
                let network = self.networks.open(&vpc).await?;
                network.links.ensure_router(&router).await?;
                Ok(vec![Seen::Router(stack, network.holder.clone(), router)])
            }
            Step::PublishZone { stack, resolver, zone } => {
                let (holder, _) = self.networks.running(&resolver).await?;
                zone::publish(&self.setting.resolver_dir(&stack), &zone).await?;
                Ok(vec![Seen::Zone(stack, holder, zone)])
            }
            Step::LinkEni { stack, vpc, holder, eni } => {
                let network = self.networks.open(&vpc).await?;
                let (owner, netns) = self.networks.netns_of(&holder).await?;
                network.links.ensure_eni(&eni, &netns).await?;
                Ok(vec![Seen::Link(stack, network.holder.clone(), eni.id, Some(owner))])
            }
            Step::UnlinkEni { stack, vpc, eni } => {
                let network = self.networks.open(&vpc).await?;
                network.links.remove_eni(&eni).await?;
                Ok(vec![Seen::Link(stack, network.holder.clone(), eni, None)])
            }
            Step::ForgetFlows { vpc, task, addresses, .. } => {
                let network = self.networks.open(&vpc).await?;
                for address in addresses {
                    network.links.forget_flows(address).await?;
                }
                Ok(vec![Seen::Forgotten(task)])
            }
            Step::PullImage { stack, task, container, image } => self.pull(stack, task, container, image).await,
            Step::StartContainer { stack, task, container, spec } => match self.start(&spec).await {
                Err(ApplyError::Docker(error)) if error.ecs_reason().is_some() => {
                    let reason = error.ecs_reason().unwrap_or_default();
                    let mut seen = self.look(&spec.name).await?;
                    seen.push(Seen::CannotStart { stack, task, container, reason });
                    Ok(seen)
                }
                other => other,
            },
            Step::StopContainer { name, grace } => {
                self.docker.stop(&name, grace).await?;
                self.look(&name).await
            }
            Step::RemoveContainer { name } => {
                // A socket of ours would keep its namespace alive.
                self.networks.forget(&name);
                self.docker.remove(&name).await?;
                self.look(&name).await
            }
            Step::RemoveFiles { stack } => {
                zone::remove(&self.setting.resolver_dir(&stack))?;
                Ok(vec![Seen::StackGone(stack)])
            }
        }
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<Vec<Seen>, ApplyError> {
        self.docker.ensure_created(spec).await?;
        self.docker.start(&spec.name).await?;
        self.look(&spec.name).await
    }

    async fn look(&self, name: &str) -> Result<Vec<Seen>, ApplyError> {
        let container = self.docker.inspect(name).await?;
        Ok(vec![Seen::Container(name.to_owned(), container.map(Box::new))])
    }

    async fn pull(
        &self,
        stack: StackName,
        task: TaskId,
        container: ContainerName,
        image: String,
    ) -> Result<Vec<Seen>, ApplyError> {
        if self.docker.has_image(&image).await? {
            return Ok(vec![Seen::Image(image)]);
        }
        match self.docker.pull(&image, None, |progress| (self.on_pull)(&image, &progress)).await {
            Ok(()) => Ok(vec![Seen::Image(image)]),
            Err(error @ PullError::Unreachable { .. }) => Err(ApplyError::Pull(error)),
            Err(error) => {
                let reason = format!("CannotPullContainerError: {error}");
                Ok(vec![Seen::CannotStart { stack, task, container, reason }])
            }
        }
    }
}
