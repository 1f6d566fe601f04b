//! What a user sees for each kind of bad stack file, and that good ones load. By subject; here is what they share.

mod capacity;
mod definitions;
mod discovery;
mod fuzz;
mod limits;
mod local_files;
mod mode_changes;
mod modes;
mod network;
mod placement;
mod schema;
mod services;
mod syntax;

use std::path::{Path, PathBuf};

use agent::spec::security_group::{Peer, Rule, Traffic};
use agent::spec::service::LaunchType;
use agent::spec::task_definition::TaskDefinition;

use super::*;

/// A folder of files for one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn load(&self, overrides: &Overrides) -> Loaded {
        load(&self.0.path().join("stack.yaml"), overrides)
    }

    /// What the user reads, with the folder's path left out.
    fn report(&self, overrides: &Overrides) -> String {
        let loaded = self.load(overrides);
        let text = report::render(&loaded.problems, &loaded.sources, false);
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

const WEB: &str = r#"{"family": "web", "networkMode": "awsvpc", "containerDefinitions": [
  {"name": "web", "image": "web", "memory": 64, "portMappings": [{"containerPort": 8080}]}]}"#;

/// What the user reads for a stack file beside a good task definition `web.json`.
fn report_of(stack: &str) -> String {
    Folder::with(&[("stack.yaml", stack), ("web.json", WEB)]).report(&Overrides::default())
}

/// What the user reads for a task definition that a good stack file names.
fn report_of_definition(name: &str, definition: &str) -> String {
    let stack = format!("name: shop\nservices:\n  web:\n    taskDefinition: {name}\n");
    Folder::with(&[("stack.yaml", &stack), (name, definition)]).report(&Overrides::default())
}

/// The stack of a file that has nothing wrong with it.
fn stack_of(stack: &str) -> Stack {
    let loaded = Folder::with(&[("stack.yaml", stack), ("web.json", WEB)]).load(&Overrides::default());
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    loaded.stack.unwrap()
}

/// The one task definition of a good stack.
fn definition_of(definition: &str) -> TaskDefinition {
    let stack = "name: shop\nservices:\n  web:\n    taskDefinition: task.json\n";
    let loaded = Folder::with(&[("stack.yaml", stack), ("task.json", definition)]).load(&Overrides::default());
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    loaded.stack.unwrap().services["web"].task_definition.clone()
}

/// Whoever reads a message can find the place: a range of the text that it names, or a flag.
fn assert_has_a_place(problem: &Problem, loaded: &Loaded) {
    if problem.place.document.starts_with("--") {
        return;
    }
    let location = loaded.sources.locate(&problem.place).unwrap_or_else(|| panic!("{problem:?} is nowhere"));
    let text = &location.document.text;
    let Some(range) = location.range else { return assert_eq!(text.trim(), "", "{problem:?} has no place") };
    assert!(text.get(range.clone()).is_some(), "{problem:?} is at {range:?} of {} bytes", text.len());
}

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop/stack.yaml")
}

/// Groups as lines, for snapshots.
fn groups(stack: &Stack) -> String {
    let mut lines = String::new();
    for (name, group) in &stack.security_groups {
        lines.push_str(&format!("{name}: {}\n", group.description));
        for (word, rules) in [("in from", &group.ingress), ("out to", &group.egress)] {
            for Rule { traffic, peer } in rules {
                let traffic = match traffic {
                    Traffic::Tcp(range) => format!("tcp {}-{}", range.first, range.last),
                    Traffic::Udp(range) => format!("udp {}-{}", range.first, range.last),
                    other => format!("{other:?}"),
                };
                let peer = match peer {
                    Peer::Cidr(block) => block.to_string(),
                    Peer::Group(group) => group.to_string(),
                };
                lines.push_str(&format!("  {word} {peer}: {traffic}\n"));
            }
        }
    }
    lines
}
