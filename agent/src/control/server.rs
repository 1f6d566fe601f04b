//! The control socket: who may use it, and what each request asks of the reconcile loop.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::api::{
    DigReply, DigRequest, ErrorReply, LogLine, Progress, ScaleRequest, ServiceEvent, Services, StackSummary,
    StopRequest, Target, TaskView, Tasks, UpReply, UpRequest, Version,
};
use super::view::{Lens, notes};
use super::{dig, inspect, target};
use crate::apply::Applier;
use crate::daemon::DaemonError;
use crate::plan::up;
use crate::reconcile::{Message, Reconciler, chain};
use crate::runtime::{Docker, LogOptions, OutputStream};
use crate::spec::ids::{ServiceName, StackName, TaskId};
use crate::store::sqlite::StoreError;

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
}

/// Opens the socket, with the owner, group and mode of Docker's own: both are root's door (pitfall 19).
///
/// # Errors
/// When another agent answers on it, or it cannot be made.
pub fn listen(path: &Path, docker: &str) -> Result<UnixListener, DaemonError> {
    let failed = |what| {
        let path = path.to_owned();
        move |source| DaemonError::File { what, path, source }
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed("make the directory of"))?;
    }
    // The store's lock keeps a second agent of this data directory out; this is one of another directory.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(DaemonError::Occupied(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed("listen on"))?;
    let docker_socket = docker.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    let (mode, owner) = match std::fs::metadata(docker_socket) {
        Ok(metadata) => (metadata.mode() & 0o777, Some((metadata.uid(), metadata.gid()))),
        Err(_) => (0o600, None),
    };
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed("give away"))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    Ok(listener)
}

#[derive(Clone)]
struct Server {
    identity: Identity,
    build: Arc<str>,
    sender: mpsc::UnboundedSender<Message>,
    changed: watch::Receiver<u64>,
    shutdown: Arc<watch::Sender<bool>>,
}

/// An error on its way to the CLI.
struct Failure(ErrorReply);

impl From<ErrorReply> for Failure {
    fn from(reply: ErrorReply) -> Self {
        Self(reply)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(ErrorReply {
            message: chain(&error),
            hint: Some("nothing was changed; make room or repair the disk and try again".into()),
            exit_code: 1,
        })
    }
}

