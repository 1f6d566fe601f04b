//! Checks of a VPC and its subnets (reference 5.1).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use super::super::problem::Problem;
use super::super::stack::Vpc;
use super::error;

/// Everything that is wrong with a VPC; pointers are `/cidr` and `/subnets/<index>/…`.
pub fn vpc(vpc: &Vpc) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(vpc_block(vpc.cidr));
    let vpc_is_usable = problems.is_empty();
    let mut names = BTreeMap::new();
    for (index, subnet) in vpc.subnets.iter().enumerate() {
        let at = format!("/subnets/{index}");
        if let Some(first) = names.insert(subnet.name.clone(), index) {
            problems.push(
                error(
                    format!("{at}/name"),
                    "InvalidSubnet.Conflict",
                    format!("subnet `{}` is there twice", subnet.name),
                )
                .with_hint(format!("the first one is number {} of the list", first + 1)),
            );
        }
        if !is_allowed_size(subnet.cidr) {
            problems.push(wrong_size(&format!("{at}/cidr"), "InvalidSubnet.Range", subnet.cidr));
            continue;
        }
        if vpc_is_usable && !contains(vpc.cidr, subnet.cidr) {
            problems.push(
                error(format!("{at}/cidr"), "InvalidSubnet.Range", format!("The CIDR '{}' is invalid.", subnet.cidr))
                    .with_hint(format!("subnet `{}` is not inside the VPC's {}", subnet.name, vpc.cidr)),
            );
        }
        if let Some(other) = vpc.subnets.iter().take(index).find(|other| overlap(other.cidr, subnet.cidr)) {
            problems.push(
                error(
                    format!("{at}/cidr"),
                    "InvalidSubnet.Conflict",
                    format!("The CIDR '{}' conflicts with another subnet", subnet.cidr),
                )
                .with_hint(format!("`{}` overlaps `{}`, which has {}", subnet.name, other.name, other.cidr)),
            );
        }
    }
    problems
}

fn vpc_block(cidr: IpNetwork) -> Option<Problem> {
    if !is_allowed_size(cidr) {
        return Some(wrong_size("/cidr", "InvalidVpc.Range", cidr));
    }
    let reserved = [
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::LOCALHOST, 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
    ];
    reserved
        .into_iter()
        .filter_map(|(base, prefix)| IpNetwork::with_netmask(base.into(), mask(prefix)).ok())
        .find(|block| block.contains(cidr.network()))
        .map(|block| {
            error("/cidr", "InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid.")).with_hint(format!(
                "a VPC cannot be inside {}/{}",
                block.network(),
                block.prefix()
            ))
        })
}

fn mask(prefix: u32) -> IpAddr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into()
}

fn is_allowed_size(cidr: IpNetwork) -> bool {
    cidr.is_ipv4() && (16..=28).contains(&cidr.prefix())
}

fn wrong_size(pointer: &str, code: &str, cidr: IpNetwork) -> Problem {
    error(pointer, code, format!("The CIDR '{cidr}' is invalid.")).with_hint("an IPv4 block of /16 to /28")
}

fn contains(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.contains(inner.network()) && outer.contains(inner.broadcast())
}

fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}
