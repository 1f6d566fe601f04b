//! The containers of a stack as Docker is told them, and what a container of a task waits for (reference 1.2, 1.4, 2.4).

use std::net::IpAddr;

use netmodes::vpc::eni::{Eni, private_dns_name, private_domain};

use super::step::FrontPlace;
use super::{Setting, mounts};
use crate::project::metadata::{self, METADATA_ADDRESS};
use crate::project::security_groups::router;
use crate::runtime::cgroup::quota_us;
use crate::runtime::labels::{EcsLabels, Labels, Role};
use crate::runtime::{ContainerSpec, Device, HealthCheck, LogFiles, Mount, Network, Ulimit};
use crate::spec::ids::{ContainerName, InstanceId, StackName, arn};
use crate::spec::service::LaunchType;
use crate::spec::task_definition::{self as spec, Condition, ContainerDefinition, Dependency, IpcMode, PidMode};
use crate::store::instance::Instance;
use crate::store::state::StackRecord;
use crate::store::task::{Task, TaskNetwork};

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
    // Not read by anybody: one that was made before it was the VPC's front too is another container by this, and is replaced.
    spec.environment = vec![("ECSNET_FRONT".into(), METADATA_ADDRESS.into())];
    spec.mounts = vec![Mount::new(setting.resolver_dir(stack).to_string_lossy(), RESOLVER_DIR, false)];
    spec.read_only = true;
    spec.cap_drop = vec!["ALL".into()];
    spec.cap_add = vec!["NET_BIND_SERVICE".into()];
    spec.stop_timeout = Some(2);
    spec
}

/// What answers at 169.254.170.2 in an instance's netns, joined by its holder's id, so that another holder means another one.
pub fn front(
    stack: &StackName,
    instance: &InstanceId,
    holder_id: &str,
    image: &str,
    setting: &Setting,
) -> ContainerSpec {
    let mut labels = Labels::new(&setting.owner, Role::Front);
    labels.stack = Some(stack.as_str().to_owned());
    let mut spec = ContainerSpec::new(setting.front_name(stack, instance), image, Role::Front);
    spec.labels = labels.encode();
    spec.network = Network::JoinContainer(holder_id.to_owned());
    spec.entry_point = Some(vec![BINARY.into(), "metadata".into(), "--dir".into(), RESOLVER_DIR.into()]);
    let dir = setting.front_dir(stack, &FrontPlace::Instance(instance.clone()));
    spec.mounts = vec![Mount::new(dir.to_string_lossy(), RESOLVER_DIR, false)];
    spec.read_only = true;
    spec.cap_drop = vec!["ALL".into()];
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
    let mut labels = Labels::new(&setting.owner, Role::Pause);
    labels.stack = Some(stack.as_str().to_owned());
    labels.task = Some(task.id.as_str().to_owned());
    labels.eni = task.eni().map(|eni| eni.id.clone());
    let mut spec = ContainerSpec::new(setting.pause_name(stack, &task.id), image, Role::Pause);
    spec.labels = labels.encode();
    spec.network = Network::None;
    name_by_eni(&mut spec, record, task.eni());
    spec.cgroup_parent = setting.cgroup_of(task).map(|cgroup| cgroup.parent);
    if task.definition.ipc_mode == Some(IpcMode::Task) {
        // Its /dev/shm is everybody's, so it is as large as the largest that one of them asks for.
        spec.ipc_mode = Some("shareable".to_owned());
        let sizes = task.definition.container_definitions.iter().filter_map(|c| c.shared_memory_size);
        spec.shared_memory_mib = sizes.max().map(i64::from);
    }
    pause(&mut spec);
    spec
}

/// The three files of what has an ENI of its own: its private name, and the VPC's resolver (1.4).
fn name_by_eni(spec: &mut ContainerSpec, record: &StackRecord, eni: Option<&Eni>) {
    let region = &record.spec.region;
    let addresses = eni.into_iter().flat_map(|eni| &eni.addresses);
    let names = addresses.filter_map(|a| private_dns_name(a.address, region).map(|name| (name, a.address)));
    spec.extra_hosts = names.collect();
    spec.hostname = spec.extra_hosts.first().map(|(name, _)| name.clone());
    spec.dns = router(record).resolver_addresses().into_iter().take(1).collect();
    spec.dns_search = vec![private_domain(region)];
}

