//! What a change of ENIs alone makes of a VPC's table, at a cost that does not grow with its rules.
//!
//! Tasks come and go far more often than groups change, and the whole table of 1,000 ENIs takes milliseconds to make and
//! compare. Pure; the outcome is that of comparing whole tables, which a property test holds it to.

use std::cmp::Ordering;

use super::group::Ruleset;
use super::ruleset::{EGRESS, INGRESS, add_eni, declare_sets};
use crate::ids::EniId;
use crate::nft::{Mapped, Table, Transaction, Verdict, diff};
use crate::vpc::eni::Eni;

/// An ENI before and after.
pub type EniChange<'a> = (Option<&'a Eni>, Option<&'a Eni>);

/// The ENIs that differ; `None` when more than ENIs does, and whole tables have to be compared.
pub fn eni_changes<'a>(was: &'a Ruleset, want: &'a Ruleset) -> Option<Vec<EniChange<'a>>> {
    if was.router != want.router || was.groups != want.groups || was.flow_log != want.flow_log {
        return None;
    }
    let mut changes = Vec::new();
    let (mut olds, mut news) = (was.enis.iter().peekable(), want.enis.iter().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return Some(changes),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => EniId::cmp(old, new),
        };
        let old = if order.is_le() { olds.next() } else { None };
        let new = if order.is_ge() { news.next() } else { None };
        if old != new {
            changes.push((old.map(|(_, eni)| eni), new.map(|(_, eni)| eni)));
        }
    }
}

/// What these changes make of `have`, which is the table of `ruleset` but for them.
///
/// No two ENIs may have an address in common, which leases see to.
pub fn transaction(have: &Table, ruleset: &Ruleset, changes: &[EniChange<'_>]) -> Transaction {
    let part = |enis: &mut dyn Iterator<Item = &Eni>| {
        let mut part = Table::default();
        let groups = changes.iter().flat_map(|(old, new)| old.iter().chain(new)).flat_map(|eni| &eni.groups);
        declare_sets(&mut part, groups.filter(|group| ruleset.groups.contains_key(*group)));
        enis.for_each(|eni| add_eni(&mut part, ruleset, eni));
        part
    };
    let mut old = part(&mut changes.iter().filter_map(|(old, _)| *old));
    let new = part(&mut changes.iter().filter_map(|(_, new)| *new));

    // The chain of a list of groups is shared: one that others use stays, one that is there is not made again.
    if !old.chains.is_empty() {
        for map in [EGRESS, INGRESS] {
            let changing = old.sets.get(map).map(|set| &set.elements);
            let elements = have.sets.get(map).into_iter().flat_map(|set| &set.elements);
            for (key, mapped) in elements {
                let Some(Mapped::Verdict(Verdict::Goto(chain))) = mapped else { continue };
                if !changing.is_some_and(|c| c.contains_key(key)) {
                    old.chains.remove(chain);
                }
            }
        }
    }
    for name in new.chains.keys() {
        if let Some(chain) = have.chains.get(name) {
            old.chains.insert(name.clone(), chain.clone());
        }
    }
    diff(&old, &new)
}
