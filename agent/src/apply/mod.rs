//! Doing a step: Docker by [`crate::runtime`], the kernel by `netmodes`, the resolver's files. Decides nothing.
//!
//! Each step may be repeated and may be cut at any point. What was seen when it was done comes back as [`Seen`], which
//! the reconcile loop folds into what is observed; nothing is taken for granted.

pub mod crash;
mod ears;
pub mod front;
mod instance;
pub mod kept_logs;
mod network;
mod published;
mod stand_in;
mod zone;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use netmodes::bridge::{AttachmentId, PublishedPort};
use netmodes::ids::EniId;
use netmodes::instance_network::InstanceError;
use netmodes::kernel::error::KernelError;
use netmodes::kernel::netns::Netns;
use netmodes::nft::NftError;
use netmodes::security::group::Ruleset;
use netmodes::vpc::router::Router;

use crate::dataplane::resolver::client::ClientError;
use crate::observe::HolderId;
use crate::plan::Setting;
use crate::plan::step::{FrontPlace, Step};
use crate::project::fronts::INSTANCE_PORT;
use crate::project::metadata::Front;
use crate::project::zone::Zone;
use crate::runtime::cgroup::remove_cgroup_parent;
use crate::runtime::keyring::Keyring;
use crate::runtime::names::{ContainerName as DockerName, Part};
use crate::runtime::{ContainerSpec, Docker, ObservedContainer, PullError, PullProgress, RuntimeError};
use crate::spec::ids::{ContainerName, InstanceId, StackName, TaskId};
use crate::spec::task_definition::TransportProtocol;
use crate::store::secrets;
use crate::store::sqlite::StoreError;

