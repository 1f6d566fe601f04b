//! The front door: a stack file on disk to a validated [`Stack`], or everything that is wrong with it, at once.
//!
//! `sources` and `yaml` know text and places; `read` is a cursor over values that notes faults; `task_definition`,
//! `container`, `container_network`, `linux_parameters`, `volumes`, `port_mapping`, `service`, `placement`, `discovery`, `rule`,
//! `groups`, `vpc` and `capacity` know the keys; `attachment` decides on network modes and launch types;
//! `environment_file` and `secrets` read what these name, by way of `local_file`; `to_spec` brings them together; `report` turns
//! what was found into text. `schema` tells editors what the readers take.
//! AWS's checks are `agent::spec::validate`'s. Called by the commands that take a FILE; starts nothing, prints nothing.

mod attachment;
mod aws_profile;
mod capacity;
mod container;
mod container_network;
mod discovery;
mod environment_file;
mod groups;
mod linux_parameters;
mod local_file;
mod placement;
mod port_mapping;
mod read;
pub(crate) mod report;
mod rule;
pub(crate) mod schema;
mod secrets;
mod service;
mod sources;
mod task_definition;
mod to_spec;
mod volumes;
mod vpc;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use agent::secret::SecretValue;
use agent::spec::ids::NetworkMode;
use agent::spec::problem::{Place, Problem, Severity};
use agent::spec::stack::Stack;
use agent::spec::validate::nearest;
use serde_json::Value;

use self::read::{Findings, Node};
pub(crate) use self::sources::Sources;
use self::sources::{Document, Spans};

/// How services find and reach each other (`connect:`, `--connect`).
// Every name is the word that the file and the flag use.
#[allow(clippy::enum_variant_names)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Connect {
    /// Cloud Map: names resolve to the tasks themselves.
    Discovery,
    /// An internal load balancer in front of each service.
    LoadBalancer,
    /// Envoy in each task, all of its TCP captured.
    AppMesh,
    /// Envoy in each task, virtual addresses captured.
    ServiceConnect,
    /// No names at all.
    None,
}

/// What flags say against the file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Overrides {
    /// `--network-mode`: for every task.
    pub(crate) network_mode: Option<NetworkMode>,
    /// `--connect`.
    pub(crate) connect: Option<Connect>,
}

/// What loading a stack file came to.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The stack; None if any problem is an error.
    pub(crate) stack: Option<Stack>,
    /// Values of the secrets that its task definitions name, by `valueFrom`.
    pub(crate) secrets: BTreeMap<String, SecretValue>,
    /// Everything that was found, by document and line.
    pub(crate) problems: Vec<Problem>,
    /// The texts, for [`report::render`].
    pub(crate) sources: Sources,
}

/// Reads a stack file and the task definitions that it names.
pub(crate) fn load(path: &Path, overrides: &Overrides) -> Loaded {
    let findings = Findings::default();
    let mut sources = Sources::default();
    read_document(&mut sources, &findings, path, "", None);
    read_task_definitions(&mut sources, &findings, path);
    let read = sources.document("").filter(|d| !d.spans.is_empty() && !d.value.is_null()).and_then(|document| {
        let root = Node::root(&document.name, &document.value, &findings);
        to_spec::stack(&root, &sources, &findings, overrides)
    });
    let mut problems = findings.into_problems();
    problems.sort_by_cached_key(|p| (sources.order(&p.place), p.severity));
    let mut seen: Vec<Problem> = Vec::with_capacity(problems.len());
    for problem in problems {
        // Two services may have one file.
        if !seen.contains(&problem) {
            seen.push(problem);
        }
    }
    let is_refused = seen.iter().any(|p| p.severity == Severity::Error);
    let (stack, secrets) = read.filter(|_| !is_refused).unzip();
    Loaded { stack, secrets: secrets.unwrap_or_default(), problems: seen, sources }
}

/// Reads every file that a service names as its task definition.
fn read_task_definitions(sources: &mut Sources, findings: &Findings, stack_file: &Path) {
    let folder = stack_file.parent().unwrap_or(Path::new(""));
    let mut named = Vec::new();
    if let Some(Value::Object(services)) = sources.document("").and_then(|d| d.value.get("services")) {
        for (name, service) in services {
            if let Some(Value::String(file)) = service.get("taskDefinition") {
                let pointer = format!("/services/{}/taskDefinition", yaml::escape(name));
                named.push((file.clone(), Place::value("", pointer)));
            }
        }
    }
    for (file, place) in named {
        read_document(sources, findings, &folder.join(&file), &file, Some(place));
    }
}

/// Reads one file into `sources`; a file that cannot be read is told where it is named.
fn read_document(sources: &mut Sources, findings: &Findings, path: &Path, name: &str, named_at: Option<Place>) {
    let shown = path.display().to_string();
    let mut document = Document {
        name: name.to_owned(),
        path: shown.clone(),
        text: String::new(),
        value: Value::Null,
        spans: HashMap::new(),
    };
    let text = std::fs::read(path).map_err(|error| reason(&error)).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))
    });
    match text {
        Err(reason) => {
            let what = if named_at.is_some() { "the task definition" } else { "the stack file" };
            let place = named_at.unwrap_or_else(|| Place::value(name, ""));
            let problem = Problem::error(place, "Unreadable", format!("cannot read {what} `{shown}`: {reason}"));
            findings.push(match neighbour(path).filter(|_| !path.exists()) {
                Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                None => problem,
            });
            if name.is_empty() {
                sources.add(document);
            }
            return;
        }
        Ok(text) => document.text = text,
    }
    match yaml::parse(&document.text, yaml::is_json(&shown)) {
        Ok(parsed) => {
            if parsed.value.is_null() {
                findings.push(Problem::error(Place::value(name, ""), "Empty", "the file is empty"));
            }
            document.value = parsed.value;
            document.spans = parsed.spans;
        }
        Err(malformed) => {
            document.spans.insert(String::new(), Spans { key: None, value: malformed.range });
            let problem = Problem::error(Place::value(name, ""), "Malformed", malformed.message);
            findings.push(match malformed.hint {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            });
        }
    }
    sources.add(document);
}

/// Why a file cannot be read, without the number.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// The file beside it whose name is most like it.
fn neighbour(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let near = nearest(wanted, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}
