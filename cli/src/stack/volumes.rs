//! Volumes of a task definition's document, and where its containers mount them (reference 2.5).

use std::collections::BTreeMap;
use std::path::Path;

use agent::spec::ids::ContainerName;
use agent::spec::problem::{Place, Problem};
use agent::spec::volume::{DockerVolume, MountPoint, Volume, VolumeScope, VolumeSource, VolumesFrom};

use super::local_file::Folders;
use super::read::Node;

/// What AWS stores elsewhere and this machine has no stand-in for.
const REFUSED: [&str; 3] =
    ["fsxWindowsFileServerVolumeConfiguration", "s3filesVolumeConfiguration", "configuredAtLaunch"];

/// Reads a definition's `volumes`.
pub(super) fn read(node: &Node<'_>, folders: Folders<'_>) -> Vec<Volume> {
    node.items().iter().filter_map(|n| volume(n, folders)).collect()
}

fn volume(node: &Node<'_>, folders: Folders<'_>) -> Option<Volume> {
    let known = [&["name", "host", "dockerVolumeConfiguration", "efsVolumeConfiguration"][..], &REFUSED].concat();
    if !node.has_only(&known) {
        return None;
    }
    let Some(name) = node.get("name") else {
        if node.lacks("name", &known) {
            node.error("ClientException", "a volume must have a `name`");
        }
        return None;
    };
    for key in REFUSED {
        if let Some(n) = node.get(key).filter(|n| n.value() != &serde_json::Value::Bool(false)) {
            n.not_emulated(&format!("`{key}`"), Some("a `host` or `dockerVolumeConfiguration` volume may stand in"));
        }
    }
    let source = if let Some(n) = node.get("dockerVolumeConfiguration") {
        docker(&n)?
    } else if let Some(n) = node.get("efsVolumeConfiguration") {
        efs(&n)?
    } else {
        host(node.get("host"), folders)?
    };
    Some(Volume { name: name.text()?.to_owned(), source })
}

fn host(node: Option<Node<'_>>, folders: Folders<'_>) -> Option<VolumeSource> {
    let Some(node) = node else { return Some(VolumeSource::Empty) };
    if !node.has_only(&["sourcePath"]) {
        return None;
    }
    let Some(n) = node.get("sourcePath") else { return Some(VolumeSource::Empty) };
    let path = n.text()?;
    if path.is_empty() {
        return Some(VolumeSource::Empty);
    }
    if !Path::new(path).is_absolute() {
        let here = std::path::absolute(folders.definition.join(path)).unwrap_or_default();
        n.error_with_hint(
            "ClientException",
            format!("`sourcePath` must be an absolute path, and `{path}` is not"),
            format!("for example {}", here.display()),
        );
        return None;
    }
    if path.contains(':') {
        n.error("ClientException", "Docker cannot mount a path with a `:` in it");
        return None;
    }
    // What this user may not look at may be there.
    if matches!(Path::new(path).try_exists(), Ok(false)) {
        let message =
            format!("`{path}` is not on this machine: Docker makes it when the task starts, an empty directory");
        n.note(Problem::warning(n.place(), "NoSuchFile", message));
    }
    Some(VolumeSource::Host { source_path: path.to_owned() })
}

fn docker(node: &Node<'_>) -> Option<VolumeSource> {
    if !node.has_only(&["scope", "autoprovision", "driver", "driverOpts", "labels"]) {
        return None;
    }
    let scope = node.get("scope").and_then(|n| n.word(&[("task", VolumeScope::Task), ("shared", VolumeScope::Shared)]));
    Some(VolumeSource::Docker(DockerVolume {
        scope: scope.unwrap_or(VolumeScope::Task),
        autoprovision: node.get("autoprovision").and_then(|n| n.boolean()).unwrap_or(false),
        driver: node.get("driver").and_then(|n| n.text()).filter(|driver| !driver.is_empty()).map(str::to_owned),
        driver_opts: node.get("driverOpts").map(|n| texts(&n)).unwrap_or_default(),
        labels: node.get("labels").map(|n| texts(&n)).unwrap_or_default(),
    }))
}

/// A mapping of texts.
pub(super) fn texts(node: &Node<'_>) -> BTreeMap<String, String> {
    let entries = node.entries().into_iter();
    entries.filter_map(|(key, n)| n.text().map(|value| (key.to_owned(), value.to_owned()))).collect()
}

fn efs(node: &Node<'_>) -> Option<VolumeSource> {
    let known = ["fileSystemId", "rootDirectory", "transitEncryption", "transitEncryptionPort", "authorizationConfig"];
    if !node.has_only(&known) {
        return None;
    }
    let Some(id) = node.get("fileSystemId") else {
        if node.lacks("fileSystemId", &known) {
            node.error("ClientException", "an `efsVolumeConfiguration` must have a `fileSystemId`");
        }
        return None;
    };
    let file_system_id = id.text()?.to_owned();
    if file_system_id.is_empty() || !file_system_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        id.error_with_hint(
            "ClientException",
            format!("`{file_system_id}` is not the id of a file system"),
            "for example fs-0123456789abcdef0",
        );
        return None;
    }
    let message = format!(
        "a directory of this machine stands in for the file system `{file_system_id}`: efs/{file_system_id} in the agent's data directory; it outlives the stack"
    );
    node.note(Problem::warning(Place { at_key: true, ..node.place() }, "StandIn", message));
    let root = node.get("rootDirectory").and_then(|n| n.text()).unwrap_or("/");
    Some(VolumeSource::Efs { file_system_id, root_directory: root.to_owned() })
}

/// Reads a container's `mountPoints`.
pub(super) fn mount_points(node: &Node<'_>) -> Vec<MountPoint> {
    let known = ["sourceVolume", "containerPath", "readOnly"];
    let mut points = Vec::new();
    for n in node.items() {
        if !n.has_only(&known) {
            continue;
        }
        for key in ["sourceVolume", "containerPath"].into_iter().filter(|key| n.lacks(key, &known)) {
            n.error("ClientException", format!("a mount point must have a `{key}`"));
        }
        let path = n.get("containerPath").and_then(|n| absolute(&n));
        if let (Some(volume), Some(container_path)) = (n.get("sourceVolume").and_then(|n| n.text()), path) {
            points.push(MountPoint { source_volume: volume.to_owned(), container_path, read_only: read_only(&n) });
        }
    }
    points
}

/// A path in a container.
pub(super) fn absolute(node: &Node<'_>) -> Option<String> {
    let path = node.text()?;
    if !path.starts_with('/') {
        node.error("ClientException", format!("a path in a container must be absolute, and `{path}` is not"));
        return None;
    }
    Some(path.to_owned())
}

fn read_only(node: &Node<'_>) -> bool {
    node.get("readOnly").and_then(|n| n.boolean()).unwrap_or(false)
}

/// Reads a container's `volumesFrom`.
pub(super) fn volumes_from(node: &Node<'_>) -> Vec<VolumesFrom> {
    let known = ["sourceContainer", "readOnly"];
    let mut sources = Vec::new();
    for n in node.items() {
        if !n.has_only(&known) {
            continue;
        }
        if n.lacks("sourceContainer", &known) {
            n.error("ClientException", "an entry of `volumesFrom` must have a `sourceContainer`");
        }
        if let Some(name) = n.get("sourceContainer").and_then(|n| n.text()) {
            sources.push(VolumesFrom { source_container: ContainerName::new(name), read_only: read_only(&n) });
        }
    }
    sources
}
