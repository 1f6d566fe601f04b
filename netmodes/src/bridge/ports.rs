//! Host ports of an instance: what is published, and which port comes next (reference 1.7).
//!
//! The choice is the ECS agent's and made before the container is: the next port after the last one assigned, beginning anew
//! at the range's end. That a port is really free is then found out by binding it
//! ([`crate::instance_network::InstanceNetwork::unavailable_ports`]); one that is not goes into `taken`, and on it goes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::nft::Transport;
use crate::security::group::PortRange;

/// Where dynamic host ports are from: Linux's usual `ip_local_port_range`, which the ECS agent takes.
pub const DYNAMIC_PORTS: PortRange = PortRange { first: 32768, last: 60999 };

/// Reserved on every instance: SSH, Docker's two, and the agent's introspection, metadata and Prometheus endpoints.
pub const RESERVED_PORTS: [u16; 6] = [22, 2375, 2376, 51678, 51679, 51680];

/// A host port of an instance, or one of a contiguous range, led to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// TCP or UDP.
    pub protocol: Transport,
    /// The port at each of the instance's addresses.
    pub host_port: u16,
    /// [`super::Attachment::address`].
    pub container_address: Ipv4Addr,
    /// The port in the container.
    pub container_port: u16,
}

/// Why no host port was assigned, in the ECS agent's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortsUnavailable {
    /// No single port is free.
    #[error("a host port is unavailable")]
    Port,
    /// So many ports in a row are not free.
    #[error("{0} contiguous host ports are unavailable")]
    Contiguous(u16),
}

/// The dynamic host ports of one instance, about to be assigned.
#[derive(Debug, Clone)]
pub struct Ports<'a> {
    range: PortRange,
    last: Option<u16>,
    taken: &'a BTreeSet<(Transport, u16)>,
    assigned: BTreeSet<(Transport, u16)>,
}

impl<'a> Ports<'a> {
    /// Ports of `range`, after `last`, without those in `taken`.
    pub fn new(range: PortRange, last: Option<u16>, taken: &'a BTreeSet<(Transport, u16)>) -> Self {
        Self { range, last, taken, assigned: BTreeSet::new() }
    }

    /// The last port assigned: what the next [`Ports::new`] of this instance goes on from.
    pub fn last(&self) -> Option<u16> {
        self.last
    }

    /// Assigns the next port.
    ///
    /// # Errors
    /// When every port of the range is taken or reserved.
    pub fn next(&mut self, protocol: Transport) -> Result<u16, PortsUnavailable> {
        self.assign(protocol, 1).ok_or(PortsUnavailable::Port)
    }

    /// Assigns the next `length` ports in a row and gives the first. A row does not go past the range's end.
    ///
    /// # Errors
    /// When there are not so many in a row; none are never to be had.
    pub fn next_contiguous(&mut self, protocol: Transport, length: u16) -> Result<u16, PortsUnavailable> {
        self.assign(protocol, length).ok_or(PortsUnavailable::Contiguous(length))
    }

    fn assign(&mut self, protocol: Transport, length: u16) -> Option<u16> {
        let PortRange { first, last } = self.range;
        let after = self.last.and_then(|last| last.checked_add(1)).filter(|after| (first..=last).contains(after));
        let start = after.unwrap_or(first);
        // Beginning anew, a row may reach into where the search began.
        let start = self.free_row(protocol, start..=last, length).or_else(|| {
            let end = start.saturating_add(length.saturating_sub(2)).min(last);
            self.free_row(protocol, first..=end, length)
        })?;
        let row = start..=start + (length - 1);
        self.last = Some(*row.end());
        self.assigned.extend(row.map(|port| (protocol, port)));
        Some(start)
    }

    /// The first port of the first `length` free ones in a row.
    fn free_row(&self, protocol: Transport, among: impl Iterator<Item = u16>, length: u16) -> Option<u16> {
        let mut row = 0;
        for port in among {
            row = if self.is_free(protocol, port) { row + 1 } else { 0 };
            if row > 0 && row == length {
                return Some(port - (length - 1));
            }
        }
        None
    }

    fn is_free(&self, protocol: Transport, port: u16) -> bool {
        let key = (protocol, port);
        !RESERVED_PORTS.contains(&port) && !self.taken.contains(&key) && !self.assigned.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Tcp, Udp};
    use proptest::prelude::*;

    const SMALL: PortRange = PortRange { first: 51670, last: 51690 };

    fn tcp(ports: &[u16]) -> BTreeSet<(Transport, u16)> {
        ports.iter().map(|port| (Tcp, *port)).collect()
    }

