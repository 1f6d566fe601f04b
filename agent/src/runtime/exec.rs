//! A command inside a running container: `ecsnet exec`, with or without a terminal.
//!
//! A session is the same for a command that is a container of its own (`helper_container`).

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as BollardError;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::{KillContainerOptions, ResizeContainerTTYOptions};
use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tokio::io::AsyncWrite;
use tokio::task::JoinHandle;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::lifecycle::within;
use super::spec::OutputStream;

/// Docker has no event for the end of an exec, so its state is asked for at this pace once its output has ended.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// How a command runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// With a terminal: one output, escape sequences, sizes.
    pub tty: bool,
    /// Standard input is brought along.
    pub stdin: bool,
    /// `user`, `uid` or `uid:gid`; `None` for the container's.
    pub user: Option<String>,
    /// Environment on top of the container's.
    pub environment: Vec<(String, String)>,
    /// Working directory; `None` for the container's.
    pub working_directory: Option<String>,
}

/// Bytes that the command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Which output; with a terminal always standard output.
    pub stream: OutputStream,
    /// As they came.
    pub bytes: Bytes,
}

/// A command that runs. Dropping it leaves the command alone.
pub struct ExecSession {
    /// What it prints, until it closes its outputs.
    pub output: BoxStream<'static, Result<ExecOutput, RuntimeError>>,
    /// Its standard input; shutting it down gives end of file. Goes nowhere unless `stdin` was asked for.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    pub(super) docker: Docker,
    pub(super) process: Process,
}

/// What a session is attached to.
pub(super) enum Process {
    /// A command in a container that is there without it: Docker's id of it.
    Exec(String),
    /// A container that is the command: its name, and what waits for its end.
    Container(String, JoinHandle<Result<i64, RuntimeError>>),
}

impl Docker {
    /// Runs `command` in a container. A command that is not in the container ends with 126 or 127 and says so in its
    /// output; a container that does not run is an error.
    pub async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        options: ExecOptions,
    ) -> Result<ExecSession, RuntimeError> {
        let what = format!("run a command in container {container}");
        let config = ExecConfig {
            attach_stdin: Some(options.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(options.tty),
            env: Some(options.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(command),
            user: options.user,
            working_dir: options.working_directory,
            ..Default::default()
        };
        let created = within(ANSWER_TIME, self.client.create_exec(container, config))
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge(&what, error))?;
        let start = StartExecOptions { detach: false, tty: options.tty, output_capacity: None };
        let started = within(ANSWER_TIME, self.client.start_exec(&created.id, Some(start)))
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge(&what, error))?;
        let StartExecResults::Attached { output, input } = started else {
            return Err(RuntimeError::Unexpected { what, detail: "the command runs detached".to_owned() });
        };
        Ok(ExecSession {
            output: frames(what, output),
            input,
            docker: self.clone(),
            process: Process::Exec(created.id),
        })
    }
}

/// What a command prints, in our words.
pub(super) fn frames(
    what: String,
    output: impl Stream<Item = Result<LogOutput, BollardError>> + Send + 'static,
) -> BoxStream<'static, Result<ExecOutput, RuntimeError>> {
    output
        .map(move |frame| match frame {
            Ok(LogOutput::StdErr { message }) => Ok(ExecOutput { stream: OutputStream::Stderr, bytes: message }),
            Ok(frame) => Ok(ExecOutput { stream: OutputStream::Stdout, bytes: frame.into_bytes() }),
            Err(error) => Err(RuntimeError::judge(&what, error)),
        })
        .boxed()
}

impl ExecSession {
    /// Tells the command its terminal's size.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), RuntimeError> {
        let client = &self.docker.client;
        let answer = match &self.process {
            Process::Exec(id) => {
                let size = ResizeExecOptions { height: rows, width: columns };
                within(ANSWER_TIME, client.resize_exec(id, size)).await
            }
            Process::Container(name, _) => {
                let size = ResizeContainerTTYOptions { h: rows.into(), w: columns.into() };
                within(ANSWER_TIME, client.resize_container_tty(name, size)).await
            }
        };
        answer
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge("resize a terminal", error))
    }

    /// Whether [`ExecSession::signal`] reaches the command.
    pub fn takes_signals(&self) -> bool {
        matches!(self.process, Process::Container(..))
    }

    /// Sends the command a signal, as `SIGINT`; `false` where Docker has no way to: a command in a container that is
    /// there without it.
    pub async fn signal(&self, signal: &str) -> Result<bool, RuntimeError> {
        let Process::Container(name, _) = &self.process else { return Ok(false) };
        let options = KillContainerOptions { signal: signal.to_owned() };
        within(ANSWER_TIME, self.docker.client.kill_container(name, Some(options)))
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge(format!("send {signal} to container {name}"), error))?;
        Ok(true)
    }

    /// Waits for the command's end and gives its exit code. Read the output to its end first: a command that nobody
    /// reads from may never end.
    pub async fn exit_code(self) -> Result<i64, RuntimeError> {
        let what = "ask for the end of a command";
        let id = match self.process {
            Process::Exec(id) => id,
            Process::Container(_, exit) => {
                return exit.await.unwrap_or_else(|error| {
                    Err(RuntimeError::Unexpected { what: what.to_owned(), detail: error.to_string() })
                });
            }
        };
        let mut pace = tokio::time::interval(EXIT_POLL);
        loop {
            pace.tick().await;
            let seen = within(ANSWER_TIME, self.docker.client.inspect_exec(&id))
                .await
                .unwrap_or(Err(BollardError::RequestTimeoutError))
                .map_err(|error| RuntimeError::judge(what, error))?;
            if seen.running != Some(true)
                && let Some(code) = seen.exit_code
            {
                return Ok(code);
            }
        }
    }
}
