//! The verbs, one file each with its arguments, its run and what it prints. What several of them share is here.

pub(crate) mod agent;
pub(crate) mod completions;
pub(crate) mod dig;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod flow_log;
pub(crate) mod forward;
pub(crate) mod inspect;
pub(crate) mod instance;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod roles;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod schema;
pub(crate) mod services;
pub(crate) mod session;
pub(crate) mod stack_file;
pub(crate) mod stop;
pub(crate) mod target;
pub(crate) mod up;
pub(crate) mod validate;

use std::path::PathBuf;

use ::agent::control::api::StackSummary;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::client::Client;
use crate::failure::Failure;

/// Amazon ECS tasks and services on one Linux machine, with the network that they would have in AWS.
#[derive(Debug, Parser)]
#[command(name = "ecsnet", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The agent's socket
    #[arg(
        long,
        global = true,
        display_order = 900,
        value_name = "PATH",
        env = "ECSNET_SOCKET",
        hide_env_values = true,
        default_value = "/run/ecsnet/agent.sock"
    )]
    pub(crate) socket: PathBuf,
    /// Where an agent that is started keeps its state
    #[arg(
        long,
        global = true,
        display_order = 901,
        value_name = "DIR",
        env = "ECSNET_DATA_DIR",
        hide_env_values = true,
        default_value = "/var/lib/ecsnet"
    )]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Up(up::Up),
    Plan(plan::Plan),
    Down(down::Down),
    Validate(validate::Validate),
    Schema(schema::Schema),
    Ps(ps::Ps),
    Services(services::Services),
    Inspect(inspect::Inspect),
    Logs(logs::Logs),
    Events(events::Events),
    Exec(exec::Exec),
    Run(run::Run),
    Forward(forward::Forward),
    Dig(dig::Dig),
    Explain(explain::Explain),
    FlowLog(flow_log::FlowLog),
    Stop(stop::Stop),
    Scale(scale::Scale),
    Instance(instance::Instance),
    Completions(completions::Completions),
    Doctor(doctor::Doctor),
    Agent(agent::Agent),
    /// Hold a task's namespaces (run by the agent in a container)
    #[command(hide = true)]
    Pause,
    #[command(hide = true)]
    Resolver(roles::Resolver),
    #[command(hide = true)]
    Metadata(roles::Metadata),
    /// Relay standard input and output to the agent's socket (run by the command line in the agent's container)
    #[command(hide = true)]
    Relay,
    /// Try what the kernel can (run by `doctor` in a container)
    #[command(hide = true)]
    Probe,
    #[command(hide = true)]
    Enter(run::Enter),
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns
    Table,
    /// More columns
    Wide,
    /// AWS's own shape
    Json,
}

/// How one thing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Text,
    Json,
}

/// Runs a command to its end. Commands mostly wait, so one thread is enough.
pub(crate) fn on_runtime<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "start a runtime".to_owned(), source })?;
    let outcome = runtime.block_on(command);
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// The stack that a command means: the one named, or the only one there is.
pub(crate) async fn one_stack(client: &Client, name: Option<&str>) -> Result<String, Failure> {
    let stacks: Vec<StackSummary> = client.get("/stacks", &[]).await?;
    let names: Vec<&str> = stacks.iter().map(|stack| stack.name.as_str()).collect();
    choose_stack(&names, name)
}

fn choose_stack(known: &[&str], name: Option<&str>) -> Result<String, Failure> {
    match (name, known) {
        (Some(name), _) if known.contains(&name) => Ok(name.to_owned()),
        (Some(name), _) => Err(no_such_stack(name, known)),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(Failure::input("there is no stack")),
        (None, _) => Err(Failure::input("which stack?").with_hint(format!("there are {}", quoted(known)))),
    }
}

/// A stack was named that nobody knows.
pub(crate) fn no_such_stack(name: &str, known: &[&str]) -> Failure {
    let failure = Failure::input(format!("there is no stack `{name}`"));
    match (known, nearest(name, known)) {
        ([], _) => failure,
        (_, Some(nearest)) => failure.with_hint(format!("did you mean `{nearest}`?")),
        (_, None) => failure.with_hint(format!("there is {}", quoted(known))),
    }
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|&other| (strsim::damerau_levenshtein(name, other), other));
    near.min().filter(|&(distance, _)| distance <= 2).map(|(_, other)| other)
}

/// Names as a sentence lists them.
pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
