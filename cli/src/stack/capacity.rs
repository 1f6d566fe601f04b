//! The `capacity` key of a stack file to groups of container instances (reference 3.5, 5.5).

use std::collections::{BTreeMap, BTreeSet};

use agent::spec::capacity::{InstanceGroup, InstanceType, instance_type, known_instance_types};
use agent::spec::ids::{GroupName, ServiceName};
use agent::spec::problem::{Place, Problem};
use agent::spec::service::{LaunchType, Service};
use agent::spec::stack::Vpc;

use super::groups;
use super::read::{Node, known_instead};
use super::{task_definition, vpc};

const KNOWN: &[&str] = &["name", "count", "type", "cpu", "memory", "zones", "attributes", "securityGroups", "eniLimit"];
/// As for the names of services.
const LONGEST_NAME: usize = 255;
/// What an instance may have beside ECS's own.
const MOST_ATTRIBUTES: usize = 10;
/// More than that are no experiment on one machine.
pub(super) const MOST_INSTANCES: u32 = 50;
/// Of an ENI (4.3).
const MOST_GROUPS: usize = 5;

/// What the groups of a file can name.
pub(super) struct Known<'a> {
    /// Spelled before the letter of a zone.
    pub(super) region: &'a str,
    /// Where the zones are; None when it was faulty.
    pub(super) vpc: Option<&'a Vpc>,
    /// The security groups of the stack.
    pub(super) groups: &'a [GroupName],
}

/// Reads `capacity`; `services` are those that may need it.
pub(super) fn read(
    node: &Node<'_>,
    known: &Known<'_>,
    services: &BTreeMap<ServiceName, Service>,
) -> Vec<InstanceGroup> {
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for n in node.items() {
        let group = group(&n, known);
        if let Some(name) = n.get("name").and_then(|n| n.value().as_str())
            && !names.insert(name)
            && let Some(n) = n.get("name")
        {
            n.error("InvalidParameterException", format!("there are two groups of instances named `{name}`"));
        }
        read.extend(group);
    }
    let count = read.iter().fold(0u32, |sum, group| sum.saturating_add(group.count));
    if count > MOST_INSTANCES {
        node.error("InvalidParameterException", format!("{count} container instances are more than {MOST_INSTANCES}"));
    }
    let is_placed = |service: &&Service| service.launch_type == LaunchType::Ec2;
    let placed: Vec<&str> = services.values().filter(is_placed).map(|s| s.service_name.as_str()).collect();
    if placed.is_empty() && !services.is_empty() {
        let place = Place { at_key: true, ..node.place() };
        node.note(
            Problem::warning(place, "NoEffect", "no service uses these instances: all of them run on FARGATE")
                .with_hint("launchType: EC2"),
        );
    } else if count == 0 && node.value().is_array() && !placed.is_empty() {
        let place = Place { at_key: true, ..node.place() };
        let message = format!("there is no container instance: no task of {} finds a place", placed.join(", "));
        node.note(
            Problem::warning(place, "NoEffect", message)
                .with_hint("leave `capacity` out to get as many as the tasks need"),
        );
    }
    read
}

fn group(node: &Node<'_>, known: &Known<'_>) -> Option<InstanceGroup> {
    if !node.has_only(KNOWN) {
        return None;
    }
    let name = name(node);
    let size = size(node);
    let kind = size.as_ref().and_then(|size| size.kind);
    let group = InstanceGroup {
        count: node.get("count").and_then(|n| n.number_in(0..=MOST_INSTANCES)).unwrap_or(1),
        availability_zones: zones(node, known),
        attributes: node.get("attributes").map(|n| attributes(&n)).unwrap_or_default(),
        security_groups: node.get("securityGroups").map(|n| security_groups(&n, known.groups)),
        eni_limit: node.get("eniLimit").and_then(|n| eni_limit(&n, kind)),
        // What stands in for a fault that was told is never used.
        name: name.unwrap_or_default(),
        cpu: size.as_ref().map_or(0, |size| size.cpu),
        memory: size.as_ref().map_or(0, |size| size.memory),
        instance_type: kind.map(|kind| kind.to_string()),
    };
    Some(group)
}

fn name(node: &Node<'_>) -> Option<String> {
    let Some(n) = node.get("name") else {
        if node.lacks("name", KNOWN) {
            node.error_with_hint("MissingField", "a group of instances must have a `name`", "name: workers");
        }
        return None;
    };
    let name = n.text()?;
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_letter) {
        n.error_with_hint(
            "InvalidParameterException",
            format!("`{name}` cannot be the name of a group of instances"),
            "letters, digits, `-` and `_`",
        );
    }
    Some(name.to_owned())
}

/// What each instance of a group has.
struct Size {
    kind: Option<InstanceType>,
    cpu: u32,
    memory: u32,
}