impl From<up::Refused> for Failure {
    fn from(error: up::Refused) -> Self {
        Self(ErrorReply { message: error.to_string(), hint: None, exit_code: 2 })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = if self.0.exit_code == 2 { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
        (status, Json(self.0)).into_response()
    }
}

fn failure(message: impl Into<String>, exit_code: u8) -> Failure {
    Failure(ErrorReply { message: message.into(), hint: None, exit_code })
}

/// Answers until the agent ends.
pub async fn serve(
    listener: UnixListener,
    identity: Identity,
    sender: mpsc::UnboundedSender<Message>,
    changed: watch::Receiver<u64>,
    shutdown: watch::Sender<bool>,
) {
    let build = own_build();
    let server = Server { identity, build: build.into(), sender, changed, shutdown: Arc::new(shutdown) };
    let router = Router::new()
        .route("/version", get(version))
        .route("/shutdown", post(stop_agent))
        .route("/up", post(bring_up))
        .route("/plan", post(show_plan))
        .route("/down", post(take_down))
        .route("/stacks", get(stacks))
        .route("/progress", get(progress))
        .route("/tasks", get(tasks))
        .route("/services", get(services))
        .route("/events", get(events))
        .route("/target", get(find_target))
        .route("/logs", get(logs))
        .route("/stop", post(stop_task))
        .route("/scale", post(scale))
        .route("/inspect", get(inspect_one))
        .route("/dig", post(ask_resolver))
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
    /// Has the loop answer.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Reconciler) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Ask(Box::new(move |reconciler| {
            let _ = reply.send(question(reconciler));
        }));
        self.sender.send(message).map_err(|_| failure("the agent is ending", 1))?;
        answer.await.map_err(|_| failure("the agent is ending", 1))
    }

    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Lens<'_>) -> T + Send + 'static) -> Result<T, Failure> {
        self.ask(|r| look(&Lens { state: &r.state, observed: &r.observed, setting: &r.setting })).await
    }

    /// How to do things; an agent that has just started is given time to have looked at Docker.
    async fn applier(&self) -> Result<Arc<Applier>, Failure> {
        let mut changed = self.changed.clone();
        let found = async {
            loop {
                changed.mark_unchanged();
                if let Some(applier) = self.ask(|r| r.applier()).await? {
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
    })
}

async fn stop_agent(Shared(server): Shared<Server>) {
    server.shutdown.send_replace(true);
}

async fn bring_up(Shared(server): Shared<Server>, Json(request): Json<UpRequest>) -> Result<Json<UpReply>, Failure> {
    let notes = notes(&request.stack);
    let changes = server.ask(move |r| r.change(|state, ids| up_in(state, &request, ids))).await??;
    Ok(Json(UpReply { changes, notes }))
}

fn up_in(
    state: &mut crate::store::state::State,
    request: &UpRequest,
    ids: &mut crate::plan::ids::Ids,
) -> Result<Vec<super::api::ChangeLine>, Failure> {
    Ok(up::apply(state, &request.stack, jiff::Timestamp::now(), ids)?)
}

async fn show_plan(Shared(server): Shared<Server>, Json(request): Json<UpRequest>) -> Result<Json<UpReply>, Failure> {
    let notes = notes(&request.stack);
    let changes = server
        .ask(move |r| {
            // The same decision as `up`, on a state that is thrown away.
            let mut draft = r.state.clone();
            up_in(&mut draft, &request, &mut r.ids)
        })
        .await??;
    Ok(Json(UpReply { changes, notes }))
}

#[derive(Debug, Default, Deserialize)]
struct Which {
    stack: Option<String>,
    #[serde(default)]
    follow: bool,
}

#[derive(Debug, Deserialize)]
struct WhichTarget {
    target: String,
    #[serde(default)]
    follow: bool,
    tail: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct WhichThing {
    kind: String,
    id: String,
}

fn known_stack(lens: &Lens<'_>, name: Option<&str>) -> Result<Option<StackName>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let stacks: Vec<String> = lens.state.stacks().keys().map(ToString::to_string).collect();
    if stacks.iter().any(|s| s == name) {
        return Ok(Some(StackName::new(name)));
    }
    let hint = if stacks.is_empty() { "no stack is up".to_owned() } else { format!("stacks: {}", stacks.join(", ")) };
    Err(Failure(ErrorReply { message: format!("no stack `{name}`"), hint: Some(hint), exit_code: 2 }))
}

async fn take_down(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<(), Failure> {
    let name = which.stack.ok_or_else(|| failure("which stack?", 2))?;
    server
        .ask(move |r| {
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let stack = known_stack(&lens, Some(&name))?.ok_or_else(|| failure("which stack?", 2))?;
            r.change(|state, _| -> Result<(), Failure> {
                up::delete(state, &stack);
                Ok(())
            })
        })
        .await?
}

async fn stacks(Shared(server): Shared<Server>) -> Result<Json<Vec<StackSummary>>, Failure> {
    let list = server.look(|lens| lens.state.stacks().iter().map(|(n, s)| lens.summary(n, s)).collect()).await?;
    Ok(Json(list))
}

async fn tasks(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Json<Tasks>, Failure> {
    let tasks = server
        .look(move |lens| {
            let chosen = known_stack(lens, which.stack.as_deref())?;
            let stacks = lens.state.stacks().iter().filter(|(n, _)| chosen.as_ref().is_none_or(|c| c == *n));
            let mut tasks: Vec<TaskView> =
                stacks.flat_map(|(n, s)| s.tasks.values().map(|t| lens.task(n, s, t))).collect();
            tasks.sort_by(|a, b| (&a.ecsnet.stack, &a.created_at).cmp(&(&b.ecsnet.stack, &b.created_at)));
            Ok::<_, Failure>(tasks)
        })
        .await??;
    Ok(Json(Tasks { tasks }))
}

async fn services(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Json<Services>, Failure> {
    let services = server
        .look(move |lens| {
            let chosen = known_stack(lens, which.stack.as_deref())?;
            let stacks = lens.state.stacks().iter().filter(|(n, _)| chosen.as_ref().is_none_or(|c| c == *n));
            let services = stacks.flat_map(|(n, s)| s.services.iter().map(|(sn, ss)| lens.service(n, s, sn, ss)));
            Ok::<_, Failure>(services.collect())
        })
        .await??;
    Ok(Json(Services { services }))
}

/// One JSON value a line.
fn lines<T: Serialize>(values: impl Stream<Item = T> + Send + 'static) -> Response {
    let body = values.map(|value| {
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(line))
    });
    ([("content-type", "application/x-ndjson")], Body::from_stream(body)).into_response()
}

async fn progress(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Response, Failure> {
    let name = which.stack.ok_or_else(|| failure("which stack?", 2))?;
    server
        .look({
            let name = name.clone();
            move |lens| known_stack(lens, Some(&name)).map(|_| ())
        })
        .await??;
    let stack = StackName::new(name);
    let follower = (server.clone(), server.changed.clone(), None::<Progress>, true);
    let progress = stream::unfold(follower, move |(server, mut changed, last, first)| {
        let stack = stack.clone();
        async move {
            let mut first = first;
            loop {
                if !first {
                    changed.changed().await.ok()?;
                }
                first = false;
                changed.mark_unchanged();
                let stack = stack.clone();
                let now = server
                    .ask(move |r| {
                        let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
                        let docker = r.applier().is_some();
                        Some(lens.progress(&stack, r.state.stack(&stack)?, r.store_error(), docker))
                    })
                    .await
                    .ok()??;
                if last.as_ref() != Some(&now) {
                    return Some((now.clone(), (server, changed, Some(now), false)));
                }
            }
        }
    });
    Ok(lines(progress))
}

async fn events(Shared(server): Shared<Server>, Query(which): Query<Which>) -> Result<Response, Failure> {
    let chosen = server.look(move |lens| known_stack(lens, which.stack.as_deref())).await??;
    let follower = (server.clone(), server.changed.clone(), None::<std::collections::BTreeSet<String>>);
    let batches = stream::unfold(follower, move |(server, mut changed, said)| {
        let chosen = chosen.clone();
        async move {
            if said.is_some() {
                if !which.follow {
                    return None;
                }
                changed.changed().await.ok()?;
            }
            changed.mark_unchanged();
            let all = server.look(move |lens| lens.events(chosen.as_ref())).await.ok()?;
            let known: std::collections::BTreeSet<String> = all.iter().map(|e| e.id.clone()).collect();
            let fresh: Vec<ServiceEvent> =
                all.into_iter().filter(|e| said.as_ref().is_none_or(|said| !said.contains(&e.id))).collect();
            Some((stream::iter(fresh), (server, changed, Some(known))))
        }
    });
    Ok(lines(batches.flatten()))
}

async fn find_target(
    Shared(server): Shared<Server>,
    Query(which): Query<WhichTarget>,
) -> Result<Json<Vec<Target>>, Failure> {
    Ok(Json(server.look(move |lens| target::find(lens, &which.target)).await??))
}

async fn logs(Shared(server): Shared<Server>, Query(which): Query<WhichTarget>) -> Result<Response, Failure> {
    let targets = {
        let wanted = which.target.clone();
        server.look(move |lens| target::find(lens, &wanted)).await??
    };
    let docker = Docker::connect().await.map_err(|error| failure(chain(&error), 3))?;
    let options = LogOptions { follow: which.follow, tail: which.tail, since: None };
    let sources = targets.into_iter().flat_map(|t| {
        let (task_id, service) = (t.task_id, t.service);
        t.containers.into_iter().map(move |c| (task_id.clone(), service.clone(), c.name, c.docker_name))
    });
    let streams: Vec<_> = sources
        .map(|(task_id, service, container, docker_name)| {
            // A container that is not there has no log; the others still have.
            let lines = docker.logs(&docker_name, options.clone()).filter_map(|line| async move { line.ok() });
            lines
                .map(move |line| LogLine {
                    task_id: task_id.clone(),
                    service: service.clone(),
                    container: container.clone(),
                    stream: match line.stream {
                        OutputStream::Stdout => "stdout".to_owned(),
                        OutputStream::Stderr => "stderr".to_owned(),
                    },
                    time: line.time.map(|t| t.to_string()).unwrap_or_default(),
                    text: String::from_utf8_lossy(&line.bytes).trim_end_matches(['\n', '\r']).to_owned(),
                })
                .boxed()
        })
        .collect();
    Ok(lines(stream::select_all(streams)))
}

async fn stop_task(
    Shared(server): Shared<Server>,
    Json(request): Json<StopRequest>,
) -> Result<Json<TaskView>, Failure> {
    let view = server
        .ask(move |r| -> Result<TaskView, Failure> {
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let found = target::find_one(&lens, &request.target)?;
            let (stack, task) = (StackName::new(found.stack), TaskId::new(found.task_id));
            r.change(|state, _| -> Result<(), Failure> {
                up::stop_task(state, &stack, &task, request.reason, jiff::Timestamp::now());
                Ok(())
            })?;
            let lens = Lens { state: &r.state, observed: &r.observed, setting: &r.setting };
            let in_stack = r.state.stack(&stack).and_then(|s| Some((s, s.tasks.get(&task)?)));
            let (in_stack, task) = in_stack.ok_or_else(|| failure("the task is gone", 1))?;
            Ok(lens.task(&stack, in_stack, task))
        })
        .await??;
    Ok(Json(view))
}

async fn scale(Shared(server): Shared<Server>, Json(request): Json<ScaleRequest>) -> Result<(), Failure> {
    server
        .ask(move |r| -> Result<(), Failure> {
            let mut counts = Vec::new();
            for (given, count) in &request.counts {
                let (stack, service) = match given.split_once('/') {
                    Some((stack, service)) => (Some(stack), service),
                    None => (None, given.as_str()),
                };
                let found = r.state.stacks().iter().filter(|(n, s)| {
                    stack.is_none_or(|wanted| n.as_str() == wanted)
                        && s.services.get(service).is_some_and(|service| !service.leaving)
                });
                let found: Vec<StackName> = found.map(|(n, _)| n.clone()).collect();
                match found.as_slice() {
                    [one] => counts.push((one.clone(), ServiceName::new(service), *count)),
                    [] => {
                        let known: Vec<String> = r
                            .state
                            .stacks()
                            .iter()
                            .flat_map(|(n, s)| s.services.keys().map(move |service| format!("{n}/{service}")))
                            .collect();
                        let hint = Some(format!("services: {}", known.join(", ")));
                        let message = format!("no service `{given}`");
                        return Err(Failure(ErrorReply { message, hint, exit_code: 2 }));
                    }
                    several => {
                        let hint = several.iter().map(|n| format!("{n}/{service}")).collect::<Vec<_>>().join(", ");
                        let message = format!("`{given}` names services of several stacks");
                        return Err(Failure(ErrorReply { message, hint: Some(hint), exit_code: 2 }));
                    }
                }
            }
            r.change(|state, _| {
                for (stack, service, count) in &counts {
                    up::scale(state, stack, service, *count);
                }
                Ok(())
            })
        })
        .await?
}

async fn inspect_one(Shared(server): Shared<Server>, Query(which): Query<WhichThing>) -> Result<Json<Value>, Failure> {
    let (mut value, kernel) = server.look(move |lens| inspect::describe(lens, &which.kind, &which.id)).await??;
    if !matches!(kernel, inspect::Kernel::Nothing) {
        let applier = server.applier().await?;
        value["kernel"] = inspect::with_kernel(&applier, kernel).await;
    }
    Ok(Json(value))
}

async fn ask_resolver(
    Shared(server): Shared<Server>,
    Json(request): Json<DigRequest>,
) -> Result<Json<DigReply>, Failure> {
    let query = dig::question(&request)?;
    if let Some(from) = request.from {
        let (pid, address, who) = server
            .look(move |lens| -> Result<_, Failure> {
                let mut found = target::find(lens, &from)?;
                let target = found.swap_remove(0);
                let pid = target.holder.as_ref().map(|h| h.pid);
                let pid = pid.ok_or_else(|| failure(format!("task {} has no network", target.task_id), 1))?;
                let stack = lens.state.stack(&StackName::new(&target.stack));
                let router = stack.map(|s| crate::project::security_groups::router(&s.record));
                let address = router.and_then(|r| r.resolver_addresses().first().copied());
                let address = address.ok_or_else(|| failure("the stack has no resolver address", 1))?;
                Ok((pid, address, format!("{} ({})", target.service, target.task_id)))
            })
            .await??;
        return Ok(Json(dig::ask_from(pid, address, who, query).await?));
    }
    let dir = server
        .look(move |lens| -> Result<PathBuf, Failure> {
            let names: Vec<&StackName> = lens.state.stacks().keys().collect();
            let stack = match (known_stack(lens, request.stack.as_deref())?, names.as_slice()) {
                (Some(stack), _) => stack,
                (None, [one]) => (*one).clone(),
                (None, []) => return Err(failure("no stack is up", 2)),
                (None, several) => {
                    let hint = several.iter().map(|n| format!("--stack {n}")).collect::<Vec<_>>().join(", ");
                    let message = "several stacks are up: which one's resolver?".to_owned();
                    return Err(Failure(ErrorReply { message, hint: Some(hint), exit_code: 2 }));
                }
            };
            Ok(lens.setting.resolver_dir(&stack))
        })
        .await??;
    Ok(Json(dig::ask_socket(&dir, query).await?))
}
