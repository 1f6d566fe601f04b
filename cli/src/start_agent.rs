//! Finds the agent that a command talks to: the one that answers, or one that is started now from this very binary.
//!
//! Called first by every command that needs an agent. An agent of another build is replaced; the tasks it looks after go
//! on meanwhile and are taken over. Never ends anything but an agent. How one is started is in `agent_container`.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use agent::control::api::Version;
use agent::runtime::{Docker, RuntimeError};
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::agent_container;
use crate::client::{Client, ClientError};
use crate::commands::Global;
use crate::failure::{FAILED, MACHINE};

/// How often a socket is tried until nobody answers at it. A connection to a unix socket costs microseconds.
const RETRY: Duration = Duration::from_millis(20);
/// How long an agent may take for an answer, and until it is gone once it was asked to go.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// This binary's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why there is no agent to talk to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Docker is not there, or not one that the agent can work with, or does not do what it should.
    #[error(transparent)]
    Docker(#[from] RuntimeError),
    /// This binary cannot be read again.
    #[error("cannot read {} again", path.display())]
    Own {
        /// The binary.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path has no absolute form.
    #[error("cannot tell where {} is", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The agent ended before it answered.
    #[error("the agent did not start (exit code {code}){}", indented(log))]
    Ended {
        /// How it ended.
        code: i64,
        /// The last lines that it logged.
        log: String,
    },
    /// The agent runs and does not answer.
    #[error("the agent does not answer at {}{}", socket.display(), indented(log))]
    Silent {
        /// Where it should.
        socket: PathBuf,
        /// The last lines that it logged.
        log: String,
        /// Its container.
        container: String,
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
            Self::Docker(error) if error.is_requirement() => MACHINE,
            Self::Ended { code, .. } => u8::try_from(*code).ok().filter(|&code| code != 0).unwrap_or(FAILED),
            Self::Client(error) => error.exit_code(),
            _ => FAILED,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Docker(error) => error.remedy(),
            Self::Ended { .. } => Some("`ecsnet doctor` looks at what it needs".to_owned()),
            Self::Silent { container, .. } => Some(format!("its log: docker logs {container}")),
            Self::Newer { version } => {
                Some(format!("use the ecsnet of version {version}, or `ecsnet agent --stop` first"))
            }
            Self::Client(error) => error.hint(),
            _ => None,
        }
    }
}

/// The agent, started or replaced where needed.
pub(crate) async fn connect(global: &Global) -> Result<Client, StartError> {
    Ok(connect_with(global, &[]).await?.0)
}

/// Whether the agent was started by us, and so with what we set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was there and goes on with its own settings.
    Found,
    /// There was none, or one of another build.
    Started,
}

/// As [`connect`]; an agent that is started gets these variables over those of this process.
pub(crate) async fn connect_with(global: &Global, set: &[(&str, String)]) -> Result<(Client, Origin), StartError> {
    match running(global, set).await? {
        Some(found) => Ok(found),
        None => Ok((agent_container::start(global, set, &[]).await?, Origin::Started)),
    }
}

/// The agent, started only if there is state that it would look after; `None` if there cannot be a stack.
pub(crate) async fn connect_to_existing(global: &Global) -> Result<Option<Client>, StartError> {
    match running(global, &[]).await? {
        Some((client, _)) => Ok(Some(client)),
        None if may_have_state(global).await? => Ok(Some(agent_container::start(global, &[], &[]).await?)),
        None => Ok(None),
    }
}

/// Ends the agent and leaves all that it looks after alone; `false` if there is none.
pub(crate) async fn stop(global: &Global) -> Result<bool, StartError> {
    let found = find(global).await?;
    if let Some((client, version)) = &found
        && version.container.is_none()
    {
        end(client, version).await?;
        return Ok(true);
    }
    // Also one that has ended: Docker would start it again.
    let docker = Docker::connect().await?;
    let there = agent_container::exists(&docker, global).await?;
    agent_container::remove(&docker, global).await?;
    Ok(there)
}

