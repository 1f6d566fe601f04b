//! A VPC of throw-away namespaces, held by descriptor alone: when the test's process ends, however, so do they.
//!
//! Nothing here has a name outside, so tests run side by side and leave nothing behind.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own and uses a part")]

pub mod bridge;
pub mod packets;

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use netmodes::ids::{EniId, SubnetId};
use netmodes::kernel::netns::Netns;
use netmodes::network::VpcNetwork;
use netmodes::vpc::eni::{Eni, EniAddress, MacAddress};
use netmodes::vpc::router::Router;
use netmodes::vpc::subnet::Subnet;

/// A VPC 10.0.0.0/16 (and 2600:1f00::/56) with subnets 10.0.0.0/24, 10.0.1.0/24 (and 2600:1f00::/64).
pub struct Lab {
    pub vpc: VpcNetwork,
    pub router: Router,
}

impl Lab {
    /// The VPC with its router made, or `None`, said aloud, where namespaces cannot be made.
    pub async fn open() -> Option<Self> {
        Self::with_router(router(false)).await
    }

    /// The same with IPv6 blocks.
    pub async fn open_dual_stack() -> Option<Self> {
        Self::with_router(router(true)).await
    }

    async fn with_router(router: Router) -> Option<Self> {
        let vpc = VpcNetwork::open(namespace()?).unwrap();
        vpc.ensure_router(&router).await.unwrap();
        Some(Self { vpc, router })
    }

    /// A task: a namespace with an ENI of that address in it.
    pub async fn task(&self, number: u128, address: &str) -> Task {
        let task = Task { eni: eni(number, &[address]), netns: Netns::anonymous().unwrap() };
        self.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
        task
    }
}

/// An ENI and the namespace of its owner.
pub struct Task {
    pub eni: Eni,
    pub netns: Netns,
}

/// An anonymous namespace, or `None`, said aloud, without root.
pub fn namespace() -> Option<Netns> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making a network namespace needs root");
        return None;
    }
    Some(Netns::anonymous().expect("root can make a network namespace"))
}

pub fn router(dual_stack: bool) -> Router {
    let mut router = Router {
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        subnets: vec![subnet(1, "10.0.0.0/24"), subnet(2, "10.0.1.0/24")],
        internet: false,
        host_link: None,
    };
    if dual_stack {
        router.cidrs.push("2600:1f00::/56".parse().unwrap());
        router.subnets.push(subnet(3, "2600:1f00::/64"));
    }
    router
}

pub fn subnet(number: u128, cidr: &str) -> Subnet {
    Subnet { id: SubnetId::from_bits(number), availability_zone: "us-east-1a".into(), cidr: cidr.parse().unwrap() }
}

/// An ENI in the lab's subnets; /24 for IPv4, /64 for IPv6.
pub fn eni(number: u128, addresses: &[&str]) -> Eni {
    let id = EniId::from_bits(number);
    let subnets = router(true).subnets;
    let address = |text: &&str| {
        let address = text.parse().unwrap();
        let subnet = subnets.iter().find(|subnet| subnet.cidr.contains(address)).unwrap();
        EniAddress { address, prefix: subnet.cidr.prefix(), gateway: subnet.gateway() }
    };
    Eni {
        mac: MacAddress::of_eni(&id),
        id,
        subnet: SubnetId::from_bits(1),
        addresses: addresses.iter().map(address).collect(),
        groups: vec![],
        source_check: true,
    }
}

/// Waits until what `look` sees is as `wanted`. The deadline means that something is broken, never that it is slow.
pub async fn eventually<T: Debug, F: Future<Output = T>>(
    mut look: impl FnMut() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut pause = Duration::from_millis(1);
    loop {
        let seen = look().await;
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within 60 s; last seen: {seen:?}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
