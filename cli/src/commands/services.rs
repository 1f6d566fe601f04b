//! `ecsnet services`: how many tasks each service has and should have.

use ::agent::control::api;
use clap::Args;

use super::{Global, Output, no_such_stack};
use crate::failure::Failure;
use crate::render::{json, print, table};
use crate::start_agent;

/// List services
#[derive(Debug, Args)]
pub(crate) struct Services {
    /// Of this stack only
    #[arg(value_name = "STACK")]
    stack: Option<String>,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "table", hide_possible_values = true)]
    #[arg(help = "How to print them: table, wide or json (DescribeServices)")]
    output: Output,
}

impl Services {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let listed: api::Services = match (start_agent::connect_to_existing(global).await?, &self.stack) {
            (Some(client), stack) => client.get("/services", &[("stack", stack.as_deref())]).await?,
            (None, Some(stack)) => return Err(no_such_stack(stack, &[])),
            (None, None) => api::Services { services: Vec::new() },
        };
        match self.output {
            Output::Json => json::print_json(&listed)?,
            output => print(table::services(&listed.services, output == Output::Wide))?,
        }
        Ok(0)
    }
}
