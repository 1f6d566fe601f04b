//! What Docker refused, and the one place where its answers are judged.
//!
//! An answer is judged by its HTTP status, never by its words; the words are kept, as ECS shows them to the user
//! (reference 2.10). "Docker is away" is a kind of its own, so that the caller waits instead of failing a task.

use std::time::Duration;

use bollard::errors::Error as BollardError;

use crate::secret::SecretValue;

/// ECS cuts a reason to this many characters (reference 2.10).
const REASON_CHARACTERS: usize = 1024;

/// What a cause may be: kept for the error chain, never looked into.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A request to Docker that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nothing listens where Docker should. A matter of the machine, see [`RuntimeError::is_requirement`].
    #[error("Docker is not running: nothing answers at {address}")]
    NotRunning {
        /// Where it was looked for.
        address: String,
        /// What came instead of an answer.
        #[source]
        source: Cause,
    },
    /// Docker's socket may not be used by this user.
    #[error("no permission to use Docker at {address}")]
    Permission {
        /// The socket.
        address: String,
    },
    /// Docker speaks an API older than what ecsnet needs.
    #[error("Docker {version} at {address} is too old: it speaks API {api}, ecsnet needs {minimum}")]
    TooOld {
        /// Where it answered.
        address: String,
        /// The engine's version.
        version: String,
        /// The API version that it offers.
        api: String,
        /// The least API version.
        minimum: String,
    },
    /// Docker runs without root, and so cannot give the agent what it needs.
    #[error(
        "Docker at {address} is rootless: ecsnet needs network namespaces that only an engine run by root can give it"
    )]
    Rootless {
        /// Where it answered.
        address: String,
    },
    /// Docker maps root in containers to another user.
    #[error("Docker at {address} remaps users (userns-remap): ecsnet cannot enter the namespaces of its containers")]
    Remapped {
        /// Where it answered.
        address: String,
    },
    /// `DOCKER_HOST` names a way to Docker that ecsnet does not go.
    #[error("DOCKER_HOST `{address}` is not supported: use unix:// or tcp://")]
    Address {
        /// The value of `DOCKER_HOST`.
        address: String,
    },
    /// Docker was there and is away. Wait, connect anew, look again: nothing is known of what was asked.
    #[error("cannot {what}: Docker does not answer")]
    Unreachable {
        /// What was tried, with what.
        what: String,
        /// What came instead of an answer.
        #[source]
        source: Cause,
    },
    /// What was asked for is not there.
    #[error("cannot {what}: {message}")]
    Absent {
        /// What was tried, with what.
        what: String,
        /// Docker's words.
        message: String,
    },
    /// What was asked for collides with what is there.
    #[error("cannot {what}: {message}")]
    Conflict {
        /// What was tried, with what.
        what: String,
        /// Docker's words.
        message: String,
    },
    /// A container could not be created.
    #[error("cannot create container {container}: {message}")]
    CannotCreate {
        /// The container's name.
        container: String,
        /// Docker's words.
        message: String,
    },
    /// A container was created and could not be started.
    #[error("cannot start container {container}: {message}")]
    CannotStart {
        /// The container's name.
        container: String,
        /// Docker's words, for example that the command is not in the image.
        message: String,
    },
    /// The name belongs to a container that another owner, or no ecsnet at all, has made; it is left alone.
    #[error("cannot create container {container}: the name is taken by a container that is not ours ({id})")]
    NameTaken {
        /// The name.
        container: String,
        /// The container that has it.
        id: String,
    },
    /// Docker took longer than ECS's agent waits (reference 2.7).
    #[error("container {container} could not transition to {state} within {}", go_duration(*.waited))]
    Timeout {
        /// The container's name.
        container: String,
        /// The state that was not reached: `created`, `started` or `stopped`.
        state: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// Docker refused for another reason.
    #[error("cannot {what}: {message}")]
    Refused {
        /// What was tried, with what.
        what: String,
        /// Docker's words.
        message: String,
    },
    /// Docker answered what it should not.
    #[error("unexpected answer from Docker to {what}: {detail}")]
    Unexpected {
        /// What was tried.
        what: String,
        /// What is wrong.
        detail: String,
    },
    /// A file of this machine could not be read, written or removed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The binary cannot run on an empty image.
    #[error("{path} cannot run in an empty image: {detail}")]
    NotStatic {
        /// The binary.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl RuntimeError {
    /// The container's `reason` in ECS's words, `<ErrorName>: <message>`, where ECS has a name for this error
    /// (reference 2.10). Docker's words carry the prefix that its Go client gives them, as users of ECS see it.
    pub fn ecs_reason(&self) -> Option<String> {
        self.ecs_reason_without(&[])
    }

    /// As [`RuntimeError::ecs_reason`], with `…` for every secret value that Docker's words quote: reasons are stored,
    /// shown and logged.
    pub fn ecs_reason_without(&self, secrets: &[(String, SecretValue)]) -> Option<String> {
        let reason = match self {
            Self::CannotCreate { message, .. } => {
                format!("CannotCreateContainerError: Error response from daemon: {}", hide(message, secrets))
            }
            Self::NameTaken { .. } => format!("CannotCreateContainerError: {self}"),
            Self::CannotStart { message, .. } => {
                format!("CannotStartContainerError: Error response from daemon: {}", hide(message, secrets))
            }
            Self::Timeout { state, waited, .. } => format!(
                "DockerTimeoutError: Could not transition to {state}; timed out after waiting {}",
                go_duration(*waited)
            ),
            _ => return None,
        };
        Some(reason.chars().take(REASON_CHARACTERS).collect())
    }

    /// Whether this machine lacks something that the user must provide (exit code 3).
    pub fn is_requirement(&self) -> bool {
        self.remedy().is_some()
    }

    /// What the user can do where this machine lacks something.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotRunning { .. } => {
                "start Docker, for example with `systemctl start docker`, or set DOCKER_HOST to where it is".to_owned()
            }
            Self::Permission { .. } => {
                "join the group that owns the socket, for example with `sudo usermod -aG docker $USER` and a new login, \
                 or use sudo"
                    .to_owned()
            }
            Self::TooOld { .. } => "install Docker 20.10 or newer".to_owned(),
            Self::Address { .. } => "set DOCKER_HOST to unix://PATH or tcp://HOST:PORT, or unset it".to_owned(),
            Self::Rootless { .. } => {
                "use an engine that root runs: `docker context use default`, or DOCKER_HOST=unix:///var/run/docker.sock"
                    .to_owned()
            }
            Self::Remapped { .. } => {
                "take `userns-remap` out of /etc/docker/daemon.json and restart Docker".to_owned()
            }
            _ => return None,
        })
    }

    /// Whether Docker is away, so that the caller should connect anew and look again.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotRunning { .. })
    }

    /// Whether the thing that was asked for is not there: removal counts that as done.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// Judges what bollard brought back from trying `what`.
    pub(super) fn judge(what: impl Into<String>, error: BollardError) -> Self {
        let what = what.into();
        match error {
            BollardError::DockerResponseServerError { status_code, message } => match status_code {
                404 => Self::Absent { what, message },
                409 => Self::Conflict { what, message },
                502..=504 => Self::Unreachable { what, source: message.into() },
                _ => Self::Refused { what, message },
            },
            BollardError::DockerStreamError { error } | BollardError::DockerContainerWaitError { error, .. } => {
                Self::Refused { what, message: error }
            }
            away @ (BollardError::HyperResponseError { .. }
            | BollardError::HyperLegacyError { .. }
            | BollardError::IOError { .. }
            | BollardError::RequestTimeoutError
            | BollardError::SocketNotFoundError(_)) => Self::Unreachable { what, source: Box::new(away) },
            other => Self::Unexpected { what, detail: other.to_string() },
        }
    }

    /// Docker's own words where it said something, for errors that are told again under a name of ECS's.
    pub(super) fn into_words(self) -> Result<String, Self> {
        match self {
            Self::Absent { message, .. } | Self::Conflict { message, .. } | Self::Refused { message, .. } => {
                Ok(message)
            }
            other => Err(other),
        }
    }
}

