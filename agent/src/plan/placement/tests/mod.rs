//! Tests of placement on clusters made up here: a table for each statement of the reference, and properties.

#![allow(clippy::unwrap_used, reason = "a test")]

mod capacity;
mod evict;
mod properties;
mod refusals;
mod statements;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::spec::capacity::{attributes_of_ecs, instance_type};

/// The group of every wish that says none.
const GROUP: &str = "service:web";

/// A container instance that keeps its own accounts, as the scheduler does.
#[derive(Debug, Clone)]
struct Node {
    id: String,
    ec2_instance_id: String,
    zone: String,
    attributes: BTreeMap<String, String>,
    cpu: u32,
    memory: u32,
    used_cpu: u32,
    used_memory: u32,
    enis: Option<u32>,
    ports: HostPorts,
    tasks: BTreeMap<String, u32>,
    active: bool,
    agent_connected: bool,
}

impl Node {
    /// An m5.large.
    fn new(name: &str, zone: &str) -> Self {
        let known = instance_type("m5.large").unwrap();
        Self {
            id: name.to_owned(),
            ec2_instance_id: format!("i-{name}"),
            zone: zone.to_owned(),
            attributes: attributes_of_ecs(zone, Some(known)),
            cpu: known.cpu(),
            memory: known.memory,
            used_cpu: 0,
            used_memory: 0,
            enis: None,
            ports: HostPorts::new(),
            tasks: BTreeMap::new(),
            active: true,
            agent_connected: true,
        }
    }

    fn size(self, cpu: u32, memory: u32) -> Self {
        Self { cpu, memory, ..self }
    }

    fn with(mut self, attribute: &str, value: &str) -> Self {
        self.attributes.insert(attribute.to_owned(), value.to_owned());
        self
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: &self.id,
            ec2_instance_id: &self.ec2_instance_id,
            availability_zone: &self.zone,
            attributes: &self.attributes,
            cpu: self.cpu,
            memory: self.memory,
            remaining_cpu: self.cpu - self.used_cpu,
            remaining_memory: self.memory - self.used_memory,
            remaining_enis: self.enis,
            fixed_ports: &self.ports,
            tasks: &self.tasks,
            running_tasks: self.tasks.values().sum(),
            registered_at: Timestamp::UNIX_EPOCH,
            active: self.active,
            agent_connected: self.agent_connected,
        }
    }

    fn take(&mut self, wish: &Wish) {
        self.used_cpu += wish.cpu;
        self.used_memory += wish.memory;
        self.ports.extend(&wish.fixed_ports);
        *self.tasks.entry(wish.group.clone()).or_default() += 1;
        if wish.needs_eni {
            self.enis = self.enis.map(|enis| enis - 1);
        }
    }
}

/// Container instances, and the last number that chance gave.
#[derive(Debug, Clone, Default)]
struct Cluster {
    nodes: Vec<Node>,
    chance: usize,
}

impl Cluster {
    /// One m5.large for each zone; they are named `a`, `b`, … in that order.
    fn in_zones(zones: &[&str]) -> Self {
        let names = "abcdefghijklmnopqrstuvwxyz".chars();
        Self::of(names.zip(zones).map(|(name, zone)| Node::new(&name.to_string(), zone)).collect())
    }

    fn of(nodes: Vec<Node>) -> Self {
        Self { nodes, chance: 0 }
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        self.nodes.iter().map(Node::candidate).collect()
    }

    /// Places one task; the name of its instance, or the refusal's words.
    fn place(&mut self, wish: &Wish) -> Result<String, String> {
        let candidates: Vec<Candidate<'_>> = self.nodes.iter().map(Node::candidate).collect();
        let last = &mut self.chance;
        let mut chance = |below: usize| {
            // A full cycle, so that every choice is made: no need for it to look random.
            *last = last.wrapping_add(7);
            *last % below
        };
        let at = place(wish, &candidates, &mut chance).map_err(|refusal| refusal.to_string())?;
        self.nodes[at].take(wish);
        Ok(self.nodes[at].id.clone())
    }

    /// Places several tasks and joins the names of their instances.
    fn place_all(&mut self, wish: &Wish, count: usize) -> String {
        (0..count).map(|_| self.place(wish).unwrap()).collect::<Vec<_>>().join(" ")
    }
}

/// A small task without any demand beyond its size.
fn wish() -> Wish {
    Wish {
        group: GROUP.to_owned(),
        cpu: 128,
        memory: 256,
        fixed_ports: HostPorts::new(),
        needs_eni: false,
        constraints: Vec::new(),
        strategy: Vec::new(),
        zones: None,
    }
}

fn strategies(entries: &[(&str, &str)]) -> Vec<Strategy> {
    entries.iter().map(|(kind, field)| Strategy::new(kind, Some(field)).unwrap()).collect()
}

fn member_of(expression: &str) -> Constraint {
    Constraint::MemberOf(expression.parse().unwrap())
}
