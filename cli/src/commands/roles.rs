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
        super::agent::log_to_stderr("info,hickory_server=warn");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start the async runtime: {error}")))?;
        match runtime.block_on(::agent::dataplane::resolver::run(&self.dir)) {
            Ok(()) => Ok(0),
            Err(error) => Err(Failure::failed(::agent::reconcile::chain(&error))),
        }
    }
}

/// Holds a task's namespaces until it is told to end.
pub(crate) fn pause() -> Result<u8, Failure> {
    ::agent::dataplane::pause::run()
}