/// The container that holds the netns of a container instance. Its three files are those of host-mode tasks.
pub fn instance(
    stack: &StackName,
    record: &StackRecord,
    instance: &Instance,
    image: &str,
    setting: &Setting,
) -> ContainerSpec {
    let mut labels = Labels::new(&setting.owner, Role::Instance);
    labels.stack = Some(stack.as_str().to_owned());
    labels.eni = Some(instance.network.eni.id.clone());
    let mut spec = ContainerSpec::new(setting.instance_name(stack, &instance.id), image, Role::Instance);
    spec.labels = labels.encode();
    spec.network = Network::None;
    name_by_eni(&mut spec, record, Some(&instance.network.eni));
    pause(&mut spec);
    spec
}

/// The container that holds the netns of one container of a task in bridge mode, with that container's three files: links
/// are lines of its hosts file (1.7).
pub fn container_pause(
    stack: &StackName,
    record: &StackRecord,
    task: &Task,
    container: &ContainerName,
    image: &str,
    setting: &Setting,
) -> ContainerSpec {
    let mut labels = Labels::new(&setting.owner, Role::Pause);
    labels.stack = Some(stack.as_str().to_owned());
    labels.task = Some(task.id.as_str().to_owned());
    labels.container = Some(container.as_str().to_owned());
    let mut spec = ContainerSpec::new(setting.container_pause_name(stack, &task.id, container), image, Role::Pause);
    spec.labels = labels.encode();
    spec.network = Network::None;
    spec.cgroup_parent = setting.cgroup_of(task).map(|cgroup| cgroup.parent);
    pause(&mut spec);
    let Some(definition) = task.definition.container(container) else { return spec };
    let TaskNetwork::Bridge { attachments, .. } = &task.network else { return spec };
    let own = attachments.get(container).map(|a| IpAddr::V4(a.address));
    // Docker names a container without a host name after its id, of which it writes the first twelve digits.
    spec.hostname = Some(definition.hostname.clone().unwrap_or_else(|| task.id.as_str().chars().take(12).collect()));
    spec.extra_hosts.extend(spec.hostname.clone().zip(own));
    for link in &definition.links {
        let Some(target) = attachments.get(&link.container_name) else { continue };
        let names = link.alias.iter().cloned().chain([link.container_name.as_str().to_owned()]);
        spec.extra_hosts.extend(names.map(|name| (name, IpAddr::V4(target.address))));
    }
    let extra = definition.extra_hosts.iter();
    spec.extra_hosts.extend(extra.filter_map(|(name, address)| Some((name.clone(), address.parse().ok()?))));
    spec.dns = definition.dns_servers.iter().filter_map(|server| server.parse().ok()).collect();
    if spec.dns.is_empty() {
        spec.dns = router(record).resolver_addresses().into_iter().take(1).collect();
    }
    spec.dns_search = definition.dns_search_domains.clone();
    if spec.dns_search.is_empty() {
        spec.dns_search = vec![private_domain(&record.spec.region)];
    }
    spec
}

fn pause(spec: &mut ContainerSpec) {
    spec.entry_point = Some(vec![BINARY.into(), "pause".into()]);
    spec.read_only = true;
    spec.cap_drop = vec!["ALL".into()];
    spec.stop_timeout = Some(2);
}

