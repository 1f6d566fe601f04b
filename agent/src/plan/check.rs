//! Invariants over a whole state and a whole plan, as data: run by the tests after each turn, and once at start over what
//! the store holds, where they are logged. Pure; repairs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Setting;
use super::network::is_linked;
use super::step::Step;
use crate::observe::Observed;
use crate::project::security_groups::subnets;
use crate::spec::ids::StackName;
use crate::store::state::{EniOwner, StackState, State};
use crate::store::task::{TaskNetwork, TaskStatus};

/// How bad a violation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is shown wrongly.
    Minor,
    /// Packets may go where they should not, or a task cannot work.
    Grave,
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, with the ids that it is about.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

fn grave(what: String) -> Violation {
    Violation { severity: Severity::Grave, what }
}

/// What does not hold of a state.
pub fn state(state: &State) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut enis = BTreeSet::new();
    for (name, stack) in state.stacks() {
        for (attached, owner) in stack.attached() {
            if !enis.insert(&attached.eni.id) {
                violations.push(grave(format!("{} of {} is another's too", attached.eni.id, called(owner))));
            }
        }
        leases(name, stack, &mut violations);
        ports(name, stack, &mut violations);
        for task in stack.tasks.values().filter(|t| t.status != TaskStatus::Stopped) {
            if !stack.services.contains_key(&task.service) {
                violations.push(Violation {
                    severity: Severity::Minor,
                    what: format!("task {} is of service {}, which is not in stack {name}", task.id, task.service),
                });
            }
        }
    }
    violations
}

/// Every address is leased once, and lies in its task's subnet, outside of what AWS keeps there.
fn leases(name: &StackName, stack: &StackState, violations: &mut Vec<Violation>) {
    let subnets = subnets(&stack.record);
    let mut holders = BTreeMap::new();
    for (attached, owner) in stack.leased() {
        let subnet = subnets.iter().find(|s| s.id == attached.eni.subnet);
        for address in attached.eni.addresses.iter().map(|a| a.address) {
            let owner = called(owner);
            match subnet {
                Some(subnet) if subnet.cidr.contains(address) && !subnet.is_reserved(address) => {}
                _ => violations.push(grave(format!("{address} of {owner} is not its subnet's to give"))),
            }
            if let Some(other) = holders.insert(address, owner.clone()) {
                violations.push(grave(format!("{address} in stack {name} is leased to {other} and {owner}")));
            }
        }
    }
}

fn called(owner: EniOwner<'_>) -> String {
    match owner {
        EniOwner::Task(task) => format!("task {}", task.id),
        EniOwner::Instance(instance) => format!("instance {}", instance.id),
    }
}

/// On an instance every host port and every address of the bridge is one task's.
fn ports(name: &StackName, stack: &StackState, violations: &mut Vec<Violation>) {
    for id in stack.instances.keys() {
        let (mut ports, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        for task in stack.tasks_on(id) {
            for (protocol, port) in task.bindings().iter().flat_map(|binding| binding.ports()) {
                if let Some(other) = ports.insert((protocol, port), &task.id) {
                    let port = format!("{port}/{}", protocol.as_str());
                    violations.push(grave(format!(
                        "host port {port} of instance {id} in stack {name} is of tasks {other} and {}",
                        task.id
                    )));
                }
            }
            let TaskNetwork::Bridge { attachments, .. } = &task.network else { continue };
            for attachment in attachments.values() {
                if addresses.insert(attachment.address, &attachment.id).is_some() {
                    violations.push(grave(format!("{} on instance {id} is given twice", attachment.address)));
                }
            }
        }
    }
}

/// What does not hold of a plan over the state that it was made for.
pub fn plan(state: &State, observed: &Observed, setting: &Setting, steps: &[Step]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut objects = BTreeSet::new();
    for step in steps {
        // Many tasks may want the same image; of the same pull only one is done at a time.
        let object = step.object();
        if !matches!(step, Step::PullImage { .. }) && !objects.insert(object.clone()) {
            violations.push(grave(format!("two steps want {object}: {}", step.kind())));
        }
        match step {
            Step::LinkEni { stack, vpc, eni, .. } => {
                let filter = observed.network(stack, vpc).and_then(|n| n.filter.as_ref());
                if !filter.is_some_and(|f| f.enis.contains_key(&eni.id)) {
                    violations.push(grave(format!("{} would be linked without being in the filter", eni.id)));
                }
            }
            Step::StartContainer { stack, task, spec, .. } => {
                let Some(in_stack) = state.stack(stack) else { continue };
                let Some(task) = in_stack.tasks.get(task) else { continue };
                if !is_linked(observed, setting, stack, &in_stack.instances, task) {
                    violations.push(grave(format!("container {} would start without a network", spec.name)));
                }
            }
            _ => {}
        }
    }
    violations
}