/// An image that did not come.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Docker or the registry said no.
    #[error("{message}")]
    Refused {
        /// Their own words; after `CannotPullContainerError: ` they are what ECS shows.
        message: String,
    },
    /// Nothing moved for as long as ECS's agent waits (1 min, reference 2.7).
    #[error("inactivity time exceeded timeout while pulling image")]
    Inactive {
        /// How long nothing moved.
        waited: Duration,
    },
    /// Docker is away; the caller waits and tries again.
    #[error("Docker does not answer")]
    Unreachable {
        /// What came instead of an answer.
        #[source]
        source: Cause,
    },
}

impl PullError {
    /// Whether the registry wants to know who asks. It has no status of its own by the time Docker tells it, so it is known
    /// by its words.
    pub fn is_about_access(&self) -> bool {
        let words = ["denied", "unauthorized", "no basic auth credentials", "authentication required"];
        matches!(self, Self::Refused { message } if words.iter().any(|word| message.contains(word)))
    }

    /// Judges what bollard brought back from a pull.
    pub(super) fn judge(error: BollardError) -> Self {
        let from_stream = matches!(error, BollardError::DockerStreamError { .. });
        match RuntimeError::judge("pull", error) {
            RuntimeError::Unreachable { source, .. } => Self::Unreachable { source },
            other => match other.into_words() {
                Ok(message) if from_stream => Self::Refused { message },
                Ok(message) => Self::Refused { message: format!("Error response from daemon: {message}") },
                Err(other) => Self::Refused { message: other.to_string() },
            },
        }
    }
}

