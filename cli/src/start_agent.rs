//! Finds the agent that a command talks to: the one that answers, or one that is started now from this very binary.
//!
//! Called first by every command that needs an agent. An agent of another build is replaced; the tasks it looks after go
//! on meanwhile and are taken over. Never ends anything but an agent, and that by asking it.

use std::cmp::Ordering;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agent::control::api::Version;
use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::{Client, ClientError};
use crate::commands::Global;
use crate::failure::{FAILED, MACHINE};

/// How often a socket that does not answer yet is tried. A connection to a unix socket costs microseconds.
const RETRY: Duration = Duration::from_millis(20);
/// How long an agent may take until it answers, and until it is gone once it was asked to go.
const START_TIME: Duration = Duration::from_secs(15);
/// What is shown of the log of an agent that did not start.
const LOG_LINES: usize = 20;
/// What is read of the end of that log.
const LOG_BYTES: u64 = 64 * 1024;

/// This binary's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why there is no agent to talk to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The data directory cannot be made or written.
    #[error("cannot write to {}", path.display())]
    Data {
        /// The directory or the log in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This binary cannot be run or read again.
    #[error("cannot start {} as the agent", path.display())]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The agent ended before it answered.
    #[error("the agent did not start ({status}){}", indented(log))]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it logged.
        log: String,
        /// The whole log.
        path: PathBuf,
    },
    /// The agent runs and does not answer.
    #[error("the agent did not answer at {} within {} s{}", socket.display(), START_TIME.as_secs(), indented(log))]
    Silent {
        /// Where it should.
        socket: PathBuf,
        /// The last lines that it logged.
        log: String,
        /// The whole log.
        path: PathBuf,
    },
    /// An agent that was asked to end is still there.
    #[error("the agent of version {version} (process {pid}) does not end")]
    Lingers {
        /// Its version.
        version: String,
        /// Its process.
        pid: u32,
    },
    /// An agent that this binary may be too old for.
    #[error("the agent is newer ({version}) than this ecsnet ({VERSION})")]
    Newer {
        /// Its version.
        version: String,
    },
    /// It was reached and did not answer as agreed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl StartError {
    /// What the process ends with; that of an agent that ended tells what the machine lacks.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Data { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => MACHINE,
            Self::Ended { status, .. } => {
                status.code().and_then(|code| u8::try_from(code).ok()).filter(|&code| code != 0).unwrap_or(FAILED)
            }
            Self::Client(error) => error.exit_code(),
            _ => FAILED,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Data { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run ecsnet as root, for example with sudo: the agent needs it".to_owned())
            }
            Self::Ended { path, .. } | Self::Silent { path, .. } => Some(format!("its log is {}", path.display())),
            Self::Newer { version } => Some(format!("use the ecsnet of version {version}, or end the agent first")),
            Self::Client(error) => error.hint(),
            _ => None,
        }
    }
}

/// The agent, started or replaced where needed.
pub(crate) async fn connect(global: &Global) -> Result<Client, StartError> {
    match running(global).await? {
        Some(client) => Ok(client),
        None => start(global).await,
    }
}

/// The agent, started only if there is state that it would look after; `None` if there cannot be a stack.
pub(crate) async fn connect_to_existing(global: &Global) -> Result<Option<Client>, StartError> {
    match running(global).await? {
        Some(client) => Ok(Some(client)),
        None if global.data_dir.join("state.db").exists() => Ok(Some(start(global).await?)),
        None => Ok(None),
    }
}