/// A container of a task, joined to the task's namespace. `own_image` is the one of our binary, for a stub.
pub fn app(
    stack: &StackName,
    record: &StackRecord,
    task: &Task,
    definition: &ContainerDefinition,
    own_image: &str,
    setting: &Setting,
) -> ContainerSpec {
    let (region, launch_type) = (&record.spec.region, task.launch_type);
    let mut labels = Labels::new(&setting.owner, Role::App);
    labels.stack = Some(stack.as_str().to_owned());
    labels.task = Some(task.id.as_str().to_owned());
    labels.container = Some(definition.name.as_str().to_owned());
    labels.eni = task.eni().map(|eni| eni.id.clone());
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
    spec.network = network_of(stack, task, definition, setting);
    let pause_name = setting.pause_name(stack, &task.id);
    spec.cgroup_parent = setting.cgroup_of(task).map(|cgroup| cgroup.parent);
    if definition.stub {
        spec.image = own_image.to_owned();
        spec.stop_timeout = Some(2);
        pause(&mut spec);
        return spec;
    }
    spec.pid_mode = task.definition.pid_mode.map(|mode| match mode {
        PidMode::Host => "host".to_owned(),
        PidMode::Task => format!("container:{pause_name}"),
    });
    spec.ipc_mode = task.definition.ipc_mode.map(|mode| match mode {
        IpcMode::Host => "host".to_owned(),
        IpcMode::Task => format!("container:{pause_name}"),
        IpcMode::None => "none".to_owned(),
    });
    spec.command = definition.command.clone();
    spec.entry_point = definition.entry_point.clone();
    spec.working_directory = definition.working_directory.clone();
    spec.user = definition.user.clone();
    spec.environment = environment(task, definition, region);
    spec.secrets = definition.secrets.iter().map(|s| (s.name.clone(), s.value_from.clone())).collect();
    // 0 or absent means two shares (2.2), the least that Docker takes.
    spec.cpu_shares = Some(i64::from(definition.cpu.clamp(2, 262_144)));
    // Where a task has no cgroup of its own, each of its containers alone is held to its size.
    let alone = setting.cgroups.is_err();
    spec.cpu_quota_us =
        task.definition.cpu.filter(|_| alone).map(|units| i64::try_from(quota_us(units)).unwrap_or(i64::MAX));
    // Also in a task's cgroup: the kernel then says which container was killed.
    spec.memory_mib = definition.memory.or(task.definition.memory).map(i64::from);
    // Without a memory limit Docker has none of swap; without maxSwap ECS ignores swappiness (2.2).
    if let (Some(memory), Some(swap)) = (spec.memory_mib, definition.max_swap) {
        spec.memory_swap_mib = Some(memory + i64::from(swap));
        let has_swappiness = !setting.cgroups.as_ref().is_ok_and(|c| c.unified);
        spec.swappiness = has_swappiness.then(|| i64::from(definition.swappiness.unwrap_or(60)));
    }
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
    spec.ulimits = ulimits(definition, launch_type, setting);
    spec.privileged = definition.privileged;
    spec.security_options = definition.docker_security_options.clone();
    spec.sysctls = definition.system_controls.iter().cloned().collect();
    spec.mounts = mounts::of_container(setting, stack, task, definition);
    let from = definition.volumes_from.iter();
    spec.volumes_from = from.map(|f| (setting.app_name(stack, &task.id, &f.source_container), f.read_only)).collect();
    spec.devices = definition.devices.iter().map(device).collect();
    spec.shared_memory_mib = definition.shared_memory_size.map(i64::from);
    spec.tmpfs = definition.tmpfs.iter().map(|t| (t.container_path.clone(), tmpfs_options(t))).collect();
    spec.log_files = log_files(definition);
    spec
}

/// Which netns a container of a task lives in (1.1).
fn network_of(stack: &StackName, task: &Task, definition: &ContainerDefinition, setting: &Setting) -> Network {
    match (&task.network, &task.instance) {
        (TaskNetwork::Awsvpc(_), _) => Network::JoinContainer(setting.pause_name(stack, &task.id)),
        (TaskNetwork::Bridge { attachments, .. }, _) if attachments.contains_key(&definition.name) => {
            Network::JoinContainer(setting.container_pause_name(stack, &task.id, &definition.name))
        }
        (TaskNetwork::Host { .. }, Some(instance)) if !definition.disable_networking => {
            Network::JoinContainer(setting.instance_name(stack, instance))
        }
        _ => Network::None,
    }
}

