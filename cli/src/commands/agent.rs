//! `ecsnet agent`: the agent itself, which the other commands start where none answers.

use clap::Args;

use super::Global;
use crate::failure::Failure;

/// Run the agent itself; other commands start it where none answers
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// Stay in the foreground and log to standard error
    #[arg(long, required = true)]
    #[allow(dead_code, reason = "there is no other way to run it yet; the flag keeps the word free")]
    foreground: bool,
}

impl Agent {
    pub(crate) fn run(self, _global: &Global) -> Result<u8, Failure> {
        // WIRE: agent::agent::run(Settings { data_dir, socket, owner, healthy_after }) on a multi-thread runtime.
        Err(Failure::failed("this build has no agent"))
    }
}
