//! `ecsnet validate`: check a stack file. Needs no agent.

use clap::Args;

use super::stack_file::StackFile;
use crate::failure::Failure;
use crate::render;

/// Check a stack file and the task definitions that it names
#[derive(Debug, Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    file: StackFile,
}

impl Validate {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        self.file.load()?;
        render::print(format_args!("{}: ok\n", self.file.file.display()))?;
        Ok(0)
    }
}
