//! `ecsnet ps`: the tasks and their place in the network.

use ::agent::control::api::{TaskView, Tasks};
use clap::Args;

use super::{Global, Output, no_such_stack};
use crate::failure::Failure;
use crate::render::{json, print, say, table};
use crate::start_agent;

/// List tasks
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Of this stack only
    #[arg(value_name = "STACK")]
    stack: Option<String>,
    /// Also tasks that are STOPPED
    #[arg(short, long)]
    all: bool,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "table", hide_possible_values = true)]
    #[arg(help = "How to print them: table, wide or json (DescribeTasks)")]
    output: Output,
}

impl Ps {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let mut listed: Tasks = match (start_agent::connect_to_existing(global).await?, &self.stack) {
            (Some(client), stack) => client.get("/tasks", &[("stack", stack.as_deref())]).await?,
            (None, Some(stack)) => return Err(no_such_stack(stack, &[])),
            (None, None) => Tasks { tasks: Vec::new() },
        };
        listed.tasks.retain(|task| self.all || is_alive(task));
        match self.output {
            Output::Json => json::print_json(&listed)?,
            _ if listed.tasks.is_empty() => {
                say("no tasks (`ecsnet ps --all` shows those that stopped within the hour)")
            }
            output => print(table::tasks(&listed.tasks, output == Output::Wide))?,
        }
        Ok(0)
    }
}

/// Whether something of the task is still there.
pub(crate) fn is_alive(task: &TaskView) -> bool {
    task.last_status != "STOPPED"
}