/// A duration as Go prints it, in whole seconds: `4m0s`. ECS's texts have it so.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

/// Before the words are cut to their length, after which a part of a value would not be known for one.
fn hide(words: &str, secrets: &[(String, SecretValue)]) -> String {
    // As it is, and as Go and JSON quote it.
    let forms = secrets.iter().flat_map(|(_, value)| {
        let quoted = serde_json::to_string(value.reveal()).unwrap_or_default();
        [value.reveal().to_owned(), quoted.trim_matches('"').to_owned()]
    });
    let mut forms: Vec<String> = forms.filter(|form| !form.is_empty()).collect();
    // One may be a part of another.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.iter().fold(words.to_owned(), |words, form| words.replace(form.as_str(), "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16) -> RuntimeError {
        RuntimeError::judge(
            "start container a",
            BollardError::DockerResponseServerError { status_code, message: "words".to_owned() },
        )
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        assert!(answer(404).is_absent());
        assert!(matches!(answer(409), RuntimeError::Conflict { .. }));
        assert!(answer(503).is_unreachable());
        assert_eq!(answer(500).to_string(), "cannot start container a: words");
    }

    #[test]
    fn docker_away_is_no_failure_of_the_task() {
        let gone = RuntimeError::judge("list", BollardError::RequestTimeoutError);
        assert!(gone.is_unreachable());
        assert_eq!(gone.ecs_reason(), None);
    }

    #[test]
    fn reasons_are_ecs_s() {
        let timeout =
            RuntimeError::Timeout { container: "a".to_owned(), state: "created", waited: Duration::from_secs(240) };
        assert_eq!(
            timeout.ecs_reason().as_deref(),
            Some("DockerTimeoutError: Could not transition to created; timed out after waiting 4m0s")
        );
        let start = RuntimeError::CannotStart { container: "a".to_owned(), message: "x".repeat(2000) };
        assert_eq!(start.ecs_reason().map(|r| r.chars().count()), Some(1024));
    }

    #[test]
    fn a_reason_quotes_no_secret() {
        let long = "hunter2".repeat(300);
        let secrets = [("A", "se\"cret"), ("B", "se"), ("C", ""), ("D", long.as_str())];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), SecretValue::new(value)));
        let message = format!("invalid variable: =se\"cret, \"=se\\\"cret\", =se, ={long}");
        let error = RuntimeError::CannotCreate { container: "a".to_owned(), message };
        let reason = error.ecs_reason_without(&secrets).unwrap();
        assert!(reason.ends_with("daemon: invalid variable: =…, \"=…\", =…, =…"), "{reason}");
    }
}
