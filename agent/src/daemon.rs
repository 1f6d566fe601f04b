//! The agent as a process: its store, its socket, its connection to Docker, and the loop between them.
//!
//! It may be killed at any moment. What ends it in an orderly way (SIGTERM, `POST /shutdown`) does nothing more than a
//! kill: what runs goes on, and the next agent adopts it. SIGHUP asks for the full look at once.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::apply::{Applier, ApplyError, OnProtection};
use crate::control::{server, socket};
use crate::dataplane::metadata::question::{FrontReply, ProtectionChange, ProtectionState};
use crate::plan::{Setting, up};
use crate::reconcile::{Message, Reconciler};
use crate::runtime::keyring::Keyring;
use crate::runtime::names::{ContainerName as DockerName, Part};
use crate::runtime::{ContainerState, Docker, EventKind, RuntimeError};
use crate::spec::ids::{InstanceId, StackName};
use crate::store::sqlite::{Store, StoreError};

/// The safety net: everything is looked at anew this often.
const FULL_LOOK: Duration = Duration::from_secs(60);
/// Between two tries of reaching a Docker that is away: a daemon that comes back sends no event to those it does not know.
const DOCKER_RETRY: Duration = Duration::from_millis(500);
/// When a task without a health check counts as healthy (reference 3.2).
const HEALTHY_AFTER: Duration = Duration::from_secs(40);

/// How an agent is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where its state is.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
    /// The mark on what it owns; chosen by itself, once, for any data directory but the default one.
    pub owner: Option<String>,
    /// Instead of the 40 s after which a task without a health check counts as healthy.
    pub healthy_after: Option<Duration>,
    /// Docker's name of the container that it runs in, if it does.
    pub container: Option<String>,
}

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] RuntimeError),
    /// Another agent answers on the socket.
    #[error("another agent is listening on {0}")]
    Occupied(PathBuf),
    /// Not root.
    #[error("the agent needs root: it makes network namespaces, links and filters")]
    NotRoot,
    /// Its socket, or a signal handler.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl DaemonError {
    /// Whether the machine lacks something, rather than that it failed.
    pub fn is_requirement(&self) -> bool {
        match self {
            Self::NotRoot => true,
            Self::Docker(error) => error.is_requirement(),
            _ => false,
        }
    }
}

/// Runs until SIGTERM, SIGINT or `POST /shutdown`.
///
/// # Errors
/// When it cannot start: another agent, no Docker, no root, a store that cannot be read.
pub async fn run(settings: Settings) -> Result<(), DaemonError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(DaemonError::NotRoot);
    }
    let store = Store::open(&settings.data_dir)?;
    // Docker may have made the directory, open to all.
    std::fs::set_permissions(&settings.data_dir, std::fs::Permissions::from_mode(0o700))
        .map_err(|source| DaemonError::File { what: "close to others", path: settings.data_dir.clone(), source })?;
    let owner = store.owner(&settings.owner.clone().unwrap_or_else(|| own_name(&settings.data_dir)))?;
    let docker = Docker::connect().await?;
    let setting = Setting {
        owner: owner.clone(),
        data_dir: settings.data_dir.clone(),
        healthy_after: settings.healthy_after.unwrap_or(HEALTHY_AFTER),
        upstream: upstream(),
        most_open_files: docker.most_open_files().await,
        cgroups: docker.task_cgroups().await,
    };
    let handle = |kind| {
        signal(kind).map_err(|source| DaemonError::File {
            what: "handle signals of",
            path: PathBuf::from("this process"),
            source,
        })
    };
    // Before the socket is there: whoever gets an answer may rely on signals being heard.
    let mut terminate = handle(SignalKind::terminate())?;
    let mut interrupt = handle(SignalKind::interrupt())?;
    let hangup = handle(SignalKind::hangup())?;
    let listener = socket::listen(&settings.socket, docker.address())?;
    let (sender, messages) = mpsc::unbounded_channel();
    let (turns, changed) = watch::channel(0);
    let seed = rand::random();
    let reconciler = Reconciler::new(store, setting.clone(), seed, sender.clone(), turns)?;
    let identity = server::Identity { owner, data_dir: settings.data_dir.clone(), container: settings.container };
    let (shutdown, mut ended) = watch::channel(false);
    let keyring = Keyring::default();
    let serving = tokio::spawn(server::serve(listener, identity, sender.clone(), changed, shutdown, keyring.clone()));
    let watching = tokio::spawn(follow_docker(docker, setting, keyring, sender, hangup));
    let looping = tokio::spawn(reconciler.run(messages));
    tracing::info!(socket = %settings.socket.display(), "the agent is ready");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
    tracing::info!("the agent ends; what runs goes on");
    watching.abort();
    looping.abort();
    // Whoever finds nobody on the socket may start the next agent at once, so it goes last: the store's lock is free only
    // when the loop is gone, and the file must not be taken away from one that is there already.
    let _ = looping.await;
    let _ = std::fs::remove_file(&settings.socket);
    serving.abort();
    Ok(())
}

/// The default data directory's owner carries no mark in names; any other one is told by its path.
fn own_name(data_dir: &Path) -> String {
    if data_dir == Path::new(crate::DEFAULT_DATA_DIR) {
        crate::runtime::names::DEFAULT_OWNER.to_owned()
    } else {
        format!("{}-{:016x}", data_dir.display(), rand::random::<u64>())
    }
}

/// The host's own resolvers, for the names that are not the VPC's. One on loopback cannot be reached from the VPC (pitfall 5).
fn upstream() -> Vec<SocketAddr> {
    let files = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let found = texts.map(|text| {
        let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
        let addresses = servers.filter_map(|server| server.trim().parse::<IpAddr>().ok());
        addresses.filter(|a| !a.is_loopback()).map(|a| SocketAddr::new(a, 53)).collect::<Vec<_>>()
    });
    found.into_iter().find(|servers| !servers.is_empty()).unwrap_or_default()
}

