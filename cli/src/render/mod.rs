//! How results and errors look. Data goes to standard output, all else to standard error; colour only on a terminal and
//! never under `NO_COLOR`.

pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod text;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Writes a line for people to standard error.
pub(crate) fn say(line: impl Display) {
    // Nobody is left to tell it to.
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Writes what a person can act on, though it went on.
pub(crate) fn warn(line: impl Display) {
    say(format_args!("{WARNING}warning{WARNING:#}: {line}"));
}

/// Writes why the command failed, each cause once, and what to do.
pub(crate) fn error(failure: &Failure) {
    if matches!(failure, Failure::Shown { .. }) {
        return;
    }
    say(format_args!("{ERROR}error{ERROR:#}: {}", with_causes(failure)));
    if let Some(hint) = failure.hint() {
        say(format_args!("{HINT}hint{HINT:#}: {hint}"));
    }
}

/// An error and its causes in one text.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.ends_with(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = error.source();
    }
    text
}

/// Writes data.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    write!(output, "{text}").and_then(|()| output.flush()).map_err(Failure::Output)
}

/// Whether standard error takes colour.
pub(crate) fn color_on_stderr() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// The first eight digits of a task's id, which is how people name it.
pub(crate) fn short(task_id: &str) -> &str {
    task_id.get(..8).unwrap_or(task_id)
}
