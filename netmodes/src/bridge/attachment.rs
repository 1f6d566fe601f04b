//! A container's link to its instance's bridge: its name, its address, and both of its ends (reference 1.7).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::instance::{BRIDGE_ADDRESS, BRIDGE_BLOCK, BRIDGE_MTU};
use crate::awsvpc::{OwnerEnd, OwnerRoute};
use crate::vpc::eni::MacAddress;

/// Hex digits of an id: with `veth` before them they fill the 15 bytes of a link's name.
const DIGITS: usize = 11;

/// An attachment: 11 hex digits, made once from random bits that the caller brings, and stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttachmentId(String);

/// A text that is not an attachment's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an attachment's id of {DIGITS} hex digits")]
pub struct ParseAttachmentIdError(pub String);

impl AttachmentId {
    /// The id whose digits are the low 44 bits of `bits`.
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("{:011x}", bits & ((1 << (4 * DIGITS)) - 1)))
    }

    /// The 11 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the end that stands in the instance's netns, `veth` and the digits: 15 bytes, as Docker names its own.
    pub fn link_name(&self) -> String {
        format!("veth{}", self.0)
    }

    /// The attachment whose link has this name; `None` when it is no attachment's.
    pub fn of_link(name: &str) -> Option<Self> {
        name.strip_prefix("veth")?.parse().ok()
    }

    /// The MAC of the end that stands in the instance's netns. Nobody sends to it; it only must be nobody else's.
    pub(crate) fn port_mac(&self) -> MacAddress {
        let bits = u64::from_str_radix(&self.0, 16).unwrap_or_default();
        let [_, _, _, a, b, c, d, e] = bits.to_be_bytes();
        // `0a`, while the bridge and the containers have `02`; and the id's highest digit does not fit.
        MacAddress([0x0a, a, b, c, d, e])
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AttachmentId {
    type Err = ParseAttachmentIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well_formed = text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(ParseAttachmentIdError(text.to_owned())) }
    }
}

impl TryFrom<String> for AttachmentId {
    type Error = ParseAttachmentIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AttachmentId> for String {
    fn from(id: AttachmentId) -> String {
        id.0
    }
}

/// A container's link to its instance's bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which.
    pub id: AttachmentId,
    /// The container's address within [`BRIDGE_BLOCK`], unique in the instance.
    pub address: Ipv4Addr,
    /// The MAC of the container's `eth0`.
    pub mac: MacAddress,
}

impl Attachment {
    /// The attachment with the MAC that Docker gives such an address: `02:42` and the address.
    ///
    /// Who is given the address next has the same MAC, so no neighbour has to unlearn one.
    pub fn new(id: AttachmentId, address: Ipv4Addr) -> Self {
        Self { id, address, mac: docker_mac(address) }
    }

    /// The container's `eth0`: the address in its block, the block on the link, all else by way of the bridge.
    ///
    /// Neighbours are found by ARP, as on any Ethernet.
    pub fn container_end(&self) -> OwnerEnd {
        let network = |address: Ipv4Addr, prefix| IpNetwork::new(address.into(), prefix).ok();
        let on_link = BRIDGE_BLOCK.into();
        let default = network(Ipv4Addr::UNSPECIFIED, 0);
        let routes = [Some((None, on_link)), default.map(|any| (Some(IpAddr::V4(BRIDGE_ADDRESS)), any))];
        OwnerEnd {
            mac: Some(self.mac),
            mtu: BRIDGE_MTU,
            up: true,
            addresses: network(self.address, BRIDGE_BLOCK.prefix()).into_iter().collect(),
            routes: routes.into_iter().flatten().map(|(via, destination)| OwnerRoute { via, destination }).collect(),
            neighbours: BTreeMap::new(),
        }
    }
}

pub(super) fn docker_mac(address: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = address.octets();
    MacAddress([0x02, 0x42, a, b, c, d])
}

/// The end of an attachment's link that stands in the instance's netns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePort {
    /// The container's address; it is the link's alias, written last: who sees it knows that the container's end was complete.
    pub address: Option<Ipv4Addr>,
    /// Its own MAC, which nobody sends to.
    pub mac: Option<MacAddress>,
    /// Bytes.
    pub mtu: u32,
    /// Whether it and the container's end are both up.
    pub up: bool,
    /// Whether it is a port of the instance's bridge.
    pub on_bridge: bool,
}

impl BridgePort {
    /// What the instance's netns should hold of `attachment`.
    pub fn of(attachment: &Attachment) -> Self {
        Self {
            address: Some(attachment.address),
            mac: Some(attachment.id.port_mac()),
            mtu: BRIDGE_MTU,
            up: true,
            on_bridge: true,
        }
    }
}

