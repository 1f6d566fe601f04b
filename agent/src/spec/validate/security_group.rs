//! Checks of a security group's name and of its rules together (reference 4.1, 4.3, 4.6). Each rule is right by its type.
//!
//! The product of rules and groups on an ENI, at most 1000, is not checked: five groups of sixty rules stay below it.

use super::super::problem::Problem;
use super::super::security_group::{Peer, PortRange, SecurityGroup, Traffic};
use super::error;

/// Rules of one direction that a group can have.
const MOST_RULES: usize = 60;

/// Whether a group has a rule twice, or more rules than EC2 lets it have; pointers are `/ingress` and `/egress`.
///
/// Two names may mean one group (services share groups), so only a block that is there twice is a fault.
pub fn rules(group: &SecurityGroup) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (direction, rules) in [("ingress", &group.ingress), ("egress", &group.egress)] {
        let at = format!("/{direction}");
        for (index, rule) in rules.iter().enumerate() {
            let is_again = rules.iter().take(index).any(|earlier| earlier == rule);
            if let (true, Peer::Cidr(block)) = (is_again, &rule.peer) {
                let message =
                    format!("the specified rule \"peer: {block}, {}, ALLOW\" already exists", spelt(rule.traffic));
                problems.push(error(at.clone(), "InvalidPermission.Duplicate", message));
            }
        }
        if rules.len() > MOST_RULES {
            problems.push(
                error(
                    at,
                    "RulesPerSecurityGroupLimitExceeded",
                    "The maximum number of rules per security group has been reached.",
                )
                .with_hint(format!("{} {direction} rules, one for each peer; {MOST_RULES} are allowed", rules.len())),
            );
        }
    }
    problems
}

/// Traffic as EC2 spells it in its refusals.
fn spelt(traffic: Traffic) -> String {
    let ports =
        |protocol: &str, ports: PortRange| format!("{protocol}, from port: {}, to port: {}", ports.first, ports.last);
    match traffic {
        Traffic::All => "ALL".to_owned(),
        Traffic::Tcp(range) => ports("TCP", range),
        Traffic::Udp(range) => ports("UDP", range),
        Traffic::Icmp { kind, code } => {
            let number = |part: Option<u8>| part.map_or(-1, i16::from);
            format!("ICMP, type: {}, code: {}", number(kind), number(code))
        }
        Traffic::Protocol(number) => number.to_string(),
    }
}

/// What is wrong with the name that a user gives a group.
pub fn group_name(name: &str) -> Option<Problem> {
    if name.starts_with("sg-") {
        return Some(error("", "InvalidParameterValue", "Group names may not be in the format sg-*"));
    }
    if matches!(name, "self" | "host") {
        return Some(
            error("", "InvalidParameterValue", format!("a security group cannot be named `{name}`"))
                .with_hint("the word has a meaning of its own in `from` and `to`"),
        );
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b" ._-:/()#,@[]+=&;{}!$*".contains(&b);
    (name.is_empty() || name.len() > 255 || !name.bytes().all(allowed)).then(|| {
        error("", "InvalidParameterValue", format!("Value ({name}) for parameter GroupName is invalid."))
            .with_hint("up to 255 of a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{}!$*")
    })
}