/// Those of the definition; Fargate has a default for `nofile` (2.2).
fn ulimits(definition: &ContainerDefinition, launch_type: LaunchType, setting: &Setting) -> Vec<Ulimit> {
    let given = definition.ulimits.iter();
    let mut ulimits: Vec<Ulimit> =
        given.map(|u| Ulimit { name: u.name.clone(), soft: u.soft_limit, hard: u.hard_limit }).collect();
    if launch_type == LaunchType::Fargate && ulimits.iter().all(|u| u.name != "nofile") {
        let most = setting.fargate_open_files();
        ulimits.push(Ulimit { name: "nofile".into(), soft: most, hard: most });
    }
    ulimits
}

fn device(device: &spec::Device) -> Device {
    let has = |permission: &str| device.permissions.is_empty() || device.permissions.iter().any(|p| p == permission);
    let letters = [("read", 'r'), ("write", 'w'), ("mknod", 'm')];
    Device {
        host_path: device.host_path.clone(),
        container_path: device.container_path.clone().unwrap_or_else(|| device.host_path.clone()),
        permissions: letters.into_iter().filter(|(word, _)| has(word)).map(|(_, letter)| letter).collect(),
    }
}

fn tmpfs_options(tmpfs: &spec::Tmpfs) -> String {
    let mut options = tmpfs.mount_options.clone();
    options.push(format!("size={}m", tmpfs.size));
    options.join(",")
}

/// What `json-file` was told, within what keeps a task from filling the disk.
fn log_files(definition: &ContainerDefinition) -> LogFiles {
    let mut files = LogFiles::default();
    let option = |name: &str| definition.log_options.get(name);
    if let Some(size) = option("max-size").and_then(|text| size_mib(text)) {
        files.size_mib = size;
    }
    if let Some(number) = option("max-file").and_then(|text| text.parse().ok()) {
        files.files = u32::max(number, 1);
    }
    files
}

/// `10m`, `1g`, `500k` or bytes, in whole MiB.
fn size_mib(text: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    let bytes = match text.get(digits.len()..)?.trim_end_matches('b') {
        "" => number,
        "k" => number.checked_mul(1 << 10)?,
        "m" => number.checked_mul(1 << 20)?,
        "g" => number.checked_mul(1 << 30)?,
        _ => return None,
    };
    u32::try_from(bytes.div_ceil(1 << 20)).ok().map(|mib| mib.max(1))
}

/// What the task definition says, with what ECS adds (2.6).
fn environment(task: &Task, definition: &ContainerDefinition, region: &str) -> Vec<(String, String)> {
    // A process that is given a name twice sees the first of the two, and Docker does not settle it.
    let mut environment: Vec<(String, String)> = Vec::with_capacity(definition.environment.len() + 7);
    for (name, value) in &definition.environment {
        match environment.iter_mut().find(|(n, _)| n == name) {
            Some((_, earlier)) => earlier.clone_from(value),
            None => environment.push((name.clone(), value.clone())),
        }
    }
    let is_set = |name: &str| {
        definition.environment.iter().any(|(n, _)| n == name) || definition.secrets.iter().any(|s| s.name == name)
    };
    let endpoint = task.endpoints.get(&definition.name).map(String::as_str).unwrap_or_default();
    let credentials = task.definition.task_role_arn.as_ref().map(|_| task.credentials_id.as_str());
    let of_ecs = metadata::environment(endpoint, credentials, task.launch_type, region, is_set);
    environment.extend(of_ecs.into_iter().filter(|(name, _)| !is_set(name)));
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
    // Docker takes mounts over from a container that is there (2.4); here it is there once it was started.
    let implied = definition.volumes_from.iter();
    let implied = implied.map(|f| &f.source_container).chain(definition.links.iter().map(|l| &l.container_name));
    let implied = implied.map(|name| Dependency { container_name: name.clone(), condition: Condition::Start });
    for dependency in definition.depends_on.iter().cloned().chain(implied) {
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
