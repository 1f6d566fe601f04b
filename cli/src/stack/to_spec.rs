//! A stack file's value to [`Stack`]: top-level keys, precedence of network modes, lookup of names.
//!
//! Names are looked up here, once everything that can be named is known; checks of values are `agent::spec::validate`'s.

use std::collections::BTreeMap;
use std::path::Path;

use agent::secret::SecretValue;
use agent::spec::ids::{GroupName, NetworkMode, ServiceName, StackName, SubnetName};
use agent::spec::problem::{Place, Problem};
use agent::spec::service::{Discovery, LaunchType, Service};
use agent::spec::stack::{Stack, Vpc};
use agent::spec::task_definition::TaskDefinition;
use agent::spec::validate;
use agent::spec::validate::task_definition::Context;
use serde_json::Value;

use super::local_file::Folders;
use super::read::{Findings, Node};
use super::rule::{self, Names};
use super::secrets::SecretSources;
use super::service::{self, LAUNCH_TYPES, ServiceDocument};
use super::sources::Sources;
use super::task_definition::{self, Attachment, NETWORK_MODES, Surroundings};
use super::{Connect, Overrides, groups, vpc};

const KNOWN: &[&str] = &[
    "name",
    "region",
    "networkMode",
    "launchType",
    "connect",
    "namespace",
    "vpc",
    "capacity",
    "securityGroups",
    "services",
    "loadBalancers",
    "targetGroups",
    "secrets",
];
/// The words for ways to connect.
pub(super) const CONNECTS: [(&str, Connect); 5] = [
    ("discovery", Connect::Discovery),
    ("load-balancer", Connect::LoadBalancer),
    ("app-mesh", Connect::AppMesh),
    ("service-connect", Connect::ServiceConnect),
    ("none", Connect::None),
];

/// What the stack says for services that say nothing.
struct Defaults {
    network_mode: Option<NetworkMode>,
    launch_type: Option<LaunchType>,
    overrides: Overrides,
}

/// The stack of a file and the values of its secrets; what is wrong with it is in `findings`, and then neither is to be used.
pub(super) fn stack(
    root: &Node<'_>,
    sources: &Sources,
    findings: &Findings,
    overrides: &Overrides,
) -> Option<(Stack, BTreeMap<String, SecretValue>)> {
    if !root.has_only(KNOWN) {
        return None;
    }
    let name = stack_name(root);
    let region = root.get("region").and_then(|n| region(&n)).unwrap_or_else(|| "us-east-1".to_owned());
    let discovers = connect(root, overrides);
    for (key, hint) in
        [("loadBalancers", "`connect: discovery` needs none"), ("targetGroups", "`connect: discovery` needs none")]
    {
        if let Some(n) = root.get(key) {
            n.not_emulated(&format!("`{key}`"), Some(hint));
        }
    }
    if let Some(n) = root.get("capacity") {
        n.no_effect("capacity");
    }
    let defaults = Defaults {
        network_mode: root.get("networkMode").and_then(|n| n.word(&NETWORK_MODES)),
        launch_type: root.get("launchType").and_then(|n| n.word(&LAUNCH_TYPES)),
        overrides: *overrides,
    };
    let folder = sources.document("").map_or(Path::new(""), |d| folder(&d.path));
    let folders = Folders { stack: folder, definition: folder };
    let secrets = SecretSources::new(root.get("secrets"), folders);
    let vpc = vpc::read(root.get("vpc").as_ref(), &region);
    let documents = service_documents(root);
    let dns_namespace = dns_namespace(root, name.as_ref());

    let group_nodes = root.get("securityGroups").map(|n| n.entries()).unwrap_or_default();
    let group_names = groups::group_names(&group_nodes, &documents);
    let groups_of = groups::groups_of_services(&documents, &group_names);
    let names = Names {
        groups: &group_names,
        services: &groups_of,
        host_access: vpc.as_ref().is_some_and(|vpc| vpc.host_access),
    };
    let mut security_groups = BTreeMap::from([(GroupName::new("default"), rule::default_group())]);
    for (name, node) in &group_nodes {
        let name = GroupName::new(*name);
        if let Some(group) = rule::group(node, &name, &names) {
            security_groups.insert(name, group);
        }
    }

    let mut services = BTreeMap::new();
    for document in &documents {
        let Some((task_definition, attachment, launch_type)) =
            definition(document, &defaults, sources, findings, &secrets, folder)
        else {
            continue;
        };
        let service_name = ServiceName::new(document.name);
        let service = Service {
            task_definition,
            network_mode: attachment.mode,
            desired_count: document.desired_count,
            launch_type,
            security_groups: groups_of.get(&service_name).cloned().unwrap_or_default(),
            subnets: subnets(document, vpc.as_ref()),
            discovery: discovery(document, discovers),
            deployment_configuration: document.deployment,
            health_check_grace_period_seconds: document.grace_period,
            service_name: service_name.clone(),
        };
        if vpc.is_some() {
            check(document, &service);
        }
        services.insert(service_name, service);
    }
    unique_discovery_names(&documents, &services);
    for document in documents.iter().filter(|d| d.security_groups.is_none()) {
        security_groups.insert(GroupName::new(document.name), groups::own_group(document.name));
    }
    groups::connect_services(&documents, &services, &groups_of, &mut security_groups);
    groups::check_rules(root, &security_groups);
    let stack = Stack { name: name?, region, dns_namespace: dns_namespace?, vpc: vpc?, security_groups, services };
    Some((stack, secrets.into_values()))
}

