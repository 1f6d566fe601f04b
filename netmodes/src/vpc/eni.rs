//! Elastic network interfaces as values: addresses, MAC, names (reference 5.3, 5.4).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{EniId, GroupId, SubnetId};

/// MTU of every link inside a VPC, bytes (5.4).
pub const MTU: u32 = 9001;

/// One elastic network interface, whole: enough to build it, filter it, and find it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eni {
    /// `eni-…`.
    pub id: EniId,
    /// The subnet that its addresses are leased from.
    pub subnet: SubnetId,
    /// The MAC of its end in the owner's namespace.
    pub mac: MacAddress,
    /// The primary address first; one of each family at most for now.
    pub addresses: Vec<EniAddress>,
    /// The security groups on it, in the order given.
    pub groups: Vec<GroupId>,
    /// Whether packets with another's source address are dropped; off only for an ENI that forwards.
    pub source_check: bool,
}

/// An address of an ENI with what its owner needs to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EniAddress {
    /// The address.
    pub address: IpAddr,
    /// The subnet's prefix length, which the owner sees on `eth0`.
    pub prefix: u8,
    /// The subnet's router.
    pub gateway: IpAddr,
}

impl Eni {
    /// The name of the end that stands in the VPC's namespace: `eni` and the last 12 digits, 15 bytes in all.
    ///
    /// The whole id is the link's alias, from which [`crate::observe`] finds the ENI again.
    pub fn link_name(id: &EniId) -> String {
        format!("eni{}", &id.digits()[id.digits().len() - 12..])
    }

    /// The first address: what ECS calls `privateIPv4Address`.
    pub fn primary_address(&self) -> Option<IpAddr> {
        self.addresses.first().map(|a| a.address)
    }
}

/// A 48-bit MAC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// A locally administered unicast MAC of the shape that ENIs have (`02:…`, `06:…`, `0a:…`, `0e:…`), from an ENI's id.
    pub fn of_eni(id: &EniId) -> Self {
        Self::derived(id, 0)
    }

    /// The MAC of the router's end of that ENI's link: what the owner sees as its gateway.
    pub fn of_gateway(id: &EniId) -> Self {
        Self::derived(id, 1)
    }

    fn derived(id: &EniId, side: u8) -> Self {
        // The digits are random already; the side goes into the two bits that tell 02, 06, 0a and 0e apart.
        let bits = u128::from_str_radix(id.digits(), 16).unwrap_or_default();
        let tail = (bits as u64).to_be_bytes();
        let head = 0x02 | (((bits >> 44) as u8 & 1) << 3) | (side << 2);
        Self([head, tail[3], tail[4], tail[5], tail[6], tail[7]])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2);
            *byte = part
                .and_then(|p| u8::from_str_radix(p, 16).ok())
                .ok_or_else(|| format!("`{text}` is not a MAC address"))?;
        }
        if parts.next().is_some() {
            return Err(format!("`{text}` is not a MAC address"));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

/// The domain of private names in a region: `ec2.internal` in us-east-1, `<region>.compute.internal` elsewhere (5.3).
pub fn private_domain(region: &str) -> String {
    if region == "us-east-1" { "ec2.internal".to_owned() } else { format!("{region}.compute.internal") }
}

/// The private DNS name of an IPv4 address, `ip-10-0-1-23.ec2.internal`; an IPv6 address has none (5.3).
pub fn private_dns_name(address: IpAddr, region: &str) -> Option<String> {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            Some(format!("ip-{a}-{b}-{c}-{d}.{}", private_domain(region)))
        }
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_macs_have_the_form_that_aws_gives_them() {
        let id = EniId::from_bits(0x0a1b_2c3d_4e5f_6071);
        assert_eq!(Eni::link_name(&id).len(), 15);
        let mac = MacAddress::of_eni(&id);
        assert_eq!(mac.0[0] & 0b11, 0b10, "locally administered, unicast: {mac}");
        assert_ne!(mac, MacAddress::of_gateway(&id));
        assert_eq!(mac.to_string().parse::<MacAddress>().unwrap(), mac);
    }

    #[rstest::rstest]
    #[case("us-east-1", "ip-10-0-1-23.ec2.internal")]
    #[case("eu-west-1", "ip-10-0-1-23.eu-west-1.compute.internal")]
    fn a_private_name_spells_the_address_and_the_region(#[case] region: &str, #[case] name: &str) {
        assert_eq!(private_dns_name("10.0.1.23".parse().unwrap(), region).unwrap(), name);
    }
}
