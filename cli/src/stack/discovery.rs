//! How a service is found in Cloud Map: its `discovery`, or CreateService's `serviceRegistries` (reference 6.2, 6.5, 1.10).
//!
//! [`read`] takes what stands in the service; [`resolve`] brings it together with the task definition, once its mode is known.

use std::collections::BTreeMap;

use agent::spec::ids::{ContainerName, NetworkMode, ServiceName};
use agent::spec::problem::{Place, Problem};
use agent::spec::service::{Discovery, RecordType, RoutingPolicy, Service};
use agent::spec::task_definition::TaskDefinition;
use agent::spec::validate::wording;

use super::read::Node;
use super::service::ServiceDocument;
use super::task_definition::Attachment;

const CODE: &str = "InvalidParameterException";
const KNOWN: &[&str] = &["name", "type", "containerName", "containerPort", "ttl", "routing"];
const REGISTRY: &[&str] = &["registryArn", "port", "containerName", "containerPort"];
/// Seconds that an answer may be kept.
pub(super) const TTL: u32 = 10;

/// A kind of record that the file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    A,
    Srv,
    Aaaa,
}

/// What a service says of its registry.
#[derive(Debug)]
pub(super) struct DiscoveryDocument<'a> {
    /// `discovery`, if it is there.
    pub(super) node: Option<Node<'a>>,
    /// The one entry of `serviceRegistries`, if it is there.
    registry: Option<Node<'a>>,
    /// The name below the namespace.
    pub(super) name: Option<&'a str>,
    ttl: u32,
    routing_policy: RoutingPolicy,
    kind: Option<(Kind, Node<'a>)>,
    container_name: Option<(&'a str, Node<'a>)>,
    container_port: Option<(u16, Node<'a>)>,
    port: Option<(u16, Node<'a>)>,
}

/// Reads both keys.
pub(super) fn read<'a>(short: Option<Node<'a>>, registries: Option<Node<'a>>) -> DiscoveryDocument<'a> {
    let mut document = DiscoveryDocument {
        node: None,
        registry: None,
        name: None,
        ttl: TTL,
        routing_policy: RoutingPolicy::Multivalue,
        kind: None,
        container_name: None,
        container_port: None,
        port: None,
    };
    if let Some(n) = short {
        if n.has_only(KNOWN) {
            document.kind = n
                .get("type")
                .and_then(|n| Some((n.word(&[("A", Kind::A), ("SRV", Kind::Srv), ("AAAA", Kind::Aaaa)])?, n)));
            document.name = n.get("name").and_then(|n| n.text());
            document.ttl = n.get("ttl").and_then(|n| n.number_in(0..=i32::MAX as u32)).unwrap_or(TTL);
            document.routing_policy = n
                .get("routing")
                .and_then(|n| {
                    n.word(&[("MULTIVALUE", RoutingPolicy::Multivalue), ("WEIGHTED", RoutingPolicy::Weighted)])
                })
                .unwrap_or(RoutingPolicy::Multivalue);
            document.container_name = n.get("containerName").and_then(|n| Some((n.text()?, n)));
            document.container_port = n.get("containerPort").and_then(|n| port(&n));
        }
        document.node = Some(n);
    }
    // More than one is refused by the checks over the request.
    if let Some(n) = registries.and_then(|n| n.items().into_iter().next())
        && n.has_only(REGISTRY)
    {
        document.registry(&n);
        document.registry = Some(n);
    }
    document
}

fn port<'a>(node: &Node<'a>) -> Option<(u16, Node<'a>)> {
    let port = node.number_in(1..=65535)?;
    Some((u16::try_from(port).ok()?, node.clone()))
}

impl<'a> DiscoveryDocument<'a> {
    fn registry(&mut self, node: &Node<'a>) {
        let arn = node.get("registryArn").and_then(|n| Some((n.text()?, n)));
        match arn {
            None => {
                if node.lacks("registryArn", REGISTRY) {
                    let hint = "in a stack file: the name that the service has in the namespace";
                    node.error_with_hint(CODE, "a service registry must have a `registryArn`", hint);
                }
            }
            Some((arn, n)) if arn.starts_with("arn:") => {
                let message =
                    "the service has its own name, or that of `discovery`: an ARN does not say which name it has";
                let hint = "write the name below the namespace instead of the ARN";
                n.note(Problem::warning(n.place(), "StandIn", message).with_hint(hint));
            }
            Some((name, n)) => {
                if self.name.is_some_and(|other| other != name) {
                    n.error(CODE, format!("`discovery` gives the service another name than `{name}`"));
                }
                self.name = Some(name);
            }
        }
        for key in ["containerName", "containerPort"] {
            if self.node.as_ref().and_then(|short| short.get(key)).is_some()
                && let Some(n) = node.get(key)
            {
                n.error(CODE, format!("`{key}` is said twice: here, and in `discovery`"));
            }
        }
        if let Some(n) = node.get("containerName") {
            self.container_name = n.text().map(|name| (name, n));
        }
        if let Some(n) = node.get("containerPort") {
            self.container_port = port(&n);
        }
        self.port = node.get("port").and_then(|n| port(&n));
    }

    /// Where something is to be told that concerns the registration as a whole.
    fn place(&self, service: &Node<'a>) -> Place {
        let node = self.registry.as_ref().or(self.node.as_ref()).unwrap_or(service);
        Place { at_key: true, ..node.place() }
    }
}

/// The registry of a service, or none: `discovers` says whether the stack uses Cloud Map at all.
pub(super) fn resolve(
    service: &ServiceDocument<'_>,
    definition: &TaskDefinition,
    attachment: Attachment,
    discovers: bool,
) -> Option<Discovery> {
    let (node, document) = (&service.node, &service.discovery);
    let service = service.name;
    let (mode, written) = (attachment.mode, document.registry.as_ref().or(document.node.as_ref()));
    if !discovers {
        for (n, key) in [(&document.node, "discovery"), (&document.registry, "serviceRegistries")] {
            if let Some(n) = n {
                n.no_effect(key);
            }
        }
        return None;
    }
    if mode == NetworkMode::None {
        match (&document.registry, written) {
            (Some(n), _) if !attachment.is_overridden() => {
                // AWS's words are not known; those for links are like these.
                n.error(CODE, "Service registries are not supported when networkMode=none.");
            }
            (_, Some(n)) => n.note(Problem::note(
                document.place(node),
                "Overridden",
                format!("`{service}` has no name: with networkMode=none there is nothing to reach"),
            )),
            (_, None) => {}
        }
        return None;
    }
    let record = record(service, node, document, definition, attachment)?;
    Some(Discovery {
        name: document.name.unwrap_or(service).to_owned(),
        ttl: document.ttl,
        routing_policy: document.routing_policy,
        record,
    })
}

/// Which records there are (6.5): A in awsvpc where nothing else is asked for, SRV in bridge and host mode.
fn record(
    service: &str,
    node: &Node<'_>,
    document: &DiscoveryDocument<'_>,
    definition: &TaskDefinition,
    attachment: Attachment,
) -> Option<RecordType> {
    let has_address = attachment.mode == NetworkMode::Awsvpc;
    let names_a_port =
        document.container_name.is_some() || document.container_port.is_some() || document.port.is_some();
    let kind = match &document.kind {
        Some((Kind::Aaaa, n)) => {
            n.not_emulated("IPv6", Some("leave `type` out"));
            return None;
        }
        Some((Kind::A, n)) if !has_address => {
            if !attachment.is_overridden() {
                n.error(CODE, wording::A_RECORD_WITHOUT_ADDRESS);
                return None;
            }
            Kind::Srv
        }
        Some((kind, _)) => *kind,
        // A registry that names a port because of the mode that it was written for has an address of its own now.
        None if has_address && (attachment.is_overridden() || !names_a_port) => Kind::A,
        None => Kind::Srv,
    };
    if kind == Kind::A {
        let given = [
            ("containerName", document.container_name.as_ref().map(|(_, n)| n)),
            ("containerPort", document.container_port.as_ref().map(|(_, n)| n)),
            ("port", document.port.as_ref().map(|(_, n)| n)),
        ];
        for (field, n) in given.into_iter().filter_map(|(field, n)| Some((field, n?))) {
            if !attachment.is_overridden() {
                n.error(CODE, wording::registry_needs_no(field, document.name.unwrap_or(service)));
            }
        }
        return Some(RecordType::A);
    }
    if let Some((_, n)) = &document.port {
        if !has_address {
            n.error_with_hint(
                CODE,
                "`port` is for tasks with an address of their own",
                "containerName and containerPort",
            );
            return None;
        }
        let names = document.container_name.as_ref().map(|(_, n)| n);
        if let Some(n) = names.or(document.container_port.as_ref().map(|(_, n)| n)) {
            n.error(CODE, "a registry has either a `port`, or a `containerName` and a `containerPort`");
            return None;
        }
    }
    if let Some(n) = document.registry.as_ref().filter(|_| !has_address && !attachment.is_overridden())
        && (document.container_name.is_none() || document.container_port.is_none())
    {
        n.error(CODE, wording::REGISTRY_WITHOUT_PORT);
        return None;
    }
    srv(service, node, document, definition)
}

/// The container and port of an SRV record: those that the file names, else the first that the definition maps.
fn srv(
    service: &str,
    node: &Node<'_>,
    document: &DiscoveryDocument<'_>,
    definition: &TaskDefinition,
) -> Option<RecordType> {
    let containers = &definition.container_definitions;
    if let Some((name, n)) = &document.container_name
        && containers.iter().all(|c| c.name.as_str() != *name)
    {
        n.unknown(CODE, wording::no_such_container(name), name, containers.iter().map(|c| c.name.as_str()));
        return None;
    }
    let asked = document.container_port.as_ref().or(document.port.as_ref());
    // Essential ones first: what the task is for.
    let (essential, other): (Vec<_>, Vec<_>) = containers.iter().partition(|c| c.essential);
    let named = essential
        .into_iter()
        .chain(other)
        .filter(|c| !c.disable_networking)
        .filter(|c| document.container_name.as_ref().is_none_or(|(name, _)| c.name.as_str() == *name));
    let mapped: Vec<(&ContainerName, u16)> = named
        .flat_map(|c| c.port_mappings.iter().map(move |mapping| (&c.name, mapping)))
        .filter_map(|(container, mapping)| match asked {
            None => Some((container, mapping.container_port)),
            Some((port, _)) => {
                let last = mapping.last_container_port.unwrap_or(mapping.container_port);
                (mapping.container_port..=last).contains(port).then_some((container, *port))
            }
        })
        .collect();
    let Some((container_name, container_port)) = mapped.first().copied() else {
        match (asked, &document.container_name) {
            (Some((port, n)), Some((name, _))) => n.error(CODE, wording::no_such_container_port(name, *port)),
            (Some((port, n)), None) => n.error(CODE, format!("no container of the task definition maps port {port}")),
            (None, _) if document.node.is_some() => node.note(
                Problem::warning(
                    document.place(node),
                    "NoRecord",
                    format!("`{service}` has no SRV record: its task definition maps no port"),
                )
                .with_hint("give it `portMappings`"),
            ),
            (None, _) => {}
        }
        return None;
    };
    if asked.is_none() && mapped.len() > 1 {
        let message =
            format!("the SRV records of `{service}` name port {container_port} of container `{container_name}`");
        node.note(
            Problem::note(document.place(node), "Chosen", message)
                .with_hint("`discovery: { containerName, containerPort }` names another"),
        );
    }
    Some(RecordType::Srv { container_name: container_name.clone(), container_port })
}

/// Cloud Map tells names in a DNS namespace apart without their case (6.1).
pub(super) fn unique_names(documents: &[ServiceDocument<'_>], services: &BTreeMap<ServiceName, Service>) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for document in documents {
        let Some(discovery) = services.get(document.name).and_then(|s| s.discovery.as_ref()) else { continue };
        let name = discovery.name.to_ascii_lowercase();
        if let Some(first) = taken.get(&name) {
            let message = format!("services `{first}` and `{}` have the same discovery name `{name}`", document.name);
            document.node.note(
                Problem::error(document.discovery.place(&document.node), "ServiceAlreadyExists", message)
                    .with_hint("case does not count in DNS; give one of them a `discovery: { name: … }`"),
            );
        } else {
            taken.insert(name, document.name);
        }
    }
}
