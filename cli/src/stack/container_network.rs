//! What a container definition says of its own network: `links`, `hostname`, `extraHosts`, `dnsServers`, `dnsSearchDomains`,
//! `disableNetworking` and `portMappings` (reference 1.7, 1.8, 1.10), and which of it the task's mode has not.

use std::net::IpAddr;

use agent::spec::ids::{ContainerName, NetworkMode};
use agent::spec::problem::{Place, Problem};
use agent::spec::task_definition::{Link, PortMapping};
use agent::spec::validate::wording;
use serde_json::Value;

use super::port_mapping;
use super::read::Node;
use super::task_definition::Attachment;

/// The fields that awsvpc has not.
pub(super) const NOT_IN_AWSVPC: &[&str] =
    &["links", "hostname", "dnsServers", "dnsSearchDomains", "extraHosts", "disableNetworking"];

/// What was read; nothing of it is set where the mode has no such thing.
#[derive(Debug, Default)]
pub(super) struct ContainerNetwork {
    pub(super) port_mappings: Vec<PortMapping>,
    pub(super) links: Vec<Link>,
    pub(super) hostname: Option<String>,
    pub(super) extra_hosts: Vec<(String, String)>,
    pub(super) dns_servers: Vec<String>,
    pub(super) dns_search_domains: Vec<String>,
    pub(super) disable_networking: bool,
}

/// Reads these fields of the container `name`.
pub(super) fn read(node: &Node<'_>, name: &str, attachment: Attachment) -> ContainerNetwork {
    refuse(node, attachment);
    let mode = attachment.mode;
    let mappings = node
        .get("portMappings")
        .map(|n| n.items().iter().filter_map(|n| port_mapping::read(n, name, attachment)).collect());
    let mut network = ContainerNetwork { port_mappings: mappings.unwrap_or_default(), ..ContainerNetwork::default() };
    if mode == NetworkMode::None {
        network.port_mappings.clear();
    }
    // Read also where they have no meaning: what is no list of texts is a fault in any mode.
    let texts = |key: &str| node.get(key).map(|n| n.texts()).unwrap_or_default();
    let links = node.get("links").map(|n| links(&n)).unwrap_or_default();
    let hostname = node.get("hostname").and_then(|n| n.text()).filter(|name| !name.is_empty()).map(str::to_owned);
    let extra_hosts = node.get("extraHosts").map(|n| extra_hosts(&n)).unwrap_or_default();
    let dns_servers = node.get("dnsServers").map(|n| dns_servers(&n)).unwrap_or_default();
    let dns_search_domains = texts("dnsSearchDomains");
    let disable_networking = node.get("disableNetworking").and_then(|n| n.boolean()).unwrap_or(false);
    if mode == NetworkMode::Bridge {
        network.links = links;
    }
    if mode != NetworkMode::Awsvpc {
        return ContainerNetwork {
            hostname,
            extra_hosts,
            dns_servers,
            dns_search_domains,
            disable_networking,
            ..network
        };
    }
    network
}

/// What the mode has not: refused as AWS refuses it, or dropped with a word where a flag or the service put this mode in place
/// of another. Links and port mappings are refused by the checks over the request, but for awsvpc.
fn refuse(node: &Node<'_>, attachment: Attachment) {
    let fields: &[&str] = match attachment.mode {
        NetworkMode::Awsvpc => NOT_IN_AWSVPC,
        NetworkMode::Bridge => &[],
        NetworkMode::Host => &["links"],
        NetworkMode::None => &["links", "portMappings"],
    };
    for field in fields {
        let Some(n) = node.get(field) else { continue };
        let is_empty = n.value().as_array().is_some_and(Vec::is_empty) || n.value() == &Value::Bool(false);
        if is_empty {
            continue;
        }
        if attachment.is_overridden() {
            let place = Place { at_key: true, ..n.place() };
            n.note(Problem::note(place, "Overridden", dropped(field, attachment.mode)));
        } else if let (NetworkMode::Awsvpc, Some(message)) = (attachment.mode, wording::unsupported_in_awsvpc(field)) {
            n.error("ClientException", message);
        }
    }
}

fn dropped(field: &str, mode: NetworkMode) -> String {
    match (field, mode) {
        ("links", NetworkMode::Awsvpc | NetworkMode::Host) => {
            format!("`links` is dropped: in {mode} the containers of a task reach each other on localhost")
        }
        ("portMappings", _) => format!("`portMappings` is dropped: networkMode={mode} serves no port"),
        _ => format!("`{field}` is dropped: {mode} has no such thing"),
    }
}

/// `name` or `name:alias`; the form is checked over the request.
fn links(node: &Node<'_>) -> Vec<Link> {
    let link = |n: &Node<'_>| {
        let text = n.text()?;
        let (name, alias) = match text.split_once(':') {
            Some((name, alias)) => (name, Some(alias)),
            None => (text, None),
        };
        let is_well_formed = !name.is_empty() && alias.is_none_or(|alias| !alias.is_empty() && !alias.contains(':'));
        is_well_formed.then(|| Link { container_name: ContainerName::new(name), alias: alias.map(str::to_owned) })
    };
    // One that is none stands for nothing, so that the places of the others in the list would not be theirs: all or none.
    let links: Option<Vec<Link>> = node.items().iter().map(link).collect();
    links.unwrap_or_default()
}

fn extra_hosts(node: &Node<'_>) -> Vec<(String, String)> {
    let known = ["hostname", "ipAddress"];
    let mut hosts = Vec::new();
    for n in node.items() {
        if !n.has_only(&known) {
            continue;
        }
        for key in known.into_iter().filter(|key| n.lacks(key, &known)) {
            n.error("ClientException", format!("an entry of `extraHosts` must have a `{key}`"));
        }
        let name = n.get("hostname").and_then(|n| n.text());
        let address = n.get("ipAddress").and_then(|n| address(&n));
        if let (Some(name), Some(address)) = (name, address) {
            hosts.push((name.to_owned(), address));
        }
    }
    hosts
}

fn dns_servers(node: &Node<'_>) -> Vec<String> {
    node.items().iter().filter_map(address).collect()
}

fn address(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    if text.parse::<IpAddr>().is_err() {
        node.error_with_hint("ClientException", format!("`{text}` is no IP address"), "for example 10.0.0.2");
        return None;
    }
    Some(text.to_owned())
}
