//! Checks of a security group's name and of how many rules it has (reference 4.1, 4.3, 4.6). Each rule is right by its type.
//!
//! The product of rules and groups on an ENI, at most 1000, is not checked: five groups of sixty rules stay below it.

use super::super::problem::Problem;
use super::super::security_group::SecurityGroup;
use super::error;

/// Rules of one direction that a group can have.
const MOST_RULES: usize = 60;

/// Whether a group has more rules than EC2 lets it have; pointers are `/ingress` and `/egress`.
pub fn rules(group: &SecurityGroup) -> Vec<Problem> {
    [("ingress", &group.ingress), ("egress", &group.egress)]
        .into_iter()
        .filter(|(_, rules)| rules.len() > MOST_RULES)
        .map(|(direction, rules)| {
            error(
                format!("/{direction}"),
                "RulesPerSecurityGroupLimitExceeded",
                "The maximum number of rules per security group has been reached.",
            )
            .with_hint(format!("{} {direction} rules, one for each peer; {MOST_RULES} are allowed", rules.len()))
        })
        .collect()
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
