//! A fold in place of Docker and the kernel: does steps at once, with what the real ones would have said, and holds each
//! one against what is there. For tests of the planner only; whether Docker and the kernel are so is tried elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use netmodes::bridge::{AttachmentId, PublishedPort};
use netmodes::ids::EniId;
use netmodes::security::group::Ruleset;
use netmodes::vpc::router::Router;

use crate::observe::{HolderId, Observed};
use crate::plan::ids::Ids;
use crate::plan::step::{FrontPlace, Step};
use crate::plan::{Plan, Setting, check, plan, up};
use crate::project::ports::published_ports;
use crate::project::zone::Zone;
use crate::runtime::cgroup::{Cgroups, Driver};
use crate::runtime::{ContainerId, ContainerSpec, ContainerState, Health, ObservedContainer, labels};
use crate::spec::ids::{StackName, TaskId};
use crate::spec::service::SchedulingStrategy;
use crate::spec::stack::Stack;
use crate::spec::task_definition::TransportProtocol;
use crate::store::instance::Instance;
use crate::store::state::{ServiceState, State};
use crate::store::task::{Task, TaskStatus};

/// What is in a VPC's namespace.
#[derive(Debug, Default, Clone)]
pub(crate) struct Namespace {
    router: Option<Router>,
    filter: Option<Ruleset>,
    links: BTreeMap<EniId, HolderId>,
}

/// What is in a container instance's netns.
#[derive(Debug, Default, Clone)]
pub(crate) struct InstanceNetns {
    pub(crate) ports: BTreeSet<PublishedPort>,
    pub(crate) attachments: BTreeMap<AttachmentId, HolderId>,
}

/// A machine, the agent's memory of it, and the agent's state.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) observed: Observed,
    pub(crate) setting: Setting,
    pub(crate) ids: Ids,
    pub(crate) now: Timestamp,
    /// Containers that are there.
    pub(crate) containers: BTreeMap<String, ObservedContainer>,
    /// VPC namespaces that are there.
    pub(crate) namespaces: BTreeMap<HolderId, Namespace>,
    /// Container instances whose bridge stands.
    pub(crate) bridges: BTreeMap<HolderId, InstanceNetns>,
    /// Ports that another process of every instance has.
    pub(crate) busy_ports: BTreeSet<(TransportProtocol, u16)>,
    /// What resolvers serve, by their run.
    pub(crate) served: BTreeMap<HolderId, Zone>,
    /// Whether routers fail to be built.
    pub(crate) unbuildable: bool,
    /// Images that cannot be pulled.
    pub(crate) unpullable: BTreeSet<String>,
    /// Images whose containers end at once, with this code.
    pub(crate) ending: BTreeMap<String, i64>,
    /// What the checks of an image's containers say as soon as they run.
    pub(crate) health: BTreeMap<String, Health>,
    /// Kinds of the steps that were done, oldest first.
    pub(crate) done: Vec<&'static str>,
    count: i32,
}

pub(crate) const STACK: &str = "shop";

