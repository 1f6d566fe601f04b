//! A port mapping of a task definition's document (reference 2.2, 1.10).

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
    if let Some(range) = node.get("containerPortRange") {
        if node.get("containerPort").is_some() {
            range.error(
                "ClientException",
                format!(
                    "Invalid port mapping for container '{container}', cannot specify both single port and port range."
                ),
            );
        } else {
            range.not_emulated("`containerPortRange`", Some("one entry for each port"));
        }
        return None;
    }
    let Some(container_port) = node.get("containerPort") else {
        if node.lacks("containerPort", KNOWN) {
            node.error("ClientException", wording::invalid_port("containerPort", container));
        }
        return None;
    };
    let port = |n: &Node<'_>, field: &str| {
        let number = n.number()?;
        let port = u16::try_from(number).ok();
        if port.is_none() {
            n.error_with_hint("ClientException", wording::invalid_port(field, container), "a port is from 1 to 65535");
        }
        port
    };
    let container_port = port(&container_port, "containerPort")?;
    let protocol = match node.get("protocol") {
        Some(n) => n.word(&[("tcp", TransportProtocol::Tcp), ("udp", TransportProtocol::Udp)])?,
        None => TransportProtocol::Tcp,
    };
    // 0 is "any" on the wire; a task with an address of its own has no other port than the container's.
    let mut host_port = node.get("hostPort").and_then(|n| port(&n, "hostPort")).filter(|port| *port != 0);
    if let (true, NetworkMode::Awsvpc, Some(fixed), Some(n)) =
        (attachment.overridden, attachment.mode, host_port, node.get("hostPort"))
        && fixed != container_port
    {
        n.note(Problem::warning(
            n.place(),
            "Overridden",
            format!(
                "host port {fixed} is dropped: in awsvpc the task is reached at its own address, port {container_port}"
            ),
        ));
        host_port = None;
    }
    Some(PortMapping {
        container_port,
        host_port,
        protocol,
        name: node.get("name").and_then(|n| n.text()).map(str::to_owned),
        app_protocol: node
            .get("appProtocol")
            .and_then(|n| n.word(&[("http", "http"), ("http2", "http2"), ("grpc", "grpc")]))
            .map(str::to_owned),
    })
}
