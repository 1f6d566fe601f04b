//! What this kernel can, found out by doing it once in namespaces that end with the attempt.
//!
//! Called by `ecsnet doctor`, through a container that has what the agent has. Nothing of the host is changed, but that a
//! kernel with modules may load one.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::ids::{EniId, GroupId, SubnetId};
use crate::instance_network::InstanceNetwork;
use crate::kernel::error::KernelError;
use crate::kernel::netns::Netns;
use crate::kernel::probe as rare;
use crate::kernel::socket::RouteSocket;
use crate::kernel::sysctl::{self, Sysctl};
use crate::network::VpcNetwork;
use crate::nft::Filter;
use crate::security::group::{Peer, PortRange, Rule, Ruleset, SecurityGroup, Traffic};
use crate::vpc::eni::{Eni, EniAddress, MacAddress};
use crate::vpc::router::Router;
use crate::vpc::subnet::Subnet;

/// What ecsnet uses of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// The capabilities that the agent's container asks for.
    Capabilities,
    /// A network namespace can be made and entered.
    Namespaces,
    /// Settings under `/proc/sys/net` can be written.
    Settings,
    /// veth pairs across namespaces, MTU 9001, routes, permanent neighbours: a router and one ENI.
    Links,
    /// nf_tables with verdict maps, concatenations, connection tracking and counters: security groups.
    Filter,
    /// Masquerade: `internet: true`.
    Masquerade,
    /// Tracked flows can be listed and deleted.
    Flows,
    /// Bridges, with nf_tables' destination NAT by a map: container instances.
    Bridges,
    /// The queueing discipline netem: delay and loss.
    Netem,
}

/// One feature, tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Which.
    pub feature: Feature,
    /// Why it cannot be used; `None`: it can.
    pub refusal: Option<String>,
}

/// Capabilities by their number in the kernel.
const CAPABILITIES: [(u32, &str); 6] =
    [(0, "CHOWN"), (1, "DAC_OVERRIDE"), (3, "FOWNER"), (12, "NET_ADMIN"), (19, "SYS_PTRACE"), (21, "SYS_ADMIN")];

/// Tries everything, each on its own.
pub async fn run() -> Vec<Probe> {
    let mut probes = vec![probe(Feature::Capabilities, capabilities())];
    let namespaces = Netns::anonymous().and_then(|one| Ok((one, Netns::anonymous()?)));
    let (vpc, owner) = match namespaces {
        Ok(both) => both,
        Err(error) => {
            // All else happens in one.
            probes.push(probe(Feature::Namespaces, Err(chain(&error))));
            return probes;
        }
    };
    probes.push(probe(Feature::Namespaces, Ok(())));
    let forwarding = sysctl::ensure(&vpc, &[Sysctl::new("ipv4/ip_forward", "1")]);
    probes.push(probe(Feature::Settings, forwarding.map_err(|error| chain(&error))));
    probes.push(probe(Feature::Filter, filter(&vpc, false)));
    probes.push(probe(Feature::Masquerade, filter(&vpc, true)));
    let bridge = match rarely(&vpc, |socket| Box::pin(rare::bridge(socket))).await {
        Ok(()) => instance().await,
        refused => refused,
    };
    probes.push(probe(Feature::Bridges, bridge));
    probes.push(probe(Feature::Netem, rarely(&vpc, |socket| Box::pin(rare::netem(socket))).await));
    match VpcNetwork::open(vpc) {
        Ok(vpc) => {
            probes.push(probe(Feature::Links, links(&vpc, &owner).await.map_err(|error| chain(&error))));
            let forgotten = vpc.forget_flows(std::net::Ipv4Addr::new(10, 0, 0, 4).into()).await;
            probes.push(probe(Feature::Flows, forgotten.map(drop).map_err(|error| chain(&error))));
        }
        Err(error) => probes.push(probe(Feature::Links, Err(chain(&error)))),
    }
    probes
}

