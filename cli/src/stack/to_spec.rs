//! A stack file's value to [`Stack`]: top-level keys, precedence of network modes, lookup of names.
//!
//! Names are looked up here, once everything that can be named is known; checks of values are `agent::spec::validate`'s.

use std::collections::BTreeMap;
use std::path::Path;

use agent::plan::up::profile_secret;
use agent::secret::SecretValue;
use agent::spec::ids::{GroupName, NetworkMode, ServiceName, StackName, SubnetName};
use agent::spec::placement::Constraint;
use agent::spec::problem::{Place, Problem};
use agent::spec::service::{LaunchType, Service};
use agent::spec::stack::{Stack, Vpc};
use agent::spec::task_definition::TaskDefinition;
use agent::spec::validate;
use agent::spec::validate::task_definition::Context;
use serde_json::Value;

use super::attachment::{self, Change, Defaults};
use super::local_file::Folders;
use super::read::{Findings, Node};
use super::rule::{self, Names};
use super::secrets::SecretSources;
use super::service::{self, LAUNCH_TYPES, ServiceDocument};
use super::sources::Sources;
use super::task_definition::{self, Attachment, NETWORK_MODES, Surroundings};
use super::{Connect, Overrides, aws_profile, capacity, discovery, groups, vpc};

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
    "credentials",
];
/// The words for ways to connect.
pub(super) const CONNECTS: [(&str, Connect); 5] = [
    ("discovery", Connect::Discovery),
    ("load-balancer", Connect::LoadBalancer),
    ("app-mesh", Connect::AppMesh),
    ("service-connect", Connect::ServiceConnect),
    ("none", Connect::None),
];

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
    let defaults = Defaults {
        flag: overrides.network_mode,
        network_mode: root.get("networkMode").and_then(|n| n.word(&NETWORK_MODES)),
        launch_type: root.get("launchType").and_then(|n| n.word(&LAUNCH_TYPES)),
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
    let mut changes = Vec::new();
    for document in &documents {
        let Some(defined) = definition(root, document, &defaults, sources, findings, &secrets, folder) else {
            continue;
        };
        let attachment = defined.attachment;
        let service_name = ServiceName::new(document.name);
        let mut placement = document.placement.clone();
        placement.constraints.extend(defined.constraints);
        let has_capacity = root.get("capacity").is_some();
        let launch_type = defined.launch_type;
        let service = Service {
            network_mode: attachment.mode,
            on_instances: defaults.on_instances(document, attachment.mode, launch_type, &placement, has_capacity),
            desired_count: document.desired_count,
            launch_type,
            security_groups: groups_of.get(&service_name).cloned().unwrap_or_default(),
            subnets: subnets(document, attachment, vpc.as_ref()),
            discovery: discovery::resolve(document, &defined.task_definition, attachment, discovers),
            task_definition: defined.task_definition,
            scheduling_strategy: document.scheduling_strategy,
            placement,
            deployment_configuration: document.deployment,
            health_check_grace_period_seconds: document.grace_period,
            service_name: service_name.clone(),
        };
        changes.extend(Change::of(&defaults, document, attachment, defined.requires_fargate, &service));
        if let (LaunchType::Fargate, Some(n)) = (service.launch_type, document.node.get("placement")) {
            let place = Place { at_key: true, ..n.place() };
            let message = "`placement` has no effect on FARGATE, where a task is on no container instance";
            n.note(Problem::note(place, "NoEffect", message).with_hint("`launchType: EC2` puts it on one"));
        }
        if vpc.is_some() {
            check(document, &service);
        }
        services.insert(service_name, service);
    }
    attachment::tell(root, &changes);
    discovery::unique_names(&documents, &services);
    for document in documents.iter().filter(|d| d.security_groups.is_none()) {
        security_groups.insert(GroupName::new(document.name), groups::own_group(document.name));
    }
    groups::connect_services(&documents, &services, &groups_of, &mut security_groups);
    groups::check_rules(root, &security_groups);
    groups::tell_shared(root, &services);
    let capacity = root.get("capacity").map(|n| {
        let known = capacity::Known { region: &region, vpc: vpc.as_ref(), groups: &group_names };
        capacity::read(&n, &known, &services)
    });
    let profile = root.get("credentials").and_then(|n| credentials(&n));
    let credentials_profile = profile.as_ref().map(|(name, _)| name.clone());
    let mut secrets = secrets.into_values();
    secrets.extend(profile.map(|(name, keys)| (profile_secret(&name), keys)));
    let stack = Stack {
        name: name?,
        region,
        dns_namespace: dns_namespace?,
        vpc: vpc?,
        capacity,
        credentials_profile,
        security_groups,
        services,
    };
    Some((stack, secrets))
}

