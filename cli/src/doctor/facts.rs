//! Gathers what the judgement is made from: Docker's answers, a few files of this machine, and the kernel, which is tried
//! from inside a container that has what the agent has. Changes nothing and leaves nothing behind.

use std::path::Path;

use agent::probe::Probe;
use agent::runtime::{Docker, Engine, RuntimeError};

use crate::commands::Global;
use crate::render::with_causes;
use crate::start_agent::{self, StartError};

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Where Docker is and what kind of engine, or what is in the way.
    pub(crate) docker: Option<Result<(String, Engine), Obstacle>>,
    /// What the kernel can, or why it could not be tried. `None` without Docker.
    pub(crate) probes: Option<Result<Vec<Probe>, String>>,
    /// Whether the engine is on another machine than this command, so that the files below are not its own.
    pub(crate) remote: bool,
    /// AppArmor is on.
    pub(crate) apparmor: bool,
    /// SELinux is enforcing.
    pub(crate) selinux: bool,
    /// `/dev/net/tun` is there.
    pub(crate) tun: bool,
    /// How many flows the kernel tracks; `None` where it does not say.
    pub(crate) tracked_flows: Option<u64>,
    /// Name servers of this machine, as its files name them.
    pub(crate) name_servers: Vec<String>,
    /// The agent, or why it cannot be asked.
    pub(crate) agent: Option<Result<Option<AgentFacts>, String>>,
}

/// What is in the way.
#[derive(Debug)]
pub(crate) struct Obstacle {
    pub(crate) what: String,
    pub(crate) remedy: Option<String>,
}

/// The agent that answers.
#[derive(Debug)]
pub(crate) struct AgentFacts {
    pub(crate) version: String,
    pub(crate) place: String,
}

/// Looks at everything.
pub(crate) async fn gather(global: &Global) -> Facts {
    let mut facts = Facts {
        apparmor: text("/sys/module/apparmor/parameters/enabled").is_some_and(|text| text.starts_with('Y')),
        selinux: text("/sys/fs/selinux/enforce").is_some_and(|text| text.trim() == "1"),
        tun: Path::new("/dev/net/tun").exists(),
        tracked_flows: text("/proc/sys/net/netfilter/nf_conntrack_max").and_then(|text| text.trim().parse().ok()),
        name_servers: name_servers(),
        ..Facts::default()
    };
    match docker().await {
        Ok((docker, engine)) => {
            facts.remote = !docker.address().starts_with("unix://");
            facts.probes = Some(probe(&docker).await);
            facts.docker = Some(Ok((docker.address().to_owned(), engine)));
            facts.agent = Some(ask_agent(global).await);
        }
        Err(error) => facts.docker = Some(Err(Obstacle { what: with_causes(&error), remedy: error.remedy() })),
    }
    facts
}

async fn docker() -> Result<(Docker, Engine), RuntimeError> {
    let docker = Docker::connect().await?;
    let engine = docker.supported_engine().await?;
    Ok((docker, engine))
}

/// Has the kernel tried in a container.
async fn probe(docker: &Docker) -> Result<Vec<Probe>, String> {
    let image = docker.ensure_own_image().await.map_err(|error| with_causes(&error))?;
    let outcome = docker.run_as_agent(&image, vec!["probe".to_owned()]).await;
    let (text, code) = outcome.map_err(|error| with_causes(&error))?;
    match code {
        0 => serde_json::from_str(&text).map_err(|error| format!("unreadable: {error}")),
        _ => Err(text.trim().to_owned()),
    }
}

async fn ask_agent(global: &Global) -> Result<Option<AgentFacts>, String> {
    let found = start_agent::find(global).await.map_err(|error: StartError| with_causes(&error))?;
    Ok(found.map(|(_, version)| AgentFacts {
        place: match version.container {
            Some(container) => format!("in container {container}"),
            None => format!("as process {}", version.pid),
        },
        version: version.version,
    }))
}

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Those that the agent would take: systemd-resolved's own upstream, else the machine's file.
fn name_servers() -> Vec<String> {
    let files = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
    let found = files.iter().filter_map(|path| text(path)).map(|text| {
        let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
        servers.map(|server| server.trim().to_owned()).collect::<Vec<_>>()
    });
    found.into_iter().find(|servers| !servers.is_empty()).unwrap_or_default()
}