fn probe(feature: Feature, outcome: Result<(), String>) -> Probe {
    Probe { feature, refusal: outcome.err() }
}

fn capabilities() -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default().trim();
    let set = u64::from_str_radix(set, 16).map_err(|error| error.to_string())?;
    let lacking: Vec<&str> =
        CAPABILITIES.iter().filter(|(number, _)| set & (1 << number) == 0).map(|(_, name)| *name).collect();
    if lacking.is_empty() { Ok(()) } else { Err(format!("not given: {}", lacking.join(", "))) }
}

async fn links(vpc: &VpcNetwork, owner: &Netns) -> Result<(), KernelError> {
    vpc.ensure_router(&router(false)).await?;
    vpc.ensure_eni(&eni(), owner).await
}

async fn instance() -> Result<(), String> {
    let netns = Netns::anonymous().map_err(|error| chain(&error))?;
    let network = InstanceNetwork::open(netns).await.map_err(|error| chain(&error))?;
    network.ensure_instance().await.map_err(|error| chain(&error))
}

fn filter(netns: &Netns, internet: bool) -> Result<(), String> {
    let mut filter = Filter::open(netns).map_err(|error| chain(&error))?;
    filter.ensure(&ruleset(internet)).map(drop).map_err(|error| chain(&error))
}

type Attempt<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), KernelError>> + Send + 'a>>;

async fn rarely(netns: &Netns, attempt: impl for<'a> Fn(&'a RouteSocket) -> Attempt<'a>) -> Result<(), String> {
    let socket = RouteSocket::open(netns).map_err(|error| chain(&error))?;
    match attempt(&socket).await {
        Ok(()) => Ok(()),
        Err(KernelError::Refused { errno: Errno::ENOENT | Errno::EOPNOTSUPP, .. }) => {
            Err("this kernel does not have it".to_owned())
        }
        Err(error) => Err(chain(&error)),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn block(a: u8, b: u8, c: u8, prefix: u8) -> Vec<IpNetwork> {
    IpNetwork::new(std::net::Ipv4Addr::new(a, b, c, 0).into(), prefix).into_iter().collect()
}

fn router(internet: bool) -> Router {
    let subnets = block(10, 0, 0, 24).into_iter().map(|cidr| Subnet {
        id: SubnetId::from_bits(1),
        availability_zone: "us-east-1a".into(),
        cidr,
    });
    Router { cidrs: block(10, 0, 0, 16), subnets: subnets.collect(), internet, host_link: None }
}

fn eni() -> Eni {
    let id = EniId::from_bits(1);
    let address = |last| std::net::Ipv4Addr::new(10, 0, 0, last).into();
    Eni {
        mac: MacAddress::of_eni(&id),
        id,
        subnet: SubnetId::from_bits(1),
        addresses: vec![EniAddress { address: address(4), prefix: 24, gateway: address(1) }],
        groups: vec![GroupId::from_bits(1)],
        source_check: true,
    }
}

/// One ENI, with a rule of each kind.
fn ruleset(internet: bool) -> Ruleset {
    let ports = PortRange { first: 80, last: 8080 };
    let group = GroupId::from_bits(1);
    let mut ingress = vec![Rule { traffic: Traffic::Tcp(ports), peer: Peer::Group(group.clone()) }];
    ingress.extend(
        block(192, 168, 0, 16)
            .into_iter()
            .map(|cidr| Rule { traffic: Traffic::Icmp { kind: Some(8), code: None }, peer: Peer::Cidr(cidr) }),
    );
    let egress = block(0, 0, 0, 0).into_iter().map(|cidr| Rule { traffic: Traffic::All, peer: Peer::Cidr(cidr) });
    let rules = SecurityGroup { id: group.clone(), name: "probe".to_owned(), ingress, egress: egress.collect() };
    let eni = eni();
    Ruleset {
        flow_log: false,
        router: router(internet),
        groups: BTreeMap::from([(group, rules)]),
        enis: BTreeMap::from([(eni.id.clone(), eni)]),
    }
}
