//! `ecsnet ps`: the tasks and their place in the network.

use std::io::IsTerminal as _;
use std::pin::pin;

use ::agent::control::api::{TaskView, Tasks};
use clap::Args;
use futures_util::StreamExt as _;

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
    /// Go on, and show them again after each change
    #[arg(short, long)]
    watch: bool,
}

impl Ps {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let client = start_agent::connect_to_existing(global).await?;
        let query = [("stack", self.stack.as_deref())];
        match (client, &self.stack) {
            (Some(client), _) if self.watch => {
                let mut listings = pin!(client.stream::<Tasks>("/tasks/watch", &query).await?);
                let mut last = None;
                while let Some(listed) = listings.next().await {
                    let shown = self.shown(listed?)?;
                    if last.as_ref() != Some(&shown) {
                        redraw(&shown)?;
                        last = Some(shown);
                    }
                }
            }
            (Some(client), _) => print(self.shown(client.get("/tasks", &query).await?)?)?,
            (None, Some(stack)) => return Err(no_such_stack(stack, &[])),
            (None, None) => print(self.shown(Tasks { tasks: Vec::new() })?)?,
        }
        Ok(0)
    }

    /// What is printed of a listing.
    fn shown(&self, mut listed: Tasks) -> Result<String, Failure> {
        listed.tasks.retain(|task| self.all || is_alive(task));
        Ok(match self.output {
            Output::Json => json::text(&listed)?,
            _ if listed.tasks.is_empty() => {
                if !self.watch {
                    say("no tasks (`ecsnet ps --all` shows those that stopped within the hour)");
                }
                String::new()
            }
            output => table::tasks(&listed.tasks, output == Output::Wide),
        })
    }
}

/// Prints a listing in place of the one before: on a terminal over it, elsewhere after it.
fn redraw(listing: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        // Home, and what is below it goes.
        return print(format!("\x1b[H\x1b[2J{listing}"));
    }
    print(format!("{listing}\n"))
}

/// Whether something of the task is still there.
pub(crate) fn is_alive(task: &TaskView) -> bool {
    task.last_status != "STOPPED"
}
