//! The routes of the control socket, and how a handler asks the loop, which owns all state.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State as Shared;
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::api::{ErrorReply, Version};
use super::failure::{Failure, failure};
use super::flow_log::Watches;
use super::view::Lens;
use super::{change, explain, flow_log, follow, forward, question};
use crate::apply::Applier;
use crate::reconcile::{Message, Reconciler};
use crate::runtime::keyring::Keyring;
use crate::spec::ids::StackName;

/// The largest request: a stack of thousands of services fits.
const MOST_BYTES: usize = 64 << 20;

/// How long a question that needs Docker waits for it.
const DOCKER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Who this agent is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its mark in Docker.
    pub owner: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Docker's name of its container, if it is in one.
    pub container: Option<String>,
}

#[derive(Clone)]
pub(super) struct Server {
    identity: Identity,
    build: Arc<str>,
    pub(super) keyring: Keyring,
    pub(super) sender: mpsc::UnboundedSender<Message>,
    pub(super) watches: Arc<Watches>,
    pub(super) changed: watch::Receiver<u64>,
    shutdown: Arc<watch::Sender<bool>>,
}

/// Answers until the agent ends.
pub async fn serve(
    listener: UnixListener,
    identity: Identity,
    sender: mpsc::UnboundedSender<Message>,
    changed: watch::Receiver<u64>,
    shutdown: watch::Sender<bool>,
    keyring: Keyring,
) {
    let build = own_build();
    let (build, watches, shutdown) = (build.into(), Arc::default(), Arc::new(shutdown));
    let server = Server { identity, build, keyring, sender, watches, changed, shutdown };
    let router = Router::new()
        .route("/version", get(version))
        .route("/shutdown", post(stop_agent))
        .route("/up", post(change::bring_up))
        .route("/plan", post(change::show_plan))
        .route("/down", post(change::take_down))
        .route("/stacks", get(question::stacks))
        .route("/progress", get(follow::progress))
        .route("/tasks", get(question::tasks))
        .route("/tasks/watch", get(follow::tasks))
        .route("/forward", get(forward::forward))
        .route("/services", get(question::services))
        .route("/events", get(follow::events))
        .route("/target", get(question::find_target))
        .route("/logs", get(follow::logs))
        .route("/stop", post(change::stop_task))
        .route("/scale", post(change::scale))
        .route("/instances", get(question::instances))
        .route("/instance", post(change::change_instance))
        .route("/inspect", get(question::inspect_one))
        .route("/dig", post(question::ask_resolver))
        .route("/explain", post(explain::explain))
        .route("/flow-log", get(flow_log::flow_log))
        .layer(axum::extract::DefaultBodyLimit::max(MOST_BYTES))
        .with_state(server);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the control socket ended");
    }
}

/// First 12 hex digits of the SHA-256 of the running binary; empty when it cannot be read.
pub fn own_build() -> String {
    use sha2::{Digest as _, Sha256};
    let binary = std::fs::read("/proc/self/exe").unwrap_or_default();
    Sha256::digest(&binary).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl Server {
    /// Has the loop carry out an order, and answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Reconciler) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.send(|reply| {
            Message::Order(Box::new(move |reconciler| {
                let _ = reply.send(order(reconciler));
            }))
        })
        .await
    }

    /// Has the loop answer a question.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reconciler) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.send(|reply| {
            Message::Look(Box::new(move |reconciler| {
                let _ = reply.send(question(reconciler));
            }))
        })
        .await
    }

    /// A question about what is wished for and what is there.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Lens<'_>) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.read(|r| look(&Lens { state: &r.state, observed: &r.observed, setting: &r.setting })).await
    }

    async fn send<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(message(reply)).map_err(|_| failure("the agent is ending", 1))?;
        answer.await.map_err(|_| failure("the agent is ending", 1))
    }

    /// How to do things; an agent that has just started is given time to have looked at Docker.
    pub(super) async fn applier(&self) -> Result<Arc<Applier>, Failure> {
        let mut changed = self.changed.clone();
        let found = async {
            loop {
                changed.mark_unchanged();
                if let Some(applier) = self.read(|r| r.applier()).await? {
                    return Ok(applier);
                }
                if changed.changed().await.is_err() {
                    return Err(failure("the agent is ending", 1));
                }
            }
        };
        tokio::time::timeout(DOCKER_PATIENCE, found).await.unwrap_or_else(|_| Err(failure("Docker does not answer", 3)))
    }
}

async fn version(Shared(server): Shared<Server>) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: server.build.to_string(),
        pid: std::process::id(),
        owner: server.identity.owner,
        data_dir: server.identity.data_dir.display().to_string(),
        container: server.identity.container,
    })
}

async fn stop_agent(Shared(server): Shared<Server>) {
    server.shutdown.send_replace(true);
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    pub(super) stack: Option<String>,
    #[serde(default)]
    pub(super) follow: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct WhichTarget {
    pub(super) target: String,
    /// Of a service, also the last task that failed.
    #[serde(default)]
    pub(super) failed: bool,
    #[serde(default)]
    pub(super) follow: bool,
    pub(super) tail: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WhichThing {
    pub(super) kind: String,
    pub(super) id: String,
}

pub(super) fn known_stack(lens: &Lens<'_>, name: Option<&str>) -> Result<Option<StackName>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let stacks: Vec<String> = lens.state.stacks().keys().map(ToString::to_string).collect();
    if stacks.iter().any(|s| s == name) {
        return Ok(Some(StackName::new(name)));
    }
    let hint = if stacks.is_empty() { "no stack is up".to_owned() } else { format!("stacks: {}", stacks.join(", ")) };
    Err(Failure(ErrorReply { message: format!("no stack `{name}`"), hint: Some(hint), exit_code: 2 }))
}
