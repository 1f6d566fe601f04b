//! The stack file as an argument, for `up`, `plan` and `validate`: read it, report all that is wrong with it.

use std::path::PathBuf;

use ::agent::control::api::{UpReply, UpRequest};
use ::agent::spec::ids::NetworkMode;
use ::agent::spec::problem::Severity;
use clap::Args;

use crate::failure::{Failure, WRONG_INPUT};
use crate::render;
use crate::stack::{self, Overrides};

/// A stack file and what is set over it.
#[derive(Debug, Args)]
pub(crate) struct StackFile {
    /// The stack file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The network mode of every task, over what the file and the task definitions say
    #[arg(long, value_name = "MODE", value_parser = network_mode)]
    #[arg(help = "The network mode of every task: awsvpc, bridge, host or none")]
    network_mode: Option<NetworkMode>,
    /// How services reach each other: discovery or none (load-balancer, app-mesh, service-connect: not yet)
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    connect: Option<stack::Connect>,
}

impl StackFile {
    /// What `up` and `plan` ask for. The file's problems are said here; with an error among them nothing else is to be said.
    pub(crate) fn load(&self) -> Result<UpRequest, Failure> {
        let overrides = Overrides { network_mode: self.network_mode, connect: self.connect };
        let loaded = stack::load(&self.file, &overrides);
        if !loaded.problems.is_empty() {
            let text = stack::report::render(&loaded.problems, &loaded.sources, render::color_on_stderr());
            render::say(text.trim_end());
        }
        let wrong = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
        let stack = loaded.stack.filter(|_| !wrong).ok_or(Failure::Shown { code: WRONG_INPUT })?;
        Ok(UpRequest { stack, secrets: loaded.secrets, credentials: Vec::new() })
    }
}

/// What `up` changed, or `plan` would.
pub(crate) fn changes(reply: &UpReply) -> String {
    if reply.changes.is_empty() {
        return "nothing to change\n".to_owned();
    }
    let line = |change: &::agent::control::api::ChangeLine| match change.detail.as_str() {
        "" => format!("{} {}\n", change.sign, change.what),
        detail => format!("{} {}: {detail}\n", change.sign, change.what),
    };
    reply.changes.iter().map(line).collect()
}

fn network_mode(text: &str) -> Result<NetworkMode, String> {
    let known = [NetworkMode::Awsvpc, NetworkMode::Bridge, NetworkMode::Host, NetworkMode::None];
    known
        .into_iter()
        .find(|mode| mode.as_str() == text)
        .ok_or_else(|| "expected awsvpc, bridge, host or none".to_owned())
}

#[cfg(test)]
mod tests {
    use ::agent::control::api::ChangeLine;

    use super::*;

    #[test]
    fn a_change_is_a_line() {
        let change = |sign, what: &str, detail: &str| ChangeLine { sign, what: what.into(), detail: detail.into() };
        let changes = vec![
            change('+', "service web", ""),
            change('~', "service orders", "desiredCount 2 → 3"),
            change('-', "security group old", ""),
        ];
        insta::assert_snapshot!(super::changes(&UpReply { changes, notes: vec![] }), @r"
        + service web
        ~ service orders: desiredCount 2 → 3
        - security group old
        ");
    }
}