/// `credentials: { profile: NAME }`: the profile, and its keys as the agent keeps them.
fn credentials(node: &Node<'_>) -> Option<(String, SecretValue)> {
    if !node.has_only(&["profile"]) || node.lacks("profile", &["profile"]) {
        return None;
    }
    let n = node.get("profile")?;
    let name = n.text()?;
    match aws_profile::keys(name, |variable| std::env::var(variable).ok()) {
        Ok(keys) => Some((name.to_owned(), SecretValue::new(serde_json::to_string(&keys).ok()?))),
        Err(error) => {
            n.error_with_hint("NoProfile", error.message, error.hint);
            None
        }
    }
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
fn subnets(document: &ServiceDocument<'_>, attachment: Attachment, vpc: Option<&Vpc>) -> Vec<SubnetName> {
    let all: Vec<SubnetName> = vpc.map(|vpc| vpc.subnets.iter().map(|s| s.name.clone()).collect()).unwrap_or_default();
    let Some(list) = &document.subnets else { return all };
    if attachment.mode != NetworkMode::Awsvpc {
        let message =
            format!("`subnets` has no effect: with networkMode={} a task is where its instance is", attachment.mode);
        list.note(
            Problem::note(Place { at_key: true, ..list.place() }, "Overridden", message)
                .with_hint("`placement` with `memberOf` and attribute:ecs.availability-zone chooses zones"),
        );
    }
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

/// A service's task definition, and what follows from it.
struct Defined {
    task_definition: TaskDefinition,
    /// How its tasks are attached.
    attachment: Attachment,
    /// Where they run.
    launch_type: LaunchType,
    /// Whether it asks to be fit for Fargate.
    requires_fargate: bool,
    /// Which instances it may be placed on.
    constraints: Vec<Constraint>,
}

fn definition(
    stack: &Node<'_>,
    document: &ServiceDocument<'_>,
    defaults: &Defaults,
    sources: &Sources,
    findings: &Findings,
    secrets: &SecretSources<'_>,
    stack_folder: &Path,
) -> Option<Defined> {
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
    let surroundings = Surroundings {
        folders: Folders { stack: stack_folder, definition: definition_folder },
        secrets,
        stubs: document.stubs.iter().map(|(name, _)| *name).collect(),
    };
    let attach = |written, requires_fargate| defaults.attachment(document, written, requires_fargate);
    let mut read = task_definition::read(&root, &surroundings, attach)?;
    for (name, n) in &document.stubs {
        let names = || read.definition.container_definitions.iter().map(|c| c.name.as_str());
        if names().all(|known| known != *name) {
            n.unknown("UnknownContainer", format!("the task definition has no container `{name}`"), name, names());
        }
    }
    let attachment = attach(read.network_mode, read.requires_fargate);
    let launch_type = defaults.launch_type(document, attachment.mode, read.requires_fargate);
    defaults.refuse_on_fargate(stack, document, &read, attachment.mode);
    attachment::link_dependencies(&mut read.definition, attachment);
    let context = Context {
        network_mode: attachment.mode,
        overridden: attachment.is_overridden(),
        // Off Fargate its rules mean nothing.
        requires_fargate: read.requires_fargate && !(attachment.is_overridden() && launch_type == LaunchType::Ec2),
        runs_on_fargate: launch_type == LaunchType::Fargate,
    };
    read.node.adopt(validate::task_definition::task_definition(&read.definition, context), str::to_owned);
    read.node.adopt(validate::registration::registration(read.node.value(), context), str::to_owned);
    document.node.adopt(validate::creation::creation(document.node.value(), context), str::to_owned);
    Some(Defined {
        task_definition: read.definition,
        attachment,
        launch_type,
        requires_fargate: read.requires_fargate,
        constraints: read.constraints,
    })
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
