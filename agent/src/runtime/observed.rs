//! What Docker says a container is, in our types. The raw material of `observe`.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::labels;
use super::lifecycle::within;
use super::spec::ContainerId;

/// How many containers are looked at side by side in a listing: the daemon answers one inspect in a few ms.
const INSPECT_CONCURRENCY: usize = 8;

/// One container as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Docker's id; a container that was made anew has another.
    pub id: ContainerId,
    /// Name without Docker's leading slash.
    pub name: String,
    /// The reference that it was made from.
    pub image: String,
    /// Docker's id of the image, `sha256:…`. The registry's digest is [`Docker::image_digest`].
    pub image_id: String,
    /// All labels, ours and the user's.
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// `None` without a health check (ECS: UNKNOWN).
    pub health: Option<Health>,
    /// What the last health check printed.
    pub last_health_output: Option<String>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When it was last started. With `id`, the identity of the namespace that it holds (pitfall 10).
    pub started_at: Option<Timestamp>,
    /// When it last stopped. Docker 20.10 notes the start of a process that ends at once *after* its end: do not
    /// tell runs apart by which of the two is later.
    pub finished_at: Option<Timestamp>,
    /// Docker's file behind `/etc/hosts`, on the machine that Docker runs on.
    pub hosts_path: Option<String>,
    /// Docker's file behind `/etc/resolv.conf`.
    pub resolv_conf_path: Option<String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running; frozen processes (`docker pause`) count, as they keep their namespace.
    Running {
        /// Process 1 of the container, in the host's numbers.
        pid: i32,
    },
    /// Stopped, or a start that failed.
    Exited {
        /// The code (reference 2.9).
        exit_code: i64,
        /// The kernel killed it for memory.
        oom_killed: bool,
        /// Docker's words when the start failed; else empty.
        error: String,
    },
    /// Docker starts it again by itself. No container of ours does that; somebody changed it.
    Restarting,
    /// On its way out.
    Removing,
    /// Docker failed to remove it; only a removal helps.
    Dead {
        /// Docker's words.
        error: String,
    },
}

impl ContainerState {
    /// Process 1, if the container runs.
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Running { pid } => Some(*pid),
            _ => None,
        }
    }
}

/// What the health check says (reference 2.3; ECS shows `Starting` as UNKNOWN).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// No verdict yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks in a row failed as may.
    Unhealthy,
}

impl Health {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "starting" => Some(Self::Starting),
            "healthy" => Some(Self::Healthy),
            "unhealthy" => Some(Self::Unhealthy),
            _ => None,
        }
    }
}

impl Docker {
    /// All containers, running or not, whose label `ecsnet.owner` is `owner`. One that goes away meanwhile is
    /// left out.
    pub async fn list_owned(&self, owner: &str) -> Result<Vec<ObservedContainer>, RuntimeError> {
        let what = format!("list the containers of {owner}");
        let filters = HashMap::from([("label".to_owned(), vec![format!("{}={owner}", labels::OWNER)])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let summaries = within(ANSWER_TIME, self.client.list_containers(Some(options)))
            .await
            .unwrap_or(Err(bollard::errors::Error::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge(what, error))?;
        let ids: Vec<String> = summaries.into_iter().filter_map(|summary| summary.id).collect();
        let observed: Vec<Option<ObservedContainer>> = stream::iter(ids)
            .map(|id| async move { self.inspect(&id).await })
            .buffered(INSPECT_CONCURRENCY)
            .try_collect()
            .await?;
        Ok(observed.into_iter().flatten().collect())
    }

    /// One container by name or id; `None` if there is none.
    pub async fn inspect(&self, container: &str) -> Result<Option<ObservedContainer>, RuntimeError> {
        let what = format!("inspect container {container}");
        let answer = within(ANSWER_TIME, self.client.inspect_container(container, None::<InspectContainerOptions>))
            .await
            .unwrap_or(Err(bollard::errors::Error::RequestTimeoutError));
        match answer {
            Ok(answer) => observe(&what, answer).map(Some),
            Err(error) => match RuntimeError::judge(what, error) {
                error if error.is_absent() => Ok(None),
                error => Err(error),
            },
        }
    }
}

fn observe(what: &str, answer: ContainerInspectResponse) -> Result<ObservedContainer, RuntimeError> {
    let missing = |field: &str| RuntimeError::Unexpected { what: what.to_owned(), detail: format!("no {field}") };
    let state = answer.state.ok_or_else(|| missing("State"))?;
    let config = answer.config.ok_or_else(|| missing("Config"))?;
    let error = state.error.clone().unwrap_or_default();
    let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let exited = || ContainerState::Exited {
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        error: error.clone(),
    };
    use ContainerStateStatusEnum as Status;
    let seen = match state.status.ok_or_else(|| missing("State.Status"))? {
        // A start that failed leaves "created" with an exit code and words; ECS counts it as stopped.
        Status::CREATED if !error.is_empty() => exited(),
        Status::CREATED => ContainerState::Created,
        Status::RUNNING | Status::PAUSED | Status::STOPPING => {
            ContainerState::Running { pid: pid.ok_or_else(|| missing("State.Pid"))? }
        }
        Status::EXITED => exited(),
        Status::RESTARTING => ContainerState::Restarting,
        Status::REMOVING => ContainerState::Removing,
        Status::DEAD => ContainerState::Dead { error: error.clone() },
        Status::EMPTY => return Err(missing("State.Status")),
    };
    let health = state.health.as_ref().and_then(|health| health.status).and_then(|status| match status {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
    });
    let last_check = state.health.and_then(|health| health.log).and_then(|mut log| log.pop());
    Ok(ObservedContainer {
        id: ContainerId(answer.id.ok_or_else(|| missing("Id"))?),
        name: answer.name.map(|name| name.trim_start_matches('/').to_owned()).ok_or_else(|| missing("Name"))?,
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        state: seen,
        health,
        last_health_output: last_check.and_then(|check| check.output),
        created_at: answer.created.as_deref().and_then(parse_time),
        started_at: state.started_at.as_deref().and_then(parse_time),
        finished_at: state.finished_at.as_deref().and_then(parse_time),
        hosts_path: answer.hosts_path.filter(|path| !path.is_empty()),
        resolv_conf_path: answer.resolv_conf_path.filter(|path| !path.is_empty()),
    })
}

/// Docker's time; its zero (`0001-01-01T00:00:00Z`) means "never".
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_zero_time_is_never() {
        assert_eq!(parse_time("0001-01-01T00:00:00Z"), None);
        assert!(parse_time("2026-11-24T17:20:28.123456789Z").is_some());
        assert_eq!(parse_time(""), None);
    }

    #[test]
    fn a_start_that_failed_is_an_exit() {
        let answer: ContainerInspectResponse = serde_json::from_str(
            r#"{"Id": "c1", "Name": "/a", "Image": "sha256:00", "Config": {"Image": "i:1", "Labels": {"x": "y"}},
                "State": {"Status": "created", "ExitCode": 127, "Error": "exec: \"nope\": not found", "Pid": 0}}"#,
        )
        .unwrap();
        let seen = observe("inspect", answer).unwrap();
        assert_eq!(seen.name, "a");
        assert!(matches!(seen.state, ContainerState::Exited { exit_code: 127, .. }));
    }

    #[test]
    fn an_answer_without_state_is_an_error() {
        assert!(observe("inspect", ContainerInspectResponse::default()).is_err());
    }
}
