//! `ecsnet agent`: starts the agent in its container, ends it, or is it, in the foreground and for development.

use std::io::IsTerminal as _;
use std::time::Duration;

use ::agent::apply::crash;
use ::agent::daemon::{DaemonError, Settings};
use ::agent::plan::step::Step;
use ::agent::runtime::{Docker, agent_container};
use clap::Args;

use super::{Global, on_runtime};
use crate::agent_container::{HEALTHY_AFTER, settings_of};
use crate::failure::Failure;
use crate::start_agent::Origin;
use crate::{render, start_agent};

/// Start the agent in a container of its own, as other commands do where none answers
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// Be the agent, as a process of this machine that logs to standard error: for development, as root
    #[arg(long)]
    foreground: bool,
    /// End the agent; what runs goes on without it
    #[arg(long, conflicts_with = "foreground")]
    stop: bool,
    /// Print the points at which a test can end the agent
    #[arg(long, hide = true)]
    list_steps: bool,
    /// Seconds of RUNNING after which a task without a health check counts as healthy, instead of 40
    #[arg(long, value_name = "SECONDS", env = HEALTHY_AFTER, hide_env_values = true)]
    healthy_after: Option<u64>,
    /// The container that it is in
    #[arg(long, hide = true, env = agent_container::CONTAINER_VARIABLE, hide_env_values = true)]
    container: Option<String>,
}

impl Agent {
    pub(crate) fn run(self, global: &Global) -> Result<u8, Failure> {
        if self.list_steps {
            render::print(
                Step::KINDS.iter().chain([&crash::COMMIT]).map(|kind| format!("{kind}\n")).collect::<String>(),
            )?;
            return Ok(0);
        }
        if self.stop {
            return on_runtime(stop(global));
        }
        if !self.foreground {
            return on_runtime(start(global, self.healthy_after));
        }
        log_to_stderr("info,hickory_server=warn");
        let settings = Settings {
            data_dir: global.data_dir.clone(),
            socket: global.socket.clone(),
            owner: None,
            healthy_after: self.healthy_after.map(Duration::from_secs),
            container: self.container,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start the async runtime: {error}")))?;
        match runtime.block_on(::agent::daemon::run(settings)) {
            Ok(()) => Ok(0),
            Err(error) => Err(refused(&error)),
        }
    }
}

async fn start(global: &Global, healthy_after: Option<u64>) -> Result<u8, Failure> {
    let set = healthy_after.map(|seconds| (HEALTHY_AFTER, seconds.to_string()));
    let (_, origin) = start_agent::connect_with(global, set.as_slice()).await?;
    let Some((_, version)) = start_agent::find(global).await? else {
        return Err(Failure::failed("the agent ended as soon as it had answered"));
    };
    match &version.container {
        Some(container) => render::say(format_args!("the agent runs in container {container}")),
        None => render::say(format_args!("the agent runs as process {}", version.pid)),
    }
    if let (Some((name, wanted)), Origin::Found) = (set, origin) {
        let has = match &version.container {
            Some(container) => settings_of(&Docker::connect().await?, container).await?,
            None => Vec::new(),
        };
        if !has.iter().any(|(known, value)| known == name && *value == wanted) {
            render::say(format_args!(
                "it ran already and keeps its own --healthy-after: to change that, `ecsnet agent --stop` first"
            ));
        }
    }
    Ok(0)
}

async fn stop(global: &Global) -> Result<u8, Failure> {
    match start_agent::stop(global).await? {
        true => render::say("the agent has ended; what it looked after goes on"),
        false => render::say("there is no agent"),
    }
    Ok(0)
}

fn refused(error: &DaemonError) -> Failure {
    let message = ::agent::reconcile::chain(error);
    match error {
        DaemonError::NotRoot => {
            Failure::machine(message).with_hint("without --foreground Docker starts it, for whoever may use Docker")
        }
        DaemonError::Docker(docker) if error.is_requirement() => {
            Failure::machine(message).with_hint(docker.remedy().unwrap_or_default())
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
    let colour = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_target(false).with_ansi(colour).init();
}
