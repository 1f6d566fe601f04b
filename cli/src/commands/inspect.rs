//! `ecsnet inspect`: all there is to know about one thing.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use super::{Form, Global};
use crate::failure::Failure;
use crate::render::{json, print, text};
use crate::start_agent;

/// What the agent can tell about (`agent::control::api`).
const KINDS: [&str; 7] = ["task", "service", "instance", "eni", "subnet", "security-group", "stack"];

/// Show all there is to know about one thing
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// What kind of thing it is
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS))]
    kind: String,
    /// Its id, the first characters of it, or its name
    #[arg(value_name = "ID")]
    id: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

impl Inspect {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Some(client) = start_agent::connect_to_existing(global).await? else {
            return Err(Failure::input(format!("there is no {} `{}`: nothing runs", self.kind, self.id)));
        };
        let found: Value = client.get("/inspect", &[("kind", Some(&self.kind)), ("id", Some(&self.id))]).await?;
        match self.output {
            Form::Json => json::print_json(&found)?,
            Form::Text => print(text::lines(&found))?,
        }
        Ok(0)
    }
}
