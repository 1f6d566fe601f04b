//! Placeholder for the stack file's reader, with its signatures alone.

use std::path::Path;

use agent::spec::ids::NetworkMode;
use agent::spec::problem::{Place, Problem};
use agent::spec::stack::Stack;

pub(crate) mod report;

/// What the command line sets over the file.
#[derive(Debug, Clone, Default)]
#[expect(dead_code, reason = "read by the stack file's reader")]
pub(crate) struct Overrides {
    /// For every task definition.
    pub(crate) network_mode: Option<NetworkMode>,
    /// For the stack.
    pub(crate) connect: Option<String>,
}

/// The texts that problems point into.
#[derive(Debug, Default)]
pub(crate) struct Sources;

/// A file, read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The stack, unless a problem stops it.
    pub(crate) stack: Option<Stack>,
    /// All of them.
    pub(crate) problems: Vec<Problem>,
    /// The texts that they point into.
    pub(crate) sources: Sources,
}

/// Reads a stack file.
pub(crate) fn load(path: &Path, _overrides: &Overrides) -> Loaded {
    let problem = Problem::error(
        Place::value("", ""),
        "Unread",
        format!("{}: this build cannot read stack files", path.display()),
    );
    Loaded { stack: None, problems: vec![problem], sources: Sources }
}
