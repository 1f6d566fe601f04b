//! What each front answers at 169.254.170.2: the metadata of the tasks that ask there (reference 9, pitfall 7). Pure.
//!
//! Tasks in awsvpc ask in their VPC's netns, those in bridge and host mode in their instance's; a task in mode none cannot
//! ask. Keys are not in here: they are put in when the front is published, so that they are in no plan.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netmodes::bridge::{BRIDGE_ADDRESS, BRIDGE_BLOCK};
use netmodes::ids::NetworkMode;
use netmodes::vpc::eni::{Eni, private_dns_name, private_domain};

use super::dns::reached_port;
use super::metadata::{
    ContainerDocument, ContainerHealth, ContainerLimits, ContainerType, Front, FrontCredentials, FrontTask,
    Introspection, NetworkDocument, PortDocument, RateLimit, Tags, TaskDocument, TaskLimits,
};
use super::security_groups::{router, subnets};
use crate::observe::Observed;
use crate::plan::Setting;
use crate::plan::health;
use crate::runtime::{ContainerState, Health, ObservedContainer, labels};
use crate::spec::ids::{StackName, arn};
use crate::spec::service::LaunchType;
use crate::spec::task_definition::ContainerDefinition;
use crate::store::instance::Instance;
use crate::store::state::StackState;
use crate::store::task::{Task, TaskStatus};

/// Where a front listens.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// In a VPC's netns nobody else listens.
const HTTP_PORT: u16 = 80;
/// In an instance's netns port 80 is led here, so that a host-mode process may have its own port 80.
pub const INSTANCE_PORT: u16 = 51679;
/// The introspection API (9.1).
const INTROSPECTION_PORT: u16 = 51678;

/// What a stack's parts are seen through.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// Its name.
    pub name: &'a StackName,
    /// Its state.
    pub stack: &'a StackState,
    /// What is there.
    pub observed: &'a Observed,
    /// Names.
    pub setting: &'a Setting,
}

/// The front of a VPC; its generation is 0 and is given when it is written.
pub fn of_vpc(scene: Scene<'_>) -> Front {
    let tasks = scene.stack.tasks.values().filter(|task| task.mode() == NetworkMode::Awsvpc);
    Front {
        generation: 0,
        listen: vec![SocketAddr::new(METADATA.into(), HTTP_PORT)],
        request_limit: Some(RateLimit::OF_ECS),
        profile: scene.stack.record.spec.credentials_profile.clone(),
        tasks: tasks.filter(|task| asks(task)).map(|task| scene.task(task)).collect(),
        introspection: None,
    }
}

/// The front of a container instance.
pub fn of_instance(scene: Scene<'_>, instance: &Instance) -> Front {
    let shared = |task: &&Task| matches!(task.mode(), NetworkMode::Bridge | NetworkMode::Host);
    let tasks = scene.stack.tasks_on(&instance.id).filter(shared).filter(|task| asks(task));
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(BRIDGE_ADDRESS)];
    Front {
        generation: 0,
        listen: vec![SocketAddr::new(METADATA.into(), INSTANCE_PORT)],
        request_limit: Some(RateLimit::OF_ECS),
        profile: scene.stack.record.spec.credentials_profile.clone(),
        tasks: tasks.map(|task| scene.task(task)).collect(),
        introspection: Some(Introspection {
            listen: own.iter().map(|address| SocketAddr::new(*address, INTROSPECTION_PORT)).collect(),
            sources: own.into_iter().map(Into::into).chain([BRIDGE_BLOCK.into()]).collect(),
            cluster: scene.name.to_string(),
            container_instance_arn: arn::container_instance(&scene.stack.record.spec.region, scene.name, &instance.id),
        }),
    }
}

/// Whether a task may have something that asks: from the moment that its containers can be there until they are gone.
fn asks(task: &Task) -> bool {
    (TaskStatus::Provisioning..TaskStatus::Deprovisioning).contains(&task.status)
}

