//! A user without root, who may use Docker or not.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::definition::{task, waiting, with};
use crate::lab::{Answer, Lab, binary, idle};

/// What a shell of theirs asks with.
pub const PROMPT: &str = "% ";
/// Nobody, who has no home and owns nothing.
pub const USER: u32 = 65534;

/// Two services, of which one may reach the other.
pub fn stack() -> String {
    let web = with(waiting("app"), json!({ "command": ["trap 'exit 0' TERM; echo ready; sleep 100000 & wait"] }));
    format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders] }}
  orders: {{ taskDefinition: {} }}
",
        task("web", &[web]),
        idle("orders", &[8080])
    )
}

/// A test's place as a user without root sees it, who may use Docker or not.
pub struct User {
    /// The test's place, as root sees it.
    pub lab: Lab,
    /// Their copy of the binary.
    pub binary: PathBuf,
    may_use_docker: bool,
}

impl User {
    /// A place of a user's; no agent runs yet.
    pub fn new(may_use_docker: bool) -> Self {
        let lab = Lab::without_agent();
        // A directory of a test's own is closed to others, and so may be the one of the binary.
        std::fs::set_permissions(lab.dir(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let copy = lab.dir().join("ecsnet");
        std::fs::copy(binary(), &copy).expect("as a test needs it");
        Self { lab, binary: copy, may_use_docker }
    }

    /// The binary as the user runs it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command_named("setpriv");
        command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string()]);
        match self.may_use_docker {
            true => command.args(["--groups", &group_of_docker().to_string()]),
            false => command.arg("--clear-groups"),
        };
        command.arg(&self.binary).args(arguments);
        command
            .env("ECSNET_SOCKET", self.lab.socket())
            .env("ECSNET_DATA_DIR", self.lab.data_dir())
            .env("ECSNET_HEALTHY_AFTER", "1")
            .env("NO_COLOR", "1")
            .env("HOME", "/nonexistent")
            .env("PS1", PROMPT)
            .current_dir("/tmp");
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        self.command(arguments).output().expect("as a test needs it").into()
    }

    /// Runs the binary, which must succeed; its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "ecsnet {arguments:?}: {answer:#?}\nagent: {}", self.lab.agent_log());
        answer.stdout
    }

    /// Brings [`stack`] up.
    pub fn up(&self) {
        let file = self.lab.write("stack.yaml", &stack().replace("{name}", &self.lab.stack));
        self.ok(&["up", file.to_str().expect("as a test needs it"), "--timeout", "60s"]);
    }
}

/// The group that owns Docker's socket.
pub fn group_of_docker() -> u32 {
    std::fs::metadata("/var/run/docker.sock").expect("as a test needs it").gid()
}

/// Docker's own command line, as root; it must succeed.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker runs");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
