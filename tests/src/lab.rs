//! A place for one test: an agent of its own, stacks with random names, and a look for leaks at the end.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;

/// The image of the example's services; `make image-shop` makes it. `stock` idles and listens on loopback only.
pub const IMAGE: &str = "ecsnet-example/shop:latest";

/// The binary under test: `ECSNET_BIN`, else the debug build.
pub fn binary() -> PathBuf {
    match std::env::var_os("ECSNET_BIN") {
        Some(path) => path.into(),
        None => {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
            target.join(format!("{}-unknown-linux-gnu/debug/ecsnet", std::env::consts::ARCH))
        }
    }
}

/// What the binary answered.
#[derive(Debug)]
pub struct Answer {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// One test's place.
pub struct Lab {
    dir: TempDir,
    agent: Option<Child>,
    in_container: bool,
    environment: Vec<(String, String)>,
    /// A random stack name.
    pub stack: String,
}

impl Lab {
    /// A place with a running agent.
    pub fn new() -> Self {
        let mut lab = Self::without_agent();
        lab.start_agent();
        lab
    }

    /// A place whose agent is started later, by the test or by the command line.
    pub fn without_agent() -> Self {
        let dir = tempfile::Builder::new().prefix("ecsnet-e2e-").tempdir().expect("a directory");
        let stack = format!("t{:08x}", rand::random::<u32>());
        let in_container = std::env::var("ECSNET_TEST_AGENT").is_ok_and(|how| how == "container");
        Self { dir, agent: None, in_container, environment: Vec::new(), stack }
    }

    /// Has the agent be a process of this test's, whatever `ECSNET_TEST_AGENT` says.
    ///
    /// Agents are that by default, as it is quicker; with `ECSNET_TEST_AGENT=container` they are started as the command line
    /// does it for users.
    pub fn agent_in_foreground(&mut self) {
        self.in_container = false;
    }

    /// Sets a variable for the agent and the command line from now on, for example `DOCKER_HOST`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(n, _)| n != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The test's own directory; the agent's data is in `data`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The agent's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("agent.sock")
    }

    /// The binary, told where this test's agent is.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .env("ECSNET_SOCKET", self.socket())
            .env("ECSNET_DATA_DIR", self.data_dir())
            .env("ECSNET_HEALTHY_AFTER", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }

