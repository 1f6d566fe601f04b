//! A task definition's document to [`TaskDefinition`]: what `aws ecs register-task-definition --cli-input-json` takes and what
//! `describe-task-definition` prints (reference 2.1–2.4, 1.10).
//!
//! Every field that ECS has is known here: read, refused, said to have no effect, or (what only describe prints) passed over.

use std::collections::BTreeSet;

use agent::spec::ids::NetworkMode;
use agent::spec::placement::Constraint;
use agent::spec::problem::{Place, Problem};
use agent::spec::task_definition::{IpcMode, PidMode, TaskDefinition};
use agent::spec::validate::wording;
use serde_json::Value;

use super::local_file::Folders;
use super::read::Node;
use super::secrets::SecretSources;
use super::{container, placement, volumes};

/// A definition as it was read: what the spec keeps, and what decides how its tasks run.
#[derive(Debug)]
pub(super) struct Definition<'a> {
    /// Where it is, the wrapping of describe's output taken off.
    pub(super) node: Node<'a>,
    /// What it says of networks.
    pub(super) network_mode: Option<NetworkMode>,
    /// Whether it asks to be fit for Fargate.
    pub(super) requires_fargate: bool,
    /// Which instances may be taken, whatever service its tasks are of.
    pub(super) constraints: Vec<Constraint>,
    /// The values.
    pub(super) definition: TaskDefinition,
}

/// How the definition's tasks are attached, which decides what its fields mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attachment {
    /// The mode that they get.
    pub(super) mode: NetworkMode,
    /// The mode that they would have by themselves, where a flag or the service puts another in its place: then what does not
    /// fit is dropped with a word.
    pub(super) instead_of: Option<NetworkMode>,
}

impl Attachment {
    /// Whether the mode is not the definition's own.
    pub(super) fn is_overridden(self) -> bool {
        self.instead_of.is_some()
    }
}

/// What stands around a definition and takes part in reading it.
pub(super) struct Surroundings<'a, 's> {
    /// Where the files are that it names.
    pub(super) folders: Folders<'a>,
    /// Where the values of its secrets are.
    pub(super) secrets: &'a SecretSources<'s>,
    /// Its containers that the stack file replaces by a stub.
    pub(super) stubs: BTreeSet<&'a str>,
}

const ACTED_ON: &[&str] = &[
    "family",
    "containerDefinitions",
    "networkMode",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "runtimePlatform",
    "volumes",
    "pidMode",
    "ipcMode",
    "placementConstraints",
    "taskRoleArn",
];
const WITHOUT_EFFECT: &[&str] = &[
    "proxyConfiguration",
    "ephemeralStorage",
    "enableFaultInjection",
    "inferenceAccelerators",
    "trustedExecutionConfiguration",
];
/// What only describe prints, and what means nothing outside AWS.
const PASSED_OVER: &[&str] = &[
    "executionRoleArn",
    "tags",
    "taskDefinitionArn",
    "revision",
    "status",
    "compatibilities",
    "requiresAttributes",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

/// AWS's words for a mode that Fargate has not (1.10).
pub(super) const FARGATE_IS_AWSVPC: &str = "Fargate only supports network mode 'awsvpc'.";

/// The definition inside its document: describe's output wraps it in `{"taskDefinition": …}`.
fn unwrapped<'a>(node: &Node<'a>) -> Node<'a> {
    match node.get("taskDefinition") {
        Some(inner) if inner.value().is_object() && node.get("containerDefinitions").is_none() => {
            node.has_only(&["taskDefinition", "tags"]);
            inner
        }
        _ => node.clone(),
    }
}

