//! The agent's own container: what it is made of, so that whoever may use Docker needs nothing else.
//!
//! Started by the command line from the image of its own binary. It lives in the host's network and process namespaces,
//! with capabilities named one by one: `privileged` fails where the host's own set lacks one. Docker alone starts it
//! again, after a crash and after a restart of the engine; everything else is brought back by the plan (pitfall 11).

use std::path::{Path, PathBuf};

use bollard::errors::Error as BollardError;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, Mount as DockerMount, MountBindOptions, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::InspectContainerOptions;
use futures_util::TryStreamExt as _;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::create::create_body;
use super::image::BINARY;
use super::labels::{Labels, Role};
use super::lifecycle::within;
use super::logs::LogOptions;
use super::names;
use super::spec::{ContainerId, ContainerSpec, Network};

/// The variable by which an agent knows that it is in a container, and in which.
pub const CONTAINER_VARIABLE: &str = "ECSNET_CONTAINER";

/// What the agent may do, and why.
const CAPABILITIES: [&str; 7] = [
    "NET_ADMIN",    // links, routes, filters, conntrack of the VPCs
    "SYS_ADMIN",    // enter their namespaces
    "SYS_PTRACE",   // open /proc/<pid>/ns/net of containers whose processes have other users or capabilities
    "CHOWN",        // give the socket Docker's group
    "DAC_OVERRIDE", // a data directory that the user made
    "FOWNER",       // the mode of such a directory
    "NET_RAW",      // the echo that `explain` sends from inside a task
];
/// The host's cgroups: those of tasks are the agent's to remove (pitfall 14).
const CGROUPS: &str = "/sys/fs/cgroup";
/// Where an engine that is not on this machine has its socket.
const SOCKET_OF_ENGINE: &str = "/var/run/docker.sock";

/// An agent's container. Every path is one of the machine that Docker runs on.
#[derive(Debug, Clone)]
pub struct AgentContainer {
    /// The image of our own binary.
    pub image: String,
    /// Where its state is; absolute.
    pub data_dir: PathBuf,
    /// Where it listens; absolute.
    pub socket: PathBuf,
    /// Variables that it is given.
    pub environment: Vec<(String, String)>,
}

/// Docker's name of the container whose agent has its state in `data_dir`.
pub fn name(data_dir: &Path) -> String {
    if data_dir == Path::new(crate::DEFAULT_DATA_DIR) {
        return "ecsnet-agent".to_owned();
    }
    let mark = names::owner_mark(&data_dir.to_string_lossy()).unwrap_or_default();
    format!("ecsnet.{mark}-agent")
}

impl AgentContainer {
    /// Its name in Docker.
    pub fn name(&self) -> String {
        name(&self.data_dir)
    }

    /// What it is made of; `docker_socket` is where the engine listens.
    fn spec(&self, docker_socket: &Path) -> ContainerSpec {
        let mut spec = ContainerSpec::new(self.name(), &self.image, Role::Agent);
        // Not the owner's own mark: the agent would count itself among what nobody wants.
        spec.labels = Labels::new(format!("agent of {}", self.data_dir.display()), Role::Agent).encode();
        spec.network = Network::Host;
        spec.pid_mode = Some("host".to_owned());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        spec.entry_point = Some(vec![BINARY.to_owned()]);
        spec.command = Some(vec![
            "agent".to_owned(),
            "--foreground".to_owned(),
            "--socket".to_owned(),
            text(&self.socket),
            "--data-dir".to_owned(),
            text(&self.data_dir),
        ]);
        spec.environment = self.environment.clone();
        spec.environment.push(("DOCKER_HOST".to_owned(), format!("unix://{}", docker_socket.display())));
        spec.environment.push((CONTAINER_VARIABLE.to_owned(), self.name()));
        empower(&mut spec);
        spec.read_only = true;
        spec.stop_timeout = Some(5);
        spec
    }

    /// As Docker is told it.
    fn body(&self, spec: &ContainerSpec, docker_socket: &Path) -> ContainerCreateBody {
        let mut body = create_body(spec, &[]);
        let host = body.host_config.get_or_insert_default();
        host.restart_policy =
            Some(RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), maximum_retry_count: None });
        open_settings(host);
        // Binds of this form make directories that are missing, which a user without root could not.
        let mut own: Vec<&Path> = vec![&self.data_dir];
        own.extend(self.socket.parent());
        let mut binds: Vec<String> = own.iter().map(|path| format!("{0}:{0}", path.display())).collect();
        binds.push(format!("{CGROUPS}:{CGROUPS}"));
        host.binds = Some(binds);
        host.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::HOST);
        // The directory and not the file, which an engine that starts anew replaces (pitfall 13). What is mounted below it
        // stays out: Docker keeps network namespaces there, and ours would keep them alive.
        host.mounts = docker_socket.parent().filter(|dir| !own.contains(dir)).map(|dir| {
            vec![DockerMount {
                source: Some(dir.to_string_lossy().into_owned()),
                target: Some(dir.to_string_lossy().into_owned()),
                typ: Some(MountType::BIND),
                read_only: Some(true),
                bind_options: Some(MountBindOptions { non_recursive: Some(true), ..Default::default() }),
                ..Default::default()
            }]
        });
        body
    }
}

/// What the agent may do.
fn empower(spec: &mut ContainerSpec) {
    spec.cap_drop = vec!["ALL".to_owned()];
    spec.cap_add = CAPABILITIES.iter().map(ToString::to_string).collect();
    // AppArmor's profile and SELinux's type for containers forbid what the capabilities are for.
    spec.security_options = vec!["apparmor=unconfined".to_owned(), "label=disable".to_owned()];
}

