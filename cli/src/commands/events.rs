//! `ecsnet events`: what happened, in ECS's words.

use std::pin::pin;

use ::agent::control::api::ServiceEvent;
use clap::Args;
use futures_util::StreamExt;

use super::{Global, no_such_stack};
use crate::failure::Failure;
use crate::{render, start_agent};

/// Show what happened to a stack's services
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Of this stack only
    #[arg(value_name = "STACK")]
    stack: Option<String>,
    /// Go on with what happens
    #[arg(short, long)]
    follow: bool,
}

impl Events {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Some(client) = start_agent::connect_to_existing(global).await? else {
            return match &self.stack {
                Some(stack) => Err(no_such_stack(stack, &[])),
                None => Ok(0),
            };
        };
        let query = [("stack", self.stack.as_deref()), ("follow", self.follow.then_some("true"))];
        let mut events = pin!(client.stream::<ServiceEvent>("/events", &query).await?);
        while let Some(event) = events.next().await {
            render::print(rendered(&event?, self.stack.is_none()))?;
        }
        Ok(0)
    }
}

/// ECS's messages name their service themselves; those that do not get it in front.
fn rendered(event: &ServiceEvent, with_stack: bool) -> String {
    let stack = if with_stack { format!("{} ", event.stack) } else { String::new() };
    let service = match event.service.as_str() {
        "" => String::new(),
        service if event.message.contains(service) => String::new(),
        service => format!("(service {service}) "),
    };
    format!("{} {stack}{service}{}\n", event.created_at, event.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_service_once() {
        let mut event = ServiceEvent {
            stack: "shop".to_owned(),
            service: "web".to_owned(),
            id: "1".to_owned(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            message: "(service web) has reached a steady state.".to_owned(),
        };
        insta::assert_snapshot!(rendered(&event, true), @"2026-01-01T00:00:00Z shop (service web) has reached a steady state.");
        event.message = "waiting for Docker".to_owned();
        insta::assert_snapshot!(rendered(&event, false), @"2026-01-01T00:00:00Z (service web) waiting for Docker");
    }
}
