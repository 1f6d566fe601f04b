//! A random owner, an image with a shell, and the removal of all that carries the owner's label.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent::runtime::labels::{Labels, Role};
use agent::runtime::{ContainerEvent, ContainerSpec, Docker, EventKind, EventStream};
use futures_util::StreamExt;

/// Means "broken", never "slow".
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One test's corner of Docker.
pub(crate) struct Lab {
    pub(crate) docker: Docker,
    pub(crate) owner: String,
    images: Vec<String>,
}

impl Lab {
    /// `None`, with a word, where Docker is not there.
    pub(crate) async fn new() -> Option<Self> {
        match Docker::connect().await {
            Ok(docker) => {
                let owner = format!("test-{:016x}", rand::random::<u64>());
                let image = format!("ecsnet-test/{owner}:1");
                let lab = Self { docker, owner, images: vec![image] };
                import_shell_image(lab.shell_image(), &lab.owner);
                Some(lab)
            }
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    /// A container with a shell that runs `script`.
    pub(crate) fn shell(&self, name: &str, script: &str) -> ContainerSpec {
        let mut spec = self.spec(name, self.shell_image());
        spec.entry_point = Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]);
        spec
    }

    /// An image with a shell that no other test has.
    pub(crate) fn shell_image(&self) -> &str {
        &self.images[0]
    }

    /// A container of `image` with this test's owner.
    pub(crate) fn spec(&self, name: &str, image: &str) -> ContainerSpec {
        let mut spec = ContainerSpec::new(format!("ecsnet-{}-{name}", self.owner), image, Role::App);
        spec.labels = Labels::new(&self.owner, Role::App).encode();
        spec
    }

    /// Creates and starts.
    pub(crate) async fn run(&self, spec: &ContainerSpec) {
        self.docker.ensure_created(spec).await.unwrap();
        self.docker.start(&spec.name).await.unwrap();
    }

    /// Has an image removed at the end.
    pub(crate) fn remove_image_later(&mut self, reference: &str) {
        self.images.push(reference.to_owned());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let filter = format!("label=ecsnet.owner={}", self.owner);
        let ids = docker_cli(&["ps", "-aq", "--filter", &filter]);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            docker_cli(&[&["rm", "-f", "-v"], &ids[..]].concat());
        }
        for image in &self.images {
            docker_cli(&["rmi", "-f", image]);
        }
    }
}

/// Docker's own command line, as the reader that knows nothing of ours.
pub(crate) fn docker_cli(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Imports an image with a static busybox. `marker` is a file in it, so that no two tests share a layer.
fn import_shell_image(name: &str, marker: &str) {
    let busybox = std::fs::read("/bin/busybox").expect("Debian's busybox-static is installed");
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in [("bin/busybox", &busybox[..]), ("marker", marker.as_bytes())] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content).unwrap();
    }
    for applet in ["sh", "cat", "echo", "sleep", "test", "rm", "touch", "stty", "id", "seq"] {
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        archive.append_link(&mut link, format!("bin/{applet}"), "busybox").unwrap();
    }
    let mut import = Command::new("docker");
    let mut import = import.args(["import", "-", name]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&archive.into_inner().unwrap()).unwrap();
    assert!(import.wait().unwrap().success());
}

/// Reads events until one fits.
pub(crate) async fn event(events: &mut EventStream, fits: impl Fn(&EventKind) -> bool) -> ContainerEvent {
    let mut seen = Vec::new();
    let search = async {
        while let Some(event) = events.next().await {
            if fits(&event.kind) {
                return event;
            }
            seen.push(event);
        }
        panic!("the events ended");
    };
    let found = tokio::time::timeout(DEADLINE, search).await;
    found.unwrap_or_else(|_| panic!("no such event among {seen:?}"))
}
