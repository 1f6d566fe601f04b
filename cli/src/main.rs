//! The binary `ecsnet`: the command line, and under hidden verbs the agent and its data-plane roles.
//!
//! Takes the arguments apart, hands them to one file of `commands`, and turns what comes back into an exit code. Data goes
//! to standard output, all else to standard error; a reader that has gone away is no failure. Nothing is decided here.

mod agent_container;
mod client;
mod commands;
mod doctor;
mod door;
mod failure;
mod registry;
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
        Verb::Forward(forward) => on_runtime(forward.run(&global)),
        Verb::Dig(dig) => on_runtime(dig.run(&global)),
        Verb::Explain(explain) => on_runtime(explain.run(&global)),
        Verb::FlowLog(flow_log) => on_runtime(flow_log.run(&global)),
        Verb::Stop(stop) => on_runtime(stop.run(&global)),
        Verb::Scale(scale) => on_runtime(scale.run(&global)),
        Verb::Instance(instance) => on_runtime(instance.run(&global)),
        Verb::Completions(completions) => completions.run(),
        Verb::Doctor(doctor) => on_runtime(doctor.run(&global)),
        Verb::Agent(agent) => agent.run(&global),
        // In a container of its own for as long as its task lives: small, so no runtime is built for it.
        Verb::Pause => commands::roles::pause(),
        Verb::Resolver(resolver) => resolver.run(),
        Verb::Metadata(metadata) => metadata.run(),
        Verb::Enter(enter) => enter.run(),
        Verb::Probe => on_runtime(commands::roles::probe()),
        Verb::Relay => commands::roles::relay(&global.socket),
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
