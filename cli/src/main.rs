//! The binary `ecsnet`: the command line, and under hidden verbs the agent and its data-plane roles.
//!
//! Takes the arguments apart, hands them to one file of `commands`, and turns what comes back into an exit code. Data goes
//! to standard output, all else to standard error; a reader that has gone away is no failure. Nothing is decided here.

mod client;
mod commands;
mod failure;
mod render;
mod stack;
mod start_agent;

use std::process::exit;

use clap::Parser;

use commands::{Cli, Verb, on_runtime};
use failure::{Failure, INTERRUPTED};

fn main() {
    let Cli { global, verb } = Cli::parse();
    let outcome = match verb {
        Verb::Up(up) => on_runtime(up.run(&global)),
        Verb::Plan(plan) => on_runtime(plan.run(&global)),
        Verb::Down(down) => on_runtime(down.run(&global)),
        Verb::Validate(validate) => validate.run(),
        Verb::Schema(schema) => schema.run(),
        Verb::Ps(ps) => on_runtime(ps.run(&global)),
        Verb::Services(services) => on_runtime(services.run(&global)),
        Verb::Inspect(inspect) => on_runtime(inspect.run(&global)),
        Verb::Logs(logs) => on_runtime(logs.run(&global)),
        Verb::Events(events) => on_runtime(events.run(&global)),
        Verb::Exec(exec) => on_runtime(exec.run(&global)),
        Verb::Run(run) => run.run(&global),
        Verb::Dig(dig) => on_runtime(dig.run(&global)),
        Verb::Stop(stop) => on_runtime(stop.run(&global)),
        Verb::Scale(scale) => on_runtime(scale.run(&global)),
        Verb::Completions(completions) => completions.run(),
        Verb::Agent(agent) => agent.run(&global),
        // In a container of its own for as long as its task lives: small, so no runtime is built for it.
        Verb::Pause => commands::roles::pause(),
        Verb::Resolver(resolver) => resolver.run(),
    };
    exit(match outcome {
        Ok(code) => i32::from(code),
        Err(failure) if failure.is_broken_pipe() => 0,
        Err(Failure::Interrupted { note }) => {
            render::say(note);
            i32::from(INTERRUPTED)
        }
        Err(failure) => {
            render::error(&failure);
            i32::from(failure.exit_code())
        }
    });
}
