//! How a service's tasks are attached and where they run: who of flag, service, task definition and stack decides
//! (reference 1.1, 1.10), and what a mode changes that was put in place of the definition's own.

use std::collections::BTreeMap;

use agent::spec::ids::NetworkMode;
use agent::spec::placement::Placement;
use agent::spec::problem::{Place, Problem};
use agent::spec::service::{LaunchType, SchedulingStrategy, Service};
use agent::spec::task_definition::{Condition, Link, TaskDefinition};

use super::read::Node;
use super::service::ServiceDocument;
use super::task_definition::{Attachment, Definition, FARGATE_IS_AWSVPC};

/// What the command line and the stack say for services that say nothing, or against them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    /// `--network-mode`: over everything.
    pub(super) flag: Option<NetworkMode>,
    /// The stack's, for definitions that name none.
    pub(super) network_mode: Option<NetworkMode>,
    /// The stack's, for services that name none.
    pub(super) launch_type: Option<LaunchType>,
}

impl Defaults {
    /// The mode of a service's tasks, of a definition that says `written`.
    pub(super) fn attachment(
        &self,
        document: &ServiceDocument<'_>,
        written: Option<NetworkMode>,
        requires_fargate: bool,
    ) -> Attachment {
        let is_fargate = self.asks_fargate(document, requires_fargate);
        let by_ecs = if is_fargate { NetworkMode::Awsvpc } else { NetworkMode::Bridge };
        let own = written.or(self.network_mode).unwrap_or(by_ecs);
        match self.flag.or(document.network_mode) {
            None => Attachment { mode: own, instead_of: None },
            Some(mode) => {
                // Fargate has one mode: whatever else is written there is a fault that the other mode takes away.
                let own = if is_fargate { NetworkMode::Awsvpc } else { own };
                Attachment { mode, instead_of: (mode != own).then_some(own) }
            }
        }
    }

    /// Where the tasks run: ECS's own default is EC2, a definition made for Fargate says so itself, and Fargate has awsvpc alone.
    pub(super) fn launch_type(
        &self,
        document: &ServiceDocument<'_>,
        mode: NetworkMode,
        requires_fargate: bool,
    ) -> LaunchType {
        match mode == NetworkMode::Awsvpc && self.asks_fargate(document, requires_fargate) {
            true => LaunchType::Fargate,
            false => LaunchType::Ec2,
        }
    }

    /// Whether the tasks are placed on container instances: in awsvpc only where somebody says EC2, which instances there are,
    /// or which are to be taken; to make some because of ECS's default alone would cost containers and show nothing.
    pub(super) fn on_instances(
        &self,
        document: &ServiceDocument<'_>,
        mode: NetworkMode,
        launch_type: LaunchType,
        placement: &Placement,
        has_capacity: bool,
    ) -> bool {
        let is_chosen =
            document.scheduling_strategy == SchedulingStrategy::Daemon || *placement != Placement::default();
        let is_asked = document.launch_type.or(self.launch_type).is_some() || has_capacity || is_chosen;
        mode != NetworkMode::Awsvpc || (launch_type == LaunchType::Ec2 && is_asked)
    }

    /// Whether the tasks would run on Fargate in awsvpc.
    pub(super) fn asks_fargate(&self, document: &ServiceDocument<'_>, requires_fargate: bool) -> bool {
        match document.launch_type.or(self.launch_type) {
            Some(launch_type) => launch_type == LaunchType::Fargate,
            None => requires_fargate,
        }
    }

    /// Tells that Fargate has no such mode; a mode that stands above where Fargate was said takes the tasks off it instead.
    pub(super) fn refuse_on_fargate(
        &self,
        root: &Node<'_>,
        document: &ServiceDocument<'_>,
        read: &Definition<'_>,
        mode: NetworkMode,
    ) {
        if mode == NetworkMode::Awsvpc || self.flag.is_some() || !self.asks_fargate(document, read.requires_fargate) {
            return;
        }
        let own_launch_type = document.node.get("launchType");
        if document.network_mode.is_some() {
            if let (Some(n), Some(_)) = (document.node.get("networkMode"), own_launch_type) {
                n.error_with_hint("InvalidParameterException", FARGATE_IS_AWSVPC, "launchType: EC2");
            }
            return;
        }
        if read.requires_fargate {
            // Said at the definition's own `networkMode`, if it has one.
            if let (None, Some(n)) = (read.network_mode, root.get("networkMode")) {
                let hint = format!("the task definition of `{}` is for FARGATE", document.name);
                n.error_with_hint("ClientException", FARGATE_IS_AWSVPC, hint);
            }
            return;
        }
        if let Some(n) = own_launch_type.or_else(|| root.get("launchType")) {
            let hint = format!("its mode is {mode}: `launchType: EC2`, or `networkMode: awsvpc`");
            n.error_with_hint(
                "InvalidParameterException",
                "Task definition does not support launch_type FARGATE.",
                hint,
            );
        }
    }

