//! Which security groups there are and who is in them: the user's, the VPC's `default`, and one for each service that names
//! none, open to exactly the services that declare `connectsTo` it (reference 4.1).

use std::collections::BTreeMap;

use agent::spec::ids::{GroupName, NetworkMode, ServiceName};
use agent::spec::problem::{Place, Problem};
use agent::spec::security_group::{DYNAMIC_PORTS, Peer, PortRange, Rule, SecurityGroup, Traffic};
use agent::spec::service::Service;
use agent::spec::task_definition::TransportProtocol;
use agent::spec::validate;

use super::read::Node;
use super::rule;
use super::service::ServiceDocument;

/// Every group that a name can mean; faults of the names are told on the way.
pub(super) fn group_names(nodes: &[(&str, Node<'_>)], documents: &[ServiceDocument<'_>]) -> Vec<GroupName> {
    let mut names = vec![GroupName::new("default")];
    for (name, n) in nodes {
        let key = Place { at_key: true, ..n.place() };
        if let Some(problem) = validate::security_group::group_name(name) {
            n.note(Problem { place: key.clone(), ..problem });
        }
        if documents.iter().any(|d| d.name == *name) {
            n.note(
                Problem::error(key, "InvalidGroup.Duplicate", format!("`{name}` is a service and a security group"))
                    .with_hint("a rule could mean either; name the group otherwise"),
            );
        }
        if *name != "default" {
            names.push(GroupName::new(*name));
        }
    }
    for document in documents.iter().filter(|d| d.security_groups.is_none()) {
        if matches!(document.name, "default" | "self" | "host") {
            let place = Place { at_key: true, ..document.node.place() };
            let message = format!("a service named `{}` cannot have a security group of its own", document.name);
            document.node.note(
                Problem::error(place, "InvalidGroup.Duplicate", message)
                    .with_hint("the word has a meaning of its own; name the service otherwise"),
            );
        }
        names.push(GroupName::new(document.name));
    }
    names
}

/// The groups that a list names.
pub(super) fn named(list: &Node<'_>, known: &[GroupName]) -> Vec<GroupName> {
    let mut groups = Vec::new();
    for n in list.items() {
        let Some(text) = n.text() else { continue };
        match known.iter().find(|name| name.as_str() == text) {
            Some(name) if groups.contains(name) => {
                n.error("InvalidParameterException", format!("`{text}` is there twice"));
            }
            Some(name) => groups.push(name.clone()),
            None => {
                let message = format!(
                    "Error retrieving security group information for [{text}]: The security group '{text}' does not exist (ErrorCode: InvalidGroup.NotFound)"
                );
                n.unknown("InvalidParameterException", message, text, known.iter().map(GroupName::as_str));
            }
        }
    }
    groups
}

/// The groups on the ENIs of each service: those that it names, or one of its own.
pub(super) fn groups_of_services(
    documents: &[ServiceDocument<'_>],
    known: &[GroupName],
) -> BTreeMap<ServiceName, Vec<GroupName>> {
    let mut all = BTreeMap::new();
    for document in documents {
        let own = GroupName::new(document.name);
        let groups = match &document.security_groups {
            None => vec![own],
            Some(list) => {
                let mut groups = named(list, known);
                if list.value().as_array().is_some_and(Vec::is_empty) {
                    // As in CreateService: none named is the VPC's default.
                    groups.push(GroupName::new("default"));
                }
                groups
            }
        };
        all.insert(ServiceName::new(document.name), groups);
    }
    all
}

/// The group that a service gets by itself, before anyone connects to it.
pub(super) fn own_group(service: &str) -> SecurityGroup {
    SecurityGroup {
        ingress: Vec::new(),
        egress: rule::allow_all_egress(),
        description: format!("made for service {service}"),
    }
}

/// Lets each service's groups into the own groups of those that it connects to, on the ports that these map.
pub(super) fn connect_services(
    documents: &[ServiceDocument<'_>],
    services: &BTreeMap<ServiceName, Service>,
    groups_of: &BTreeMap<ServiceName, Vec<GroupName>>,
    groups: &mut BTreeMap<GroupName, SecurityGroup>,
) {
    for document in documents {
        for n in &document.connects_to {
            let Some(target) = n.text() else { continue };
            let Some(target_document) = documents.iter().find(|d| d.name == target) else {
                let known = documents.iter().map(|d| d.name).filter(|name| *name != document.name);
                n.unknown("ServiceNotFoundException", format!("there is no service `{target}`"), target, known);
                continue;
            };
            if target == document.name {
                n.error("InvalidParameterException", format!("service `{target}` cannot connect to itself"));
                continue;
            }
            if target_document.security_groups.is_some() {
                n.note(
                    Problem::warning(
                        n.place(),
                        "NoRuleMade",
                        format!("this opens nothing: `{target}` has `securityGroups` of its own"),
                    )
                    .with_hint(format!("add an ingress rule `from: {}` to one of them", document.name)),
                );
                continue;
            }
            // A definition with faults was told of; then there is nothing to connect.
            let Some(target_service) = services.get(target) else { continue };
            let traffic = mapped_traffic(target_service);
            if target_service.network_mode == NetworkMode::None {
                let message = format!("this opens nothing: `{target}` has networkMode=none");
                n.note(Problem::note(n.place(), "NoRuleMade", message));
            } else if traffic.is_empty() {
                n.note(
                    Problem::warning(
                        n.place(),
                        "NoRuleMade",
                        format!("this opens nothing: the task definition of `{target}` maps no port"),
                    )
                    .with_hint("give it `portMappings`"),
                );
            }
            let Some(group) = groups.get_mut(target) else { continue };
            for caller in groups_of.get(document.name).into_iter().flatten() {
                for traffic in &traffic {
                    let rule = Rule { traffic: *traffic, peer: Peer::Group(caller.clone()) };
                    if !group.ingress.contains(&rule) {
                        group.ingress.push(rule);
                    }
                }
            }
        }
    }
}

/// Tells of groups with too many rules: at the user's group, or at the service that the group was made for.
pub(super) fn check_rules(root: &Node<'_>, groups: &BTreeMap<GroupName, SecurityGroup>) {
    for (name, group) in groups {
        let place = |holder: &str| root.get(holder)?.get(name.as_str());
        let node = place("securityGroups").or_else(|| place("services"));
        node.unwrap_or_else(|| root.clone()).adopt(validate::security_group::rules(group), str::to_owned);
    }
}

/// The ports at which a service's tasks are reached, as the ENI before them sees packets: the task's own in awsvpc, the
/// instance's in bridge and host mode (1.7, 1.8).
fn mapped_traffic(service: &Service) -> Vec<Traffic> {
    let containers = service.task_definition.container_definitions.iter().filter(|c| !c.disable_networking);
    let mut all = Vec::new();
    for mapping in containers.flat_map(|c| &c.port_mappings) {
        let last = mapping.last_container_port.unwrap_or(mapping.container_port);
        let range = match (service.network_mode, mapping.host_port) {
            (NetworkMode::Awsvpc | NetworkMode::Host, _) => PortRange { first: mapping.container_port, last },
            (NetworkMode::Bridge, Some(port)) => PortRange { first: port, last: port },
            // Any of these, as the advice of AWS's own guide is.
            (NetworkMode::Bridge, None) => DYNAMIC_PORTS,
            (NetworkMode::None, _) => continue,
        };
        let traffic = match mapping.protocol {
            TransportProtocol::Tcp => Traffic::Tcp(range),
            TransportProtocol::Udp => Traffic::Udp(range),
        };
        if !all.contains(&traffic) {
            all.push(traffic);
        }
    }
    all
}

/// Tells that services on one instance cannot be told apart by a group: the instance is in the groups of all of them.
pub(super) fn tell_shared(root: &Node<'_>, services: &BTreeMap<ServiceName, Service>) {
    let shares = |service: &&Service| matches!(service.network_mode, NetworkMode::Bridge | NetworkMode::Host);
    let sharing: Vec<&Service> = services.values().filter(shares).collect();
    let differ =
        sharing.windows(2).any(|pair| matches!(pair, [one, other] if one.security_groups != other.security_groups));
    let Some(n) = root.get("services").filter(|_| differ) else { return };
    let names: Vec<&str> = sharing.iter().map(|service| service.service_name.as_str()).collect();
    let message = format!(
        "security groups are those of the container instance: what one of these services is let in to, or lets in, holds for all of them that have a task there ({})",
        names.join(", ")
    );
    n.note(Problem::note(Place { at_key: true, ..n.place() }, "SharedGroups", message));
}