/// Settings of the VPCs' namespaces are written under /proc/sys, which Docker else makes read-only.
fn open_settings(host: &mut HostConfig) {
    host.masked_paths = Some(Vec::new());
    host.readonly_paths = Some(Vec::new());
}

impl Docker {
    /// Runs our own binary with these arguments in a container that has what the agent's has, but nothing of the host's;
    /// what it printed, and its exit code. Nothing is left of it.
    ///
    /// # Errors
    /// When Docker refuses.
    pub async fn run_as_agent(&self, image: &str, arguments: Vec<String>) -> Result<(String, i64), RuntimeError> {
        let name = format!("ecsnet-probe-{:016x}", rand::random::<u64>());
        let mut spec = ContainerSpec::new(name.clone(), image, Role::Helper);
        spec.labels = Labels::new("doctor", Role::Helper).encode();
        spec.entry_point = Some(vec![BINARY.to_owned()]);
        spec.command = Some(arguments);
        empower(&mut spec);
        let mut body = create_body(&spec, &[]);
        open_settings(body.host_config.get_or_insert_default());
        self.ensure_created_as(&spec, body).await?;
        let outcome = async {
            self.start(&name).await?;
            let code = self.wait(&name).await?;
            let lines: Vec<_> = self.logs(&name, LogOptions::default()).try_collect().await?;
            let mut text = String::new();
            for line in lines {
                text.push_str(&String::from_utf8_lossy(&line.bytes));
                if line.complete {
                    text.push('\n');
                }
            }
            Ok((text, code))
        }
        .await;
        self.remove(&name).await?;
        outcome
    }

    /// Makes the agent's container, or adopts the one that is the same; one of another build, or with other settings, is
    /// ended and replaced. It is not started.
    ///
    /// # Errors
    /// When Docker refuses, or a path cannot be said to Docker.
    pub async fn ensure_agent(&self, agent: &AgentContainer) -> Result<ContainerId, RuntimeError> {
        for path in [&agent.data_dir, &agent.socket] {
            // Docker's form of a bind is `source:target`.
            if path.to_str().is_none_or(|text| text.contains(':')) {
                let detail = "the path of the agent's state or socket must be UTF-8 and without a colon".to_owned();
                return Err(RuntimeError::Unexpected { what: path.display().to_string(), detail });
            }
        }
        let docker_socket = self.socket_for_containers();
        let spec = agent.spec(&docker_socket);
        let body = agent.body(&spec, &docker_socket);
        self.ensure_created_as(&spec, body).await
    }

    /// The variables that a container was made with; none if there is no such container.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn environment_of(&self, container: &str) -> Result<Vec<(String, String)>, RuntimeError> {
        let answer = within(ANSWER_TIME, self.client.inspect_container(container, None::<InspectContainerOptions>))
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError));
        let variables = match answer {
            Ok(answer) => answer.config.and_then(|config| config.env).unwrap_or_default(),
            Err(error) => match RuntimeError::judge(format!("inspect container {container}"), error) {
                error if error.is_absent() => Vec::new(),
                error => return Err(error),
            },
        };
        let pairs = variables.iter().filter_map(|variable| variable.split_once('='));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Where a container finds the engine's socket when its directory is mounted: the path with no link in it.
    fn socket_for_containers(&self) -> PathBuf {
        match self.address().strip_prefix("unix://") {
            Some(path) => std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path)),
            None => PathBuf::from(SOCKET_OF_ENGINE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentContainer {
        AgentContainer {
            image: "ecsnet:1".to_owned(),
            data_dir: PathBuf::from("/var/lib/ecsnet"),
            socket: PathBuf::from("/run/ecsnet/agent.sock"),
            environment: vec![("RUST_LOG".to_owned(), "debug".to_owned())],
        }
    }

    #[test]
    fn names_follow_the_data_directory_and_are_no_stack_s() {
        assert_eq!(name(Path::new("/var/lib/ecsnet")), "ecsnet-agent");
        let other = name(Path::new("/tmp/data"));
        assert!(other.starts_with("ecsnet.") && other.ends_with("-agent"), "{other}");
        assert_ne!(other, name(Path::new("/tmp/data2")));
        for name in [other.as_str(), "ecsnet-agent"] {
            assert_eq!(names::ContainerName::parse(name), None);
        }
    }

    #[test]
    fn docker_alone_brings_it_back_and_it_is_not_privileged() {
        let socket = Path::new("/run/docker.sock");
        let body = agent().body(&agent().spec(socket), socket);
        let host = body.host_config.unwrap();
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::UNLESS_STOPPED));
        assert_eq!((host.privileged, host.cap_drop), (Some(false), Some(vec!["ALL".to_owned()])));
        let cgroups = "/sys/fs/cgroup:/sys/fs/cgroup";
        assert_eq!(host.binds.unwrap(), ["/var/lib/ecsnet:/var/lib/ecsnet", "/run/ecsnet:/run/ecsnet", cgroups]);
        let mount = host.mounts.unwrap().remove(0);
        assert_eq!((mount.source.as_deref(), mount.read_only), (Some("/run"), Some(true)));
        assert_eq!(mount.bind_options.unwrap().non_recursive, Some(true));
        assert!(body.env.unwrap().contains(&"DOCKER_HOST=unix:///run/docker.sock".to_owned()));
    }

    #[test]
    fn a_directory_is_mounted_once() {
        let mut agent = agent();
        agent.socket = PathBuf::from("/run/agent.sock");
        let socket = Path::new("/run/docker.sock");
        let host = agent.body(&agent.spec(socket), socket).host_config.unwrap();
        assert_eq!(host.mounts, None);
    }
}