pub use ears::{Ears, OnProtection};
pub use instance::Instances;
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
    /// The bridge of an instance stands.
    Bridge(InstanceId, HolderId),
    /// A container is linked to its instance's bridge, from that netns, or absent.
    Attachment(InstanceId, HolderId, AttachmentId, Option<HolderId>),
    /// These host ports of an instance lead to containers; and these belong to another process.
    Ports(InstanceId, HolderId, BTreeSet<PublishedPort>, Vec<(TransportProtocol, u16)>),
    /// A front answers that.
    Front(StackName, FrontPlace, HolderId, Box<Front>),
    /// No tracked flow of an ENI's addresses is left.
    Forgotten(EniId),
    /// A task's containers have left nothing behind.
    Cleared(TaskId),
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
    /// The kernel, a container instance.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The resolver.
    #[error(transparent)]
    Resolver(#[from] ClientError),
    /// A metadata front.
    #[error(transparent)]
    Metadata(#[from] crate::dataplane::metadata::client::ClientError),
    /// What the agent keeps beside its store.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    instances: Instances,
    ears: Ears,
    keyring: Keyring,
    on_pull: OnPull,
}

impl Applier {
    /// An applier for one connection to Docker.
    pub fn new(docker: Docker, setting: Setting, keyring: Keyring, on_pull: OnPull, protection: OnProtection) -> Self {
        let networks = Networks::new(docker.clone());
        Self {
            docker,
            setting,
            networks,
            instances: Instances::default(),
            ears: Ears::new(protection),
            keyring,
            on_pull,
        }
    }

    /// The namespaces that are open.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The netns of container instances that are open.
    pub fn instances(&self) -> &Instances {
        &self.instances
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
            Step::HoldVpc { spec, .. } => self.start(&spec).await,
            Step::HoldTask { spec, cgroup } => {
                if let (Some(cgroup), Ok(cgroups)) = (cgroup, &self.setting.cgroups) {
                    cgroups.ensure(&cgroup)?;
                }
                self.start(&spec).await
            }
            Step::HoldInstance { spec } => self.start(&spec).await,
            Step::BuildBridge { instance, holder } => {
                let open = self.instances.open(&self.networks, &holder).await?;
                open.network.ensure_instance().await?;
                open.network.ensure_metadata_port(Some(INSTANCE_PORT))?;
                Ok(vec![Seen::Bridge(instance, open.holder.clone())])
            }
            Step::AttachContainer { instance, holder, pause, attachment } => {
                let open = self.instances.open(&self.networks, &holder).await?;
                let (owner, netns) = self.networks.netns_of(&pause).await?;
                open.network.ensure_attachment(&attachment, &netns).await?;
                Ok(vec![Seen::Attachment(instance, open.holder.clone(), attachment.id, Some(owner))])
            }
            Step::PublishPorts { instance, holder, ports } => {
                let open = self.instances.open(&self.networks, &holder).await?;
                let (published, busy) = open.publish(ports).await?;
                Ok(vec![Seen::Ports(instance, open.holder.clone(), published, busy)])
            }
            Step::DetachContainer { instance, holder, attachment } => {
                let open = self.instances.open(&self.networks, &holder).await?;
                open.network.remove_attachment(&attachment.id).await?;
                open.network.forget_flows(attachment.address.into()).await?;
                Ok(vec![Seen::Attachment(instance, open.holder.clone(), attachment.id, None)])
            }
            Step::StartResolver { stack, spec } => {
                published::prepare(&self.setting.resolver_dir(&stack))?;
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
                network.links.ensure_host_link(&router, &Netns::of_host()?).await?;
                Ok(vec![Seen::Router(stack, network.holder.clone(), router)])
            }
            Step::PublishZone { stack, resolver, zone } => {
                let (holder, _) = self.networks.running(&resolver).await?;
                zone::publish(&self.setting.resolver_dir(&stack), &zone).await?;
                Ok(vec![Seen::Zone(stack, holder, zone)])
            }
            Step::StartFront { stack, instance, spec } => {
                front::prepare(&self.setting.front_dir(&stack, &FrontPlace::Instance(instance)))?;
                self.start(&spec).await
            }
            Step::PublishFront { stack, place, server, front } => {
                let (holder, _) = self.networks.running(&server).await?;
                let dir = self.setting.front_dir(&stack, &place);
                let keys = front::keys(&self.setting.data_dir, &stack, front.profile.as_deref())?;
                self.ears.open(&self.docker, &dir)?;
                front::publish(&dir, &front.with_keys(keys)).await?;
                Ok(vec![Seen::Front(stack, place, holder, front)])
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
            Step::ForgetFlows { vpc, eni, addresses, .. } => {
                let network = self.networks.open(&vpc).await?;
                for address in addresses {
                    network.links.forget_flows(address).await?;
                }
                Ok(vec![Seen::Forgotten(eni)])
            }
            Step::PullImage { stack, task, container, image } => self.pull(stack, task, container, image).await,
            Step::StartContainer { stack, task, container, spec } => {
                let reason = match self.start_app(&stack, &spec).await? {
                    Ok(seen) => return Ok(seen),
                    Err(reason) => reason,
                };
                let mut seen = self.look(&spec.name).await?;
                seen.push(Seen::CannotStart { stack, task, container, reason });
                Ok(seen)
            }
            Step::StopContainer { name, grace } => {
                self.docker.stop(&name, grace).await?;
                self.look(&name).await
            }
            Step::RemoveContainer { name } => {
                // A socket of ours would keep its namespace alive.
                self.networks.forget(&name);
                self.instances.forget(&name);
                if let Some(DockerName { stack, part: Part::App(..), .. }) = DockerName::parse(&name) {
                    kept_logs::keep(&self.docker, &self.setting.logs_dir(&StackName::new(stack)), &name).await;
                }
                // Its document holds keys: gone before the container is, so that a kill in between leaves a step to do.
                if let Some(DockerName { stack, part: Part::Front(instance), .. }) = DockerName::parse(&name) {
                    let place = FrontPlace::Instance(InstanceId::new(instance));
                    let dir = self.setting.front_dir(&StackName::new(stack), &place);
                    self.ears.close(&dir);
                    front::remove(&dir)?;
                }
                self.docker.remove(&name).await?;
                // A look may have opened it again meanwhile.
                self.networks.forget(&name);
                self.instances.forget(&name);
                self.look(&name).await
            }
            Step::RemoveRemains { task, volumes, cgroup } => {
                for volume in volumes {
                    self.docker.remove_volume(&volume).await?;
                }
                if let Some(cgroup) = cgroup {
                    remove_cgroup_parent(&cgroup)?;
                }
                Ok(vec![Seen::Cleared(task)])
            }
            Step::RemoveFiles { stack } => {
                self.ears.close(&self.setting.front_dir(&stack, &FrontPlace::Vpc));
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

    /// Starts a container of a task; the inner error is why it never can, in ECS's words.
    async fn start_app(
        &self,
        stack: &StackName,
        spec: &ContainerSpec,
    ) -> Result<Result<Vec<Seen>, String>, ApplyError> {
        let mut secrets = Vec::with_capacity(spec.secrets.len());
        if !spec.secrets.is_empty() {
            let known = secrets::read(&self.setting.data_dir, stack)?;
            for (name, value_from) in &spec.secrets {
                let Some(value) = known.get(value_from) else {
                    return Ok(Err(format!(
                        "ResourceInitializationError: unable to pull secrets or registry auth: no value for \
                         {value_from}: run `ecsnet up` with its stack file again"
                    )));
                };
                // Docker would take it for a part of the value, and complain about both in one line.
                if name.is_empty() || name.contains(['=', '\0']) || value.reveal().contains('\0') {
                    return Ok(Err(format!(
                        "ResourceInitializationError: unable to pull secrets or registry auth: {value_from}: the name of \
                         its variable must not be empty or hold `=`, and neither name nor value may hold NUL"
                    )));
                }
                secrets.push((name.clone(), value.clone()));
            }
        }
        for mount in &spec.mounts {
            if let Err(reason) = stand_in::make(&self.setting.data_dir, Path::new(&mount.source))? {
                return Ok(Err(reason));
            }
            let must_be_there = mount.volume.as_ref().is_some_and(|volume| !volume.make);
            if must_be_there && !self.docker.has_volume(&mount.source).await? {
                return Ok(Err(format!(
                    "CannotCreateVolumeError: there is no Docker volume `{}`, and `autoprovision` is not set",
                    mount.source
                )));
            }
        }
        let started = async {
            self.docker.ensure_created_with(spec, &secrets).await?;
            self.docker.start(&spec.name).await
        };
        match started.await {
            Ok(()) => Ok(Ok(self.look(&spec.name).await?)),
            Err(error) => match error.ecs_reason_without(&secrets) {
                Some(reason) => Ok(Err(reason)),
                None => Err(error.into()),
            },
        }
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
        let credentials = self.keyring.for_image(&image);
        match self.docker.pull(&image, credentials.clone(), |progress| (self.on_pull)(&image, &progress)).await {
            Ok(()) => Ok(vec![Seen::Image(image)]),
            Err(error @ PullError::Unreachable { .. }) => Err(ApplyError::Pull(error)),
            Err(error) => {
                let reason = cannot_pull(&image, &error, credentials.is_some());
                Ok(vec![Seen::CannotStart { stack, task, container, reason }])
            }
        }
    }
}

/// Why a task whose image did not come stops: ECS's word, what was said, and which image it was.
fn cannot_pull(image: &str, error: &PullError, with_credentials: bool) -> String {
    let mut reason = format!("CannotPullContainerError: {error}");
    if !reason.contains(image) {
        reason.push_str(&format!(" (image {image})"));
    }
    if !with_credentials && error.is_about_access() {
        reason.push_str(
            " (ecsnet has no credentials for this registry: sign in with `docker login` and run `ecsnet up` \
             again; they are kept in memory only, so also after the agent was started anew)",
        );
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_did_not_come_is_named_once() {
        let said = |message: &str| {
            let error = PullError::Refused { message: message.to_owned() };
            cannot_pull("r.test/web:latst", &error, true)
        };
        assert_eq!(
            said("Error response from daemon: Get \"http://r.test/v2/\": connection refused"),
            "CannotPullContainerError: Error response from daemon: Get \"http://r.test/v2/\": connection refused \
             (image r.test/web:latst)"
        );
        assert_eq!(
            said("manifest for r.test/web:latst not found"),
            "CannotPullContainerError: manifest for r.test/web:latst not found"
        );
    }
}
