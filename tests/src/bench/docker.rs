//! Docker's own command line, as the other side and as the floor; all that it starts carries a name and is removed.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Outcome;

/// What a container of an [`Image`] runs; `pause` waits for a signal.
pub const COMMAND: [&str; 2] = ["/ecsnet", "pause"];

/// Runs `docker` and gives what it printed.
///
/// # Errors
/// When it fails, with its own words.
pub fn docker(arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("docker {} failed: {words}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Containers that go with this value.
#[derive(Default)]
pub struct Containers {
    names: Vec<String>,
}

impl Containers {
    /// `docker run -d` with these arguments; back when Docker says that it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&mut self, name: &str, arguments: &[&str]) -> Outcome<()> {
        self.names.push(name.to_owned());
        docker(&[&["run", "-d", "--name", name], arguments].concat()).map(drop)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for name in self.names.iter().rev() {
            let _ = docker(&["rm", "-f", name]);
        }
    }
}

/// An image that goes with this value.
pub struct Image {
    /// Its name in Docker.
    pub name: String,
}

impl Image {
    /// The static binary alone on an empty root, as the agent makes its own.
    ///
    /// # Errors
    /// When `ECSNET_BIN` is not set, or the image cannot be made.
    pub fn import(name: &str) -> Outcome<Self> {
        let binary = std::env::var("ECSNET_BIN").map_err(|_| "ECSNET_BIN is not set: run this by `make bench`")?;
        let root = tempfile::tempdir()?;
        std::fs::copy(&binary, root.path().join("ecsnet"))?;
        let archive = root.path().join("root.tar");
        let made = Command::new("tar")
            .args(["--owner=0", "--group=0", "--numeric-owner", "-C"])
            .arg(root.path())
            .arg("-cf")
            .arg(&archive)
            .arg("ecsnet")
            .status()?;
        if !made.success() {
            return Err(format!("cannot make the image of {}: {made}", Path::new(&binary).display()).into());
        }
        docker(&["import", &archive.display().to_string(), name])?;
        Ok(Self { name: name.to_owned() })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = docker(&["rmi", "-f", &self.name]);
    }
}
