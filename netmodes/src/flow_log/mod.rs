//! VPC Flow Logs: what passed and what was refused at each ENI within a window, as records of version 2.
//!
//! AWS writes a record for each ENI and each direction of a flow: a packet from one task to another is seen twice, once at
//! either end, and its answers twice more. What the sender's egress rules refuse is seen at the sender alone; what the
//! receiver's ingress rules refuse was ACCEPTed at the sender. Pure here; [`watch`] reads the kernel.

pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::ids::EniId;

/// One direction of a flow, as its packets show it; ports are 0 for protocols without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// To which port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl Tuple {
    /// The answers' direction.
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

/// Packets and bytes, IP headers included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Volume {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }

    /// What is more than `other`, never below nothing.
    pub fn minus(self, other: Self) -> Self {
        Self { packets: self.packets.saturating_sub(other.packets), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// Whose rules refused a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The sender's.
    Egress,
    /// The receiver's.
    Ingress,
}

/// What was seen in a VPC from `start` to `end`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// Unix seconds.
    pub start: u64,
    /// Unix seconds.
    pub end: u64,
    /// What tracked flows carried, by direction. Packets of an untracked flow count here even when a rule then refused them.
    pub carried: BTreeMap<Tuple, Carried>,
    /// What was refused.
    pub refused: BTreeMap<(Tuple, Refusal), Volume>,
    /// Whether some of what was refused was not seen: the kernel had more to tell than was listened to.
    pub lost: bool,
}

/// What one direction of a tracked flow carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// How much.
    pub volume: Volume,
    /// Whether each packet is judged by the rules, so that some of it may have been refused (4.4).
    pub judged: bool,
}

/// `action` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The security groups let it pass.
    Accept,
    /// They did not.
    Reject,
}

/// A record of version 2, but for the account, which is the reader's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The interface that it was seen at.
    pub eni: EniId,
    /// The flow; none when this record only says that records were skipped.
    pub flow: Option<(Tuple, Volume, Action)>,
    /// Unix seconds.
    pub start: u64,
    /// Unix seconds.
    pub end: u64,
}

impl Record {
    /// The line, in the default format.
    pub fn line(&self, account: &str) -> String {
        format!("2 {account} {} {}", self.eni, Rest(self))
    }
}

struct Rest<'a>(&'a Record);

impl fmt::Display for Rest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { flow, start, end, .. } = self.0;
        match flow {
            Some((t, volume, action)) => write!(
                f,
                "{} {} {} {} {} {} {} {start} {end} {} OK",
                t.source,
                t.destination,
                t.source_port,
                t.destination_port,
                t.protocol,
                volume.packets,
                volume.bytes,
                if *action == Action::Accept { "ACCEPT" } else { "REJECT" },
            ),
            None => write!(f, "- - - - - - - {start} {end} - SKIPDATA"),
        }
    }
}

