//! Values as JSON for programs, with AWS's field names as the control socket has them.

use serde::Serialize;

use super::print;
use crate::failure::Failure;

/// Writes one value, indented, as `aws --output json` does.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(text(value)?)
}

/// One value, indented, with its end of line.
pub(crate) fn text(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    Ok(text + "\n")
}
