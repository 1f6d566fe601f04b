//! `ecsnet flow-log`: what the security groups let through and what they refused, as VPC Flow Logs has it.

use std::pin::pin;

use ::agent::control::api::FlowLogLine;
use clap::Args;
use futures_util::StreamExt;

use super::Global;
use crate::failure::Failure;
use crate::{render, start_agent};

/// Show accepted and rejected flows, as VPC Flow Logs does
#[derive(Debug, Args)]
#[command(
    after_help = "A line is a record of version 2: version, account, interface, source, destination, their ports,
protocol, packets, bytes, start, end, ACCEPT or REJECT, OK. A flow between two tasks is seen at both
interfaces. Flows are logged only while this command runs."
)]
pub(crate) struct FlowLog {
    /// Of these interfaces only: a task, a service, STACK/SERVICE, a container instance or a stack; in bridge and host mode a task has its instance's
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// Go on until Ctrl-C; without it, one window of some seconds is shown
    #[arg(short, long)]
    follow: bool,
}

impl FlowLog {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Some(client) = start_agent::connect_to_existing(global).await? else {
            return Err(Failure::input("there is no stack, so nothing flows"));
        };
        let query = [("target", self.target.as_deref()), ("follow", self.follow.then_some("true"))];
        let mut lines = pin!(client.stream::<FlowLogLine>("/flow-log", &query).await?);
        while let Some(line) = lines.next().await {
            match line? {
                FlowLogLine::Started { seconds } if self.follow => {
                    render::say(format_args!("logging, {seconds} seconds a window; Ctrl-C ends it"));
                }
                FlowLogLine::Started { seconds } => render::say(format_args!("logging for {seconds} seconds")),
                FlowLogLine::Record { line } => render::print(format_args!("{line}\n"))?,
            }
        }
        Ok(0)
    }
}
