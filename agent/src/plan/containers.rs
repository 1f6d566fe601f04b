//! The containers of a stack as Docker is told them, and what a container of a task waits for (reference 1.2, 1.4, 2.4).

use netmodes::vpc::eni::{private_dns_name, private_domain};

use super::Setting;
use crate::project::security_groups::router;
use crate::runtime::labels::{EcsLabels, Labels, Role};
use crate::runtime::{ContainerSpec, HealthCheck, Mount, Network, Ulimit};
use crate::spec::ids::{StackName, arn};
use crate::spec::service::LaunchType;
use crate::spec::task_definition::{Condition, ContainerDefinition};
use crate::store::state::{StackRecord, Task};

/// Where the binary is in our own image.
const BINARY: &str = "/ecsnet";
/// Where the resolver finds its directory.
const RESOLVER_DIR: &str = "/run/ecsnet";

/// The container that holds a VPC's namespace; on Docker's bridge when the VPC has a way out (pitfall 4).
pub fn vpc(stack: &StackName, record: &StackRecord, image: &str, setting: &Setting) -> ContainerSpec {
    let mut labels = Labels::new(&setting.owner, Role::Vpc);
    labels.stack = Some(stack.as_str().to_owned());
    let mut spec = ContainerSpec::new(setting.vpc_name(stack), image, Role::Vpc);
    spec.labels = labels.encode();
    spec.network = if record.spec.vpc.internet { Network::DockerBridge } else { Network::None };
    pause(&mut spec);
    spec
}

/// The resolver, joined to the VPC's namespace by its holder's id, so that another holder means another resolver.
pub fn resolver(stack: &StackName, vpc_id: &str, image: &str, setting: &Setting) -> ContainerSpec {
    let mut labels = Labels::new(&setting.owner, Role::Resolver);
    labels.stack = Some(stack.as_str().to_owned());
    let mut spec = ContainerSpec::new(setting.resolver_name(stack), image, Role::Resolver);
    spec.labels = labels.encode();
    spec.network = Network::JoinContainer(vpc_id.to_owned());
    spec.entry_point = Some(vec![BINARY.into(), "resolver".into(), "--dir".into(), RESOLVER_DIR.into()]);
    spec.mounts = vec![Mount {
        source: setting.resolver_dir(stack).to_string_lossy().into_owned(),
        target: RESOLVER_DIR.into(),
        read_only: false,
    }];
    spec.read_only = true;
    spec.cap_drop = vec!["ALL".into()];
    spec.cap_add = vec!["NET_BIND_SERVICE".into()];
    spec.stop_timeout = Some(2);
    spec
}

/// The container that holds a task's namespace, with the three files that its containers share (1.4).
pub fn task_pause(
    stack: &StackName,
    record: &StackRecord,
    task: &Task,
    image: &str,
    setting: &Setting,
) -> ContainerSpec {
    let region = &record.spec.region;
    let mut labels = Labels::new(&setting.owner, Role::Pause);
    labels.stack = Some(stack.as_str().to_owned());
    labels.task = Some(task.id.as_str().to_owned());
    labels.eni = Some(task.eni.id.clone());
    let mut spec = ContainerSpec::new(setting.pause_name(stack, &task.id), image, Role::Pause);
    spec.labels = labels.encode();
    spec.network = Network::None;
    let names =
        task.eni.addresses.iter().filter_map(|a| private_dns_name(a.address, region).map(|name| (name, a.address)));
    spec.extra_hosts = names.collect();
    spec.hostname = spec.extra_hosts.first().map(|(name, _)| name.clone());
    spec.dns = router(record).resolver_addresses().into_iter().take(1).collect();
    spec.dns_search = vec![private_domain(region)];
    pause(&mut spec);
    spec
}

fn pause(spec: &mut ContainerSpec) {
    spec.entry_point = Some(vec![BINARY.into(), "pause".into()]);
    spec.read_only = true;
    spec.cap_drop = vec!["ALL".into()];
    spec.stop_timeout = Some(2);
}