/// The next free address of the bridge: the first after `last` that is not taken, beginning anew at the block's end.
///
/// In turn and not the lowest free one, so that an address rests before somebody else has it. Never the block's own address,
/// the bridge's (172.17.0.1) or the broadcast address; `None` when all 65,533 are taken.
pub fn next_bridge_address(taken: &BTreeSet<Ipv4Addr>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let (first, end) = (BRIDGE_ADDRESS.to_bits() + 1, BRIDGE_BLOCK.broadcast().to_bits());
    let after = last.map_or(first, |last| last.to_bits().saturating_add(1));
    let after = if (first..end).contains(&after) { after } else { first };
    (after..end).chain(first..after).map(Ipv4Addr::from_bits).find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(addresses: &[&str]) -> BTreeSet<Ipv4Addr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[rstest::rstest]
    #[case::first(&[], None, "172.17.0.2")]
    #[case::after_the_last_though_free_before(&[], Some("172.17.0.2"), "172.17.0.3")]
    #[case::skips_what_is_taken(&["172.17.0.3", "172.17.0.4"], Some("172.17.0.2"), "172.17.0.5")]
    #[case::within_the_block_zeros_are_addresses(&[], Some("172.17.0.255"), "172.17.1.0")]
    #[case::wraps_before_broadcast(&[], Some("172.17.255.254"), "172.17.0.2")]
    #[case::wraps_over_what_is_taken(&["172.17.0.2"], Some("172.17.255.254"), "172.17.0.3")]
    #[case::after_the_bridges_own(&[], Some("172.17.0.1"), "172.17.0.2")]
    #[case::from_elsewhere(&[], Some("10.0.0.9"), "172.17.0.2")]
    #[case::from_the_end_of_all(&[], Some("255.255.255.255"), "172.17.0.2")]
    fn the_next_address_is_the_first_free_one_after_the_last(
        #[case] taken: &[&str],
        #[case] last: Option<&str>,
        #[case] next: &str,
    ) {
        let last = last.map(|last| last.parse().unwrap());
        assert_eq!(next_bridge_address(&set(taken), last), Some(next.parse().unwrap()));
    }

    #[test]
    fn a_full_block_has_no_next_and_each_address_is_given_once_before() {
        let (mut taken, mut last) = (BTreeSet::new(), None);
        while let Some(next) = next_bridge_address(&taken, last) {
            assert!(taken.insert(next) && BRIDGE_BLOCK.contains(next));
            last = Some(next);
        }
        assert_eq!(taken.len(), 65_533);
        assert!(!taken.contains(&BRIDGE_ADDRESS));
        let freed = "172.17.3.4".parse().unwrap();
        taken.remove(&freed);
        assert_eq!(next_bridge_address(&taken, last), Some(freed));
    }

    #[test]
    fn names_and_macs_are_as_docker_makes_them() {
        let attachment = Attachment::new(AttachmentId::from_bits(u128::MAX), "172.17.0.2".parse().unwrap());
        assert_eq!(attachment.mac.to_string(), "02:42:ac:11:00:02");
        let name = attachment.id.link_name();
        assert_eq!((name.len(), AttachmentId::of_link(&name)), (15, Some(attachment.id.clone())));
        let json = serde_json::to_string(&attachment).unwrap();
        assert_eq!(serde_json::from_str::<Attachment>(&json).unwrap(), attachment);
    }

    #[rstest::rstest]
    #[case("docker0")]
    #[case("vethabc")]
    #[case("veth0123456789A")]
    fn another_link_is_no_attachments(#[case] name: &str) {
        assert_eq!(AttachmentId::of_link(name), None);
    }

    #[test]
    fn a_container_reaches_its_bridge_on_the_link_and_the_rest_through_it() {
        let end = Attachment::new(AttachmentId::from_bits(1), "172.17.0.2".parse().unwrap()).container_end();
        assert_eq!(end.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["172.17.0.2/16"]);
        let routes: Vec<_> = end.routes.iter().map(|r| (r.destination.to_string(), r.via)).collect();
        let bridge = Some(IpAddr::V4(BRIDGE_ADDRESS));
        assert_eq!(routes, [("172.17.0.0/16".to_owned(), None), ("0.0.0.0/0".to_owned(), bridge)]);
    }

    proptest! {
        #[test]
        fn no_sequence_gives_a_taken_or_reserved_address(
            steps in proptest::collection::vec((any::<bool>(), any::<proptest::sample::Index>()), 1..200),
            last in proptest::option::of(any::<u32>().prop_map(Ipv4Addr::from_bits)),
        ) {
            let (mut taken, mut last) = (BTreeSet::new(), last);
            for (give, which) in steps {
                if give || taken.is_empty() {
                    let next = next_bridge_address(&taken, last).unwrap();
                    prop_assert!(BRIDGE_BLOCK.contains(next) && next > BRIDGE_ADDRESS);
                    prop_assert!(next < BRIDGE_BLOCK.broadcast());
                    prop_assert!(taken.insert(next));
                    last = Some(next);
                } else {
                    let freed = *which.get(&taken.iter().copied().collect::<Vec<_>>());
                    taken.remove(&freed);
                }
            }
        }
    }
}