/// Whether an agent has been here. Its directory is root's, so for others only its container tells.
async fn may_have_state(global: &Global) -> Result<bool, StartError> {
    if global.data_dir.join("state.db").try_exists().unwrap_or(true) {
        return Ok(true);
    }
    match Docker::connect().await {
        Ok(docker) => agent_container::exists(&docker, global).await,
        Err(error) if error.is_requirement() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The agent that answers, whoever it is: at its socket, or where that cannot be opened from here, through Docker.
pub(crate) async fn find(global: &Global) -> Result<Option<(Client, Version)>, StartError> {
    let client = Client::new(&global.socket);
    let refused = match version(&client, global).await {
        Ok(version) => return Ok(Some((client, version))),
        Err(StartError::Client(error)) if error.is_no_agent() => None,
        Err(StartError::Client(error @ ClientError::Permission { .. })) => Some(error),
        Err(error) => return Err(error),
    };
    let docker = match (Docker::connect().await, refused) {
        (Ok(docker), _) => docker,
        // Whoever may not use Docker may not use the agent, for the same reason and with the same remedy.
        (Err(error @ RuntimeError::Permission { .. }), Some(_)) => return Err(error.into()),
        (Err(_), Some(refused)) => return Err(refused.into()),
        // Starting one will say it.
        (Err(_), None) => return Ok(None),
    };
    let Some(client) = agent_container::running(&docker, global).await? else { return Ok(None) };
    match version(&client, global).await {
        Ok(version) => Ok(Some((client, version))),
        // It has only just started, or is about to end.
        Err(StartError::Client(error)) if error.is_no_agent() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn version(client: &Client, global: &Global) -> Result<Version, StartError> {
    match timeout(ANSWER_TIME, client.get::<Version>("/version", &[])).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StartError::Silent {
            socket: global.socket.clone(),
            log: String::new(),
            container: ::agent::runtime::agent_container::name(&global.data_dir),
        }),
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

/// The agent that answers, if it is one that we may talk to; replaces one of another build, whose settings stay
/// but for those that are set.
async fn running(global: &Global, set: &[(&str, String)]) -> Result<Option<(Client, Origin)>, StartError> {
    let Some((client, version)) = find(global).await? else { return Ok(None) };
    match compare(&version.version, VERSION) {
        Ordering::Greater => return Err(StartError::Newer { version: version.version }),
        Ordering::Equal if runs_our_file(version.pid) => return Ok(Some((client, Origin::Found))),
        Ordering::Equal => {
            let own =
                own_build().map_err(|source| StartError::Own { path: PathBuf::from("/proc/self/exe"), source })?;
            if own == version.build {
                return Ok(Some((client, Origin::Found)));
            }
        }
        Ordering::Less => {}
    }
    // The stacks that it looks after need an agent at once, whatever the command is about, and over the same state.
    let data_dir = PathBuf::from(&version.data_dir);
    let mut kept = Vec::new();
    match &version.container {
        Some(container) => {
            let docker = Docker::connect().await?;
            kept = agent_container::settings_of(&docker, container).await?;
            docker.remove(container).await?;
        }
        None => end(&client, &version).await?,
    }
    let client = agent_container::start(&Global { data_dir, ..global.clone() }, set, &kept).await?;
    Ok(Some((client, Origin::Started)))
}

/// Has an agent that is a process of the host end, and waits until it is gone.
async fn end(client: &Client, version: &Version) -> Result<(), StartError> {
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
    match timeout(ANSWER_TIME, gone).await {
        Ok(gone) => gone,
        Err(_) => Err(StartError::Lingers { version: version.version.clone(), pid: version.pid }),
    }
}

fn pace() -> tokio::time::Interval {
    let mut pace = interval(RETRY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
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
    fn an_agent_that_ended_gives_its_own_code() {
        let log = "error: cannot read the store /var/lib/ecsnet/state.db: file is not a database".to_owned();
        let error = StartError::Ended { code: 1, log };
        assert_eq!(error.exit_code(), FAILED);
        insta::assert_snapshot!(error, @r"
        the agent did not start (exit code 1):
          error: cannot read the store /var/lib/ecsnet/state.db: file is not a database
        ");
        assert_eq!(StartError::Ended { code: 3, log: String::new() }.exit_code(), MACHINE);
        assert_eq!(StartError::Ended { code: 137, log: String::new() }.exit_code(), 137);
    }
}
