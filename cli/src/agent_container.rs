//! Starts the agent in a container of its own, made of this very binary, and waits until it answers.
//!
//! Called by `start_agent` where no agent answers. Whoever may use Docker may do this, root or not. A container that is
//! there already and is the same is started or waited for; one that Docker would start again only after a while is
//! replaced, so that nobody waits.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use agent::control::api::Version;
use agent::runtime::agent_container::{self, AgentContainer};
use agent::runtime::{ContainerState, Docker, LogOptions};
use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::{Client, ClientError};
use crate::commands::Global;
use crate::start_agent::StartError;

/// How often a socket that does not answer yet is tried. A connection to a unix socket costs microseconds.
const RETRY: Duration = Duration::from_millis(20);
/// How often the way through Docker is tried meanwhile, which costs a process in the container.
const RETRY_BY_DOCKER: u32 = 25;
/// How long an agent may take until it answers.
const START_TIME: Duration = Duration::from_secs(30);
/// What is shown of the log of an agent that did not start.
const LOG_LINES: u64 = 20;
/// After how many seconds a task without a health check counts as healthy.
pub(crate) const HEALTHY_AFTER: &str = "ECSNET_HEALTHY_AFTER";
/// What the agent takes over from the environment of whoever starts it.
const VARIABLES: [&str; 3] = [HEALTHY_AFTER, RUST_LOG, agent::apply::crash::VARIABLE];
/// What the agent logs.
const RUST_LOG: &str = "RUST_LOG";
/// What an agent takes over from the one that it replaces, where its starter does not say it: what its user chose.
const KEPT: [&str; 2] = [HEALTHY_AFTER, RUST_LOG];

/// What was chosen for the agent in this container, for the one that takes its place.
pub(crate) async fn settings_of(docker: &Docker, container: &str) -> Result<Vec<(String, String)>, StartError> {
    let mut settings = docker.environment_of(container).await?;
    settings.retain(|(name, _)| KEPT.contains(&name.as_str()));
    Ok(settings)
}

/// The agent's container as this command would make it.
fn wanted(
    global: &Global,
    image: String,
    set: &[(&str, String)],
    kept: &[(String, String)],
) -> Result<AgentContainer, StartError> {
    let absolute =
        |path: &PathBuf| std::path::absolute(path).map_err(|source| StartError::Path { path: path.clone(), source });
    let variables = VARIABLES.iter().filter_map(|name| {
        let set = set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let kept = || kept.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        Some(((*name).to_owned(), set.or_else(|| std::env::var(name).ok()).or_else(kept)?))
    });
    Ok(AgentContainer {
        image,
        data_dir: absolute(&global.data_dir)?,
        socket: absolute(&global.socket)?,
        environment: variables.collect(),
    })
}

/// The way to the agent through Docker, if its container runs.
pub(crate) async fn running(docker: &Docker, global: &Global) -> Result<Option<Client>, StartError> {
    let name = agent_container::name(&absolute_or_as_is(&global.data_dir));
    let found = docker.inspect(&name).await?;
    let runs = found.is_some_and(|container| container.state.pid().is_some());
    Ok(runs.then(|| Client::through_docker(docker.clone(), name, absolute_or_as_is(&global.socket))))
}

/// Whether there is an agent's container, running or not.
pub(crate) async fn exists(docker: &Docker, global: &Global) -> Result<bool, StartError> {
    let name = agent_container::name(&absolute_or_as_is(&global.data_dir));
    Ok(docker.inspect(&name).await?.is_some())
}

/// Removes the agent's container, whatever state it is in.
pub(crate) async fn remove(docker: &Docker, global: &Global) -> Result<(), StartError> {
    Ok(docker.remove(&agent_container::name(&absolute_or_as_is(&global.data_dir))).await?)
}

fn absolute_or_as_is(path: &PathBuf) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.clone())
}

/// Starts it and waits until it answers. `set` goes over the variables that it takes over from here, and these over
/// `kept`, those of the agent before it.
pub(crate) async fn start(
    global: &Global,
    set: &[(&str, String)],
    kept: &[(String, String)],
) -> Result<Client, StartError> {
    let docker = Docker::connect().await?;
    docker.supported_engine().await?;
    let agent = wanted(global, docker.ensure_own_image().await?, set, kept)?;
    let name = agent.name();
    let found = docker.inspect(&name).await?;
    if found.is_some_and(|container| matches!(container.state, ContainerState::Restarting)) {
        docker.remove(&name).await?;
    }
    docker.ensure_agent(&agent).await?;
    let begin = SystemTime::now();
    let (watching, watched) = (docker.clone(), name.clone());
    // Asked before the start, so that no end is missed.
    let mut ended = tokio::spawn(async move { watching.wait_for_next_exit(&watched).await });
    docker.start(&name).await?;
    let client = Client::new(&agent.socket);
    let outcome = tokio::select! {
        answer = timeout(START_TIME, answers(&docker, &agent, client)) => match answer {
            Ok(answer) => return answer.inspect(|_| ended.abort()),
            Err(_) => None,
        },
        code = &mut ended => code.ok().and_then(Result::ok),
    };
    ended.abort();
    let log = log(&docker, &name, begin).await;
    let Some(code) = outcome else { return Err(StartError::Silent { socket: agent.socket, log, container: name }) };
    // Docker would start it again and again, each time to the same end.
    docker.remove(&name).await?;
    Err(StartError::Ended { code, log })
}

/// Tries the socket until it answers; where it cannot be seen or opened from here, the agent is asked through Docker.
async fn answers(docker: &Docker, agent: &AgentContainer, client: Client) -> Result<Client, StartError> {
    let by_docker = Client::through_docker(docker.clone(), agent.name(), agent.socket.clone());
    let mut pace = interval(RETRY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 1_u32.. {
        pace.tick().await;
        match client.get::<Version>("/version", &[]).await {
            Ok(_) => return Ok(client),
            Err(error) if !error.is_no_agent() && !matches!(error, ClientError::Permission { .. }) => {
                return Err(error.into());
            }
            Err(_) if !round.is_multiple_of(RETRY_BY_DOCKER) => {}
            Err(_) => match by_docker.get::<Version>("/version", &[]).await {
                Ok(_) => return Ok(by_docker),
                Err(error) if error.is_no_agent() => {}
                Err(error) => return Err(error.into()),
            },
        }
    }
    Ok(client)
}

/// The last lines that the agent wrote; empty if Docker does not have them.
async fn log(docker: &Docker, name: &str, begin: SystemTime) -> String {
    let since = begin.try_into().ok();
    let options = LogOptions { follow: false, tail: Some(LOG_LINES), since };
    let lines = docker.logs(name, options).filter_map(|line| async { line.ok() });
    let lines: Vec<String> = lines.map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect().await;
    lines.join("\n")
}