impl Scene<'_> {
    fn task(self, task: &Task) -> FrontTask {
        let spec = &self.stack.record.spec;
        let sources = match task.mode() {
            NetworkMode::Awsvpc => task.eni().into_iter().flat_map(addresses).collect(),
            NetworkMode::Bridge => task.attachments().map(|(_, attachment)| attachment.address.into()).collect(),
            NetworkMode::Host | NetworkMode::None => Vec::new(),
        };
        let definition = &task.definition;
        let pause = self.observed.containers.get(&self.setting.pause_name(self.name, &task.id));
        let containers = definition.container_definitions.iter().map(|c| self.container(task, c));
        let on_ec2 = task.launch_type == LaunchType::Ec2;
        let pause_document = pause.filter(|_| on_ec2 && task.eni().is_some()).map(|pause| self.pause(task, pause));
        let role = definition.task_role_arn.clone();
        FrontTask {
            task_arn: arn::task(&spec.region, self.name, &task.id),
            endpoints: task.endpoints.iter().map(|(name, id)| (id.clone(), name.to_string())).collect(),
            sources,
            v2: task.mode() == NetworkMode::Awsvpc,
            network_holder: pause.filter(|_| task.eni().is_some()).map(|pause| pause.id.0.clone()),
            document: TaskDocument {
                cluster: if on_ec2 { self.name.to_string() } else { arn::cluster(&spec.region, self.name) },
                task_arn: arn::task(&spec.region, self.name, &task.id),
                family: definition.family.clone(),
                revision: task.revision.to_string(),
                service_name: task.service.to_string(),
                group: format!("service:{}", task.service),
                desired_status: if task.is_wanted() { "RUNNING" } else { "STOPPED" }.to_owned(),
                known_status: known_status(task.status).to_owned(),
                containers: containers.chain(pause_document).collect(),
                limits: (definition.cpu.is_some() || definition.memory.is_some()).then(|| TaskLimits {
                    cpu: definition.cpu.map(|units| f64::from(units) / 1024.0),
                    memory: definition.memory.map(u64::from),
                }),
                pull_started_at: task.times.pull_started_at,
                pull_stopped_at: task.times.pull_stopped_at,
                execution_stopped_at: task.times.execution_stopped_at,
                availability_zone: task.availability_zone.clone(),
                launch_type: Some(task.launch_type),
                vpc_id: self.stack.record.vpc_id.to_string(),
                ..TaskDocument::default()
            },
            tags: Tags::default(),
            credentials: role.map(|role_arn| FrontCredentials {
                id: task.credentials_id.clone(),
                role_arn,
                keys: None,
            }),
        }
    }

    fn container(self, task: &Task, definition: &ContainerDefinition) -> ContainerDocument {
        let region = &self.stack.record.spec.region;
        let docker_name = self.setting.app_name(self.name, &task.id, &definition.name);
        let seen = self.observed.containers.get(&docker_name);
        let record = task.container(&definition.name);
        let ports = definition.port_mappings.iter().map(|mapping| PortDocument {
            container_port: mapping.container_port,
            protocol: mapping.protocol.as_str().to_owned(),
            host_port: reached_port(task, &definition.name, mapping.container_port),
            host_ip: if task.mode() == NetworkMode::Bridge { "0.0.0.0".to_owned() } else { String::new() },
        });
        let health = definition.health_check.as_ref().map(|_| ContainerHealth {
            status: match health::of_container(definition, seen) {
                Some(Health::Healthy) => "HEALTHY",
                Some(Health::Unhealthy) => "UNHEALTHY",
                Some(Health::Starting) | None => "UNKNOWN",
            }
            .to_owned(),
            status_since: None,
            exit_code: None,
            output: seen.and_then(|c| c.last_health_output.clone()).unwrap_or_default(),
        });
        ContainerDocument {
            docker_id: seen.map(|c| c.id.0.clone()).unwrap_or_default(),
            name: definition.name.to_string(),
            docker_name,
            image: definition.image.clone(),
            image_id: seen.map(|c| c.image_id.clone()).unwrap_or_default(),
            ports: ports.collect(),
            labels: ecs_labels(seen, definition),
            desired_status: if task.is_wanted() { "RUNNING" } else { "STOPPED" }.to_owned(),
            known_status: match (seen.map(|c| &c.state), record.stopped) {
                (_, true) => "STOPPED",
                (Some(ContainerState::Running { .. }), _) => "RUNNING",
                (Some(_), _) => "CREATED",
                (None, _) => "NONE",
            }
            .to_owned(),
            exit_code: record.exit_code,
            limits: ContainerLimits::new(definition.cpu, definition.memory.map(u64::from)),
            created_at: seen.and_then(|c| c.created_at),
            started_at: seen.and_then(|c| c.started_at),
            finished_at: seen.and_then(|c| c.finished_at).filter(|_| record.stopped),
            kind: ContainerType::Normal,
            health,
            log_driver: "json-file".to_owned(),
            log_options: definition.log_options.clone(),
            container_arn: arn::container(region, self.name, &task.id, &definition.name),
            networks: self.networks(task, definition),
            restart_count: definition
                .restart_policy
                .as_ref()
                .filter(|policy| policy.enabled)
                .map(|_| u64::from(record.restarts)),
            ..ContainerDocument::default()
        }
    }

    fn pause(self, task: &Task, seen: &ObservedContainer) -> ContainerDocument {
        ContainerDocument {
            docker_id: seen.id.0.clone(),
            name: "~internal~ecs~pause".to_owned(),
            docker_name: seen.name.clone(),
            image: seen.image.clone(),
            image_id: seen.image_id.clone(),
            desired_status: "RESOURCES_PROVISIONED".to_owned(),
            known_status: "RESOURCES_PROVISIONED".to_owned(),
            created_at: seen.created_at,
            started_at: seen.started_at,
            kind: ContainerType::CniPause,
            networks: task.eni().map(|eni| self.awsvpc(eni)).into_iter().collect(),
            ..ContainerDocument::default()
        }
    }

    fn networks(self, task: &Task, definition: &ContainerDefinition) -> Vec<NetworkDocument> {
        let mode = task.mode().to_string();
        match task.mode() {
            NetworkMode::Awsvpc => task.eni().map(|eni| self.awsvpc(eni)).into_iter().collect(),
            NetworkMode::Bridge => {
                let own = task.attachments().find(|(name, _)| **name == definition.name);
                let ipv4_addresses = own.map(|(_, attachment)| attachment.address.to_string()).into_iter().collect();
                vec![NetworkDocument { network_mode: mode, ipv4_addresses, ..NetworkDocument::default() }]
            }
            NetworkMode::Host => vec![NetworkDocument { network_mode: mode, ..NetworkDocument::default() }],
            NetworkMode::None => Vec::new(),
        }
    }

    fn awsvpc(self, eni: &Eni) -> NetworkDocument {
        let record = &self.stack.record;
        let region = &record.spec.region;
        let subnet = subnets(record).into_iter().find(|subnet| subnet.id == eni.subnet);
        let of = |ipv4: bool| eni.addresses.iter().filter(move |a| a.address.is_ipv4() == ipv4);
        let gateway = |ipv4| of(ipv4).next().map(|a| format!("{}/{}", a.gateway, a.prefix)).unwrap_or_default();
        NetworkDocument {
            network_mode: NetworkMode::Awsvpc.to_string(),
            ipv4_addresses: of(true).map(|a| a.address.to_string()).collect(),
            ipv6_addresses: of(false).map(|a| a.address.to_string()).collect(),
            attachment_index: Some(0),
            mac_address: eni.mac.to_string(),
            ipv4_subnet_cidr_block: subnet.map(|s| s.cidr.to_string()).unwrap_or_default(),
            domain_name_servers: router(record).resolver_addresses().iter().take(1).map(ToString::to_string).collect(),
            domain_name_search_list: vec![private_domain(region)],
            private_dns_name: eni.primary_address().and_then(|a| private_dns_name(a, region)).unwrap_or_default(),
            subnet_gateway_ipv4_address: gateway(true),
            subnet_gateway_ipv6_address: gateway(false),
            ..NetworkDocument::default()
        }
    }
}

fn addresses(eni: &Eni) -> impl Iterator<Item = IpAddr> {
    eni.addresses.iter().map(|a| a.address)
}

/// The agent's own word for a task's status: it knows nothing of what only the control plane does.
fn known_status(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Provisioning | TaskStatus::Pending => "PENDING",
        TaskStatus::Activating | TaskStatus::Running | TaskStatus::Deactivating | TaskStatus::Stopping => "RUNNING",
        TaskStatus::Deprovisioning | TaskStatus::Stopped => "STOPPED",
    }
}

/// ECS's five labels, and the user's own.
fn ecs_labels(seen: Option<&ObservedContainer>, definition: &ContainerDefinition) -> BTreeMap<String, String> {
    let of_ecs = [
        labels::ECS_TASK_ARN,
        labels::ECS_CONTAINER_NAME,
        labels::ECS_FAMILY,
        labels::ECS_REVISION,
        labels::ECS_CLUSTER,
    ];
    let seen = seen.into_iter().flat_map(|c| &c.labels).filter(|(name, _)| of_ecs.contains(&name.as_str()));
    let seen = seen.map(|(name, value)| (name.clone(), value.clone()));
    definition.docker_labels.clone().into_iter().chain(seen).collect()
}