pub(crate) fn stack_name() -> StackName {
    StackName::new(STACK)
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            state: State::default(),
            observed: Observed::default(),
            setting: Setting {
                owner: "default".into(),
                data_dir: "/nowhere".into(),
                healthy_after: Duration::from_secs(40),
                upstream: Vec::new(),
                most_open_files: None,
                cgroups: Ok(Cgroups { driver: Driver::Cgroupfs, unified: false }),
            },
            ids: Ids::from_seed(7),
            now: "2026-11-24T12:00:00Z".parse().unwrap(),
            containers: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            bridges: BTreeMap::new(),
            busy_ports: BTreeSet::new(),
            served: BTreeMap::new(),
            unbuildable: false,
            unpullable: BTreeSet::new(),
            ending: BTreeMap::new(),
            health: BTreeMap::new(),
            done: Vec::new(),
            count: 0,
        }
    }

    /// A world in which that stack was brought up and everything has settled.
    pub(crate) fn up(spec: &Stack) -> Self {
        let mut world = Self::new();
        world.apply_stack(spec);
        world.settle(Duration::from_secs(120));
        world
    }

    pub(crate) fn apply_stack(&mut self, spec: &Stack) {
        up::apply(&mut self.state, spec, self.now, &mut self.ids).unwrap();
    }

    /// One turn's plan, held against the invariants.
    pub(crate) fn plan(&mut self) -> Plan {
        self.observed.drop_stale(&self.state, &self.setting);
        let mut plan = plan(&mut self.state, &self.observed, &self.setting, self.now, &mut self.ids);
        assert_eq!(check::state(&self.state), []);
        assert_eq!(check::plan(&self.state, &self.observed, &self.setting, &plan.steps), []);
        // One that fails is tried again, and again fails.
        plan.steps.retain(|step| !(self.unbuildable && step.kind() == "BuildRouter"));
        plan
    }

    /// Turns until nothing is left to do within `horizon`; the plan is empty then.
    pub(crate) fn settle(&mut self, horizon: Duration) {
        let end = self.now + horizon;
        for _ in 0..5_000 {
            let Plan { steps, wake_at } = self.plan();
            if steps.is_empty() {
                match wake_at.filter(|at| *at <= end) {
                    Some(at) => self.now = at,
                    None => {
                        self.now = end;
                        return;
                    }
                }
            }
            for step in steps {
                self.perform(step);
            }
        }
        panic!("no fixpoint: {:?}", self.done.iter().rev().take(20).collect::<Vec<_>>());
    }

    /// Does at most `limit` steps, and says whether there were fewer.
    pub(crate) fn steps(&mut self, mut limit: usize) -> bool {
        loop {
            let steps = self.plan().steps;
            if steps.is_empty() {
                return true;
            }
            for step in steps {
                if limit == 0 {
                    return false;
                }
                limit -= 1;
                self.perform(step);
            }
        }
    }

    /// The agent dies and another one starts: it knows its store, and what Docker tells.
    pub(crate) fn restart(&mut self) {
        self.state = State::loaded(self.state.stacks().clone());
        self.observed = Observed { containers: self.containers.clone(), ..Observed::default() };
    }

    /// Docker dies with all containers and starts again.
    pub(crate) fn restart_docker(&mut self) {
        let names: Vec<String> = self.containers.keys().cloned().collect();
        for name in names {
            self.end(&name, 137);
        }
        self.observed.images.clear();
        self.observed.own_image = None;
    }

    /// A container's process ends.
    pub(crate) fn end(&mut self, name: &str, exit_code: i64) {
        let Some(container) = self.containers.get_mut(name) else { return };
        if matches!(container.state, ContainerState::Running { .. }) {
            let run = HolderId::of(container);
            container.state = ContainerState::Exited { exit_code, oom_killed: false, error: String::new() };
            container.health = None;
            container.finished_at = Some(self.now);
            self.lose(&run);
        }
        self.tell(name);
    }

    /// Somebody removes a container behind the agent's back.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(container) = self.containers.remove(name) {
            self.lose(&HolderId::of(&container));
        }
        self.tell(name);
    }

    pub(crate) fn set_health(&mut self, name: &str, health: Health) {
        self.containers.get_mut(name).unwrap().health = Some(health);
        self.tell(name);
    }

    /// What a run held goes with it: its namespace, the links into it.
    fn lose(&mut self, run: &HolderId) {
        self.namespaces.remove(run);
        self.served.remove(run);
        self.bridges.remove(run);
        for bridge in self.bridges.values_mut() {
            bridge.attachments.retain(|_, to| to != run);
        }
        for namespace in self.namespaces.values_mut() {
            namespace.links.retain(|_, to| to != run);
        }
    }

    fn tell(&mut self, name: &str) {
        match self.containers.get(name) {
            Some(container) => self.observed.containers.insert(name.to_owned(), container.clone()),
            None => self.observed.containers.remove(name),
        };
    }

    fn start(&mut self, spec: &ContainerSpec) {
        self.count += 1;
        let mut labels = spec.labels.clone();
        labels.insert(labels::SPEC.into(), spec.hash());
        let ending = self.ending.get(&spec.image);
        let state = match ending {
            Some(code) => ContainerState::Exited { exit_code: *code, oom_killed: false, error: String::new() },
            None => ContainerState::Running { pid: self.count },
        };
        // One that is there and is the same is started again, not made anew.
        let hash = labels.get(labels::SPEC);
        let same = self.containers.get(&spec.name).filter(|there| there.labels.get(labels::SPEC) == hash);
        let id = same.map_or_else(|| ContainerId(format!("{:064x}", self.count)), |there| there.id.clone());
        let checked = spec.health_check.is_some() && ending.is_none();
        let container = ObservedContainer {
            id,
            name: spec.name.clone(),
            image: spec.image.clone(),
            image_id: String::new(),
            labels,
            state,
            health: checked.then(|| self.health.get(&spec.image).copied().unwrap_or(Health::Healthy)),
            last_health_output: None,
            created_at: Some(self.now),
            started_at: Some(self.now),
            finished_at: None,
            hosts_path: None,
            resolv_conf_path: None,
        };
        self.containers.insert(spec.name.clone(), container);
        self.tell(&spec.name);
    }

    fn holder(&self, name: &str) -> HolderId {
        let container = &self.containers[name];
        assert!(matches!(container.state, ContainerState::Running { .. }), "{name} does not run");
        HolderId::of(container)
    }

    pub(crate) fn perform(&mut self, step: Step) {
        self.done.push(step.kind());
        match step {
            Step::ImportImage => self.observed.own_image = Some("ecsnet:1".into()),
            Step::HoldVpc { spec, .. } => {
                self.start(&spec);
                self.namespaces.insert(self.holder(&spec.name), Namespace::default());
            }
            Step::HoldTask { spec, .. }
            | Step::StartResolver { spec, .. }
            | Step::HoldInstance { spec }
            | Step::StartFront { spec, .. } => {
                self.start(&spec);
            }
            Step::ApplyFilter { stack, vpc, ruleset } => {
                let holder = self.holder(&vpc);
                let namespace = self.namespaces.get_mut(&holder).unwrap();
                let open: Vec<_> = namespace.links.keys().filter(|eni| !ruleset.enis.contains_key(*eni)).collect();
                assert_eq!(open, Vec::<&EniId>::new(), "linked ENIs leave the filter");
                namespace.filter = Some(*ruleset.clone());
                self.observed.networks.get_mut(&stack).unwrap().filter = Some(*ruleset);
            }
            Step::BuildRouter { stack, vpc, router } => {
                let holder = self.holder(&vpc);
                let namespace = self.namespaces.get_mut(&holder).unwrap();
                assert!(namespace.filter.is_some(), "a router before its filter");
                namespace.router = Some(router.clone());
                self.observed.networks.get_mut(&stack).unwrap().router = Some(router);
            }
            Step::PublishZone { stack, resolver, zone } => {
                let run = self.holder(&resolver);
                self.served.insert(run.clone(), *zone.clone());
                self.observed.networks.get_mut(&stack).unwrap().zone = Some((run, *zone));
            }
            Step::PublishFront { stack, place, server, front } => {
                let run = self.holder(&server);
                let answered = Some((run, *front));
                match place {
                    FrontPlace::Vpc => self.observed.networks.get_mut(&stack).unwrap().front = answered,
                    FrontPlace::Instance(id) => self.observed.instances.get_mut(&id).unwrap().front = answered,
                }
            }
            Step::LinkEni { stack, vpc, holder, eni } => {
                let (vpc, owner) = (self.holder(&vpc), self.holder(&holder));
                let namespace = self.namespaces.get_mut(&vpc).unwrap();
                let filtered = namespace.filter.as_ref().is_some_and(|f| f.enis.contains_key(&eni.id));
                assert!(filtered, "{} is linked without being in the filter", eni.id);
                namespace.links.insert(eni.id.clone(), owner.clone());
                self.observed.networks.get_mut(&stack).unwrap().links.insert(eni.id, Some(owner));
            }
            Step::UnlinkEni { stack, vpc, eni } => {
                let holder = self.holder(&vpc);
                self.namespaces.get_mut(&holder).unwrap().links.remove(&eni);
                self.observed.networks.get_mut(&stack).unwrap().links.insert(eni, None);
            }
            Step::ForgetFlows { eni, .. } => {
                self.observed.forgotten.insert(eni);
            }
            Step::BuildBridge { instance, holder } => {
                let holder = self.holder(&holder);
                self.bridges.entry(holder).or_default();
                self.observed.instances.get_mut(&instance).unwrap().bridged = true;
            }
            Step::AttachContainer { instance, holder, pause, attachment } => {
                let (holder, owner) = (self.holder(&holder), self.holder(&pause));
                let bridge = self.bridges.get_mut(&holder).expect("a container before its bridge");
                bridge.attachments.insert(attachment.id.clone(), owner.clone());
                let seen = self.observed.instances.get_mut(&instance).unwrap();
                seen.attachments.insert(attachment.id, Some(owner));
            }
            Step::PublishPorts { instance, holder, ports } => {
                let holder = self.holder(&holder);
                let bridge = self.bridges.get_mut(&holder).expect("ports before their bridge");
                let is_busy = |p: &PublishedPort| self.busy_ports.contains(&(p.protocol.into(), p.host_port));
                bridge.ports = ports.iter().filter(|p| !is_busy(p)).copied().collect();
                let busy = ports.iter().filter(|p| is_busy(p)).map(|p| (p.protocol.into(), p.host_port));
                let seen = self.observed.instances.get_mut(&instance).unwrap();
                seen.busy_ports.extend(busy);
                seen.ports = Some(bridge.ports.clone());
            }
            Step::DetachContainer { instance, holder, attachment } => {
                let holder = self.holder(&holder);
                let bridge = self.bridges.get_mut(&holder).unwrap();
                let left = bridge.ports.iter().find(|port| port.container_address == attachment.address);
                assert_eq!(left, None, "a port leads to a container that goes");
                bridge.attachments.remove(&attachment.id);
                let seen = self.observed.instances.get_mut(&instance).unwrap();
                seen.attachments.insert(attachment.id, None);
            }
            Step::PullImage { stack, task, container, image } => {
                if self.unpullable.contains(&image) {
                    self.observed.images.clear();
                    self.state.edit_task(&stack, &task, |record| {
                        let entry = record.containers.entry(container).or_default();
                        entry.stopped = true;
                        entry.reason = Some("CannotPullContainerError: no such image".into());
                    });
                } else {
                    self.observed.images.insert(image);
                }
            }
            Step::StartContainer { stack, task, spec, .. } => {
                let record = self.state.stack(&stack).unwrap().tasks[&task].clone();
                self.assert_linked(&record);
                self.start(&spec);
            }
            Step::StopContainer { name, .. } => self.end(&name, 143),
            Step::RemoveContainer { name } => self.remove(&name),
            Step::RemoveRemains { task, .. } => {
                self.observed.cleared.insert(task);
            }
            Step::RemoveFiles { stack } => {
                self.observed.networks.remove(&stack);
                self.state.remove_stack(&stack);
            }
        }
    }

    /// The task has all of its network: in the VPC, on its instance's bridge, with its ports.
    fn assert_linked(&self, task: &Task) {
        let stack = stack_name();
        let vpc = self.holder(&self.setting.vpc_name(&stack));
        if let Some(eni) = task.eni() {
            let pause = self.holder(&self.setting.pause_name(&stack, &task.id));
            assert_eq!(self.namespaces[&vpc].links.get(&eni.id), Some(&pause), "{} without its link", task.id);
        }
        let Some(id) = &task.instance else { return };
        let holder = self.holder(&self.setting.instance_name(&stack, id));
        let instance = &self.state.stack(&stack).unwrap().instances[id];
        assert_eq!(self.namespaces[&vpc].links.get(&instance.network.eni.id), Some(&holder), "{id} without its link");
        let bridge = &self.bridges[&holder];
        for (name, attachment) in task.attachments() {
            let pause = self.holder(&self.setting.container_pause_name(&stack, &task.id, name));
            assert_eq!(bridge.attachments.get(&attachment.id), Some(&pause), "{name} of {} is off its bridge", task.id);
        }
        for port in published_ports(task) {
            assert!(bridge.ports.contains(&port), "{port:?} of {} is not published", task.id);
        }
    }

    /// The container instances, in the order of their ids.
    pub(crate) fn container_instances(&self) -> Vec<&Instance> {
        self.state.stack(&stack_name()).unwrap().instances.values().collect()
    }

    pub(crate) fn service(&self, name: &str) -> &ServiceState {
        &self.state.stack(&stack_name()).unwrap().services[name]
    }

    /// Tasks of a service that nobody asked to stop, oldest first.
    pub(crate) fn live(&self, service: &str) -> Vec<&Task> {
        let stack = self.state.stack(&stack_name()).unwrap();
        let mut tasks: Vec<_> =
            stack.tasks.values().filter(|t| t.service.as_str() == service && t.is_wanted()).collect();
        tasks.sort_by_key(|t| (t.created_at, t.id.clone()));
        tasks
    }

    pub(crate) fn running(&self, service: &str) -> usize {
        self.live(service).iter().filter(|t| t.status == TaskStatus::Running).count()
    }

    /// Ids of the tasks of a service that run, for later.
    pub(crate) fn live_ids(&self, service: &str) -> Vec<TaskId> {
        self.live(service).iter().map(|t| t.id.clone()).collect()
    }

    pub(crate) fn task(&self, id: &TaskId) -> &Task {
        &self.state.stack(&stack_name()).unwrap().tasks[id]
    }

    /// The Docker name of a task's container.
    pub(crate) fn app(&self, task: &TaskId, container: &str) -> String {
        self.setting.app_name(&stack_name(), task, &crate::spec::ids::ContainerName::new(container))
    }

    /// Messages of a service's events, oldest first, that hold `words`.
    pub(crate) fn said(&self, service: &str, words: &str) -> usize {
        self.service(service).events.iter().filter(|e| e.message.contains(words)).count()
    }

    /// What the stack's resolver serves under a service's name: instance id and health.
    pub(crate) fn instances(&self, service: &str) -> BTreeMap<String, bool> {
        let resolver = self.setting.resolver_name(&stack_name());
        let zone = self.containers.get(&resolver).and_then(|c| self.served.get(&HolderId::of(c)));
        let answers = zone.and_then(|z| z.names.get(&format!("{service}.shop.local")));
        answers.into_iter().flat_map(|a| &a.instances).map(|i| (i.id.clone(), i.healthy)).collect()
    }

    /// Every service has its tasks, RUNNING, linked and, where it has a registry, served; nothing else is there.
    pub(crate) fn assert_complete(&mut self) {
        assert_eq!(self.plan().steps, []);
        let stack = self.state.stack(&stack_name()).unwrap();
        let vpc = self.holder(&self.setting.vpc_name(&stack_name()));
        let resolver = self.holder(&self.setting.resolver_name(&stack_name()));
        assert!(self.served.contains_key(&resolver));
        let mut expected = 2 + 2 * stack.instances.len();
        let mut linked = stack.instances.len();
        for instance in stack.instances.values() {
            assert!(instance.is_connected(), "{} is not connected", instance.id);
        }
        for (name, service) in &stack.services {
            let live = self.live(name.as_str());
            if service.primary().unwrap().service.scheduling_strategy == SchedulingStrategy::Replica {
                assert_eq!(live.len(), service.desired_count as usize, "tasks of {name}");
            }
            assert!(service.steady, "{name} is not steady: {:?}", service.events);
            for task in live {
                assert_eq!(task.status, TaskStatus::Running);
                self.assert_linked(task);
                let served = self.instances(name.as_str());
                assert_eq!(served.contains_key(task.id.as_str()), task.registers, "{name} in the zone");
                let holders = self.setting.holders_of(&stack_name(), task).len();
                expected += holders + task.definition.container_definitions.len();
                linked += usize::from(task.eni().is_some());
            }
        }
        assert_eq!(self.containers.len(), expected, "{:?}", self.containers.keys());
        assert_eq!(self.namespaces[&vpc].links.len(), linked);
        assert_eq!(self.namespaces[&vpc].filter.as_ref().unwrap().enis.len(), linked);
        let published: usize = self.bridges.values().map(|b| b.ports.len()).sum();
        let wanted: usize = stack.tasks.values().filter(|t| t.is_wanted()).map(|t| published_ports(t).count()).sum();
        assert_eq!(published, wanted);
    }
}