/// A type, or CPU and memory.
fn size(node: &Node<'_>) -> Option<Size> {
    let (kind, cpu, memory) = (node.get("type"), node.get("cpu"), node.get("memory"));
    match (kind, cpu, memory) {
        (Some(kind), None, None) => {
            let kind = self::kind(&kind)?;
            Some(Size { kind: Some(kind), cpu: kind.cpu(), memory: kind.memory })
        }
        (None, Some(cpu), Some(memory)) => {
            let cpu = amount(&cpu, "vcpu", "units as 2048, or \"2 vCPU\"");
            let memory = amount(&memory, "gb", "MiB as 4096, or \"4 GB\"");
            Some(Size { kind: None, cpu: cpu?, memory: memory? })
        }
        (Some(kind), Some(other), _) | (Some(kind), None, Some(other)) => {
            self::kind(&kind);
            other.error("InvalidParameterException", "a `type` has its own cpu and memory: leave out one or the other");
            None
        }
        (None, Some(one), None) => {
            one.error_with_hint("MissingField", "`cpu` needs a `memory` beside it", "memory: 4096");
            None
        }
        (None, None, Some(one)) => {
            one.error_with_hint("MissingField", "`memory` needs a `cpu` beside it", "cpu: 2048");
            None
        }
        (None, None, None) => {
            if ["type", "cpu", "memory"].iter().all(|key| node.lacks(key, KNOWN)) {
                let message = "a group of instances must have a `type`, or `cpu` and `memory`";
                node.error_with_hint("MissingField", message, "type: m5.large");
            }
            None
        }
    }
}

fn kind(node: &Node<'_>) -> Option<InstanceType> {
    let text = node.text()?;
    let kind = instance_type(text);
    if kind.is_none() {
        let names: Vec<String> = known_instance_types().map(|kind| kind.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let problem = Problem::error(
            node.place(),
            "InvalidInstanceType",
            format!("`{text}` is no instance type that is known here"),
        );
        let instead = known_instead(text, &names).unwrap_or_default();
        node.note(problem.with_hint(format!("{instead} (or give `cpu` and `memory`)")));
    }
    kind
}

fn amount(node: &Node<'_>, unit: &str, example: &str) -> Option<u32> {
    let amount = task_definition::amount(node, unit)?;
    if amount.is_none() {
        node.error_with_hint("OutOfRange", "this is no size of an instance", example);
    }
    amount
}

/// Letters or whole names of zones; left out, all that have a subnet.
fn zones(node: &Node<'_>, known: &Known<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for subnet in known.vpc.iter().flat_map(|vpc| &vpc.subnets) {
        if !all.contains(&subnet.availability_zone) {
            all.push(subnet.availability_zone.clone());
        }
    }
    let Some(list) = node.get("zones") else { return all };
    if list.value().as_array().is_some_and(Vec::is_empty) {
        list.error_with_hint("InvalidParameterValue", "an instance is in a zone", "leave `zones` out for all of them");
    }
    let mut zones = Vec::new();
    for n in list.items() {
        let Some(zone) = vpc::zone(&n, known.region) else { continue };
        if known.vpc.is_some() && !all.contains(&zone) {
            n.unknown(
                "InvalidParameterValue",
                format!("no subnet of the VPC is in zone {zone}"),
                &zone,
                all.iter().map(String::as_str),
            );
        } else if zones.contains(&zone) {
            n.error("InvalidParameterValue", format!("zone {zone} is there twice"));
        } else {
            zones.push(zone);
        }
    }
    zones
}

/// Names of up to 128 letters, digits, `-`, `_`, `.` and slashes; ECS's own begin with `ecs.`.
fn attributes(node: &Node<'_>) -> BTreeMap<String, String> {
    const CODE: &str = "InvalidParameterException";
    let mut attributes = BTreeMap::new();
    for (name, n) in node.entries() {
        let key = Place { at_key: true, ..n.place() };
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"-_./\\".contains(&b);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_letter) {
            n.note(
                Problem::error(key, CODE, format!("`{name}` cannot be an attribute's name"))
                    .with_hint("up to 128 letters, digits, `-`, `_`, `.` and slashes"),
            );
        } else if name.starts_with("ecs.") {
            n.note(
                Problem::error(key, CODE, format!("`{name}` is one of ECS's own attributes"))
                    .with_hint("every instance has them; give yours another name"),
            );
        }
        let value = if n.value().is_null() { Some("") } else { n.text() };
        let Some(value) = value else { continue };
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"-_./\\@: ".contains(&b);
        if value.len() > 128 || !value.bytes().all(is_letter) || value.trim() != value {
            n.error_with_hint(
                CODE,
                format!("`{value}` cannot be an attribute's value"),
                "up to 128 letters, digits, spaces, `-`, `_`, `.`, `@`, `:` and slashes",
            );
        }
        attributes.insert(name.to_owned(), value.to_owned());
    }
    if attributes.len() > MOST_ATTRIBUTES {
        node.error(CODE, format!("an instance has at most {MOST_ATTRIBUTES} attributes of the user's"));
    }
    attributes
}

fn security_groups(node: &Node<'_>, known: &[GroupName]) -> Vec<GroupName> {
    let groups = groups::named(node, known);
    if groups.len() > MOST_GROUPS {
        node.error("InvalidParameterException", format!("securityGroups can have at most {MOST_GROUPS} items."));
    }
    groups
}

/// `true`: what EC2 gives the type. A number: so many, the instance's own among them.
fn eni_limit(node: &Node<'_>, kind: Option<InstanceType>) -> Option<u32> {
    match (node.value(), kind) {
        (serde_json::Value::Bool(false), _) => None,
        (serde_json::Value::Bool(true), Some(kind)) => Some(kind.enis),
        (serde_json::Value::Bool(true), None) => {
            node.error_with_hint("MissingField", "`eniLimit: true` is the limit of a `type`", "eniLimit: 3");
            None
        }
        (serde_json::Value::Number(_) | serde_json::Value::String(_), _) => node.number_in(1..=15),
        _ => {
            node.mismatch("true, false or a number of ENIs");
            None
        }
    }
}
