//! `ecsnet down`: stop a stack and wait until nothing is left of it.

use std::pin::pin;

use ::agent::control::api::{Progress, StackSummary};
use clap::Args;
use futures_util::StreamExt;

use super::{Global, choose_stack};
use crate::client::{Client, ClientError};
use crate::failure::Failure;
use crate::render::progress::Display;
use crate::{render, start_agent};

/// Stop a stack and remove all of it
#[derive(Debug, Args)]
pub(crate) struct Down {
    /// The stack; may be left out where there is one only
    #[arg(value_name = "STACK", conflicts_with = "all")]
    stack: Option<String>,
    /// All stacks
    #[arg(long)]
    all: bool,
}

impl Down {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let client = start_agent::connect_to_existing(global).await?;
        let known: Vec<StackSummary> = match &client {
            Some(client) => client.get("/stacks", &[]).await?,
            None => Vec::new(),
        };
        let known: Vec<&str> = known.iter().map(|stack| stack.name.as_str()).collect();
        let stacks = match self.all {
            true => known.iter().map(|&name| name.to_owned()).collect(),
            false if known.is_empty() && self.stack.is_none() => Vec::new(),
            false => vec![choose_stack(&known, self.stack.as_deref())?],
        };
        let (Some(client), false) = (client, stacks.is_empty()) else {
            render::say("there is no stack");
            return Ok(0);
        };
        for stack in &stacks {
            client.post::<()>("/down", &[("stack", Some(stack))], &()).await?;
        }
        let mut display = Display::new();
        let gone = async {
            for stack in &stacks {
                wait(&client, stack, &mut display).await?;
            }
            Ok(0)
        };
        let outcome = tokio::select! {
            outcome = gone => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted {
                note: format!("{} goes on being removed without us", stacks.join(", ")),
            }),
        };
        display.clear();
        if outcome.is_ok() {
            stacks.iter().for_each(|stack| render::say(format_args!("stack `{stack}` is gone")));
        }
        outcome
    }
}

/// Waits until the agent knows the stack no more.
async fn wait(client: &Client, stack: &str, display: &mut Display) -> Result<(), Failure> {
    let stream = match client.stream::<Progress>("/progress", &[("stack", Some(stack))]).await {
        Ok(stream) => stream,
        Err(refused @ ClientError::Refused(_)) => {
            // It may have gone in the meantime, which is what was asked for.
            let left: Vec<StackSummary> = client.get("/stacks", &[]).await?;
            let there = left.iter().any(|other| other.name == stack);
            return if there { Err(refused.into()) } else { Ok(()) };
        }
        Err(error) => return Err(error.into()),
    };
    let mut stream = pin!(stream);
    while let Some(progress) = stream.next().await {
        display.show(&progress?);
    }
    Ok(())
}
