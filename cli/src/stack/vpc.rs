//! The `vpc` key of a stack file to [`Vpc`] (reference 5.1).

use std::net::{IpAddr, Ipv4Addr};

use agent::spec::ids::SubnetName;
use agent::spec::stack::{Subnet, Vpc};
use agent::spec::validate;
use agent::spec::validate::wording;
use ipnetwork::IpNetwork;

use super::read::Node;

/// Reads the VPC and checks it; a stack without one gets 10.0.0.0/16 with a /24 in each of two zones.
pub(super) fn read(node: Option<&Node<'_>>, region: &str) -> Option<Vpc> {
    let Some(node) = node else { return with_default_subnets(default_block()?, region) };
    if !node.has_only(&["cidr", "internet", "hostAccess", "subnets"]) {
        return None;
    }
    let host_access = node.get("hostAccess").and_then(|n| n.boolean()).unwrap_or(false);
    let internet = node.get("internet").and_then(|n| n.boolean()).unwrap_or(true);
    let block = match node.get("cidr") {
        Some(n) => block(&n),
        None => default_block(),
    };
    let Some(list) = node.get("subnets") else {
        let vpc = Vpc { internet, host_access, ..with_default_subnets(block?, region)? };
        // Where the VPC is too small for the subnets that nobody wrote, its block is what is wrong.
        node.adopt(validate::vpc::vpc(&vpc).into_iter().take(1), |_| "/cidr".to_owned());
        return Some(vpc);
    };
    let subnets: Option<Vec<Subnet>> = list.items().iter().map(|n| subnet(n, region)).collect();
    let vpc = Vpc { cidr: block?, internet, host_access, subnets: subnets? };
    if vpc.subnets.is_empty() {
        list.error_with_hint("InvalidSubnet.Range", "a VPC needs a subnet", "leave `subnets` out to get one per zone");
        return None;
    }
    node.adopt(validate::vpc::vpc(&vpc), str::to_owned);
    Some(vpc)
}

fn default_block() -> Option<IpNetwork> {
    IpNetwork::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 16).ok()
}

/// `private-a` and `private-b`, a /24 each, or the two halves of a VPC that is too small for that; a /28 is one subnet.
fn with_default_subnets(cidr: IpNetwork, region: &str) -> Option<Vpc> {
    let vpc = |subnets| Vpc { cidr, internet: true, host_access: false, subnets };
    let IpNetwork::V4(block) = cidr else { return Some(vpc(Vec::new())) };
    let prefix = 24.max(block.prefix().saturating_add(1)).min(28);
    let zones: &[&str] = if block.prefix() < 28 { &["a", "b"] } else { &["a"] };
    let step = 1u32.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
    let subnets = zones.iter().zip(0u32..).map(|(zone, index)| {
        let base = Ipv4Addr::from_bits(block.network().to_bits().wrapping_add(index.wrapping_mul(step)));
        Some(Subnet {
            name: SubnetName::new(format!("private-{zone}")),
            availability_zone: format!("{region}{zone}"),
            cidr: IpNetwork::new(base.into(), prefix).ok()?,
        })
    });
    Some(vpc(subnets.collect::<Option<_>>()?))
}

fn subnet(node: &Node<'_>, region: &str) -> Option<Subnet> {
    let known = ["name", "zone", "cidr"];
    if !node.has_only(&known) {
        return None;
    }
    for key in known.into_iter().filter(|key| node.lacks(key, &known)) {
        node.error("MissingField", format!("a subnet must have a `{key}`"));
    }
    let name = node.get("name").and_then(|n| n.text().map(SubnetName::new));
    let zone = node.get("zone").and_then(|n| zone(&n, region));
    let cidr = node.get("cidr").and_then(|n| block(&n));
    Some(Subnet { name: name?, availability_zone: zone?, cidr: cidr? })
}

/// `a` or `us-east-1a`.
pub(super) fn zone(node: &Node<'_>, region: &str) -> Option<String> {
    let text = node.text()?;
    let letter = text.strip_prefix(region).unwrap_or(text);
    if letter.len() == 1 && letter.bytes().all(|b| b.is_ascii_lowercase()) {
        return Some(format!("{region}{letter}"));
    }
    node.error_with_hint(
        "InvalidParameterValue",
        format!("`{text}` is not a zone of {region}"),
        format!("a letter, as `a`, or the whole name, as `{region}a`"),
    );
    None
}

/// A CIDR block in its canonical form: host bits cleared (4.2, 5.1).
pub(super) fn block(node: &Node<'_>) -> Option<IpNetwork> {
    let text = node.text()?;
    let parsed = text.contains('/').then(|| text.parse::<IpNetwork>().ok()).flatten();
    match parsed.and_then(|b| IpNetwork::new(b.network(), b.prefix()).ok()) {
        Some(block) => Some(block),
        None => {
            node.error_with_hint("InvalidParameterValue", wording::malformed_cidr(text), "for example 10.0.0.0/16");
            None
        }
    }
}