/// The folder of a file.
fn folder(file: &str) -> &Path {
    Path::new(file).parent().unwrap_or(Path::new(""))
}

fn stack_name(root: &Node<'_>) -> Option<StackName> {
    let Some(n) = root.get("name") else {
        if root.lacks("name", KNOWN) {
            root.error_with_hint("MissingField", "a stack must have a `name`", "name: shop");
        }
        return None;
    };
    let name = n.text()?;
    n.adopt(validate::stack_name(name), str::to_owned);
    Some(StackName::new(name))
}

fn region(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    let well_formed = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.bytes().last().is_some_and(|b| b.is_ascii_digit());
    if !well_formed {
        node.error_with_hint("InvalidRegion", format!("`{text}` is not the name of a region"), "for example us-east-1");
        return None;
    }
    Some(text.to_owned())
}

/// Whether services are found through Cloud Map.
fn connect(root: &Node<'_>, overrides: &Overrides) -> bool {
    let written = root.get("connect").and_then(|n| Some((n.word(&CONNECTS)?, n)));
    let connect = overrides.connect.or(written.as_ref().map(|(connect, _)| *connect)).unwrap_or(Connect::Discovery);
    match connect {
        Connect::Discovery => true,
        Connect::None => false,
        Connect::LoadBalancer | Connect::AppMesh | Connect::ServiceConnect => {
            let word = CONNECTS.iter().find(|(_, c)| *c == connect).map_or("", |(word, _)| *word);
            let message = format!("connect `{word}` is not emulated yet");
            let place = match (&written, overrides.connect) {
                (Some((_, n)), None) => n.place(),
                _ => Place::value("--connect", ""),
            };
            let hint = if overrides.connect.is_some() { "--connect discovery" } else { "connect: discovery" };
            root.note(Problem::error(place, "NotEmulated", message).with_hint(hint));
            true
        }
    }
}

fn dns_namespace(root: &Node<'_>, stack: Option<&StackName>) -> Option<String> {
    match root.get("namespace") {
        Some(n) => {
            let namespace = n.text()?.trim_end_matches('.').to_ascii_lowercase();
            n.adopt(validate::dns_namespace(&namespace), str::to_owned);
            Some(namespace)
        }
        None => Some(format!("{}.local", stack?)),
    }
}

