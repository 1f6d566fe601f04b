//! `ecsnet exec`: a command in a container of a task, over Docker itself: the agent only says which container.

use std::io::{self, IsTerminal};

use ::agent::control::api::{Target, TargetContainer};
use ::agent::runtime::{Docker, ExecOptions, RuntimeError};
use clap::Args;

use super::session::{REFUSAL, attend};
use super::{Global, target};
use crate::failure::Failure;
use crate::render::{say, short};

/// Run a command in a container of a task
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// A task, a service (its first RUNNING task) or STACK/SERVICE
    #[arg(value_name = "TARGET")]
    target: String,
    /// The container; left out: the first essential one
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// With a terminal, even if standard input and output are not both one
    #[arg(short, long)]
    tty: bool,
    /// Bring standard input along; it always is, so this is for those used to Docker
    #[arg(short, long)]
    interactive: bool,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let client = target::agent(global, &self.target).await?;
        let target = target::one_running(&client, &self.target).await?;
        let container = choose(&target, self.container.as_deref())?;
        if io::stderr().is_terminal() && target.task_id != self.target {
            say(format_args!("in task {}, container {}", short(&target.task_id), container.name));
        }
        let tty = self.tty || (io::stdin().is_terminal() && io::stdout().is_terminal());
        let environment = match std::env::var("TERM") {
            Ok(terminal) if tty => vec![("TERM".to_owned(), terminal)],
            _ => Vec::new(),
        };
        let options = ExecOptions { tty, stdin: true, environment, ..Default::default() };
        let program = self.command.first().cloned().unwrap_or_default();
        let session = Docker::connect().await?.exec(&container.docker_name, self.command, options).await;
        let judge = |words: &str| not_started(words, &program, &container.name);
        match session {
            Ok(session) => attend(session, tty, judge).await,
            Err(error) => {
                let refusal = match &error {
                    RuntimeError::Refused { message, .. } | RuntimeError::Absent { message, .. } => judge(message),
                    _ => None,
                };
                Err(refusal.unwrap_or(error.into()))
            }
        }
    }
}

/// What Docker's words about a command that could not be started mean, as shells say it.
///
/// Docker has no other form for it: it writes runc's words where the command's output would be, with 126 for both cases
/// (20.10), or refuses to start it with the same words (newer engines).
fn not_started(words: &str, program: &str, container: &str) -> Option<Failure> {
    let known = words.contains(REFUSAL) || words.contains("exec failed");
    let mut reasons = [
        ("executable file not found", 127, format!("container `{container}` has no program `{program}`")),
        ("no such file or directory", 127, format!("container `{container}` has no program `{program}`")),
        ("permission denied", 126, format!("`{program}` in container `{container}` may not be run")),
        ("exec format error", 126, format!("`{program}` in container `{container}` is no program for this machine")),
        ("is a directory", 126, format!("`{program}` in container `{container}` is a directory")),
    ]
    .into_iter();
    let (_, code, message) = reasons.find(|(sign, ..)| known && words.contains(sign))?;
    Some(Failure::Said { message, hint: None, code })
}

/// The container named, or the first essential one.
fn choose<'a>(target: &'a Target, name: Option<&str>) -> Result<&'a TargetContainer, Failure> {
    let task = short(&target.task_id);
    let chosen = match name {
        Some(name) => target::container(target, name)?,
        None => target
            .containers
            .iter()
            .find(|container| container.essential)
            .ok_or_else(|| Failure::failed(format!("task {task} has no container yet")))?,
    };
    match chosen.running {
        true => Ok(chosen),
        false => Err(Failure::failed(format!("container `{}` of task {task} does not run", chosen.name))),
    }
}

#[cfg(test)]
mod tests {
    use ::agent::spec::ids::NetworkMode;

    use super::*;

    fn container(name: &str, essential: bool, running: bool) -> TargetContainer {
        TargetContainer { name: name.to_owned(), docker_name: format!("d-{name}"), essential, running, holder: None }
    }

    fn task() -> Target {
        Target {
            stack: "shop".to_owned(),
            service: "web".to_owned(),
            task_id: "1a2b3c4d5e6f".to_owned(),
            last_status: "RUNNING".to_owned(),
            address: None,
            network_mode: NetworkMode::Awsvpc,
            containers: vec![container("init", false, false), container("app", true, true)],
            holder: None,
        }
    }

    #[test]
    fn the_first_essential_container_is_meant() {
        assert_eq!(choose(&task(), None).unwrap().docker_name, "d-app");
    }

    #[test]
    fn a_container_that_ended_is_no_place_for_a_command() {
        insta::assert_snapshot!(choose(&task(), Some("init")).unwrap_err(), @"container `init` of task 1a2b3c4d does not run");
    }

    #[test]
    fn a_program_that_is_missing_is_told_as_shells_do() {
        let words = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nope\": executable \
                     file not found in $PATH: unknown\r\n";
        let failure = not_started(words, "nope", "app").unwrap();
        assert_eq!(failure.exit_code(), 127);
        insta::assert_snapshot!(failure, @"container `app` has no program `nope`");
        let denied = "OCI runtime exec failed: exec failed: container_linux.go:380: starting container process caused: \
                      exec: \"/etc/passwd\": permission denied: unknown";
        let failure = not_started(denied, "/etc/passwd", "app").unwrap();
        assert_eq!(failure.exit_code(), 126);
        insta::assert_snapshot!(failure, @"`/etc/passwd` in container `app` may not be run");
        assert!(not_started("sh: permission denied", "sh", "app").is_none());
    }

    #[test]
    fn an_unknown_container_is_named_with_those_that_are_there() {
        let failure = choose(&task(), Some("db")).unwrap_err();
        insta::assert_snapshot!(failure, @"task 1a2b3c4d has no container `db`");
        insta::assert_snapshot!(failure.hint().unwrap(), @"it has `init`, `app`");
    }
}
