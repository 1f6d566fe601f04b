//! The smallest change from one table to another (in elements and whole chains). Pure.

use std::collections::BTreeMap;

use super::object::{Element, Name, Set, Table};
use super::transaction::{Change, Transaction};

/// Elements in one message: their attributes together have a length of 16 bits.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// What makes `want` of `have`; empty when they are equal.
///
/// Element changes cost next to nothing in the kernel, a change of rules makes it check the whole table for loops. A set
/// or base chain of another make cannot be changed in place: then the table is made anew, in one step as well.
pub fn diff(have: &Table, want: &Table) -> Transaction {
    let remade = have.sets.iter().any(|(name, set)| want.sets.get(name).is_some_and(|w| w.shape != set.shape))
        || have.chains.iter().any(|(name, chain)| want.chains.get(name).is_some_and(|w| w.base != chain.base));
    if !remade {
        return in_place(have, want);
    }
    let mut transaction = Transaction { changes: vec![Change::DeleteTable] };
    transaction.changes.extend(in_place(&Table::default(), want).changes);
    transaction
}

fn in_place(have: &Table, want: &Table) -> Transaction {
    let mut changes = Vec::new();
    if *have == Table::default() && *want != Table::default() {
        changes.push(Change::AddTable);
    }
    let absent_sets = want.sets.iter().filter(|(name, _)| !have.sets.contains_key(*name));
    changes.extend(absent_sets.map(|(name, set)| Change::AddSet(name.clone(), set.shape)));
    let absent_chains = want.chains.iter().filter(|(name, _)| !have.chains.contains_key(*name));
    changes.extend(absent_chains.map(|(name, chain)| Change::AddChain(name.clone(), chain.base)));

    for (name, chain) in &have.chains {
        let stays = want.chains.get(name).is_some_and(|wanted| wanted.rules == chain.rules);
        if !stays && !chain.rules.is_empty() {
            changes.push(Change::FlushChain(name.clone()));
        }
    }
    for (name, chain) in &want.chains {
        if have.chains.get(name).is_none_or(|had| had.rules != chain.rules) {
            changes.extend(chain.rules.iter().map(|rule| Change::AddRule(name.clone(), rule.clone())));
        }
    }
    for (name, set) in &have.sets {
        if want.sets.get(name).is_some_and(|wanted| wanted.elements == set.elements) {
            continue;
        }
        // A set that goes is emptied first: a map's elements hold the chains that they lead to.
        elements(&mut changes, name, set, want.sets.get(name), Change::DeleteElements);
    }
    for (name, set) in &want.sets {
        if have.sets.get(name).is_none_or(|had| had.elements != set.elements) {
            elements(&mut changes, name, set, have.sets.get(name), Change::AddElements);
        }
    }
    let gone_chains = have.chains.keys().filter(|name| !want.chains.contains_key(*name));
    changes.extend(gone_chains.map(|name| Change::DeleteChain(name.clone())));
    let gone_sets = have.sets.keys().filter(|name| !want.sets.contains_key(*name));
    changes.extend(gone_sets.map(|name| Change::DeleteSet(name.clone())));
    Transaction { changes }
}

/// The elements of `set` that are not, or otherwise, in `other`.
fn elements(
    changes: &mut Vec<Change>,
    name: &Name,
    set: &Set,
    other: Option<&Set>,
    change: fn(Name, Vec<Element>) -> Change,
) {
    let empty = BTreeMap::new();
    let other = other.map_or(&empty, |o| &o.elements);
    let differing: Vec<_> = set
        .elements
        .iter()
        .filter(|(key, mapped)| other.get(key) != Some(mapped))
        .map(|(key, mapped)| (*key, mapped.clone()))
        .collect();
    changes.extend(differing.chunks(ELEMENTS_PER_MESSAGE).map(|part| change(name.clone(), part.to_vec())));
}