/// First 12 hex digits of the SHA-256 of this binary, as [`Version::build`] gives it.
fn own_build() -> io::Result<String> {
    let (mut file, mut hash, mut chunk) = (File::open("/proc/self/exe")?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            length => hash.update(&chunk[..length]),
        }
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a process runs the very file that we run: then there is no need to hash it.
fn runs_our_file(pid: u32) -> bool {
    let identity = |path: String| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let ours = identity("/proc/self/exe".to_owned());
    ours.is_some() && ours == identity(format!("/proc/{pid}/exe"))
}

/// The agent that answers, if it is one that we may talk to; asks one of another build to end.
async fn running(global: &Global) -> Result<Option<Client>, StartError> {
    let client = Client::new(&global.socket);
    let Ok(answer) = timeout(START_TIME, client.get::<Version>("/version", &[])).await else {
        return Err(StartError::Silent {
            socket: global.socket.clone(),
            log: String::new(),
            path: log_path(&global.data_dir),
        });
    };
    let version = match answer {
        Ok(version) => version,
        Err(error) if error.is_no_agent() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match compare(&version.version, VERSION) {
        Ordering::Greater => return Err(StartError::Newer { version: version.version }),
        Ordering::Equal if runs_our_file(version.pid) => return Ok(Some(client)),
        Ordering::Equal => {
            let own =
                own_build().map_err(|source| StartError::Spawn { path: PathBuf::from("/proc/self/exe"), source })?;
            if own == version.build {
                return Ok(Some(client));
            }
        }
        Ordering::Less => {}
    }
    match client.post::<()>("/shutdown", &[], &()).await {
        // It may be gone before it has answered.
        Ok(()) | Err(ClientError::Broken { .. } | ClientError::NoAgent { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let gone = async {
        let mut pace = pace();
        loop {
            pace.tick().await;
            match client.get::<Version>("/version", &[]).await {
                Ok(_) | Err(ClientError::Broken { .. }) => {}
                Err(error) if error.is_no_agent() => return Ok(()),
                Err(error) => return Err(StartError::Client(error)),
            }
        }
    };
    match timeout(START_TIME, gone).await {
        Ok(gone) => gone?,
        Err(_) => return Err(StartError::Lingers { version: version.version, pid: version.pid }),
    }
    // The stacks that it looked after need an agent at once, whatever the command is about, and over the same state.
    let data_dir = PathBuf::from(version.data_dir);
    start(&Global { data_dir, ..global.clone() }).await.map(Some)
}

/// Starts an agent in a session of its own and waits until it answers.
async fn start(global: &Global) -> Result<Client, StartError> {
    let data = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Data { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&global.data_dir).map_err(data(&global.data_dir))?;
    let path = log_path(&global.data_dir);
    let mut log =
        OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path).map_err(data(&path))?;
    let begin = log.seek(SeekFrom::End(0)).map_err(data(&path))?;
    let child = spawn(global, &log).map_err(|source| StartError::Spawn {
        path: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("ecsnet")),
        source,
    })?;
    match timeout(START_TIME, answers(global, child)).await {
        Ok(Ok(Answer::Yes(client))) => Ok(client),
        Ok(Ok(Answer::Ended(status))) => Err(StartError::Ended { status, log: tail(&mut log, begin), path }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Silent { socket: global.socket.clone(), log: tail(&mut log, begin), path }),
    }
}

fn spawn(global: &Global, log: &File) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("agent")
        .arg("--foreground")
        .arg("--socket")
        .arg(std::path::absolute(&global.socket)?)
        .arg("--data-dir")
        .arg(std::path::absolute(&global.data_dir)?)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?);
    // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe. With a session of its own the
    // agent gets no Ctrl-C and no hang-up of this terminal.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(|_| ()).map_err(io::Error::from));
    }
    command.spawn()
}

enum Answer {
    Yes(Client),
    Ended(ExitStatus),
}

/// Tries the socket until it answers or the child has ended. Where two start at once, one ends and the other answers both.
async fn answers(global: &Global, mut child: Child) -> Result<Answer, StartError> {
    let client = Client::new(&global.socket);
    let mut pace = pace();
    loop {
        pace.tick().await;
        let ended =
            child.try_wait().map_err(|source| StartError::Spawn { path: PathBuf::from("the agent"), source })?;
        match client.get::<Version>("/version", &[]).await {
            Ok(_) => return Ok(Answer::Yes(client)),
            Err(error) if error.is_no_agent() => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = ended {
            return Ok(Answer::Ended(status));
        }
    }
}

fn pace() -> tokio::time::Interval {
    let mut pace = interval(RETRY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("agent.log")
}

/// The last lines that were logged from `begin` on; empty if the log cannot be read.
fn tail(log: &mut File, begin: u64) -> String {
    let mut bytes = Vec::new();
    let read = log.seek(SeekFrom::End(0)).and_then(|end| {
        log.seek(SeekFrom::Start(begin.max(end.saturating_sub(LOG_BYTES))))?;
        log.read_to_end(&mut bytes)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn indented(log: &str) -> String {
    if log.is_empty() {
        return String::new();
    }
    log.lines().fold(":".to_owned(), |text, line| text + "\n  " + line)
}

/// Compares versions by their numbers.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> { text.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    numbers(one).cmp(&numbers(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(compare("0.10.0", "0.9.3"), Ordering::Greater);
        assert_eq!(compare("0.1.0", "0.1.0"), Ordering::Equal);
        assert_eq!(compare("0.1.9", "1.0.0"), Ordering::Less);
    }

    #[test]
    fn only_the_end_of_the_log_from_its_begin_is_shown() {
        let mut log = tempfile::tempfile().unwrap();
        let lines: String = (0..40).map(|n| format!("line {n}\n")).collect();
        io::Write::write_all(&mut log, lines.as_bytes()).unwrap();
        assert_eq!(tail(&mut log, 0).lines().count(), LOG_LINES);
        assert_eq!(tail(&mut log, lines.len() as u64 - 16), "line 38\nline 39");
    }

    #[test]
    fn an_agent_that_ended_gives_its_own_code() {
        let status: ExitStatus = std::os::unix::process::ExitStatusExt::from_raw(3 << 8);
        let log = "error: Docker is not running: nothing answers at unix:///var/run/docker.sock".to_owned();
        let error = StartError::Ended { status, log, path: PathBuf::from("/var/lib/ecsnet/agent.log") };
        assert_eq!(error.exit_code(), MACHINE);
        insta::assert_snapshot!(error, @r"
        the agent did not start (exit status: 3):
          error: Docker is not running: nothing answers at unix:///var/run/docker.sock
        ");
    }
}
