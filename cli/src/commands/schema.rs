//! `ecsnet schema`: the JSON Schema of a stack file, for editors. Needs no agent.

use clap::Args;

use crate::failure::Failure;
use crate::render;
use crate::stack::schema;

/// Print the JSON Schema of a stack file
///
/// An editor takes it from the first line of the file: # yaml-language-server: $schema=ecsnet.schema.json
#[derive(Debug, Args)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        render::print(format_args!("{:#}\n", schema::schema()))?;
        Ok(0)
    }
}
