//! `bench-network`: the network of a task, in force, at the 10th and at the 500th task.
//!
//! Ours is what the agent does for a task: its ENI into the filter, then into its namespace, until both have returned.
//! Beside it the CNI chain of Debian's plugins, and the bare netlink requests as the floor. Each of the three works in
//! namespaces without a name, which end with this process; the host's network is not touched. Needs root, no Docker.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use e2e::bench::bare::Bare;
use e2e::bench::cni::Chain;
use e2e::bench::{Outcome, Row, Samples, publish, rounds};
use netmodes::ids::{EniId, GroupId, SubnetId};
use netmodes::kernel::netns::Netns;
use netmodes::network::VpcNetwork;
use netmodes::nft::Filter;
use netmodes::security::group::{Peer, PortRange, Rule, Ruleset, SecurityGroup, Traffic};
use netmodes::vpc::eni::{Eni, EniAddress, MacAddress};
use netmodes::vpc::router::Router;
use netmodes::vpc::subnet::Subnet;

/// How many tasks there are with the one that is measured, unless the command line says otherwise.
const COUNTS: [u16; 2] = [10, 500];
/// Indexes of links that are chosen rather than looked up.
const FIRST_INDEX: u32 = 1000;
/// Of services' groups; a task carries its service's.
const GROUPS: u16 = 10;

/// Worst allowed ratio to the CNI chain, and to the bare requests.
const GOAL_CNI: f64 = 1.0 / 30.0;
const GOAL_BARE: f64 = 3.0;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut counts = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<u16>, _>>()?;
    if counts.is_empty() {
        counts.extend(COUNTS);
    }
    let mut sides = Sides::open().await?;
    let mut figures = Vec::new();
    for count in counts {
        figures.push(measure(&mut sides, count).await?);
    }
    let row = |name: String, ours: &Samples, other: &Samples, goal| Row {
        name,
        ours: ours.clone(),
        other: other.clone(),
        goal: Some(goal),
    };
    let rows: Vec<_> = figures
        .iter()
        .flat_map(|f| {
            let name = format!("network of task {}", f.count);
            [
                row(format!("{name} vs CNI"), &f.ours, &f.cni, GOAL_CNI),
                row(format!("{name} vs bare netlink"), &f.ours, &f.bare, GOAL_BARE),
            ]
        })
        .collect();
    let columns: Vec<_> = figures.iter().flat_map(|f| [&f.ours, &f.bare, &f.cni]).collect();
    publish("network", "Network of a task, in force", &rows, &columns)
}

/// What the rounds at one count took.
struct Figures {
    count: u16,
    ours: Samples,
    bare: Samples,
    cni: Samples,
}

/// Fills up to one task less than `count`, then adds that one and takes it away again, each side in turn.
async fn measure(sides: &mut Sides, count: u16) -> Outcome<Figures> {
    let side = |name: &str| Samples::of(format!("{name}, task {count}"));
    let mut figures = Figures { count, ours: side("ecsnet"), bare: side("bare netlink"), cni: side("CNI chain") };
    while sides.filled + 1 < count {
        let number = sides.filled;
        let task = Task::new(number)?;
        sides.add_ours(&task).await?;
        sides.add_bare(&task).await?;
        sides.add_cni(&task)?;
        sides.tasks.push(task);
        sides.filled += 1;
        if sides.filled.is_multiple_of(50) {
            eprintln!("{} tasks on each side", sides.filled);
        }
    }
    let rounds = rounds(15);
    eprintln!("task {count}: {rounds} rounds");
    for round in 0..rounds {
        let task = Task::new(sides.filled)?;
        // Who comes first profits or suffers from what the last one left, so they change places.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => figures.ours.push(sides.add_ours(&task).await?),
                1 => figures.bare.push(sides.add_bare(&task).await?),
                _ => figures.cni.push(sides.add_cni(&task)?),
            }
        }
        sides.remove(&task).await?;
        // Its namespaces end with the program: the kernel's clean-up of one would run into the next round.
        sides.ended.push(task);
    }
    Ok(figures)
}

/// A task as each side sees it, with a namespace for each.
struct Task {
    number: u16,
    ours: Netns,
    bare: Netns,
    cni: Netns,
}

