//! `ecsnet exec`: a command in a container of a task, over Docker itself: the agent only says which container.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ::agent::control::api::{Target, TargetContainer};
use ::agent::runtime::{Docker, ExecOptions, ExecSession, OutputStream};
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream;
use nix::libc;
use nix::sys::termios::{self, SetArg, Termios};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};

use super::{Global, quoted, target};
use crate::failure::Failure;
use crate::render::{say, short};

/// How often Docker is asked to take the first size.
const RESIZE_RETRY: Duration = Duration::from_millis(10);

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
        let session = Docker::connect().await?.exec(&container.docker_name, self.command, options).await?;
        attend(session, tty).await
    }
}

/// Carries input and output between us and the command until it ends, and gives its exit code.
async fn attend(mut session: ExecSession, tty: bool) -> Result<u8, Failure> {
    let raw = if tty { RawTerminal::enter() } else { None };
    let mut output = std::mem::replace(&mut session.output, stream::empty().boxed());
    let mut input = std::mem::replace(&mut session.input, Box::pin(tokio::io::sink()));
    let stdin = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| Failure::System { what: "use standard input".to_owned(), source })?;
    let mut stdin = tokio::fs::File::from_std(stdin.into());
    tokio::spawn(async move {
        // A command that has ended takes no more input; its end is seen by its output.
        let _ = tokio::io::copy(&mut stdin, &mut input).await;
        let _ = input.shutdown().await;
    });
    let mut resized = signal(SignalKind::window_change())
        .map_err(|source| Failure::System { what: "watch the terminal's size".to_owned(), source })?;
    // Docker refuses a size until the command has started, and tells nobody when that is.
    let (mut unsized_yet, mut pace) = (tty, tokio::time::interval(RESIZE_RETRY));
    loop {
        tokio::select! {
            frame = output.next() => {
                let Some(frame) = frame else { break };
                let frame = frame?;
                match frame.stream {
                    OutputStream::Stdout => write(&mut io::stdout().lock(), &frame.bytes)?,
                    OutputStream::Stderr => write(&mut io::stderr().lock(), &frame.bytes)?,
                }
            }
            _ = pace.tick(), if unsized_yet => unsized_yet = !resize(&session).await,
            _ = resized.recv(), if tty => { resize(&session).await; }
        }
    }
    let code = session.exit_code().await?;
    drop(raw);
    Ok(u8::try_from(code).unwrap_or(crate::failure::FAILED))
}

fn write(output: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    output.write_all(bytes).and_then(|()| output.flush()).map_err(Failure::Output)
}

/// Tells the command our terminal's size; `false` if it was not taken.
async fn resize(session: &ExecSession) -> bool {
    match window_size() {
        Some((rows, columns)) => session.resize(rows, columns).await.is_ok(),
        // A terminal without a size has none to tell.
        None => true,
    }
}

fn window_size() -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is.
    let failed = unsafe { libc::ioctl(io::stdin().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) } != 0;
    (!failed && size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Our terminal in raw mode: the one in the container echoes and edits. Dropping it restores ours.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// `None` if standard input is no terminal.
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// The container named, or the first essential one.
fn choose<'a>(target: &'a Target, name: Option<&str>) -> Result<&'a TargetContainer, Failure> {
    let task = short(&target.task_id);
    let chosen = match name {
        Some(name) => target.containers.iter().find(|container| container.name == name).ok_or_else(|| {
            let names: Vec<&str> = target.containers.iter().map(|container| container.name.as_str()).collect();
            Failure::input(format!("task {task} has no container `{name}`"))
                .with_hint(format!("it has {}", quoted(&names)))
        })?,
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
    use super::*;

    fn container(name: &str, essential: bool, running: bool) -> TargetContainer {
        TargetContainer { name: name.to_owned(), docker_name: format!("d-{name}"), essential, running }
    }

    fn task() -> Target {
        Target {
            stack: "shop".to_owned(),
            service: "web".to_owned(),
            task_id: "1a2b3c4d5e6f".to_owned(),
            last_status: "RUNNING".to_owned(),
            address: None,
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
    fn an_unknown_container_is_named_with_those_that_are_there() {
        let failure = choose(&task(), Some("db")).unwrap_err();
        insta::assert_snapshot!(failure, @"task 1a2b3c4d has no container `db`");
        insta::assert_snapshot!(failure.hint().unwrap(), @"it has `init`, `app`");
    }
}