fn service_documents<'a>(root: &Node<'a>) -> Vec<ServiceDocument<'a>> {
    let Some(node) = root.get("services") else {
        if root.lacks("services", KNOWN) {
            root.error_with_hint(
                "MissingField",
                "a stack must have `services`",
                "services: { web: { taskDefinition: web.json } }",
            );
        }
        return Vec::new();
    };
    let mut documents = Vec::new();
    for (name, n) in node.entries() {
        if let Some(problem) = validate::service::service_name(name) {
            n.note(Problem { place: Place { at_key: true, ..n.place() }, ..problem });
        }
        documents.extend(service::read(name, &n));
    }
    documents
}

/// The subnets that a service names, or all.
fn subnets(document: &ServiceDocument<'_>, vpc: Option<&Vpc>) -> Vec<SubnetName> {
    let all: Vec<SubnetName> = vpc.map(|vpc| vpc.subnets.iter().map(|s| s.name.clone()).collect()).unwrap_or_default();
    let Some(list) = &document.subnets else { return all };
    let mut subnets = Vec::new();
    let mut is_faulty = !list.value().is_array();
    for n in list.items() {
        let Some(text) = n.text() else { continue };
        let name = SubnetName::new(text);
        if vpc.is_some() && !all.contains(&name) {
            let message = format!(
                "Error retrieving subnet information for [{text}]: The subnet ID '{text}' does not exist (ErrorCode: InvalidSubnetID.NotFound)"
            );
            n.unknown("InvalidParameterException", message, text, all.iter().map(SubnetName::as_str));
            is_faulty = true;
        } else if subnets.contains(&name) {
            n.error("InvalidParameterException", format!("`{text}` is there twice"));
        } else {
            subnets.push(name);
        }
    }
    // The fault was told; "subnets can not be empty" on top would be noise.
    if is_faulty { all } else { subnets }
}

fn discovery(document: &ServiceDocument<'_>, discovers: bool) -> Option<Discovery> {
    if !discovers {
        if let Some(n) = &document.discovery.node {
            n.no_effect("discovery");
        }
        return None;
    }
    Some(Discovery {
        name: document.discovery.name.unwrap_or(document.name).to_owned(),
        ttl: document.discovery.ttl,
        routing_policy: document.discovery.routing_policy,
    })
}

/// Cloud Map tells names in a DNS namespace apart without their case (6.1).
fn unique_discovery_names(documents: &[ServiceDocument<'_>], services: &BTreeMap<ServiceName, Service>) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for document in documents {
        let Some(discovery) = services.get(document.name).and_then(|s| s.discovery.as_ref()) else { continue };
        let name = discovery.name.to_ascii_lowercase();
        if let Some(first) = taken.get(&name) {
            let message = format!("services `{first}` and `{}` have the same discovery name `{name}`", document.name);
            let node = document.discovery.node.as_ref().unwrap_or(&document.node);
            node.note(
                Problem::error(Place { at_key: true, ..node.place() }, "ServiceAlreadyExists", message)
                    .with_hint("case does not count in DNS; give one of them a `discovery: { name: … }`"),
            );
        } else {
            taken.insert(name, document.name);
        }
    }
}

