//! What `reach` foresees of container instances, held against real packets: random host ports and rulesets among two
//! instances with containers, processes of their own, and a task in awsvpc. Needs root; says so and passes without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use lab::bridge::{Container, Instance, Stage, both};
use netmodes::bridge::{BRIDGE_LINK, PublishedPort};
use netmodes::ids::{EniId, GroupId};
use netmodes::kernel::listening::{link_index, listeners};
use netmodes::kernel::netns::Netns;
use netmodes::nft::Transport;
use netmodes::reach::Outcome;
use netmodes::reach::instance::{Hop, Inside, Instances};
use netmodes::reach::listener::taker;
use netmodes::reach::path::{ECHO, Opening};
use netmodes::reach::probe::attempt;
use netmodes::reach::way::{Owner, Passed, Sender, follow_all};
use netmodes::security::group::{Peer, PortRange, Rule, Ruleset, SecurityGroup, Traffic};
use netmodes::vpc::eni::Eni;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Long for packets that take microseconds; what seems to disagree is tried again with more.
const SHORT: Duration = Duration::from_millis(150);
const STACKS: u32 = 200;

/// A task in awsvpc (0), two instances with their own processes (1, 4), and containers of the first (2, 3) and the second (5).
struct World {
    stage: Stage,
    task: lab::Task,
    first: Instance,
    second: Instance,
    containers: BTreeMap<u8, Container>,
}

impl World {
    async fn open() -> Option<Self> {
        let mut stage = Stage::open().await?;
        let task = stage.task(1, "10.0.0.4").await;
        let (first, second) = (stage.instance(2, "10.0.0.20").await, stage.instance(3, "10.0.1.21").await);
        let containers = [(2, first.container(2).await), (3, first.container(3).await), (5, second.container(2).await)];
        Some(Self { stage, task, first, second, containers: containers.into() })
    }

    fn netns(&self, who: u8) -> &Netns {
        match who {
            0 => &self.task.netns,
            1 => self.first.network.netns(),
            4 => self.second.network.netns(),
            other => &self.containers[&other].netns,
        }
    }

    fn eni<'a>(&self, ruleset: &'a Ruleset, who: u8) -> &'a Eni {
        let own = match who {
            0 => &self.task.eni,
            1..4 => &self.first.eni,
            _ => &self.second.eni,
        };
        &ruleset.enis[&own.id]
    }

    fn owner(&self, from: u8, owner: &Owner) -> &Netns {
        let on = |id: &EniId| if *id == self.first.eni.id { &self.first } else { &self.second };
        match owner {
            Owner::Sender => self.netns(from),
            Owner::Router => self.stage.lab.vpc.netns(),
            Owner::Eni(id) if *id == self.task.eni.id => &self.task.netns,
            Owner::Eni(id) => on(id).network.netns(),
            Owner::Container(id, address) => {
                let is_first = *id == self.first.eni.id;
                let found =
                    self.containers.iter().find(|(n, c)| (**n < 4) == is_first && c.attachment.address == *address);
                &found.unwrap().1.netns
            }
        }
    }

    fn instances(&self, ports: &[BTreeSet<PublishedPort>; 2]) -> Instances {
        let inside = |instance: &Instance, containers: &[u8], ports: &BTreeSet<PublishedPort>| {
            let addresses = instance.eni.addresses.iter().map(|a| a.address).collect();
            let containers = containers.iter().map(|n| self.containers[n].attachment.address).collect();
            (instance.eni.id.clone(), Inside { addresses, containers, ports: ports.clone(), metadata_port: None })
        };
        [inside(&self.first, &[2, 3], &ports[0]), inside(&self.second, &[5], &ports[1])].into()
    }

    /// What is foreseen, and what is seen.
    fn both(
        &self,
        stack: &Stack,
        (from, to, opening): Flow,
        patience: Option<Duration>,
    ) -> (Outcome, Outcome, &'static str) {
        let instances = self.instances(&stack.ports);
        let container = self.containers.get(&from).map(|c| c.attachment.address);
        let sender = Sender { eni: self.eni(&stack.ruleset, from), container };
        let way = follow_all(&stack.ruleset, &instances, sender, to, opening);
        let taken = way.place(sender, to, opening).map(|place| {
            let transport = if matches!(opening, Opening::Udp(_)) { Transport::Udp } else { Transport::Tcp };
            let netns = self.owner(from, &place.owner);
            let link = link_index(netns, place.link).unwrap();
            assert!(link.is_some(), "{place:?}");
            taker(&listeners(netns, transport).unwrap(), place.address, place.port, link)
        });
        let foreseen = way.foresee(opening, taken.as_ref()).expect("without an uplink all is known");
        let netns = |passed: &Passed| match passed {
            Passed::Vpc => self.stage.lab.vpc.netns(),
            Passed::Instance(id) if *id == self.first.eni.id => self.first.network.netns(),
            Passed::Instance(_) => self.second.network.netns(),
        };
        let passes = way.passes(sender);
        let passes: Vec<_> = passes.iter().map(netns).collect();
        let patience = patience.unwrap_or(way.patience());
        let seen = attempt(self.netns(from), &passes, to, opening, patience).unwrap().outcome;
        let kind = match way.ending(sender) {
            None => "vpc",
            Some((_, Hop::Published(_))) if way.path.is_none() => "published within",
            Some((_, Hop::Published(_))) => "published",
            Some((_, Hop::Instance { link: BRIDGE_LINK })) => "instance from its container",
            Some((_, Hop::Instance { .. })) => "instance",
            Some((_, Hop::Bridge(_))) => "bridge",
            Some((_, Hop::Nobody)) => "nobody",
            Some((_, Hop::Dropped)) => "dropped",
            Some((_, Hop::Loopback)) => "loopback",
            Some((_, Hop::Metadata { .. })) => "metadata",
            Some((_, Hop::Out)) => "out",
        };
        (foreseen, seen, kind)
    }

    fn serve(&self) -> Vec<Box<dyn Send>> {
        let tcp = |n, at: &'static str| -> Box<dyn Send> {
            Box::new(self.netns(n).run(|| TcpListener::bind(at).unwrap()).unwrap())
        };
        let udp = |n, at: &'static str| -> Box<dyn Send> {
            Box::new(self.netns(n).run(|| UdpSocket::bind(at).unwrap()).unwrap())
        };
        vec![
            tcp(0, "0.0.0.0:80"),
            udp(0, "0.0.0.0:53"),
            tcp(1, "0.0.0.0:9000"),
            tcp(1, "0.0.0.0:51678"),
            udp(1, "127.0.0.1:53"),
            tcp(2, "0.0.0.0:80"),
            udp(2, "0.0.0.0:53"),
            tcp(3, "127.0.0.1:80"),
            tcp(3, "172.17.0.3:81"),
            tcp(4, "172.17.0.1:9000"),
            udp(4, "0.0.0.0:53"),
            tcp(5, "[::]:80"),
            udp(5, "[::]:53"),
        ]
    }
}

