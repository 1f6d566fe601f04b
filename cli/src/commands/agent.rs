//! `ecsnet agent`: the agent itself, which the other commands start where none answers.

use std::time::Duration;

use ::agent::apply::crash;
use ::agent::daemon::{DaemonError, Settings};
use ::agent::plan::step::Step;
use clap::Args;

use super::Global;
use crate::failure::Failure;
use crate::render;

/// Run the agent itself; other commands start it where none answers
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// Stay in the foreground and log to standard error
    #[arg(long, required_unless_present = "list_steps")]
    #[allow(dead_code, reason = "there is no other way to run it yet; the flag keeps the word free")]
    foreground: bool,
    /// Print the points at which a test can end the agent
    #[arg(long, hide = true)]
    list_steps: bool,
    /// Seconds of RUNNING after which a task without a health check counts as healthy
    #[arg(long, value_name = "SECONDS", env = "ECSNET_HEALTHY_AFTER", hide_env_values = true, default_value_t = 40)]
    healthy_after: u64,
}

impl Agent {
    pub(crate) fn run(self, global: &Global) -> Result<u8, Failure> {
        if self.list_steps {
            render::print(
                Step::KINDS.iter().chain([&crash::COMMIT]).map(|kind| format!("{kind}\n")).collect::<String>(),
            )?;
            return Ok(0);
        }
        log_to_stderr("info,hickory_server=warn");
        let settings = Settings {
            data_dir: global.data_dir.clone(),
            socket: global.socket.clone(),
            owner: None,
            healthy_after: Some(Duration::from_secs(self.healthy_after)),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start the async runtime: {error}")))?;
        match runtime.block_on(::agent::daemon::run(settings)) {
            Ok(()) => Ok(0),
            Err(error) => Err(refused(&error)),
        }
    }
}

fn refused(error: &DaemonError) -> Failure {
    let message = ::agent::reconcile::chain(error);
    match error {
        DaemonError::NotRoot => Failure::machine(message).with_hint("run it as root, for example with sudo"),
        error if error.is_requirement() => {
            Failure::machine(message).with_hint("start Docker, for example with `make docker` in ecsnet's source")
        }
        _ => Failure::failed(message),
    }
}

/// Logs go to standard error; `RUST_LOG` chooses others than `default`.
pub(crate) fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    // It logs whole requests, with the values of secrets in them.
    let filter = ["bollard=info", "bollard::docker=info"]
        .into_iter()
        .filter_map(|d| d.parse().ok())
        .fold(filter, tracing_subscriber::EnvFilter::add_directive);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