/// The records of a window, for the interfaces that have these addresses.
///
/// Flows with an address of `router` are left out, as AWS leaves out those with its resolver, its metadata and the reserved
/// addresses of subnets.
pub fn records(window: &Window, enis: &BTreeMap<IpAddr, EniId>, router: &[IpAddr]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut push = |eni: Option<&EniId>, tuple: Tuple, volume: Volume, action: Action| {
        if let Some(eni) = eni.filter(|_| volume.packets > 0) {
            let flow = Some((tuple, volume, action));
            records.push(Record { eni: eni.clone(), flow, start: window.start, end: window.end });
        }
    };
    let tuples: BTreeSet<Tuple> =
        window.carried.keys().chain(window.refused.keys().map(|(tuple, _)| tuple)).copied().collect();
    for tuple in tuples {
        if router.contains(&tuple.source) || router.contains(&tuple.destination) {
            continue;
        }
        let refused = |by| window.refused.get(&(tuple, by)).copied().unwrap_or_default();
        let (egress, ingress) = (refused(Refusal::Egress), refused(Refusal::Ingress));
        let Carried { volume, judged } = window.carried.get(&tuple).copied().unwrap_or_default();
        // A flow that nothing let through is not tracked, so what was refused of it was not counted either.
        let arrived = if judged { volume.minus(egress).minus(ingress) } else { volume };
        let (sender, receiver) = (enis.get(&tuple.source), enis.get(&tuple.destination));
        push(sender, tuple, arrived.plus(ingress), Action::Accept);
        push(sender, tuple, egress, Action::Reject);
        push(receiver, tuple, arrived, Action::Accept);
        push(receiver, tuple, ingress, Action::Reject);
    }
    if window.lost {
        let all: BTreeSet<&EniId> = enis.values().collect();
        records.extend(all.into_iter().map(|eni| Record {
            eni: eni.clone(),
            flow: None,
            start: window.start,
            end: window.end,
        }));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(from: u8, to: u8) -> Tuple {
        let at = |n: u8| IpAddr::from([10, 0, 0, n]);
        Tuple { source: at(from), destination: at(to), source_port: 40000, destination_port: 80, protocol: 6 }
    }

    fn volume(packets: u64) -> Volume {
        Volume { packets, bytes: packets * 60 }
    }

    /// 4 and 5 are interfaces, 2 is the router's, 9 is outside.
    fn lines(window: Window) -> Vec<String> {
        let enis = [4u8, 5].map(|n| (IpAddr::from([10, 0, 0, n]), EniId::from_bits(n.into())));
        let window = Window { start: 100, end: 105, ..window };
        let records = records(&window, &enis.into(), &[IpAddr::from([10, 0, 0, 2])]);
        records.iter().map(|r| r.line("1").replace("eni-0000000000000000", "eni-")).collect()
    }

    fn carried(volume: Volume) -> Carried {
        Carried { volume, judged: false }
    }

    #[test]
    fn a_flow_is_seen_at_both_ends_and_both_ways() {
        let there = tuple(4, 5);
        let carried = BTreeMap::from([(there, carried(volume(3))), (there.reversed(), carried(volume(2)))]);
        assert_eq!(
            lines(Window { carried, ..Window::default() }),
            [
                "2 1 eni-4 10.0.0.4 10.0.0.5 40000 80 6 3 180 100 105 ACCEPT OK",
                "2 1 eni-5 10.0.0.4 10.0.0.5 40000 80 6 3 180 100 105 ACCEPT OK",
                "2 1 eni-5 10.0.0.5 10.0.0.4 80 40000 6 2 120 100 105 ACCEPT OK",
                "2 1 eni-4 10.0.0.5 10.0.0.4 80 40000 6 2 120 100 105 ACCEPT OK",
            ]
        );
    }

    #[test]
    fn what_the_receiver_refuses_was_accepted_at_the_sender() {
        let refused = BTreeMap::from([((tuple(4, 5), Refusal::Ingress), volume(2))]);
        assert_eq!(
            lines(Window { refused, ..Window::default() }),
            [
                "2 1 eni-4 10.0.0.4 10.0.0.5 40000 80 6 2 120 100 105 ACCEPT OK",
                "2 1 eni-5 10.0.0.4 10.0.0.5 40000 80 6 2 120 100 105 REJECT OK",
            ]
        );
    }

    #[test]
    fn what_the_sender_refuses_never_gets_to_the_receiver() {
        let refused = BTreeMap::from([((tuple(4, 5), Refusal::Egress), volume(2))]);
        assert_eq!(
            lines(Window { refused, ..Window::default() }),
            ["2 1 eni-4 10.0.0.4 10.0.0.5 40000 80 6 2 120 100 105 REJECT OK"]
        );
    }

    #[test]
    fn packets_of_an_untracked_flow_that_a_rule_refused_are_not_accepted_too() {
        let carried = BTreeMap::from([(tuple(4, 5), Carried { volume: volume(5), judged: true })]);
        let refused = BTreeMap::from([((tuple(4, 5), Refusal::Ingress), volume(2))]);
        assert_eq!(
            lines(Window { carried, refused, ..Window::default() }),
            [
                "2 1 eni-4 10.0.0.4 10.0.0.5 40000 80 6 5 300 100 105 ACCEPT OK",
                "2 1 eni-5 10.0.0.4 10.0.0.5 40000 80 6 3 180 100 105 ACCEPT OK",
                "2 1 eni-5 10.0.0.4 10.0.0.5 40000 80 6 2 120 100 105 REJECT OK",
            ]
        );
    }

    #[test]
    fn an_end_outside_has_no_record_and_the_resolver_is_left_out() {
        let carried = BTreeMap::from([(tuple(4, 9), carried(volume(1))), (tuple(4, 2), carried(volume(1)))]);
        assert_eq!(
            lines(Window { carried, ..Window::default() }),
            ["2 1 eni-4 10.0.0.4 10.0.0.9 40000 80 6 1 60 100 105 ACCEPT OK"]
        );
    }

    #[test]
    fn what_was_not_seen_is_said_of_each_interface() {
        assert_eq!(
            lines(Window { lost: true, ..Window::default() }),
            ["2 1 eni-4 - - - - - - - 100 105 - SKIPDATA", "2 1 eni-5 - - - - - - - 100 105 - SKIPDATA"]
        );
    }
}
