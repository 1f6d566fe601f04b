//! AWS's checks over spec values, in AWS's words; every front door (stack file, AWS API) calls them before the store sees a value.
//!
//! A check returns all that it finds, as [`Problem`]s whose pointers are relative to the value that it was given and spelt as
//! on the wire (`/containerDefinitions/0/portMappings/1/hostPort`): who called knows where that value stood. What a type of the
//! spec cannot hold (a port of 70000) never gets here; its words are in [`wording`]. What AWS checks and the spec does not keep
//! is looked at in the request itself: [`registration`], [`creation`]. No I/O, no clock. Texts: reference 1.10, 4.6 and 5.1;
//! where AWS's words are not known the words are ours.

mod container;
mod container_network;
pub mod creation;
mod port_range;
pub mod registration;
pub mod security_group;
pub mod service;
pub mod task_definition;
pub mod vpc;
mod wire;
pub mod wording;

#[cfg(test)]
mod tests;

use super::problem::{Place, Problem};

/// An error at a pointer of the checked value.
fn error(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Problem {
    Problem::error(Place::value("", pointer), code, message)
}

/// What is wrong with a stack's name; it is also part of container, cluster and DNS names, hence the rule.
pub fn stack_name(name: &str) -> Option<Problem> {
    let mut characters = name.chars();
    let well_formed = characters.next().is_some_and(|c| c.is_ascii_lowercase())
        && name.len() <= 31
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !well_formed {
        return Some(
            error("", "InvalidStackName", format!("`{name}` cannot be a stack's name"))
                .with_hint("a lower-case letter, then up to 30 lower-case letters, digits and `-`"),
        );
    }
    // `<stack>-pause` and its like are names of containers that the agent makes itself.
    ["-pause", "-envoy", "-helper"].iter().find(|reserved| name.ends_with(**reserved)).map(|reserved| {
        error("", "InvalidStackName", format!("a stack's name cannot end in `{reserved}`"))
            .with_hint("containers of ecsnet's own have such names")
    })
}

/// What is wrong with the name of a Cloud Map private DNS namespace (reference 6.1).
pub fn dns_namespace(name: &str) -> Option<Problem> {
    let well_formed = name.len() <= 253 && name.split('.').all(is_dns_label);
    (!well_formed).then(|| {
        error("", "InvalidInput", format!("`{name}` cannot be a DNS namespace"))
            .with_hint("labels of up to 63 letters, digits and `-`, joined by dots, for example `shop.local`")
    })
}

/// Whether a text may stand between two dots of a DNS name that Cloud Map makes; `_` is allowed (6.1).
fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `[A-Za-z0-9_-]{1,255}`, the rule for service, family and container names.
fn is_ecs_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The known name that a mistyped one most likely meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (likeness(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1; short names with two letters swapped (`wbe`) count as alike, which Jaro-Winkler alone does not see.
fn likeness(one: &str, other: &str) -> f64 {
    let is_slip = one.chars().count() > 2 && strsim::osa_distance(one, other) == 1;
    strsim::jaro_winkler(one, other).max(if is_slip { 0.9 } else { 0.0 })
}
