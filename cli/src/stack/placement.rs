//! Where tasks may run and where they should: `placement` of a service, CreateService's own `placementStrategy` and
//! `placementConstraints`, and those of a task definition (reference 3.5).
//!
//! What is wrong with an entry is told by the checks over the request; here it is left out.

use agent::spec::placement::{Constraint, Placement, Strategy};

use super::read::Node;
use super::service::either;

/// Reads a service's.
pub(super) fn read(node: &Node<'_>) -> Placement {
    let short = node.get("placement").filter(|n| n.has_only(&["strategy", "constraints"]));
    let part = |key: &str| short.as_ref().and_then(|n| n.get(key));
    let strategy = either(part("strategy"), node.get("placementStrategy"));
    let constraints = either(part("constraints"), node.get("placementConstraints"));
    Placement {
        strategy: strategy.map(|n| strategies(&n)).unwrap_or_default(),
        constraints: constraints.map(|n| self::constraints(&n)).unwrap_or_default(),
    }
}

fn strategies(node: &Node<'_>) -> Vec<Strategy> {
    entries(node, "field").into_iter().filter_map(|(kind, field)| Strategy::new(kind, field).ok()).collect()
}

/// The entries of a list of constraints.
pub(super) fn constraints(node: &Node<'_>) -> Vec<Constraint> {
    entries(node, "expression")
        .into_iter()
        .filter_map(|(kind, expression)| Constraint::new(kind, expression).ok())
        .collect()
}

/// `type` and what it is about.
fn entries<'a>(node: &Node<'a>, about: &str) -> Vec<(&'a str, Option<&'a str>)> {
    let known = ["type", about];
    let mut entries = Vec::new();
    for n in node.items() {
        if !n.has_only(&known) {
            continue;
        }
        if n.lacks("type", &known) {
            n.error("InvalidParameterException", format!("an entry must have a `type`, beside its `{about}`"));
        }
        let about = n.get(about).and_then(|n| n.text());
        if let Some(kind) = n.get("type").and_then(|n| n.text()) {
            entries.push((kind, about));
        }
    }
    entries
}