impl Task {
    fn new(number: u16) -> Outcome<Self> {
        Ok(Self { number, ours: Netns::anonymous()?, bare: Netns::anonymous()?, cni: Netns::anonymous()? })
    }

    /// `10.0.0.0/16`, past the reserved addresses.
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 10).to_bits() + u32::from(self.number))
    }

    fn eni(&self) -> Eni {
        let id = EniId::from_bits(u128::from(self.number) + 1);
        Eni {
            mac: MacAddress::of_eni(&id),
            id,
            subnet: SubnetId::from_bits(1),
            addresses: vec![EniAddress {
                address: self.address().into(),
                prefix: 16,
                gateway: Ipv4Addr::new(10, 0, 0, 1).into(),
            }],
            groups: vec![GroupId::from_bits(u128::from(self.number % GROUPS))],
            source_check: true,
        }
    }
}

/// The three of them, equally full.
struct Sides {
    vpc: VpcNetwork,
    filter: Filter,
    ruleset: Ruleset,
    bare: Bare,
    cni: Chain,
    filled: u16,
    tasks: Vec<Task>,
    ended: Vec<Task>,
}

impl Sides {
    async fn open() -> Outcome<Self> {
        let ruleset = ruleset()?;
        let netns = Netns::anonymous()?;
        let mut filter = Filter::open(&netns)?;
        filter.ensure(&ruleset)?;
        let vpc = VpcNetwork::open(netns)?;
        vpc.ensure_router(&ruleset.router).await?;
        let bare = Bare::open(&Netns::anonymous()?)?;
        let cni = Chain::open()?;
        Ok(Self { vpc, filter, ruleset, bare, cni, filled: 0, tasks: Vec::new(), ended: Vec::new() })
    }

    async fn add_ours(&mut self, task: &Task) -> Outcome<Duration> {
        let eni = task.eni();
        self.ruleset.enis.insert(eni.id.clone(), eni.clone());
        let start = Instant::now();
        self.filter.ensure(&self.ruleset)?;
        self.vpc.ensure_eni(&eni, &task.ours).await?;
        Ok(start.elapsed())
    }

    async fn add_bare(&self, task: &Task) -> Outcome<Duration> {
        let start = Instant::now();
        self.bare.add(index(task), task.address(), &task.bare).await?;
        Ok(start.elapsed())
    }

    fn add_cni(&self, task: &Task) -> Outcome<Duration> {
        let start = Instant::now();
        self.cni.add(task.number, &task.cni)?;
        Ok(start.elapsed())
    }

    async fn remove(&mut self, task: &Task) -> Outcome<()> {
        let id = task.eni().id;
        self.vpc.remove_eni(&id).await?;
        self.ruleset.enis.remove(&id);
        self.filter.ensure(&self.ruleset)?;
        self.bare.remove(index(task)).await?;
        self.cni.remove(task.number, &task.cni)
    }
}

fn index(task: &Task) -> u32 {
    FIRST_INDEX + u32::from(task.number)
}

/// A chain of services, each letting in the one before it, as `connectsTo` makes them.
fn ruleset() -> Outcome<Ruleset> {
    let cidr = "10.0.0.0/16".parse()?;
    let subnet = Subnet { id: SubnetId::from_bits(1), availability_zone: "us-east-1a".into(), cidr };
    let router = Router { cidrs: vec![cidr], subnets: vec![subnet], internet: false, host_link: None };
    let group = |number: u16| {
        let id = GroupId::from_bits(number.into());
        let before = GroupId::from_bits(u128::from((number + GROUPS - 1) % GROUPS));
        let traffic = Traffic::Tcp(PortRange { first: 8080, last: 8080 });
        let group = SecurityGroup {
            id: id.clone(),
            name: format!("service-{number}"),
            ingress: vec![Rule { traffic, peer: Peer::Group(before) }],
            egress: vec![Rule { traffic: Traffic::All, peer: Peer::Cidr("0.0.0.0/0".parse()?) }],
        };
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((id, group))
    };
    let groups = (0..GROUPS).map(group).collect::<Outcome<BTreeMap<_, _>>>()?;
    Ok(Ruleset { router, groups, enis: BTreeMap::new(), flow_log: false })
}
