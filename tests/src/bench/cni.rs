//! The other side: the CNI chain bridge + portmap + firewall of Debian's containernetworking-plugins.
//!
//! Run as a container runtime runs it (CNI specification 1.0.0, section 4): one process for each plugin, the configuration
//! on stdin, each result handed to the next. All of it happens in a namespace of its own, bridge and iptables rules too.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netmodes::kernel::netns::Netns;
use netmodes::kernel::sysctl::{self, Sysctl};
use serde_json::{Value, json};

use super::Outcome;

/// Where Debian puts the plugins.
pub const PLUGINS: &str = "/usr/lib/cni";

/// A host namespace with a bridge that containers are attached to.
pub struct Chain {
    host: Netns,
    /// Where host-local keeps its leases.
    data: tempfile::TempDir,
}

impl Chain {
    /// A fresh host; the first attached container makes the bridge.
    ///
    /// # Errors
    /// When plugins or iptables are missing, or a namespace cannot be made.
    pub fn open() -> Outcome<Self> {
        for needed in ["bridge", "portmap", "firewall", "host-local"] {
            if !Path::new(PLUGINS).join(needed).exists() {
                return Err(
                    format!("{PLUGINS}/{needed} is missing: apt-get install containernetworking-plugins").into()
                );
            }
        }
        if Command::new("iptables").arg("--version").output().is_err() {
            return Err("iptables is missing: apt-get install iptables".into());
        }
        let host = Netns::anonymous()?;
        sysctl::ensure(&host, &[Sysctl::new("ipv4/ip_forward", "1")])?;
        Ok(Self { host, data: tempfile::tempdir()? })
    }

    /// Attaches a container with one mapped port: bridge, then portmap, then firewall.
    ///
    /// # Errors
    /// When a plugin refuses, with its own words.
    pub fn add(&self, number: u16, container: &Netns) -> Outcome<()> {
        let mut result = None;
        for plugin in self.plugins(number) {
            result = Some(self.run("ADD", &plugin, number, container, result)?);
        }
        Ok(())
    }

    /// Detaches it, in reverse.
    ///
    /// # Errors
    /// When a plugin refuses.
    pub fn remove(&self, number: u16, container: &Netns) -> Outcome<()> {
        for plugin in self.plugins(number).iter().rev() {
            self.run("DEL", plugin, number, container, None)?;
        }
        Ok(())
    }

    /// Nothing beyond what a container on a bridge with a mapped port needs; no masquerading, as ours has none here.
    fn plugins(&self, number: u16) -> [Value; 3] {
        let leases = self.data.path();
        [
            json!({ "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "ipam": {
                "type": "host-local", "dataDir": leases, "ranges": [[{ "subnet": "10.88.0.0/16" }]], "routes": [{ "dst": "0.0.0.0/0" }],
            }}),
            json!({ "type": "portmap", "capabilities": { "portMappings": true }, "runtimeConfig": { "portMappings": [
                { "hostPort": 20_000 + number, "containerPort": 8080, "protocol": "tcp" },
            ]}}),
            json!({ "type": "firewall", "backend": "iptables" }),
        ]
    }

    fn run(
        &self,
        command: &str,
        plugin: &Value,
        number: u16,
        container: &Netns,
        previous: Option<Value>,
    ) -> Outcome<Value> {
        let name = plugin["type"].as_str().unwrap_or_default();
        let mut configuration = plugin.clone();
        configuration["cniVersion"] = "1.0.0".into();
        configuration["name"] = "bench".into();
        if let Some(previous) = previous {
            configuration["prevResult"] = previous;
        }
        // Plugins take a path, and an anonymous namespace has none but this.
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), container.as_fd().as_raw_fd()));
        let mut process = Command::new(Path::new(PLUGINS).join(name));
        process
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", format!("bench-{number}"))
            .env("CNI_NETNS", path)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", PLUGINS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A child starts in the namespace of the thread that starts it.
        let output = self.host.run(|| {
            let mut child = process.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(configuration.to_string().as_bytes())?;
            }
            child.wait_with_output()
        })??;
        if !output.status.success() {
            let words = [output.stdout, output.stderr].concat();
            return Err(format!("CNI {command} of {name} failed: {}", String::from_utf8_lossy(&words)).into());
        }
        if output.stdout.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&output.stdout)?) }
    }
}