#[derive(Debug, Clone)]
struct Stack {
    ruleset: Ruleset,
    ports: [BTreeSet<PublishedPort>; 2],
}

type Flow = (u8, IpAddr, Opening);

fn sg(n: u128) -> GroupId {
    GroupId::from_bits(n)
}

fn rules() -> impl Strategy<Value = Rule> {
    let range = |first, last| PortRange { first, last };
    let traffic = prop_oneof![
        2 => Just(Traffic::All),
        1 => Just(Traffic::Tcp(range(80, 80))),
        2 => Just(Traffic::Tcp(range(32768, 65535))),
        2 => Just(Traffic::Tcp(PortRange::ALL)),
        2 => Just(Traffic::Udp(PortRange::ALL)),
        1 => Just(Traffic::Udp(range(53, 53))),
        1 => Just(Traffic::Icmp { kind: Some(8), code: None }),
    ];
    let peer = prop_oneof![
        3 => Just(Peer::Cidr("0.0.0.0/0".parse().unwrap())),
        1 => Just(Peer::Cidr("10.0.0.20/32".parse().unwrap())),
        1 => Just(Peer::Cidr("172.17.0.0/16".parse().unwrap())),
        4 => (1u128..4).prop_map(|n| Peer::Group(sg(n))),
    ];
    (traffic, peer).prop_map(|(traffic, peer)| Rule { traffic, peer })
}

/// Host ports that are there in some stacks: to who listens, to who does not, over an instance's own socket, and over both.
fn ports(last: &'static [u8]) -> impl Strategy<Value = BTreeSet<PublishedPort>> {
    let pairs = [(80, 80), (8080, 81), (9000, 80), (32768, 80), (32769, 9), (51678, 80), (53, 53), (5353, 53)];
    let each = prop::collection::vec((0..pairs.len(), prop::sample::select(last), 0usize..3), 0..6);
    each.prop_map(move |chosen| {
        let mut ports = BTreeMap::new();
        for (pair, last, protocols) in chosen {
            let (host_port, port) = pairs[pair];
            let published = both(host_port, last, port);
            let of = match protocols {
                0 => &published[..1],
                1 => &published[1..],
                _ => &published[..],
            };
            ports.extend(of.iter().map(|p| ((p.protocol, p.host_port), *p)));
        }
        ports.into_values().collect()
    })
}

fn stacks(bare: Ruleset) -> impl Strategy<Value = Stack> {
    let some = || prop::collection::vec(rules(), 0..5);
    let groups = prop::collection::vec((some(), some()), 3);
    let members = prop::collection::vec(prop::collection::btree_set(1u128..4, 0..4), bare.enis.len());
    (groups, members, ports(&[2, 3]), ports(&[2])).prop_map(move |(groups, members, first, second)| {
        let groups = (1..).zip(groups).map(|(n, (ingress, egress))| {
            (sg(n), SecurityGroup { id: sg(n), name: format!("group-{n}"), ingress, egress })
        });
        let enis = bare.enis.iter().zip(members).map(|((id, eni), groups)| {
            (id.clone(), Eni { groups: groups.into_iter().map(sg).collect(), ..eni.clone() })
        });
        let ruleset = Ruleset { groups: groups.collect(), enis: enis.collect(), ..bare.clone() };
        Stack { ruleset, ports: [first, second] }
    })
}