/// A container of a task, joined to the task's namespace.
pub fn app(
    stack: &StackName,
    record: &StackRecord,
    task: &Task,
    launch_type: LaunchType,
    definition: &ContainerDefinition,
    setting: &Setting,
) -> ContainerSpec {
    let region = &record.spec.region;
    let mut labels = Labels::new(&setting.owner, Role::App);
    labels.stack = Some(stack.as_str().to_owned());
    labels.task = Some(task.id.as_str().to_owned());
    labels.container = Some(definition.name.as_str().to_owned());
    labels.eni = Some(task.eni.id.clone());
    labels.ecs = Some(EcsLabels {
        task_arn: arn::task(region, stack, &task.id),
        container_name: definition.name.as_str().to_owned(),
        family: task.definition.family.clone(),
        revision: task.revision,
        cluster: arn::cluster(region, stack),
    });
    let mut spec =
        ContainerSpec::new(setting.app_name(stack, &task.id, &definition.name), &definition.image, Role::App);
    spec.labels = labels.encode();
    spec.docker_labels = definition.docker_labels.clone();
    spec.network = Network::JoinContainer(setting.pause_name(stack, &task.id));
    spec.command = definition.command.clone();
    spec.entry_point = definition.entry_point.clone();
    spec.working_directory = definition.working_directory.clone();
    spec.user = definition.user.clone();
    spec.environment = environment(definition, region, launch_type);
    // 0 or absent means two shares (2.2), the least that Docker takes.
    spec.cpu_shares = Some(i64::from(definition.cpu.max(2)));
    spec.memory_mib = definition.memory.or(task.definition.memory).map(i64::from);
    spec.memory_reservation_mib = definition.memory_reservation.map(i64::from);
    spec.health_check = definition.health_check.as_ref().map(|check| HealthCheck {
        command: check.command.clone(),
        interval: check.interval,
        timeout: check.timeout,
        retries: check.retries,
        start_period: check.start_period,
    });
    spec.stop_timeout = definition.stop_timeout;
    spec.read_only = definition.readonly_root_filesystem;
    spec.tty = definition.pseudo_terminal;
    spec.interactive = definition.interactive;
    spec.init = definition.init_process_enabled;
    spec.cap_add = definition.capabilities_add.clone();
    spec.cap_drop = definition.capabilities_drop.clone();
    spec.ulimits = definition
        .ulimits
        .iter()
        .map(|u| Ulimit { name: u.name.clone(), soft: u.soft_limit, hard: u.hard_limit })
        .collect();
    spec
}

/// What the task definition says, with what ECS adds (2.6). The metadata variables come with the endpoint they name.
fn environment(definition: &ContainerDefinition, region: &str, launch_type: LaunchType) -> Vec<(String, String)> {
    let mut environment = definition.environment.clone();
    let is_set = |name: &str| definition.environment.iter().any(|(n, _)| n == name);
    let execution = match launch_type {
        LaunchType::Fargate => "AWS_ECS_FARGATE",
        LaunchType::Ec2 => "AWS_ECS_EC2",
    };
    if !is_set("AWS_EXECUTION_ENV") {
        environment.push(("AWS_EXECUTION_ENV".into(), execution.into()));
    }
    // Both are left out when the user sets either one.
    if !is_set("AWS_REGION") && !is_set("AWS_DEFAULT_REGION") {
        environment.push(("AWS_REGION".into(), region.to_owned()));
        environment.push(("AWS_DEFAULT_REGION".into(), region.to_owned()));
    }
    environment
}

/// Whether a container may be created now, or never.
#[derive(Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Every dependency holds.
    Ready,
    /// Not yet: which dependency, for people.
    Waiting(String),
    /// A dependency can hold no more (2.4): why.
    Never(String),
}

/// Whether what a container depends on has happened (2.4).
pub fn readiness(task: &Task, definition: &ContainerDefinition, now: jiff::Timestamp) -> Readiness {
    let mut waiting = None;
    for dependency in &definition.depends_on {
        let name = &dependency.container_name;
        let record = task.container(name);
        let holds = match dependency.condition {
            Condition::Start => record.started,
            Condition::Complete => record.started && record.stopped,
            Condition::Success => record.stopped && record.exit_code == Some(0),
            Condition::Healthy => record.was_healthy,
        };
        if holds {
            continue;
        }
        let over = record.stopped && !matches!(dependency.condition, Condition::Complete if record.started);
        if over {
            return Readiness::Never(format!(
                "dependency graph: container {} depends on {name}, which ended {}",
                definition.name,
                record.exit_code.map_or_else(|| "without having started".to_owned(), |c| format!("with exit code {c}")),
            ));
        }
        let limit = task.definition.container(name).and_then(|c| c.start_timeout);
        if let (Some(limit), Some(since)) = (limit, record.started_at)
            && since + std::time::Duration::from_secs(limit.into()) <= now
        {
            return Readiness::Never(format!(
                "dependency graph: container {} depends on {name}, which did not get there within its startTimeout of {limit} s",
                definition.name,
            ));
        }
        waiting.get_or_insert_with(|| {
            let condition = match dependency.condition {
                Condition::Start => "START",
                Condition::Complete => "COMPLETE",
                Condition::Success => "SUCCESS",
                Condition::Healthy => "HEALTHY",
            };
            format!("its containers ({} depends on {name}: {condition})", definition.name)
        });
    }
    waiting.map_or(Readiness::Ready, Readiness::Waiting)
}
