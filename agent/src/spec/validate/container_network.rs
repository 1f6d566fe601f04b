//! Checks of the ports and links of a task definition (reference 1.7, 1.10, 2.2); ranges of ports are compared as the request
//! has them, in `port_range`.

use std::collections::{BTreeMap, BTreeSet};

use netmodes::bridge::RESERVED_PORTS;

use super::super::ids::NetworkMode;
use super::super::problem::{Problem, Severity};
use super::super::task_definition::{TaskDefinition, TransportProtocol};
use super::{error, wording};

const CODE: &str = "ClientException";

/// Everything that is wrong with them in that mode.
pub(super) fn of(definition: &TaskDefinition, mode: NetworkMode, problems: &mut Vec<Problem>) {
    ports(definition, mode, problems);
    host_ports(definition, mode, problems);
    links(definition, mode, problems);
}

/// Container ports, their host ports and names (1.10).
fn ports(definition: &TaskDefinition, mode: NetworkMode, problems: &mut Vec<Problem>) {
    let mut used = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (index, container) in definition.container_definitions.iter().enumerate() {
        for (position, mapping) in container.port_mappings.iter().enumerate() {
            let at = format!("/containerDefinitions/{index}/portMappings/{position}");
            if mapping.container_port == 0 {
                problems.push(error(
                    format!("{at}/containerPort"),
                    CODE,
                    wording::invalid_port("containerPort", container.name.as_str()),
                ));
                continue;
            }
            let host_port_differs = mapping.host_port.is_some_and(|host| host != mapping.container_port);
            if host_port_differs && matches!(mode, NetworkMode::Awsvpc | NetworkMode::Host) {
                problems.push(error(
                    format!("{at}/hostPort"),
                    CODE,
                    format!("When networkMode={mode}, the host ports and container ports in port mappings must match."),
                ));
            }
            if let Some(name) = mapping.name.as_deref().filter(|name| !is_port_name(name)) {
                problems.push(
                    error(
                        format!("{at}/name"),
                        CODE,
                        format!("Invalid 'name' setting '{name}' for container '{}'", container.name),
                    )
                    .with_hint("up to 64 lower-case letters, digits, `_` and `-`, not beginning with `-`"),
                );
            }
            // Ranges are compared as the request has them.
            let is_single = mapping.last_container_port.is_none();
            if is_single
                && matches!(mode, NetworkMode::Awsvpc | NetworkMode::Host)
                && used.insert((mapping.protocol, mapping.container_port), index).is_some()
            {
                problems.push(error(
                    format!("{at}/containerPort"),
                    CODE,
                    format!(
                        "{} container port '{}' is used multiple times in task when networkMode={mode}.",
                        in_capitals(mapping.protocol),
                        mapping.container_port
                    ),
                ));
            }
            if mode == NetworkMode::Awsvpc && mapping.name.as_ref().is_some_and(|name| !names.insert(name.clone())) {
                problems.push(error(
                    format!("{at}/name"),
                    CODE,
                    "When networkMode=awsvpc, port mapping name is already used",
                ));
            }
        }
    }
}

fn in_capitals(protocol: TransportProtocol) -> &'static str {
    match protocol {
        TransportProtocol::Tcp => "TCP",
        TransportProtocol::Udp => "UDP",
    }
}

/// Fixed ports of the instance (1.7): no task could be placed with one twice, or with one that every instance has in use.
fn host_ports(definition: &TaskDefinition, mode: NetworkMode, problems: &mut Vec<Problem>) {
    let mut used = BTreeSet::new();
    for (index, container) in definition.container_definitions.iter().enumerate() {
        for (position, mapping) in container.port_mappings.iter().enumerate() {
            let (field, port) = match (mode, mapping.host_port) {
                (NetworkMode::Bridge, Some(port)) => ("hostPort", port),
                (NetworkMode::Host, _) if mapping.last_container_port.is_none() => {
                    ("containerPort", mapping.container_port)
                }
                _ => continue,
            };
            let at = format!("/containerDefinitions/{index}/portMappings/{position}/{field}");
            let protocol = mapping.protocol;
            if mode == NetworkMode::Bridge && !used.insert((protocol, port)) {
                // AWS's words for this one are not known; those for container ports are like these.
                let message = format!(
                    "{} host port '{port}' is used multiple times in task when networkMode={mode}.",
                    in_capitals(protocol)
                );
                problems.push(error(at, CODE, message));
            } else if protocol == TransportProtocol::Tcp && RESERVED_PORTS.contains(&port) {
                let reserved = RESERVED_PORTS.map(|port| port.to_string()).join(", ");
                problems.push(Problem {
                    severity: Severity::Warning,
                    ..error(
                        at,
                        CODE,
                        format!("port {port} is in use on every container instance: the task finds no place"),
                    )
                    .with_hint(format!("an instance itself has {reserved}"))
                });
            }
        }
    }
}

/// Containers that `links` name (1.7); their form is checked as the request has them.
fn links(definition: &TaskDefinition, mode: NetworkMode, problems: &mut Vec<Problem>) {
    if mode != NetworkMode::Bridge {
        return;
    }
    for (index, container) in definition.container_definitions.iter().enumerate() {
        for (position, link) in container.links.iter().enumerate() {
            let name = link.container_name.as_str();
            if definition.container(&link.container_name).is_some() {
                continue;
            }
            // As AWS says it of `volumesFrom`; its words for links are not known.
            let problem = error(
                format!("/containerDefinitions/{index}/links/{position}"),
                CODE,
                format!("Invalid 'links' setting. Unknown container: '{name}'."),
            );
            let known = definition.container_definitions.iter().map(|c| c.name.as_str());
            problems.push(match super::nearest(name, known) {
                Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
    }
}

/// What a port mapping may be called (2.2).
fn is_port_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=64).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(allowed)
}
