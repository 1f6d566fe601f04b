//! A container definition of a task definition's document (reference 2.2–2.4, 1.10).

use std::collections::BTreeMap;
use std::time::Duration;

use agent::spec::ids::ContainerName;
use agent::spec::problem::{Place, Problem};
use agent::spec::task_definition::{Condition, ContainerDefinition, Dependency, HealthCheck, Ulimit};

use super::container_network::{self, NOT_IN_AWSVPC};
use super::read::Node;
use super::task_definition::{Attachment, Surroundings, note_without_effect};
use super::{environment_file, linux_parameters, volumes};

const CONTAINER: &[&str] = &[
    "name",
    "image",
    "essential",
    "command",
    "entryPoint",
    "workingDirectory",
    "user",
    "environment",
    "cpu",
    "memory",
    "memoryReservation",
    "portMappings",
    "dependsOn",
    "healthCheck",
    "startTimeout",
    "stopTimeout",
    "readonlyRootFilesystem",
    "pseudoTerminal",
    "interactive",
    "linuxParameters",
    "ulimits",
    "dockerLabels",
    "environmentFiles",
    "secrets",
    "restartPolicy",
    "mountPoints",
    "volumesFrom",
    "privileged",
    "dockerSecurityOptions",
    "systemControls",
    "logConfiguration",
];
const CONTAINER_WITHOUT_EFFECT: &[&str] =
    &["firelensConfiguration", "repositoryCredentials", "resourceRequirements", "credentialSpecs"];

/// Reads one container; None only if it is no mapping.
pub(super) fn read(
    node: &Node<'_>,
    attachment: Attachment,
    surroundings: &Surroundings<'_, '_>,
) -> Option<ContainerDefinition> {
    let known = [CONTAINER, NOT_IN_AWSVPC, CONTAINER_WITHOUT_EFFECT, &["versionConsistency"]].concat();
    if !node.has_only(&known) {
        return None;
    }
    note_without_effect(node, CONTAINER_WITHOUT_EFFECT);
    let required = |key: &str| match node.get(key) {
        // Of another type: noted, and this stands in.
        Some(n) => n.text().unwrap_or("unnamed").to_owned(),
        None if node.lacks(key, &known) => String::new(),
        None => "unnamed".to_owned(),
    };
    let name = required("name");
    let text = |key: &str| node.get(key).and_then(|n| n.text()).map(str::to_owned);
    // Describe prints an empty list for what was not given; to Docker that would be an answer.
    let texts = |key: &str| node.get(key).map(|n| n.texts()).filter(|texts| !texts.is_empty());
    let flag = |key: &str, default: bool| node.get(key).and_then(|n| n.boolean()).unwrap_or(default);
    let number = |key: &str| node.get(key).and_then(|n| n.number_in(0..=i32::MAX as u32));
    let linux = node.get("linuxParameters").map(|n| linux_parameters::read(&n)).unwrap_or_default();
    let network = container_network::read(node, &name, attachment);
    let stub = surroundings.stubs.contains(name.as_str());
    // What is not on this machine must not keep a stub from standing in.
    let files = node.get("environmentFiles").filter(|_| !stub);
    let (environment_files, mut variables) =
        files.map(|n| environment_file::read(&n, surroundings.folders)).unwrap_or_default();
    variables.extend(node.get("environment").map(|n| environment(&n)).unwrap_or_default());
    Some(ContainerDefinition {
        image: required("image"),
        essential: flag("essential", true),
        command: texts("command"),
        entry_point: texts("entryPoint"),
        working_directory: text("workingDirectory"),
        user: text("user"),
        environment: variables,
        cpu: number("cpu").unwrap_or(0),
        memory: number("memory"),
        memory_reservation: number("memoryReservation"),
        port_mappings: network.port_mappings,
        links: network.links,
        hostname: network.hostname,
        extra_hosts: network.extra_hosts,
        dns_servers: network.dns_servers,
        dns_search_domains: network.dns_search_domains,
        disable_networking: network.disable_networking,
        depends_on: node.get("dependsOn").map(|n| dependencies(&n)).unwrap_or_default(),
        health_check: node.get("healthCheck").and_then(|n| health_check(&n)),
        start_timeout: number("startTimeout"),
        stop_timeout: number("stopTimeout"),
        readonly_root_filesystem: flag("readonlyRootFilesystem", false),
        pseudo_terminal: flag("pseudoTerminal", false),
        interactive: flag("interactive", false),
        init_process_enabled: linux.init_process_enabled,
        capabilities_add: linux.capabilities_add,
        capabilities_drop: linux.capabilities_drop,
        devices: linux.devices,
        shared_memory_size: linux.shared_memory_size,
        tmpfs: linux.tmpfs,
        max_swap: linux.max_swap,
        swappiness: linux.swappiness,
        ulimits: node.get("ulimits").map(|n| ulimits(&n)).unwrap_or_default(),
        docker_labels: node.get("dockerLabels").map(|n| volumes::texts(&n)).unwrap_or_default(),
        environment_files,
        secrets: node.get("secrets").map(|n| surroundings.secrets.read(&n, stub)).unwrap_or_default(),
        restart_policy: node.get("restartPolicy").and_then(|n| linux_parameters::restart_policy(&n)),
        mount_points: node.get("mountPoints").map(|n| volumes::mount_points(&n)).unwrap_or_default(),
        volumes_from: node.get("volumesFrom").map(|n| volumes::volumes_from(&n)).unwrap_or_default(),
        privileged: flag("privileged", false),
        docker_security_options: texts("dockerSecurityOptions").unwrap_or_default(),
        system_controls: node
            .get("systemControls")
            .map(|n| linux_parameters::system_controls(&n, attachment))
            .unwrap_or_default(),
        log_options: node.get("logConfiguration").map(|n| log_options(&n)).unwrap_or_default(),
        stub,
        name: ContainerName::new(name),
    })
}