/// Tells the loop all that happens in Docker, through its going and coming back.
async fn follow_docker(
    first: Docker,
    setting: Setting,
    keyring: Keyring,
    sender: mpsc::UnboundedSender<Message>,
    mut hangup: Signal,
) {
    let mut connected = Some(first);
    loop {
        let docker = match connected.take() {
            Some(docker) => docker,
            None => match Docker::connect().await {
                Ok(docker) => docker,
                Err(error) => {
                    tracing::debug!(%error, "Docker is away");
                    tokio::time::sleep(DOCKER_RETRY).await;
                    continue;
                }
            },
        };
        if let Err(error) = follow(&docker, &setting, &keyring, &sender, &mut hangup).await {
            tracing::warn!(%error, "lost Docker");
        }
        if sender.send(Message::Disconnected).is_err() {
            return;
        }
        tokio::time::sleep(DOCKER_RETRY).await;
    }
}

/// Follows one connection until it ends.
async fn follow(
    docker: &Docker,
    setting: &Setting,
    keyring: &Keyring,
    sender: &mpsc::UnboundedSender<Message>,
    hangup: &mut Signal,
) -> Result<(), RuntimeError> {
    // Subscribed before the list, so that nothing falls between the two.
    let mut events = docker.events(&setting.owner).await?;
    let containers = docker.list_owned(&setting.owner).await?;
    let pulls = sender.clone();
    let on_pull = Box::new(move |image: &str, progress: &crate::runtime::PullProgress| {
        let status = format!("{} of {} layers, {}", progress.layers_done, progress.layers_total, progress.status);
        let _ = pulls.send(Message::Pull(image.to_owned(), status));
    });
    let orders = sender.clone();
    let protection: OnProtection =
        Arc::new(move |task_arn, change| Box::pin(protect(orders.clone(), task_arn, change)));
    let applier = Arc::new(Applier::new(docker.clone(), setting.clone(), keyring.clone(), on_pull, protection));
    if sender.send(Message::Connected(Arc::clone(&applier), containers)).is_err() {
        return Ok(());
    }
    look(docker, &applier, setting, sender).await?;
    let mut full_look = tokio::time::interval(FULL_LOOK);
    full_look.reset();
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                let mut container = docker.inspect(&event.name).await?.map(Box::new);
                if event.kind == EventKind::OutOfMemory
                    && let Some(ContainerState::Exited { oom_killed, .. }) = container.as_mut().map(|c| &mut c.state)
                {
                    *oom_killed = true;
                }
                if sender.send(Message::Container(event.name, container)).is_err() {
                    return Ok(());
                }
            }
            _ = full_look.tick() => look(docker, &applier, setting, sender).await?,
            Some(()) = hangup.recv() => look(docker, &applier, setting, sender).await?,
        }
    }
}

/// Asks the loop for a task's protection, for a front (9.5).
async fn protect(
    sender: mpsc::UnboundedSender<Message>,
    task_arn: String,
    change: Option<ProtectionChange>,
) -> FrontReply {
    let (reply, answer) = oneshot::channel();
    let told = |found: Result<ProtectionState, (String, String)>| match found {
        Ok(protection) => FrontReply::Protection(protection),
        Err((reason, detail)) => FrontReply::Failure { reason, detail },
    };
    let message = match change {
        None => Message::Look(Box::new(move |reconciler: &Reconciler| {
            let _ = reply.send(told(up::protection(&reconciler.state, &task_arn, jiff::Timestamp::now())));
        })),
        Some(change) => Message::Order(Box::new(move |reconciler: &mut Reconciler| {
            let changed = reconciler.change(|state, _| -> Result<_, StoreError> {
                Ok(up::protect(state, &task_arn, change, jiff::Timestamp::now()))
            });
            let _ = reply.send(changed.map_or_else(|error| FrontReply::Error(error.to_string()), told));
        })),
    };
    match sender.send(message) {
        Ok(()) => answer.await.unwrap_or_else(|_| FrontReply::Error("the agent is ending".to_owned())),
        Err(_) => FrontReply::Error("the agent is ending".to_owned()),
    }
}

async fn look(
    docker: &Docker,
    applier: &Applier,
    setting: &Setting,
    sender: &mpsc::UnboundedSender<Message>,
) -> Result<(), RuntimeError> {
    let _ = sender.send(Message::Looking);
    let containers = docker.list_owned(&setting.owner).await?;
    let mut networks = Vec::new();
    let mut instances = Vec::new();
    for container in &containers {
        if let Some(DockerName { part: Part::Instance(id), .. }) = DockerName::parse(&container.name) {
            let look = async {
                let open = applier.instances().open(applier.networks(), &container.name).await?;
                Ok::<_, ApplyError>((open.holder.clone(), open.look().await?))
            };
            match look.await {
                Ok((holder, seen)) => instances.push((InstanceId::new(id), holder, seen)),
                Err(error) => tracing::debug!(instance = id, %error, "cannot look into the instance"),
            }
            continue;
        }
        let stack = container.labels.get(crate::runtime::labels::STACK).map(StackName::new);
        let Some(stack) = stack.filter(|stack| container.name == setting.vpc_name(stack)) else { continue };
        let look = async { applier.networks().open(&container.name).await?.look().await };
        match look.await {
            Ok(seen) => networks.push((stack, seen)),
            // Not running, or on its way: the plan sees to it.
            Err(error) => tracing::debug!(%stack, %error, "cannot look into the VPC"),
        }
    }
    let _ = sender.send(Message::Looked(containers, networks, instances));
    Ok(())
}
