//! An agent of the bench's own: the real binary, with its own socket, data directory, and so its own mark in Docker.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Outcome;

/// Longer means broken, never slow.
const BROKEN_AFTER: Duration = Duration::from_secs(60);

/// A running agent; dropping it takes its stack down and ends it.
pub struct Agent {
    binary: PathBuf,
    socket: PathBuf,
    data: tempfile::TempDir,
    process: Child,
    stack: Option<String>,
}

impl Agent {
    /// Starts `ECSNET_BIN` and waits until it answers.
    ///
    /// # Errors
    /// When the variable is not set, or the agent ends or stays silent.
    pub fn start() -> Outcome<Self> {
        let binary = std::env::var_os("ECSNET_BIN").ok_or("ECSNET_BIN is not set: run this by `make bench`")?;
        let binary = std::fs::canonicalize(&binary).map_err(|error| format!("{}: {error}", binary.display()))?;
        let data = tempfile::Builder::new().prefix("ecsnet-bench-").tempdir()?;
        let socket = data.path().join("agent.sock");
        let log = std::fs::File::create(data.path().join("agent.log"))?;
        let process = Command::new(&binary)
            .args(["agent", "--foreground"])
            .env("ECSNET_SOCKET", &socket)
            .env("ECSNET_DATA_DIR", data.path())
            // A task without a health check need not be waited for as long as users do.
            .env("ECSNET_HEALTHY_AFTER", "1")
            // Ctrl-C is for the bench, which still needs its agent to take the stack down.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut agent = Self { binary, socket, data, process, stack: None };
        let begin = Instant::now();
        while UnixStream::connect(&agent.socket).is_err() {
            let ended = agent.process.try_wait()?;
            if ended.is_some() || begin.elapsed() > BROKEN_AFTER {
                let log = std::fs::read_to_string(agent.data.path().join("agent.log"))?;
                return Err(format!("the agent does not answer ({ended:?}):\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(agent)
    }

    /// Its directory, for files that it should see.
    pub fn directory(&self) -> &Path {
        self.data.path()
    }

    /// Starts a stack, and takes it down when this value goes.
    ///
    /// # Errors
    /// When `ecsnet up` fails, with what it said.
    pub fn up(&mut self, name: &str, file: &Path) -> Outcome<()> {
        self.stack = Some(name.to_owned());
        self.command(&["up", &file.display().to_string()])
    }

    /// Runs a command of the binary against this agent.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn command(&self, arguments: &[&str]) -> Outcome<()> {
        self.output(arguments).map(drop)
    }

    /// The tasks, as `ecsnet ps` shows them.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn tasks(&self) -> Outcome<Vec<Value>> {
        let shown: Value = serde_json::from_slice(&self.output(&["ps", "--output", "json"])?)?;
        Ok(shown["tasks"].as_array().cloned().unwrap_or_default())
    }

    fn output(&self, arguments: &[&str]) -> Outcome<Vec<u8>> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .env("ECSNET_SOCKET", &self.socket)
            .env("ECSNET_DATA_DIR", self.data.path())
            .output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(format!("ecsnet {} failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Follows where the stack stands.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn progress(&self, stack: &str) -> Outcome<Progress> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(BROKEN_AFTER))?;
        // Version 1.0: the answer is not cut into chunks, and ends with the connection.
        write!(stream, "GET /progress?stack={stack} HTTP/1.0\r\nHost: agent\r\n\r\n")?;
        let mut lines = BufReader::new(stream);
        let mut status = String::new();
        lines.read_line(&mut status)?;
        let mut header = status.clone();
        while header.trim() != "" {
            header.clear();
            lines.read_line(&mut header)?;
        }
        if status.split(' ').nth(1) != Some("200") {
            return Err(format!("GET /progress: {}", status.trim()).into());
        }
        Ok(Progress { lines })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(stack) = self.stack.take()
            && let Err(error) = self.command(&["down", &stack])
        {
            eprintln!("could not clean up: {error}");
        }
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// The stream of `GET /progress`.
pub struct Progress {
    lines: BufReader<UnixStream>,
}

impl Progress {
    /// Reads on until what is said is as `wanted`.
    ///
    /// # Errors
    /// When the stream ends or says nothing for a minute.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
        let mut last = Value::Null;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(format!("the agent ended the stream; last it said: {last}").into());
            }
            last = serde_json::from_str(&line)?;
            if wanted(&last) {
                return Ok(last);
            }
        }
    }
}
