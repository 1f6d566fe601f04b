//! The task metadata endpoint as a container meets it: a request from inside its netns, and the variables that lead there.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, Task};
use crate::probe::inside;

/// Where the endpoint is, for every container that can ask.
pub const ENDPOINT: &str = "169.254.170.2:80";
/// Longer than the front waits for the agent.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answered {
    /// The body of an answer with this status.
    ///
    /// # Panics
    /// When it is another status, or no JSON.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Asks from inside a task's netns. An error is that there is no way there.
///
/// # Errors
/// As connecting and reading do.
pub fn ask(from: &Task, method: &str, path: &str, body: &str) -> std::io::Result<Answered> {
    let address: SocketAddr = ENDPOINT.parse().expect("an address");
    let mut stream = inside(from, || TcpStream::connect_timeout(&address, Duration::from_secs(1)))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: 169.254.170.2\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    Ok(Answered { status, body: body.to_owned() })
}

/// `GET`, which must reach somebody.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn get(from: &Task, path: &str) -> Answered {
    ask(from, "GET", path, "").expect("an answer")
}

/// The environment of a task's container; of its first one without a name.
pub fn environment(lab: &Lab, task: &Task, container: Option<&str>) -> BTreeMap<String, String> {
    let chosen = container.map_or(vec![], |name| vec!["-c", name]);
    let text = lab.ok(&[&["exec", &task.id], chosen.as_slice(), &["--", "/bin/env"]].concat());
    text.lines().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// The path of a container's endpoint in version 4, `/v4/ID`.
pub fn path(lab: &Lab, task: &Task, container: Option<&str>) -> String {
    environment(lab, task, container)["ECS_CONTAINER_METADATA_URI_V4"].replace("http://169.254.170.2", "")
}
