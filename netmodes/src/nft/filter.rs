//! The packet filter of a VPC: its ruleset, kept in force.

use std::collections::BTreeMap;

use super::decode;
use super::encode::number;
use super::object::{Datum, LinkName, Table};
use super::run::{InForce, NftError};
use super::transaction::Transaction;
use crate::kernel::netns::Netns;
use crate::security::group::Ruleset;
use crate::security::{change, ruleset};

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, with IP headers.
    pub bytes: u64,
}

/// What was dropped at one ENI since it got its filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Sent with another's source address.
    pub source: Count,
    /// Sent, and allowed by no egress rule.
    pub egress: Count,
    /// Sent to it, and allowed by no ingress rule.
    pub ingress: Count,
}

/// The packet filter of one VPC's namespace.
///
/// Dropping it leaves the filter in force: packets do not depend on the agent.
pub struct Filter {
    in_force: InForce,
    /// The ruleset whose table is in force; nothing when the kernel has been read since and holds something else.
    known: Option<Ruleset>,
}

impl Filter {
    /// Opens the namespace's nftables and reads the table that is there, if one is.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or nftables cannot be read (no privileges, not in the kernel).
    pub fn open(netns: &Netns) -> Result<Self, NftError> {
        Ok(Self { in_force: InForce::open(netns)?, known: None })
    }

    /// Brings the kernel's table to `ruleset` in one step, and says what had to change; empty when nothing had.
    ///
    /// With an empty ruleset this closes the namespace: do it before the router forwards its first packet. What others
    /// change in the kernel is noticed, and then repaired, after [`Filter::observe`].
    ///
    /// # Errors
    /// When the kernel refuses; then what was in force before still is.
    pub fn ensure(&mut self, ruleset: &Ruleset) -> Result<Transaction, NftError> {
        // After a refusal the kernel was read anew, and may hold what nobody thought.
        let known = self.known.take();
        let Some(changes) = known.as_ref().and_then(|known| change::eni_changes(known, ruleset)) else {
            let transaction = self.in_force.ensure(ruleset::table(ruleset))?;
            self.known = Some(ruleset.clone());
            return Ok(transaction);
        };
        let transaction = change::transaction(self.in_force.have(), ruleset, &changes);
        let changes: Vec<_> =
            changes.into_iter().filter_map(|(old, new)| Some((old.or(new)?.id.clone(), new.cloned()))).collect();
        self.in_force.apply(&transaction)?;
        self.known = known.map(|mut known| {
            for (id, eni) in changes {
                match eni {
                    Some(eni) => drop(known.enis.insert(id, eni)),
                    None => drop(known.enis.remove(&id)),
                }
            }
            known
        });
        Ok(transaction)
    }

    /// Reads the table from the kernel; the next [`Filter::ensure`] starts from it.
    ///
    /// # Errors
    /// When the kernel cannot be read.
    pub fn observe(&mut self) -> Result<Table, NftError> {
        let had = self.in_force.have().clone();
        let have = self.in_force.observe()?.clone();
        if have != had {
            self.known = None;
        }
        Ok(have)
    }

    /// What was dropped, by the link of the ENI ([`crate::vpc::eni::Eni::link_name`]).
    ///
    /// # Errors
    /// When the kernel cannot be read.
    pub fn counters(&mut self) -> Result<BTreeMap<LinkName, Dropped>, NftError> {
        let mut dropped: BTreeMap<LinkName, Dropped> = BTreeMap::new();
        for (set, field) in [
            (ruleset::REFUSED_SOURCE, (|d| &mut d.source) as fn(&mut Dropped) -> &mut Count),
            (ruleset::REFUSED_EGRESS, |d| &mut d.egress),
            (ruleset::REFUSED_INGRESS, |d| &mut d.ingress),
        ] {
            let Some(shape) = self.in_force.have().sets.get(set).map(|s| s.shape) else { continue };
            for body in self.in_force.dump(number::GET_ELEMENTS, Some(set), "counters")? {
                for element in decode::elements(&body, shape) {
                    if let (Datum::Interface(link), Some((packets, bytes))) = (element.key.0, element.count) {
                        *field(dropped.entry(link).or_default()) = Count { packets, bytes };
                    }
                }
            }
        }
        Ok(dropped)
    }

    /// Takes the table away: the namespace is open then. For the end of the VPC only; absent is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self) -> Result<(), NftError> {
        self.known = None;
        self.in_force.remove()
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Filter").field(&self.in_force).finish()
    }
}
