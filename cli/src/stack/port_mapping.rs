//! A port mapping of a task definition's document (reference 1.7, 2.2, 1.10).

use agent::spec::ids::NetworkMode;
use agent::spec::problem::Problem;
use agent::spec::task_definition::{PortMapping, TransportProtocol};
use agent::spec::validate::wording;

use super::read::Node;
use super::task_definition::Attachment;

const KNOWN: &[&str] = &["containerPort", "hostPort", "protocol", "name", "appProtocol", "containerPortRange"];

/// Reads one port mapping of a container.
pub(super) fn read(node: &Node<'_>, container: &str, attachment: Attachment) -> Option<PortMapping> {
    if !node.has_only(KNOWN) {
        return None;
    }
    let (container_port, last_container_port) = match node.get("containerPortRange") {
        Some(range) if node.get("containerPort").is_some() => {
            range.error(
                "ClientException",
                format!(
                    "Invalid port mapping for container '{container}', cannot specify both single port and port range."
                ),
            );
            return None;
        }
        Some(range) => {
            let (first, last) = ports_of(range.text()?)?;
            (first, Some(last))
        }
        None => (single(node, container)?, None),
    };
    let protocol = match node.get("protocol") {
        Some(n) => n.word(&[("tcp", TransportProtocol::Tcp), ("udp", TransportProtocol::Udp)])?,
        None => TransportProtocol::Tcp,
    };
    // 0 is "any" on the wire.
    let host_port = node.get("hostPort").and_then(|n| port(&n, "hostPort", container)).filter(|port| *port != 0);
    let dropped = host_port.and_then(|fixed| dropped(fixed, container_port, attachment));
    if let (Some(message), Some(n)) = (&dropped, node.get("hostPort")) {
        n.note(Problem::note(n.place(), "Overridden", message.as_str()));
    }
    Some(PortMapping {
        container_port,
        last_container_port,
        host_port: host_port.filter(|_| dropped.is_none()),
        protocol,
        name: node.get("name").and_then(|n| n.text()).map(str::to_owned),
        app_protocol: node
            .get("appProtocol")
            .and_then(|n| n.word(&[("http", "http"), ("http2", "http2"), ("grpc", "grpc")]))
            .map(str::to_owned),
    })
}

fn single(node: &Node<'_>, container: &str) -> Option<u16> {
    let Some(n) = node.get("containerPort") else {
        if node.lacks("containerPort", KNOWN) {
            node.error("ClientException", wording::invalid_port("containerPort", container));
        }
        return None;
    };
    port(&n, "containerPort", container)
}

fn port(node: &Node<'_>, field: &str, container: &str) -> Option<u16> {
    let number = node.number()?;
    let port = u16::try_from(number).ok();
    if port.is_none() {
        node.error_with_hint("ClientException", wording::invalid_port(field, container), "a port is from 1 to 65535");
    }
    port
}

/// The first and last port of `8000-8010`; what is wrong with another text is told by the checks over the request.
fn ports_of(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// Why a host port means nothing in the mode that a flag or the service put in place of the definition's.
fn dropped(host_port: u16, container_port: u16, attachment: Attachment) -> Option<String> {
    let instead_of = attachment.instead_of?;
    let is_same = host_port == container_port;
    match attachment.mode {
        NetworkMode::Awsvpc if !is_same => Some(format!(
            "host port {host_port} is dropped: in awsvpc the task is reached at its own address, port {container_port}"
        )),
        NetworkMode::Host if !is_same => {
            Some(format!("host port {host_port} is dropped: in host mode port {container_port} is the instance's own"))
        }
        NetworkMode::Bridge if is_same && instead_of == NetworkMode::Awsvpc => {
            Some(format!("host port {host_port} is dropped: in awsvpc it says nothing; bridge mode chooses a free one"))
        }
        // The whole mapping is dropped in mode none.
        _ => None,
    }
}