    /// Another program, which reaches the same Docker.
    pub fn command_named(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(n, v)| (n, v))).stdin(Stdio::null());
        command
    }

    /// The process that answers on the agent's socket, whoever started it.
    pub fn agent_pid(&self) -> Option<i32> {
        listener(&self.socket())
    }

    /// Sends a signal to the agent.
    pub fn signal_agent(&self, signal: nix::sys::signal::Signal) {
        let pid = self.agent_pid().expect("an agent");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("root may");
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        self.command().args(arguments).output().expect("the binary runs").into()
    }

    /// Runs the binary, which must succeed; its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "ecsnet {arguments:?}: {answer:#?}\nagent: {}", self.agent_log());
        answer.stdout
    }

    /// Starts the agent and waits until it answers.
    pub fn start_agent(&mut self) {
        self.spawn_agent(None);
        eventually("the agent answers", || self.agent_answers());
    }

    /// Starts an agent that kills itself at a point, for example `before:LinkEni`; it may be gone at once.
    pub fn start_agent_that_crashes(&mut self, point: &str) {
        self.spawn_agent(Some(point));
    }

    fn spawn_agent(&mut self, crash_at: Option<&str>) {
        if self.in_container {
            let mut command = self.command();
            command.arg("agent");
            if let Some(point) = crash_at {
                command.env("ECSNET_CRASH_AT", point);
            }
            let answer = Answer::from(command.output().expect("the binary runs"));
            assert!(answer.code == 0 || crash_at.is_some(), "{answer:?}");
            return;
        }
        let log = std::fs::File::options().create(true).append(true).open(self.dir().join("agent.log")).expect("a log");
        let mut command = self.command();
        command.args(["agent", "--foreground"]).stdout(log.try_clone().expect("a log")).stderr(log);
        if let Some(point) = crash_at {
            command.env("ECSNET_CRASH_AT", point);
        }
        // SAFETY: prctl is async-signal-safe and touches nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
                Ok(())
            });
        }
        self.agent = Some(command.spawn().expect("the agent starts"));
    }

    fn agent_answers(&self) -> Result<(), String> {
        match std::os::unix::net::UnixStream::connect(self.socket()) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}; its log: {}", self.agent_log())),
        }
    }

    /// `kill -9`.
    pub fn kill_agent(&mut self) {
        if self.in_container
            && let Some(id) = self.agent_container()
        {
            let _ = self.command_named("docker").args(["rm", "-f", &id]).output();
        }
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    /// Whether the agent has ended, and how.
    pub fn agent_ended(&mut self) -> Option<ExitStatus> {
        if self.in_container {
            // Docker starts it again and keeps the count; one that ended before it ever answered is gone.
            let Some(id) = self.agent_container() else { return Some(ExitStatus::from_raw(9)) };
            let format = "{{.State.Running}} {{.RestartCount}}";
            let state = self.command_named("docker").args(["inspect", "--format", format, &id]).output();
            let state = String::from_utf8_lossy(&state.expect("docker runs").stdout).trim().to_owned();
            return (state != "true 0").then(|| ExitStatus::from_raw(9));
        }
        self.agent.as_mut().and_then(|agent| agent.try_wait().ok().flatten())
    }

    /// Whether the agent ended by SIGKILL, as one that crashes at a point does.
    pub fn agent_was_killed(&mut self) -> bool {
        self.agent_ended().is_some_and(|status| status.signal() == Some(9))
    }

    /// What the agent logged.
    pub fn agent_log(&self) -> String {
        let own = std::fs::read_to_string(self.dir().join("agent.log")).unwrap_or_default();
        let in_docker = self.agent_container().map(|id| {
            let log = self.command_named("docker").args(["logs", &id]).output().expect("docker runs");
            String::from_utf8_lossy(&log.stderr).into_owned()
        });
        own + &in_docker.unwrap_or_default()
    }

    /// The container of an agent that the command line started, running or not.
    pub fn agent_container(&self) -> Option<String> {
        let label = format!("label=ecsnet.owner=agent of {}", self.data_dir().display());
        let output = self.command_named("docker").args(["ps", "-aq", "--no-trunc", "--filter", &label]).output();
        let output = String::from_utf8_lossy(&output.expect("docker runs").stdout).trim().to_owned();
        (!output.is_empty()).then_some(output)
    }

    /// Writes a file into the test's directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Brings a stack up (`{name}` in the text is the random name) and waits until it is steady.
    pub fn up(&self, stack: &str) -> String {
        let path = self.write("stack.yaml", &stack.replace("{name}", &self.stack));
        self.ok(&["up", path.to_str().expect("UTF-8"), "--timeout", "120s"])
    }

    /// Tasks that are not STOPPED, as DescribeTasks shows them.
    pub fn tasks(&self) -> Vec<Value> {
        let mut tasks = self.all_tasks();
        tasks.retain(|task| task["lastStatus"] != "STOPPED");
        tasks
    }

    /// Tasks with the STOPPED ones.
    pub fn all_tasks(&self) -> Vec<Value> {
        let text = self.ok(&["ps", "--all", "--output", "json"]);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        value["tasks"].as_array().cloned().unwrap_or_default()
    }

    /// The tasks of a service that should run and are RUNNING.
    pub fn running(&self, service: &str) -> Vec<Task> {
        let tasks = self.tasks();
        let running = tasks.iter().filter(|t| {
            t["ecsnet"]["service"] == service && t["lastStatus"] == "RUNNING" && t["desiredStatus"] == "RUNNING"
        });
        running.map(Task::read).collect()
    }

    /// The only RUNNING task of a service.
    pub fn one(&self, service: &str) -> Task {
        let mut running = self.running(service);
        assert_eq!(running.len(), 1, "{service}: {:#?}", self.tasks());
        running.swap_remove(0)
    }

    /// The container instances, as `inspect` shows them.
    pub fn instances(&self) -> Vec<Value> {
        let text = self.ok(&["instance", "list", "--output", "json"]);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        value["containerInstances"].as_array().cloned().unwrap_or_default()
    }

    /// Volumes of this test's tasks.
    pub fn volumes(&self) -> Vec<String> {
        let output = Command::new("docker")
            .args(["volume", "ls", "-q", "--filter", &format!("label=ecsnet.stack={}", self.stack)])
            .envs(self.environment.iter().map(|(n, v)| (n, v)))
            .output()
            .expect("docker runs");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Names of the containers that this test's agent owns, running or not.
    pub fn containers(&self) -> Vec<String> {
        let output = Command::new("docker")
            .args(["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("name={}", self.stack)])
            .envs(self.environment.iter().map(|(n, v)| (n, v)))
            .output()
            .expect("docker runs");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Brings everything down and checks that nothing is left.
    pub fn down(&self) {
        self.ok(&["down", "--all"]);
        self.assert_no_leak();
    }

    /// Fails when anything of this test is left in Docker or on disk.
    pub fn assert_no_leak(&self) {
        assert_eq!(self.containers(), Vec::<String>::new(), "containers are left");
        assert_eq!(self.volumes(), Vec::<String>::new(), "volumes are left");
        let stacks = self.data_dir().join("stacks");
        let left: Vec<_> =
            std::fs::read_dir(stacks).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
        assert_eq!(left, Vec::<PathBuf>::new(), "directories are left");
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("stack {}; the agent's log:\n{}", self.stack, self.agent_log());
        }
        self.kill_agent();
        // An agent that the command line started, which Docker would start again.
        if let Some(id) = self.agent_container() {
            let _ = self.command_named("docker").args(["rm", "-f", &id]).output();
        }
        let left = self.containers();
        if !left.is_empty() {
            let _ = Command::new("docker")
                .args(["rm", "-f", "-v"])
                .args(&left)
                .envs(self.environment.iter().map(|(n, v)| (n, v)))
                .output();
            left.iter().for_each(|name| remove_cgroups(name));
            assert!(std::thread::panicking(), "the test ended with containers left: {left:?}; call `down`");
        }
        let volumes = self.volumes();
        if !volumes.is_empty() {
            let _ = Command::new("docker")
                .args(["volume", "rm"])
                .args(&volumes)
                .envs(self.environment.iter().map(|(n, v)| (n, v)))
                .output();
        }
    }
}

/// Removes the parent cgroup of the task that a container's name tells, which Docker leaves behind.
fn remove_cgroups(container: &str) {
    let is_task = |part: &&str| part.len() == 32 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let Some(task) = container.split(['-', '.']).find(is_task) else { return };
    for tree in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(tree.path().join("ecs").join(task));
    }
}

/// The process that listens on a socket, by its credentials.
fn listener(socket: &Path) -> Option<i32> {
    let stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).ok()?;
    Some(peer.pid())
}

/// A task, as far as tests ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// 32 hex digits.
    pub id: String,
    /// Its address.
    pub address: String,
    /// Its zone.
    pub zone: String,
    /// `/proc/<pid>/ns/net`.
    pub netns: String,
    /// `awsvpc`, `bridge`, `host` or `none`.
    pub mode: String,
    /// The ports of its instance that lead to it.
    pub host_ports: Vec<u16>,
    /// The end of its container instance's ARN; empty where it has none.
    pub instance: String,
}

impl Task {
    fn read(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            id: text(&value["ecsnet"]["taskId"]),
            address: text(&value["ecsnet"]["address"]),
            zone: text(&value["ecsnet"]["zone"]),
            netns: text(&value["ecsnet"]["netns"]),
            mode: text(&value["ecsnet"]["networkMode"]),
            host_ports: value["ecsnet"]["hostPorts"]
                .as_array()
                .map(|ports| ports.iter().filter_map(|p| u16::try_from(p.as_u64()?).ok()).collect())
                .unwrap_or_default(),
            instance: text(&value["containerInstanceArn"]).rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }
}

/// An inline task definition whose one container idles: its ports are opened by the test itself, from inside.
pub fn idle(family: &str, ports: &[u16]) -> String {
    let mappings: Vec<String> = ports.iter().map(|p| format!("{{ containerPort: {p} }}")).collect();
    format!(
        "{{ family: {family}, networkMode: awsvpc, containerDefinitions: [ {{ name: app, image: \"{IMAGE}\", command: [stock], memory: 64, portMappings: [ {} ] }} ] }}",
        mappings.join(", ")
    )
}
