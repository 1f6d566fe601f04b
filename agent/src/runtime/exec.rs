//! A command inside a running container: `ecsnet exec`, with or without a terminal.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as BollardError;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::io::AsyncWrite;

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
    docker: Docker,
    id: String,
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
        let output = output
            .map(move |frame| match frame {
                Ok(LogOutput::StdErr { message }) => Ok(ExecOutput { stream: OutputStream::Stderr, bytes: message }),
                Ok(frame) => Ok(ExecOutput { stream: OutputStream::Stdout, bytes: frame.into_bytes() }),
                Err(error) => Err(RuntimeError::judge(&what, error)),
            })
            .boxed();
        Ok(ExecSession { output, input, docker: self.clone(), id: created.id })
    }
}

impl ExecSession {
    /// Tells the command its terminal's size.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), RuntimeError> {
        let size = ResizeExecOptions { height: rows, width: columns };
        within(ANSWER_TIME, self.docker.client.resize_exec(&self.id, size))
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge("resize a terminal", error))
    }

    /// Waits for the command's end and gives its exit code. Read the output to its end first: a command that nobody
    /// reads from may never end.
    pub async fn exit_code(&self) -> Result<i64, RuntimeError> {
        let what = "ask for the end of a command";
        let mut pace = tokio::time::interval(EXIT_POLL);
        loop {
            pace.tick().await;
            let seen = within(ANSWER_TIME, self.docker.client.inspect_exec(&self.id))
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