/// The service's task definition, how its tasks are attached, and where they run.
fn definition(
    document: &ServiceDocument<'_>,
    defaults: &Defaults,
    sources: &Sources,
    findings: &Findings,
    secrets: &SecretSources<'_>,
    stack_folder: &Path,
) -> Option<(TaskDefinition, Attachment, LaunchType)> {
    let node = document.node.get("taskDefinition")?;
    let (root, definition_folder) = match node.value() {
        Value::String(file) => {
            let source = sources.document(file).filter(|d| !d.value.is_null())?;
            (Node::root(&source.name, &source.value, findings), folder(&source.path))
        }
        Value::Object(_) => (node.clone(), stack_folder),
        _ => {
            node.mismatch("a path to a task definition's file, or the definition itself");
            return None;
        }
    };
    let asked_launch_type = document.launch_type.or(defaults.launch_type);
    // ECS's own default is EC2; a definition made for Fargate says so itself.
    let launch_type = |requires_fargate: bool| {
        asked_launch_type.unwrap_or(if requires_fargate { LaunchType::Fargate } else { LaunchType::Ec2 })
    };
    let attachment = |written: Option<NetworkMode>, requires_fargate: bool| {
        let by_ecs = match launch_type(requires_fargate) {
            LaunchType::Fargate => NetworkMode::Awsvpc,
            LaunchType::Ec2 => NetworkMode::Bridge,
        };
        let said = defaults.overrides.network_mode.or(document.network_mode);
        let unsaid = written.or(defaults.network_mode).unwrap_or(by_ecs);
        Attachment {
            mode: said.unwrap_or(unsaid),
            overridden: said.is_some_and(|said| said != written.unwrap_or(by_ecs)),
        }
    };
    let surroundings = Surroundings {
        folders: Folders { stack: stack_folder, definition: definition_folder },
        secrets,
        stubs: document.stubs.iter().map(|(name, _)| *name).collect(),
    };
    let read = task_definition::read(&root, &surroundings, attachment)?;
    for (name, n) in &document.stubs {
        let names = || read.definition.container_definitions.iter().map(|c| c.name.as_str());
        if names().all(|known| known != *name) {
            n.unknown("UnknownContainer", format!("the task definition has no container `{name}`"), name, names());
        }
    }
    let attachment = attachment(read.network_mode, read.requires_fargate);
    let launch_type = launch_type(read.requires_fargate);
    if attachment.mode != NetworkMode::Awsvpc {
        refuse_mode(document, defaults, &read, attachment.mode);
    }
    let context = Context {
        network_mode: attachment.mode,
        requires_fargate: read.requires_fargate,
        runs_on_fargate: launch_type == LaunchType::Fargate,
    };
    read.node.adopt(validate::task_definition::task_definition(&read.definition, context), str::to_owned);
    read.node.adopt(validate::registration::registration(read.node.value(), context), str::to_owned);
    document
        .node
        .adopt(validate::creation::creation(document.node.value(), attachment.mode, launch_type), str::to_owned);
    Some((read.definition, attachment, launch_type))
}

/// Tells that a mode is not there yet, where the mode was said.
fn refuse_mode(
    document: &ServiceDocument<'_>,
    defaults: &Defaults,
    read: &task_definition::Definition<'_>,
    mode: NetworkMode,
) {
    if read.requires_fargate && read.network_mode == Some(mode) {
        // Fargate's own refusal says it already.
        return;
    }
    let place = if defaults.overrides.network_mode.is_some() {
        Place::value("--network-mode", "")
    } else if let Some(n) = document.node.get("networkMode").or_else(|| read.node.get("networkMode")) {
        n.place()
    } else if defaults.network_mode.is_some() {
        Place::value("", "/networkMode")
    } else {
        // Nobody said it: ECS's own rule did.
        Place { at_key: true, ..document.node.place() }
    };
    let hint = if defaults.overrides.network_mode.is_some() {
        "leave the flag out, or --network-mode awsvpc".to_owned()
    } else if read.network_mode.is_some() {
        "--network-mode awsvpc, or `networkMode: awsvpc` in the service".to_owned()
    } else if defaults.network_mode.is_some() {
        "networkMode: awsvpc".to_owned()
    } else {
        "--network-mode awsvpc, or `networkMode: awsvpc` in the stack file; without either ECS runs it in bridge mode"
            .to_owned()
    };
    document.node.note(
        Problem::error(place, "NotEmulated", format!("network mode `{mode}` is not emulated yet")).with_hint(hint),
    );
}

/// AWS's checks of the service, told where this file has the field.
fn check(document: &ServiceDocument<'_>, service: &Service) {
    const NETWORK: &str = "/networkConfiguration/awsvpcConfiguration";
    document.node.adopt(validate::service::service(service), |pointer| {
        let short =
            pointer.strip_prefix(NETWORK).filter(|field| document.node.get(field.trim_start_matches('/')).is_some());
        match (short, pointer.strip_prefix("/deploymentConfiguration")) {
            (Some(field), _) => field.to_owned(),
            (None, Some(field)) => format!("/{}{field}", document.deployment_key),
            (None, None) => pointer.to_owned(),
        }
    });
}