fn flows() -> impl Strategy<Value = Vec<Flow>> {
    let opening = prop_oneof![
        10 => prop::sample::select(&[80u16, 81, 8080, 9000, 32768, 32769, 51678][..]).prop_map(Opening::Tcp),
        4 => prop::sample::select(&[53u16, 5353, 32768][..]).prop_map(Opening::Udp),
        2 => Just(ECHO),
    ];
    let to = prop_oneof![
        4 => Just("10.0.0.4"),
        10 => Just("10.0.0.20"),
        8 => Just("10.0.1.21"),
        2 => Just("172.17.0.1"),
        2 => Just("172.17.0.2"),
        2 => Just("172.17.0.3"),
        2 => Just("127.0.0.1"),
        1 => Just("192.0.2.1"),
        1 => Just("10.0.3.4"),
    ];
    prop::collection::vec((0u8..6, to.prop_map(|to| to.parse().unwrap()), opening), 14)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_analysis_of_random_instances_agrees_with_their_packets() {
    let Some(world) = World::open().await else { return };
    let _sockets = world.serve();
    let bare = world.stage.ruleset.clone();
    let (world, seen) = (RefCell::new(world), RefCell::new(BTreeMap::<String, u32>::new()));
    // Namespaces are made once; each stack is a ruleset in force among them, and host ports.
    let mut runner = TestRunner::new(Config { cases: STACKS, max_shrink_iters: 40, ..Config::default() });
    let outcome = runner.run(&(stacks(bare), flows()), |(stack, flows)| {
        world.borrow_mut().stage.filter.ensure(&stack.ruleset).unwrap();
        let world = &*world.borrow();
        world.first.network.ensure_ports(&stack.ports[0]).unwrap();
        world.second.network.ensure_ports(&stack.ports[1]).unwrap();
        let results: Vec<_> = std::thread::scope(|scope| {
            let stack = &stack;
            let try_it = move |flow: Flow| {
                // A busy machine is late, a source port may be that of a flow which an earlier stack let through, and a kernel
                // that has sent many ICMP errors sends the next one when it has rested.
                let mut tries = [Some(SHORT), None, None, None].into_iter().map(|p| world.both(stack, flow, p));
                let first = tries.next().unwrap();
                if first.0.agrees_with(first.1) {
                    return first;
                }
                tries.find(|(foreseen, outcome, _)| foreseen.agrees_with(*outcome)).unwrap_or(first)
            };
            let running: Vec<_> = flows.iter().map(|flow| scope.spawn(move || try_it(*flow))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (flow, (foreseen, outcome, kind)) in flows.iter().zip(results) {
            *seen.borrow_mut().entry(format!("{kind} {foreseen:?}")).or_default() += 1;
            prop_assert!(foreseen.agrees_with(outcome), "{flow:?} ({kind}): {foreseen:?}, but {outcome:?}");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let seen = seen.into_inner();
    for fate in [
        "published Connected",
        "published Refused",
        "published TimedOut",
        "published within Connected",
        "published within Refused",
        "published within Delivered",
        "instance Connected",
        "instance Refused",
        "instance from its container Connected",
        "bridge Connected",
        "dropped TimedOut",
        "loopback Connected",
    ] {
        assert!(seen.get(fate).is_some_and(|count| *count > 2), "{fate} is hardly tried: {seen:?}");
    }
}

/// Two containers that meet by their instance's address: no group of the instance judges that, be they all shut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_an_instance_no_group_judges() {
    let Some(mut world) = World::open().await else { return };
    let _sockets = world.serve();
    let mut ruleset = world.stage.ruleset.clone();
    ruleset.enis.values_mut().for_each(|eni| eni.groups.clear());
    world.stage.filter.ensure(&ruleset).unwrap();
    let ports = [BTreeSet::from(both(32768, 2, 80)), BTreeSet::from(both(32768, 2, 80))];
    world.first.network.ensure_ports(&ports[0]).unwrap();
    world.second.network.ensure_ports(&ports[1]).unwrap();
    let stack = Stack { ruleset, ports };
    let tcp = |from, to: Ipv4Addr| {
        let (foreseen, seen, _) = world.both(&stack, (from, to.into(), Opening::Tcp(32768)), None);
        assert!(foreseen.agrees_with(seen), "{from} to {to}: {foreseen:?}, but {seen:?}");
        seen
    };
    let (first, second) = (Ipv4Addr::new(10, 0, 0, 20), Ipv4Addr::new(10, 0, 1, 21));
    for from in [1, 2, 3] {
        assert_eq!(tcp(from, first), Outcome::Connected, "{from}");
        assert_eq!(tcp(from, second), Outcome::TimedOut, "{from}");
    }
    assert_eq!(tcp(0, first), Outcome::TimedOut);
}