/// Reads a definition; `attachment` tells, from what it says of networks and Fargate, how its tasks are attached.
pub(super) fn read<'a>(
    node: &Node<'a>,
    surroundings: &Surroundings<'_, '_>,
    attachment: impl Fn(Option<NetworkMode>, bool) -> Attachment,
) -> Option<Definition<'a>> {
    let node = unwrapped(node);
    let known = [ACTED_ON, WITHOUT_EFFECT, PASSED_OVER].concat();
    if !node.has_only(&known) {
        return None;
    }
    note_without_effect(&node, WITHOUT_EFFECT);
    let network_mode = node.get("networkMode").and_then(|n| n.word(&NETWORK_MODES));
    let compatibilities = node.get("requiresCompatibilities").map(|n| n.items()).unwrap_or_default();
    let requires_fargate = compatibilities
        .iter()
        .filter_map(|n| n.word(&[("EC2", false), ("FARGATE", true), ("EXTERNAL", false), ("MANAGED_INSTANCES", false)]))
        .any(|fargate| fargate);
    if let Some(n) = node.get("runtimePlatform") {
        platform(&n);
    }
    let family = match node.get("family") {
        Some(n) => n.text().map(str::to_owned),
        None => {
            if node.lacks("family", &known) {
                node.error("ClientException", "a task definition must have a `family`");
            }
            None
        }
    };
    let attachment = attachment(network_mode, requires_fargate);
    if requires_fargate
        && network_mode.is_some_and(|mode| mode != NetworkMode::Awsvpc)
        && !attachment.is_overridden()
        && let Some(n) = node.get("networkMode")
    {
        n.error("ClientException", FARGATE_IS_AWSVPC);
    }
    if attachment.is_overridden()
        && attachment.mode != NetworkMode::Awsvpc
        && let Some(n) = node.get("proxyConfiguration").filter(|n| n.value().is_object())
    {
        let place = Place { at_key: true, ..n.place() };
        let message = format!("`proxyConfiguration` is dropped: {} has no such thing", attachment.mode);
        n.note(Problem::note(place, "Overridden", message));
    }
    let containers = match node.get("containerDefinitions") {
        Some(list) => list.items().iter().map(|n| container::read(n, attachment, surroundings)).collect(),
        None if node.lacks("containerDefinitions", &known) => Some(Vec::new()),
        None => None,
    };
    let definition = TaskDefinition {
        // A fault is noted where it is; this stands in so that the other checks still run.
        family: family.unwrap_or_else(|| "unnamed".to_owned()),
        cpu: node.get("cpu").and_then(|n| size(&n, "cpu", "vcpu")),
        memory: node.get("memory").and_then(|n| size(&n, "memory", "gb")),
        container_definitions: containers?,
        task_role_arn: node.get("taskRoleArn").and_then(|n| n.text()).map(str::to_owned),
        volumes: node.get("volumes").map(|n| volumes::read(&n, surroundings.folders)).unwrap_or_default(),
        pid_mode: node.get("pidMode").and_then(|n| n.word(&[("host", PidMode::Host), ("task", PidMode::Task)])),
        ipc_mode: node
            .get("ipcMode")
            .and_then(|n| n.word(&[("host", IpcMode::Host), ("task", IpcMode::Task), ("none", IpcMode::None)])),
    };
    let constraints = node.get("placementConstraints").map(|n| placement::constraints(&n)).unwrap_or_default();
    Some(Definition { node, network_mode, requires_fargate, constraints, definition })
}

/// The words for network modes.
pub(super) const NETWORK_MODES: [(&str, NetworkMode); 4] = [
    ("awsvpc", NetworkMode::Awsvpc),
    ("bridge", NetworkMode::Bridge),
    ("host", NetworkMode::Host),
    ("none", NetworkMode::None),
];

/// Warns of fields that would do something in AWS; one that is empty or false does nothing there either.
pub(super) fn note_without_effect(node: &Node<'_>, fields: &[&str]) {
    for field in fields {
        let Some(n) = node.get(field) else { continue };
        let does_nothing = match n.value() {
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(value) => !value,
            Value::String(text) => text.is_empty(),
            Value::Null | Value::Number(_) => false,
        };
        if !does_nothing {
            n.no_effect(field);
        }
    }
}

fn platform(node: &Node<'_>) {
    node.has_only(&["cpuArchitecture", "operatingSystemFamily"]);
    if let Some(n) = node.get("operatingSystemFamily")
        && n.text().is_some_and(|family| family != "LINUX")
    {
        n.not_emulated("an operating system other than LINUX", None);
    }
    let here = if cfg!(target_arch = "aarch64") { "ARM64" } else { "X86_64" };
    if let Some(n) = node.get("cpuArchitecture")
        && n.word(&[("X86_64", "X86_64"), ("ARM64", "ARM64")]).is_some_and(|wanted| wanted != here)
    {
        n.no_effect("cpuArchitecture");
    }
}

/// A task's cpu (`256`, `"256"`, `"1 vCPU"`) in units or memory (`512`, `"2GB"`) in MiB.
fn size(node: &Node<'_>, field: &str, unit: &str) -> Option<u32> {
    let amount = amount(node, unit)?;
    if amount.is_none() {
        let example = if field == "cpu" { "units as \"256\", or \"1 vCPU\"" } else { "MiB as \"512\", or \"2GB\"" };
        node.error_with_hint("ClientException", wording::invalid_task_size(field), example);
    }
    amount
}

/// A number of units or MiB, or of the 1024 times larger `unit` (in lower case): `Some(None)` for a text or number that is
/// none, `None` for another kind of value, which is told.
pub(super) fn amount(node: &Node<'_>, unit: &str) -> Option<Option<u32>> {
    let text = match node.value() {
        Value::String(text) => text.trim().to_ascii_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => {
            node.mismatch("a size");
            return None;
        }
    };
    let number = match text.strip_suffix(unit) {
        Some(count) => count.trim().parse::<f64>().ok().map(|count| count * 1024.0),
        None => text.parse::<u32>().ok().map(f64::from),
    };
    Some(number.filter(|n| n.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(n)).map(|n| n as u32))
}
