//! Private DNS names from addresses and back, `ip-10-0-1-23.ec2.internal` (reference 5.3), with no record stored.
//!
//! Pure; called by [`super::answer`]. It says whether a name is one of them, and never whether the address is leased:
//! in EC2 too the name resolves for any address of the VPC.

use std::net::Ipv4Addr;

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::project::zone::PrivateNames;

/// [`PrivateNames`], ready to be asked.
#[derive(Debug)]
pub(super) struct PrivateZone {
    suffix: String,
    blocks: Vec<Ipv4Network>,
}

/// What a reverse name is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reverse {
    /// The reverse name of an address in the VPC; the private name that it points to.
    Address(String),
    /// A shorter name with addresses of the VPC below it.
    Parent,
}

impl PrivateZone {
    pub(super) fn new(names: &PrivateNames) -> Self {
        let blocks = names.blocks.iter().filter_map(|block| match block {
            IpNetwork::V4(block) => Some(*block),
            IpNetwork::V6(_) => None,
        });
        Self { suffix: format!(".{}", names.domain), blocks: blocks.collect() }
    }

    /// The address that a private name (lower case) stands for.
    pub(super) fn forward(&self, name: &str) -> Option<Ipv4Addr> {
        let octets = name.strip_suffix(&self.suffix)?.strip_prefix("ip-")?;
        let address = parse_octets(octets.split('-'))?;
        self.blocks.iter().any(|block| block.contains(address)).then_some(address)
    }

    /// What a name below `in-addr.arpa` is; none when no address of the VPC is at it or below it.
    pub(super) fn reverse(&self, name: &str) -> Option<Reverse> {
        let labels: Vec<&str> = name.strip_suffix(".in-addr.arpa")?.split('.').collect();
        if labels.len() > 4 {
            return None;
        }
        let known = labels.len();
        let padding = std::iter::repeat_n("0", 4 - known);
        let address = parse_octets(labels.into_iter().rev().chain(padding))?;
        if known == 4 {
            let inside = self.blocks.iter().any(|block| block.contains(address));
            return inside.then(|| Reverse::Address(private_name(address, &self.suffix)));
        }
        let prefix = u8::try_from(known * 8).ok()?;
        let range = Ipv4Network::new(address, prefix).ok()?;
        self.blocks.iter().any(|block| block.overlaps(range)).then_some(Reverse::Parent)
    }
}

fn private_name(address: Ipv4Addr, suffix: &str) -> String {
    let [a, b, c, d] = address.octets();
    format!("ip-{a}-{b}-{c}-{d}{suffix}")
}

/// Exactly four octets, each as a number is printed: no sign, no leading zero.
fn parse_octets<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Ipv4Addr> {
    let mut octets = Vec::with_capacity(4);
    for part in parts {
        let octet: u8 = part.parse().ok()?;
        if octet.to_string() != part || octets.len() == 4 {
            return None;
        }
        octets.push(octet);
    }
    <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn vpc() -> PrivateZone {
        PrivateZone::new(&PrivateNames {
            domain: "ec2.internal".into(),
            blocks: vec!["10.0.0.0/16".parse().unwrap(), "10.1.16.0/20".parse().unwrap()],
        })
    }

    #[rstest]
    #[case::inside("ip-10-0-1-23.ec2.internal", true)]
    #[case::second_block("ip-10-1-31-255.ec2.internal", true)]
    #[case::outside("ip-10-1-32-0.ec2.internal", false)]
    #[case::leading_zero("ip-10-0-01-23.ec2.internal", false)]
    #[case::sign("ip-10-0-+1-23.ec2.internal", false)]
    #[case::too_few("ip-10-0-1.ec2.internal", false)]
    #[case::too_many("ip-10-0-1-2-3.ec2.internal", false)]
    #[case::too_large("ip-10-0-1-256.ec2.internal", false)]
    #[case::below("a.ip-10-0-1-23.ec2.internal", false)]
    #[case::other_domain("ip-10-0-1-23.shop.local", false)]
    fn a_private_name_is_one_exact_form(#[case] name: &str, #[case] known: bool) {
        assert_eq!(vpc().forward(name).is_some(), known);
    }

    #[rstest]
    #[case::address("23.1.0.10.in-addr.arpa", Some(Reverse::Address("ip-10-0-1-23.ec2.internal".into())))]
    #[case::parent("1.0.10.in-addr.arpa", Some(Reverse::Parent))]
    #[case::wider_than_block("10.in-addr.arpa", Some(Reverse::Parent))]
    #[case::parent_outside("32.1.10.in-addr.arpa", None)]
    #[case::address_outside("1.32.1.10.in-addr.arpa", None)]
    #[case::too_long("9.23.1.0.10.in-addr.arpa", None)]
    #[case::no_number("x.1.0.10.in-addr.arpa", None)]
    fn a_reverse_name_is_known_by_the_blocks(#[case] name: &str, #[case] expected: Option<Reverse>) {
        assert_eq!(vpc().reverse(name), expected);
    }

    proptest! {
        #[test]
        fn every_address_of_the_vpc_goes_there_and_back(host in any::<u16>()) {
            let address = Ipv4Addr::from(0x0a00_0000_u32 + u32::from(host));
            let [a, b, c, d] = address.octets();
            let Some(Reverse::Address(name)) = vpc().reverse(&format!("{d}.{c}.{b}.{a}.in-addr.arpa")) else {
                return Err(TestCaseError::fail("no reverse name"));
            };
            prop_assert_eq!(vpc().forward(&name), Some(address));
        }

        #[test]
        fn no_name_makes_it_panic(name in "[-a-z0-9.]{0,40}") {
            vpc().forward(&format!("ip-{name}.ec2.internal"));
            vpc().reverse(&format!("{name}.in-addr.arpa"));
        }
    }
}
