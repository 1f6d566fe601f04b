//! `ecsnet plan`: what `up` would change.

use ::agent::control::api::{UpReply, UpRequest};
use clap::Args;

use super::Global;
use super::stack_file::{StackFile, changes};
use crate::failure::Failure;
use crate::{render, start_agent};

/// Show what `up` would change, without doing it
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    file: StackFile,
}

impl Plan {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let stack = self.file.load()?;
        let client = start_agent::connect(global).await?;
        let reply: UpReply = client.post("/plan", &[], &UpRequest { stack, credentials: Vec::new() }).await?;
        reply.notes.iter().for_each(render::warn);
        render::print(changes(&reply))?;
        Ok(0)
    }
}
