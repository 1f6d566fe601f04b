//! `ecsnet instance`: the container instances that tasks are placed on, and what AWS can do to one.

use ::agent::control::api::{ContainerInstances, InstanceAction, InstanceRequest};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Global, Output, no_such_stack};
use crate::failure::Failure;
use crate::render::{json, print, say, short, table};
use crate::start_agent;

/// List container instances; drain, stop or start one
#[derive(Debug, Args)]
pub(crate) struct Instance {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List container instances
    List(List),
    /// Place no task on it any more, and move those of services away
    Drain(Which),
    /// Switch it off, with all that is on it
    Stop(Which),
    /// Switch it on, and place tasks on it again: undoes both
    Start(Which),
}

#[derive(Debug, Args)]
struct List {
    /// Of this stack only
    #[arg(value_name = "STACK")]
    stack: Option<String>,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "table", hide_possible_values = true)]
    #[arg(help = "How to print them: table, wide or json (DescribeContainerInstances)")]
    output: Output,
}

#[derive(Debug, Args)]
struct Which {
    /// Its id, the first characters of it, its EC2 id or its address
    #[arg(value_name = "ID")]
    id: String,
}

impl Instance {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        match self.verb {
            Verb::List(list) => list.run(global).await,
            Verb::Drain(which) => which.change(global, InstanceAction::Drain).await,
            Verb::Stop(which) => which.change(global, InstanceAction::Stop).await,
            Verb::Start(which) => which.change(global, InstanceAction::Start).await,
        }
    }
}

impl List {
    async fn run(self, global: &Global) -> Result<u8, Failure> {
        let listed = match (start_agent::connect_to_existing(global).await?, &self.stack) {
            (Some(client), stack) => client.get("/instances", &[("stack", stack.as_deref())]).await?,
            (None, Some(stack)) => return Err(no_such_stack(stack, &[])),
            (None, None) => ContainerInstances { container_instances: Vec::new() },
        };
        match self.output {
            Output::Json => json::print_json(&listed)?,
            _ if listed.container_instances.is_empty() => {
                say("no container instances: no service has tasks in bridge, host or none, or the launch type EC2");
            }
            output => print(table::instances(&listed.container_instances, output == Output::Wide))?,
        }
        Ok(0)
    }
}

impl Which {
    async fn change(self, global: &Global, action: InstanceAction) -> Result<u8, Failure> {
        let Some(client) = start_agent::connect_to_existing(global).await? else {
            return Err(Failure::input(format!("there is no instance `{}`: nothing runs", self.id)));
        };
        let instance: Value = client.post("/instance", &[], &InstanceRequest { target: self.id, action }).await?;
        say(done(action, &instance));
        Ok(0)
    }
}

/// What is under way now.
fn done(action: InstanceAction, instance: &Value) -> String {
    let text = |field: &str| instance["ecsnet"][field].as_str().unwrap_or_default();
    let id = short(text("instanceId"));
    let tasks = match instance["ecsnet"]["tasks"].as_array().map_or(0, Vec::len) {
        0 => "no task is on it".to_owned(),
        1 => "1 task".to_owned(),
        several => format!("{several} tasks"),
    };
    match action {
        InstanceAction::Drain if tasks.starts_with("no") => format!("draining instance {id}: {tasks}"),
        InstanceAction::Drain => format!("draining instance {id}: {tasks} of services move to other instances"),
        InstanceAction::Stop if tasks.starts_with("no") => format!("stopping instance {id}: {tasks}"),
        InstanceAction::Stop => format!("stopping instance {id}, and {tasks} with it"),
        InstanceAction::Start => format!("starting instance {id}: tasks are placed on it again"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_under_way_is_said() {
        let instance = |tasks: &[&str]| json!({ "ecsnet": { "instanceId": "0123456789abcdef", "tasks": tasks } });
        let said = |action, tasks: &[&str]| done(action, &instance(tasks));
        assert_eq!(
            said(InstanceAction::Drain, &["a", "b"]),
            "draining instance 01234567: 2 tasks of services move to other instances"
        );
        assert_eq!(said(InstanceAction::Drain, &[]), "draining instance 01234567: no task is on it");
        assert_eq!(said(InstanceAction::Stop, &["a"]), "stopping instance 01234567, and 1 task with it");
        assert_eq!(said(InstanceAction::Stop, &[]), "stopping instance 01234567: no task is on it");
        assert_eq!(said(InstanceAction::Start, &[]), "starting instance 01234567: tasks are placed on it again");
    }
}