fn environment(node: &Node<'_>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for n in node.items() {
        if !n.has_only(&["name", "value"]) {
            continue;
        }
        let Some(name) = n.get("name").and_then(|n| n.text()) else {
            if n.lacks("name", &["name", "value"]) {
                n.error("ClientException", "an environment variable must have a `name`");
            }
            continue;
        };
        let value = n.get("value").and_then(|n| n.text()).unwrap_or_default();
        variables.push((name.to_owned(), value.to_owned()));
    }
    variables
}

fn dependencies(node: &Node<'_>) -> Vec<Dependency> {
    let known = ["containerName", "condition"];
    let mut dependencies = Vec::new();
    for n in node.items() {
        if !n.has_only(&known) {
            continue;
        }
        for key in known.into_iter().filter(|key| n.lacks(key, &known)) {
            n.error("ClientException", format!("an entry of `dependsOn` must have a `{key}`"));
        }
        let condition = n.get("condition").and_then(|n| {
            n.word(&[
                ("START", Condition::Start),
                ("COMPLETE", Condition::Complete),
                ("SUCCESS", Condition::Success),
                ("HEALTHY", Condition::Healthy),
            ])
        });
        let name = n.get("containerName").and_then(|n| n.text());
        if let (Some(name), Some(condition)) = (name, condition) {
            dependencies.push(Dependency { container_name: ContainerName::new(name), condition });
        }
    }
    dependencies
}

fn health_check(node: &Node<'_>) -> Option<HealthCheck> {
    let known = ["command", "interval", "timeout", "retries", "startPeriod"];
    if !node.has_only(&known) {
        return None;
    }
    let Some(command) = node.get("command") else {
        if node.lacks("command", &known) {
            node.error("ClientException", "a `healthCheck` must have a `command`");
        }
        return None;
    };
    let words = command.texts();
    let number =
        |key: &str, default: u32| node.get(key).and_then(|n| n.number_in(0..=i32::MAX as u32)).unwrap_or(default);
    let seconds = |key: &str, default: u32| Duration::from_secs(number(key, default).into());
    match words.first().map(String::as_str) {
        Some("NONE") => return None,
        Some("CMD" | "CMD-SHELL") | None => {}
        // Registered by AWS, and never run by Docker there either: the task's health stays UNKNOWN.
        Some(other) => {
            let message = format!(
                "this health check is never run: its command begins with `{other}`, not with `CMD` or `CMD-SHELL`"
            );
            let problem = Problem::warning(command.place(), "NeverRun", message);
            command.note(problem.with_hint(format!("[\"CMD\", \"{other}\", …]")));
            return None;
        }
    }
    Some(HealthCheck {
        command: words,
        interval: seconds("interval", 30),
        timeout: seconds("timeout", 5),
        retries: number("retries", 3),
        start_period: seconds("startPeriod", 0),
    })
}

fn ulimits(node: &Node<'_>) -> Vec<Ulimit> {
    let known = ["name", "softLimit", "hardLimit"];
    let mut ulimits = Vec::new();
    for n in node.items() {
        if !n.has_only(&known) {
            continue;
        }
        for key in known.into_iter().filter(|key| n.lacks(key, &known)) {
            n.error("ClientException", format!("a ulimit must have a `{key}`"));
        }
        let name = n.get("name").and_then(|n| n.text());
        let soft = n.get("softLimit").and_then(|n| n.number());
        let hard = n.get("hardLimit").and_then(|n| n.number());
        if let (Some(name), Some(soft_limit), Some(hard_limit)) = (name, soft, hard) {
            ulimits.push(Ulimit { name: name.to_owned(), soft_limit, hard_limit });
        }
    }
    ulimits
}

/// The options of `json-file`, which every container's log is here; any other driver is replaced by it with a word.
fn log_options(node: &Node<'_>) -> BTreeMap<String, String> {
    if !node.has_only(&["logDriver", "options", "secretOptions"]) {
        return BTreeMap::new();
    }
    let drivers =
        ["awsfirelens", "awslogs", "fluentd", "gelf", "journald", "json-file", "splunk", "syslog"].map(|d| (d, d));
    let Some(driver) = node.get("logDriver").and_then(|n| n.word(&drivers)) else {
        if node.lacks("logDriver", &["logDriver", "options", "secretOptions"]) {
            node.error("ClientException", "a `logConfiguration` must have a `logDriver`");
        }
        return BTreeMap::new();
    };
    let Some(options) = node.get("options").filter(|_| driver == "json-file") else {
        if driver != "json-file" {
            let place = Place { at_key: true, ..node.place() };
            let message = format!("the log driver `{driver}` is replaced by a local log, which `ecsnet logs` shows");
            node.note(Problem::warning(place, "Replaced", message));
        }
        return BTreeMap::new();
    };
    for (name, n) in options.entries() {
        if !matches!(name, "max-size" | "max-file" | "mode" | "max-buffer-size") {
            n.no_effect(name);
        }
    }
    volumes::texts(&options)
}
