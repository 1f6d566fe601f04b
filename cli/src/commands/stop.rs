//! `ecsnet stop`: StopTask. Its service starts another.

use ::agent::control::api::{StopRequest, TaskView};
use clap::Args;

use super::{Global, target};
use crate::failure::Failure;
use crate::render::{say, short};

/// Stop a task; its service starts another in its place
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The task's id or its first characters
    #[arg(value_name = "TASK")]
    task: String,
    /// Shown as the task's stopped reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Stop {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let client = target::agent(global, &self.task).await?;
        let request = StopRequest { target: self.task, reason: self.reason };
        let task: TaskView = client.post("/stop", &[], &request).await?;
        let extra = &task.ecsnet;
        // Its last status is what it was until now, which would read as if nothing were done.
        say(format_args!("stopping task {} of service {}", short(&extra.task_id), extra.service));
        Ok(0)
    }
}
