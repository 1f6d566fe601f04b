//! The data-plane roles: what this binary is in the containers that the agent makes from it. Hidden from people.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

/// Answer a stack's DNS questions from published files (run by the agent in a container)
#[derive(Debug, Args)]
pub(crate) struct Resolver {
    /// Where the zone is published
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Resolver {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        // WIRE: agent::dataplane::resolver::run(&self.dir)
        Err(Failure::failed(format!("this build has no resolver for {}", self.dir.display())))
    }
}

/// Holds a task's namespaces until it is told to end.
pub(crate) fn pause() -> Result<u8, Failure> {
    // WIRE: agent::dataplane::pause::run()
    Err(Failure::failed("this build cannot pause"))
}