    /// Where the mode is said that stands in place of the definition's.
    fn place(&self, document: &ServiceDocument<'_>) -> Place {
        match (self.flag, document.node.get("networkMode")) {
            (None, Some(n)) => n.place(),
            _ => Place::value("--network-mode", ""),
        }
    }
}

/// Gives containers that shared one localhost names for each other, as far as they wait for each other anyway: in bridge mode
/// each has a namespace of its own, and a container is known by name to those alone that link it (1.7).
pub(super) fn link_dependencies(definition: &mut TaskDefinition, attachment: Attachment) {
    let had_one_localhost = matches!(attachment.instead_of, Some(NetworkMode::Awsvpc | NetworkMode::Host));
    if attachment.mode != NetworkMode::Bridge || !had_one_localhost {
        return;
    }
    for container in &mut definition.container_definitions {
        for dependency in &container.depends_on {
            let still_runs = matches!(dependency.condition, Condition::Start | Condition::Healthy);
            let is_linked = container.links.iter().any(|link| link.container_name == dependency.container_name);
            if still_runs && !is_linked {
                container.links.push(Link { container_name: dependency.container_name.clone(), alias: None });
            }
        }
    }
}

/// A service whose tasks are in another mode than their definition's.
#[derive(Debug)]
pub(super) struct Change<'a> {
    service: &'a str,
    place: Place,
    mode: NetworkMode,
    instead_of: NetworkMode,
    leaves_fargate: bool,
    has_name: bool,
    has_links: bool,
}

impl<'a> Change<'a> {
    /// What another mode changes of `service`, if it has one.
    pub(super) fn of(
        defaults: &Defaults,
        document: &ServiceDocument<'a>,
        attachment: Attachment,
        requires_fargate: bool,
        service: &Service,
    ) -> Option<Self> {
        let containers = &service.task_definition.container_definitions;
        Some(Self {
            service: document.name,
            place: defaults.place(document),
            mode: attachment.mode,
            instead_of: attachment.instead_of?,
            leaves_fargate: attachment.mode != NetworkMode::Awsvpc && defaults.asks_fargate(document, requires_fargate),
            has_name: service.discovery.is_some(),
            has_links: containers.iter().any(|c| !c.links.is_empty()),
        })
    }

    /// What changes for clients and containers of the service, a sentence each; what only concerns fields of its definition is
    /// told there.
    fn sentences(&self) -> Vec<String> {
        let (mode, instead_of) = (self.mode, self.instead_of);
        let mut sentences = Vec::new();
        if self.leaves_fargate {
            sentences.push("launchType is EC2 in place of FARGATE: tasks are placed on container instances".to_owned());
        }
        match (mode, instead_of) {
            (NetworkMode::None, _) => {
                sentences.push("tasks have no network: no address, no port, no name".to_owned());
            }
            (NetworkMode::Awsvpc, NetworkMode::Bridge | NetworkMode::Host) => {
                sentences.push("security groups move from the container instance to each task".to_owned());
                if self.has_name {
                    sentences.push("names have A records in place of SRV".to_owned());
                }
            }
            (NetworkMode::Bridge | NetworkMode::Host, NetworkMode::Awsvpc) => {
                sentences.push("security groups move from each task to its container instance".to_owned());
                if self.has_name {
                    sentences.push(
                        "names have SRV records in place of A: a client asks for the port too, which is the instance's"
                            .to_owned(),
                    );
                }
            }
            _ => {}
        }
        if mode == NetworkMode::Host {
            sentences.push(
                "a container's port is its instance's: two tasks with one port are never on one instance".to_owned(),
            );
        }
        if mode == NetworkMode::Bridge && self.has_links {
            sentences.push(
                "containers of a task share no localhost: as if by `links`, each knows by name those in its `dependsOn`".to_owned(),
            );
        }
        sentences
    }
}

/// Tells what changes, each thing once with the services that it concerns.
pub(super) fn tell(root: &Node<'_>, changes: &[Change<'_>]) {
    /// A sentence, and the services that it is about.
    type Line<'a> = (String, Vec<&'a str>);
    let mut told: BTreeMap<(Place, NetworkMode), Vec<Line<'_>>> = BTreeMap::new();
    for change in changes {
        let lines = told.entry((change.place.clone(), change.mode)).or_default();
        for sentence in change.sentences() {
            match lines.iter_mut().find(|(known, _)| *known == sentence) {
                Some((_, services)) => services.push(change.service),
                None => lines.push((sentence, vec![change.service])),
            }
        }
    }
    for ((place, mode), lines) in told {
        for (sentence, services) in lines {
            let message = format!("{mode}: {sentence} ({})", services.join(", "));
            root.note(Problem::note(place.clone(), "Overridden", message));
        }
    }
}
