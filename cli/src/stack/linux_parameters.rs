//! `linuxParameters`, `systemControls` and `restartPolicy` of a container definition (reference 2.2, 2.9).

use std::time::Duration;

use agent::spec::ids::NetworkMode;
use agent::spec::problem::{Place, Problem};
use agent::spec::task_definition::{Device, RestartPolicy, Tmpfs};

use super::read::Node;
use super::task_definition::Attachment;
use super::volumes;

/// `linuxParameters` as they were read; all absent when the definition has none.
#[derive(Debug, Default)]
pub(super) struct LinuxParameters {
    pub(super) capabilities_add: Vec<String>,
    pub(super) capabilities_drop: Vec<String>,
    pub(super) devices: Vec<Device>,
    pub(super) init_process_enabled: bool,
    pub(super) shared_memory_size: Option<u32>,
    pub(super) tmpfs: Vec<Tmpfs>,
    pub(super) max_swap: Option<u32>,
    pub(super) swappiness: Option<u32>,
}

/// Reads `linuxParameters`.
pub(super) fn read(node: &Node<'_>) -> LinuxParameters {
    let known = ["capabilities", "initProcessEnabled", "devices", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness"];
    if !node.has_only(&known) {
        return LinuxParameters::default();
    }
    if let (Some(n), None) = (node.get("swappiness"), node.get("maxSwap")) {
        let place = Place { at_key: true, ..n.place() };
        let message = "`swappiness` does nothing without `maxSwap`, as in ECS";
        n.note(Problem::warning(place, "NoEffect", message));
    }
    let capabilities = node.get("capabilities").filter(|n| n.has_only(&["add", "drop"]));
    let names = |key: &str| capabilities.as_ref().and_then(|n| n.get(key)).map(|n| n.texts()).unwrap_or_default();
    let mib = |key: &str| node.get(key).and_then(|n| n.number_in(0..=i32::MAX as u32));
    LinuxParameters {
        capabilities_add: names("add"),
        capabilities_drop: names("drop"),
        devices: node.get("devices").map(|n| n.items().iter().filter_map(device).collect()).unwrap_or_default(),
        init_process_enabled: node.get("initProcessEnabled").and_then(|n| n.boolean()).unwrap_or(false),
        // Docker takes 0 for "not given" here.
        shared_memory_size: mib("sharedMemorySize").filter(|size| *size > 0),
        tmpfs: node.get("tmpfs").map(|n| n.items().iter().filter_map(tmpfs).collect()).unwrap_or_default(),
        max_swap: mib("maxSwap"),
        swappiness: node.get("swappiness").and_then(|n| n.number_in(0..=100)),
    }
}

fn device(node: &Node<'_>) -> Option<Device> {
    let known = ["hostPath", "containerPath", "permissions"];
    if !node.has_only(&known) {
        return None;
    }
    let Some(host_path) = node.get("hostPath") else {
        if node.lacks("hostPath", &known) {
            node.error("ClientException", "a device must have a `hostPath`");
        }
        return None;
    };
    let path = host_path.text()?;
    if matches!(std::path::Path::new(path).try_exists(), Ok(false)) {
        host_path.error("NoSuchFile", format!("there is no device `{path}` on this machine"));
    }
    let words = [("read", "read"), ("write", "write"), ("mknod", "mknod")];
    let permissions = node.get("permissions").map(|n| n.items()).unwrap_or_default();
    Some(Device {
        host_path: path.to_owned(),
        container_path: node.get("containerPath").and_then(|n| volumes::absolute(&n)),
        permissions: permissions.iter().filter_map(|n| n.word(&words)).map(str::to_owned).collect(),
    })
}

fn tmpfs(node: &Node<'_>) -> Option<Tmpfs> {
    let known = ["containerPath", "size", "mountOptions"];
    if !node.has_only(&known) {
        return None;
    }
    for key in ["containerPath", "size"].into_iter().filter(|key| node.lacks(key, &known)) {
        node.error("ClientException", format!("a `tmpfs` must have a `{key}`"));
    }
    Some(Tmpfs {
        container_path: node.get("containerPath").and_then(|n| volumes::absolute(&n))?,
        size: node.get("size").and_then(|n| n.number_in(1..=i32::MAX as u32))?,
        mount_options: node.get("mountOptions").map(|n| n.texts()).unwrap_or_default(),
    })
}

/// Reads `systemControls`; those of the network are the instance's own in host mode, where a flag that chose it drops them.
pub(super) fn system_controls(node: &Node<'_>, attachment: Attachment) -> Vec<(String, String)> {
    let known = ["namespace", "value"];
    let mut controls = Vec::new();
    for n in node.items() {
        if !n.has_only(&known) {
            continue;
        }
        for key in known.into_iter().filter(|key| n.lacks(key, &known)) {
            n.error("ClientException", format!("a system control must have a `{key}`"));
        }
        let (name, value) = (n.get("namespace").and_then(|n| n.text()), n.get("value").and_then(|n| n.text()));
        if let Some(name) = name.filter(|name| name.starts_with("net."))
            && attachment.is_overridden()
            && attachment.mode == NetworkMode::Host
        {
            let message = format!("`{name}` is dropped: in host mode it would change the instance's own network");
            n.note(Problem::note(n.place(), "Overridden", message));
            continue;
        }
        if let (Some(name), Some(value)) = (name, value) {
            controls.push((name.to_owned(), value.to_owned()));
        }
    }
    controls
}

/// Reads a `restartPolicy`.
pub(super) fn restart_policy(node: &Node<'_>) -> Option<RestartPolicy> {
    let known = ["enabled", "ignoredExitCodes", "restartAttemptPeriod"];
    if !node.has_only(&known) {
        return None;
    }
    if node.lacks("enabled", &known) {
        node.error("ClientException", "a `restartPolicy` must say whether it is `enabled`");
    }
    let seconds = node.get("restartAttemptPeriod").and_then(|n| n.number_in(0..=i32::MAX as u32)).unwrap_or(300);
    let codes = node.get("ignoredExitCodes").map(|n| n.items()).unwrap_or_default();
    Some(RestartPolicy {
        enabled: node.get("enabled").and_then(|n| n.boolean())?,
        ignored_exit_codes: codes.iter().filter_map(|n| n.number()).collect(),
        restart_attempt_period: Duration::from_secs(seconds.into()),
    })
}
