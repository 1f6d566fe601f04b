//! Docker's own command line, as the other side and as the floor; all that it starts carries a name and is removed.

use std::process::{Command, Stdio};

use super::Outcome;

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
