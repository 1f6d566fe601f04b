//! Invariants over a whole state and a whole plan, as data: run by the tests after each turn, and once at start over what
//! the store holds, where they are logged. Pure; repairs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Setting;
use super::step::Step;
use crate::observe::Observed;
use crate::project::security_groups::subnets;
use crate::spec::ids::StackName;
use crate::store::state::{StackState, State, TaskStatus};

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
        for task in stack.tasks.values() {
            if !enis.insert(&task.eni.id) {
                violations.push(grave(format!("{} of task {} is another task's too", task.eni.id, task.id)));
            }
        }
        leases(name, stack, &mut violations);
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
    for task in stack.tasks.values().filter(|t| t.holds_lease()) {
        let subnet = subnets.iter().find(|s| s.id == task.eni.subnet);
        for address in task.eni.addresses.iter().map(|a| a.address) {
            if let Some(other) = holders.insert(address, &task.id) {
                violations.push(grave(format!("{address} in stack {name} is leased to tasks {other} and {}", task.id)));
            }
            match subnet {
                Some(subnet) if subnet.cidr.contains(address) && !subnet.is_reserved(address) => {}
                _ => violations.push(grave(format!("{address} of task {} is not its subnet's to give", task.id))),
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
                let network = observed.network(stack, &setting.vpc_name(stack));
                let eni = state.stack(stack).and_then(|s| s.tasks.get(task)).map(|t| &t.eni.id);
                let linked = eni.and_then(|eni| network.and_then(|n| n.links.get(eni))).and_then(Option::as_ref);
                let holder = observed.running(&setting.pause_name(stack, task)).map(|(holder, _)| holder);
                if linked.is_none() || linked != holder.as_ref() {
                    violations.push(grave(format!("container {} would start without a network", spec.name)));
                }
            }
            _ => {}
        }
    }
    violations
}
