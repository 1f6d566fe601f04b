//! Create, start, stop, wait, remove: each may be repeated, and what is done already counts as done.
//!
//! Called by `apply`, one verb for each step of the plan.

use std::future::Future;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptions, StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::create::create_body;
use super::labels;
use super::observed::ContainerState;
use super::spec::{ContainerId, ContainerSpec};
use crate::secret::SecretValue;

/// ECS's agent waits this long for a create (reference 2.7).
const CREATE_TIME: Duration = Duration::from_secs(4 * 60);
/// ECS's agent waits this long for a start (reference 2.7).
const START_TIME: Duration = Duration::from_secs(3 * 60);
/// After SIGKILL Docker still has to reap the process and to unmount; ECS's agent grants the same 30 s over its grace.
const AFTER_KILL_TIME: Duration = Duration::from_secs(30);
/// A name that is in use again after so many removals is being fought over.
const CREATE_ATTEMPTS: u32 = 4;

impl Docker {
    /// Makes the container, or adopts the one that has the name, this owner and the same spec; one of ours with
    /// another spec is removed first. It is not started, and an adopted one may be in any state but "going away".
    ///
    /// A container of that name which this owner did not make is left alone: [`RuntimeError::NameTaken`].
    pub async fn ensure_created(&self, spec: &ContainerSpec) -> Result<ContainerId, RuntimeError> {
        self.ensure_created_with(spec, &[]).await
    }

    /// The same, with the values of the variables that the spec names as secrets.
    pub async fn ensure_created_with(
        &self,
        spec: &ContainerSpec,
        secrets: &[(String, SecretValue)],
    ) -> Result<ContainerId, RuntimeError> {
        self.ensure_created_as(spec, create_body(spec, secrets)).await
    }

    /// As [`Docker::ensure_created`], with a body that says more than the spec can.
    pub(super) async fn ensure_created_as(
        &self,
        spec: &ContainerSpec,
        body: ContainerCreateBody,
    ) -> Result<ContainerId, RuntimeError> {
        let what = format!("create container {}", spec.name);
        let mut last_words = String::new();
        for _ in 0..CREATE_ATTEMPTS {
            let options = CreateContainerOptions { name: Some(spec.name.clone()), platform: String::new() };
            let created = self.client.create_container(Some(options), body.clone());
            let error = match within(CREATE_TIME, created).await {
                None => return Err(timed_out(&spec.name, "created", CREATE_TIME)),
                Some(Ok(answer)) => return Ok(ContainerId(answer.id)),
                Some(Err(error)) => RuntimeError::judge(&what, error),
            };
            // A conflict is either the name or, with other words, options that exclude each other; only the
            // container's being there tells them apart.
            last_words = match error {
                RuntimeError::Conflict { message, .. } => message,
                other => return Err(cannot_create(spec, other)),
            };
            let Some(present) = self.inspect(&spec.name).await? else { continue };
            if present.labels.get(labels::OWNER) != spec.labels.get(labels::OWNER) {
                return Err(RuntimeError::NameTaken { container: spec.name.clone(), id: present.id.0 });
            }
            let going = matches!(present.state, ContainerState::Removing | ContainerState::Dead { .. });
            if !going && present.labels.get(labels::SPEC) == Some(&spec.hash()) {
                return Ok(present.id);
            }
            tracing::info!(container = %spec.name, id = %present.id, "replacing a container whose spec differs");
            self.remove(present.id.as_ref()).await?;
        }
        Err(RuntimeError::CannotCreate { container: spec.name.clone(), message: last_words })
    }

    /// Starts the container; one that runs already is fine.
    pub async fn start(&self, container: &str) -> Result<(), RuntimeError> {
        let started = self.client.start_container(container, None::<StartContainerOptions>);
        let error = match within(START_TIME, started).await {
            None => return Err(timed_out(container, "started", START_TIME)),
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => RuntimeError::judge(format!("start container {container}"), error),
        };
        // "Not found" may be the container itself or the one whose namespace it joins: only the former is absence.
        if error.is_absent() && self.inspect(container).await?.is_none() {
            return Err(error);
        }
        Err(match error.into_words() {
            Ok(message) => RuntimeError::CannotStart { container: container.to_owned(), message },
            Err(other) => other,
        })
    }

    /// Sends the stop signal, after `grace` SIGKILL, and returns when the container has stopped. One that has
    /// stopped, was never started or is not there is fine.
    pub async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptions { signal: None, t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)) };
        let limit = Duration::from_secs(seconds) + AFTER_KILL_TIME;
        match within(limit, self.client.stop_container(container, Some(options))).await {
            None => Err(timed_out(container, "stopped", limit)),
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => absent_is_fine(RuntimeError::judge(format!("stop container {container}"), error)),
        }
    }

    /// Kills and removes the container with its anonymous volumes and returns when it is gone. Absent is fine; a
    /// removal that is going on already is waited for.
    pub async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        let what = format!("remove container {container}");
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        let removed = self.client.remove_container(container, Some(options));
        let error = match within(AFTER_KILL_TIME + ANSWER_TIME, removed).await {
            None => return Err(RuntimeError::judge(what, BollardError::RequestTimeoutError)),
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => RuntimeError::judge(&what, error),
        };
        if !matches!(error, RuntimeError::Conflict { .. }) {
            return absent_is_fine(error);
        }
        match within(ANSWER_TIME, self.wait_until(container, "removed")).await {
            None => Err(error),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => absent_is_fine(error),
        }
    }

    /// Waits until the container does not run and gives its exit code. One that was never started does not run:
    /// it answers at once, with 0.
    pub async fn wait(&self, container: &str) -> Result<i64, RuntimeError> {
        self.wait_until(container, "not-running").await
    }

    /// Waits until the container ends for the next time and gives its exit code, also when Docker starts it again.
    pub async fn wait_for_next_exit(&self, container: &str) -> Result<i64, RuntimeError> {
        self.wait_until(container, "next-exit").await
    }

    async fn wait_until(&self, container: &str, condition: &str) -> Result<i64, RuntimeError> {
        let what = format!("wait for container {container}");
        let options = WaitContainerOptions { condition: condition.to_owned() };
        let answer = self.client.wait_container(container, Some(options)).next().await;
        match answer {
            Some(Ok(answer)) => match answer.error.and_then(|error| error.message) {
                Some(message) if !message.is_empty() => Err(RuntimeError::Refused { what, message }),
                _ => Ok(answer.status_code),
            },
            // bollard gives a non-zero exit back as an error; without words of Docker's it is an exit and no more.
            Some(Err(BollardError::DockerContainerWaitError { error, code })) if error.is_empty() => Ok(code),
            Some(Err(error)) => Err(RuntimeError::judge(what, error)),
            None => Err(RuntimeError::judge(what, BollardError::RequestTimeoutError)),
        }
    }
}

/// The answer, or `None` when it did not come in time.
pub(super) async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, answer).await.ok()
}

fn timed_out(container: &str, state: &'static str, waited: Duration) -> RuntimeError {
    RuntimeError::Timeout { container: container.to_owned(), state, waited }
}

fn absent_is_fine(error: RuntimeError) -> Result<(), RuntimeError> {
    if error.is_absent() { Ok(()) } else { Err(error) }
}

fn cannot_create(spec: &ContainerSpec, error: RuntimeError) -> RuntimeError {
    match error.into_words() {
        Ok(message) => RuntimeError::CannotCreate { container: spec.name.clone(), message },
        Err(other) => other,
    }
}