    #[rstest::rstest]
    #[case::first(None, &[], 51670)]
    #[case::after_the_last_though_free_before(Some(51672), &[], 51673)]
    #[case::skips_what_is_taken(Some(51672), &[51673, 51674], 51675)]
    #[case::skips_what_is_reserved(Some(51677), &[], 51681)]
    #[case::wraps(Some(51690), &[], 51670)]
    #[case::wraps_over_what_is_taken(Some(51689), &[51690, 51670], 51671)]
    #[case::from_below_the_range(Some(80), &[], 51670)]
    #[case::from_above_the_range(Some(u16::MAX), &[], 51670)]
    fn the_next_port_is_the_first_free_one_after_the_last(
        #[case] last: Option<u16>,
        #[case] taken: &[u16],
        #[case] next: u16,
    ) {
        let taken = tcp(taken);
        let mut ports = Ports::new(SMALL, last, &taken);
        assert_eq!(ports.next(Tcp), Ok(next));
        assert_eq!(ports.last(), Some(next));
    }

    #[rstest::rstest]
    #[case::first(None, &[], 3, 51670)]
    #[case::after_the_last(Some(51670), &[], 3, 51671)]
    #[case::not_over_what_is_taken(None, &[51671], 3, 51672)]
    #[case::not_over_what_is_reserved(Some(51675), &[], 3, 51681)]
    #[case::not_past_the_end(Some(51688), &[], 3, 51670)]
    #[case::anew_into_where_the_search_began(Some(51683), &[51672, 51687], 5, 51673)]
    #[case::anew_over_where_the_search_began(Some(51683), &[51672, 51687, 51675], 6, 51681)]
    fn a_row_of_ports_is_the_first_free_one_after_the_last(
        #[case] last: Option<u16>,
        #[case] taken: &[u16],
        #[case] length: u16,
        #[case] first: u16,
    ) {
        let taken = tcp(taken);
        let mut ports = Ports::new(SMALL, last, &taken);
        assert_eq!(ports.next_contiguous(Tcp, length), Ok(first));
        assert_eq!(ports.last(), Some(first + length - 1));
    }

    #[test]
    fn without_a_free_port_the_words_are_the_agents() {
        let taken = tcp(&(51670..=51690).collect::<Vec<_>>());
        let mut ports = Ports::new(SMALL, Some(51680), &taken);
        assert_eq!(ports.next(Tcp).unwrap_err().to_string(), "a host port is unavailable");
        assert_eq!(ports.last(), Some(51680));
        assert_eq!(ports.next(Udp), Ok(51681), "UDP has ports of its own");
        let refused = ports.next_contiguous(Udp, 11).unwrap_err().to_string();
        assert_eq!(refused, "11 contiguous host ports are unavailable");
        assert!(ports.next_contiguous(Udp, 0).is_err());
    }

    proptest! {
        #[test]
        fn no_sequence_assigns_a_taken_or_reserved_port(
            first in 51600u16..51680,
            size in 1u16..100,
            last in proptest::option::of(51590u16..51800),
            steps in proptest::collection::vec((0u16..6, any::<bool>(), any::<proptest::sample::Index>()), 1..120),
        ) {
            let range = PortRange { first, last: first + size };
            let (mut taken, mut last) = (BTreeSet::new(), last);
            for (length, udp, which) in steps {
                let protocol = if udp { Udp } else { Tcp };
                if length == 0 {
                    if !taken.is_empty() {
                        let freed = *which.get(&taken.iter().copied().collect::<Vec<_>>());
                        taken.remove(&freed);
                    }
                    continue;
                }
                let before = taken.clone();
                let mut ports = Ports::new(range, last, &before);
                let free = |port: &u16| !RESERVED_PORTS.contains(port) && !before.contains(&(protocol, *port));
                match ports.next_contiguous(protocol, length) {
                    Ok(start) => {
                        let row: Vec<u16> = (start..start + length).collect();
                        prop_assert!(row.iter().all(|port| (range.first..=range.last).contains(port) && free(port)));
                        taken.extend(row.iter().map(|port| (protocol, *port)));
                        last = ports.last();
                        prop_assert_eq!(last, row.last().copied());
                    }
                    Err(_) => {
                        let all: Vec<u16> = (range.first..=range.last).collect();
                        let rows = all.windows(usize::from(length)).filter(|row| row.iter().all(free)).count();
                        prop_assert_eq!(rows, 0, "wraps, so it finds what there is");
                    }
                }
            }
        }

        #[test]
        fn one_instances_ports_are_assigned_once_each_until_none_is_left(last in 32768u16..60999) {
            let taken = BTreeSet::new();
            let range = PortRange { first: 51000, last: 51999 };
            let mut ports = Ports::new(range, Some(last), &taken);
            let mut assigned = BTreeSet::new();
            while let Ok(port) = ports.next(Tcp) {
                prop_assert!(assigned.insert(port));
            }
            prop_assert_eq!(assigned.len(), 1000 - 3);
        }
    }
}
