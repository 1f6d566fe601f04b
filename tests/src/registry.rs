//! A registry of Debian's, on loopback, for one test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::eventually::eventually;
use crate::lab::Lab;

/// A running registry.
pub struct Registry {
    process: Child,
    /// Where it listens, as image names begin.
    pub address: SocketAddr,
}

impl Registry {
    /// Starts one that is open to all, or to those in this line of an htpasswd file.
    pub fn start(lab: &Lab, users: Option<&str>) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let data = lab.dir().join("registry");
        let auth = users.map(|users| {
            let file = lab.write("htpasswd", users);
            format!("auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n", file.display())
        });
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n{}",
            data.display(),
            auth.unwrap_or_default()
        );
        let config = lab.write("registry.yml", &config);
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { process: command.spawn().expect("docker-registry is installed"), address };
        eventually("the registry answers", || TcpStream::connect(address));
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
