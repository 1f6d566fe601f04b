//! What `reach` foresees, held against real packets between namespaces: small random stacks, and what is special by hand.
//! Needs root; says so and passes without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab_nft;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::time::Duration;

use lab_nft::net::Lab;
use lab_nft::{address, allow, anywhere, eni, eni_id, group, ruleset, sg, tcp};
use netmodes::kernel::listening::listeners;
use netmodes::kernel::netns::Netns;
use netmodes::nft::Transport;
use netmodes::reach::listener::{Taker, taker};
use netmodes::reach::path::{ECHO, Opening, Route, follow};
use netmodes::reach::probe::{PATIENCE, attempt};
use netmodes::reach::{Outcome, foresee};
use netmodes::security::group::{Peer, PortRange, Rule, Ruleset, Traffic};
use netmodes::vpc::eni::Eni;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Long for packets that take microseconds; what seems to disagree is tried again with more.
const SHORT: Duration = Duration::from_millis(150);
const STACKS: u32 = 200;

/// The sockets of the ENIs: one serves any address, one loopback alone, one nothing, one by an IPv6 socket for both families.
fn serve(lab: &Lab) -> Vec<Box<dyn Send>> {
    let tcp = |n, at: &'static str| -> Box<dyn Send> {
        Box::new(lab.task(n).run(|| TcpListener::bind(at).unwrap()).unwrap())
    };
    let udp =
        |n, at: &'static str| -> Box<dyn Send> { Box::new(lab.task(n).run(|| UdpSocket::bind(at).unwrap()).unwrap()) };
    vec![
        tcp(4, "0.0.0.0:80"),
        udp(4, "0.0.0.0:53"),
        tcp(5, "127.0.0.1:80"),
        tcp(5, "10.0.0.5:81"),
        udp(5, "127.0.0.1:53"),
        tcp(7, "[::]:80"),
        udp(7, "[::]:53"),
    ]
}

/// What is foreseen, and what is seen.
fn both(
    lab: &Lab,
    ruleset: &Ruleset,
    from: u8,
    to: IpAddr,
    opening: Opening,
    patience: Duration,
) -> (Outcome, Outcome) {
    let path = follow(ruleset, &ruleset.enis[&eni_id(from)], to, opening);
    let at = match &path.route {
        Route::Own => Some(lab.task(from)),
        Route::Eni(id) => (4..8).find(|n| eni_id(*n) == *id).map(|n| lab.task(n)),
        Route::Router { .. } => Some(&lab.vpc),
        _ => None,
    };
    let taken = at.and_then(|netns| found(netns, to, opening));
    let foreseen = foresee(&path, opening, taken.as_ref()).expect("without an uplink all is known");
    let vpc = (path.route != Route::Own).then_some(&lab.vpc);
    (foreseen, attempt(lab.task(from), vpc.as_slice(), to, opening, patience).unwrap().outcome)
}

fn found(netns: &Netns, to: IpAddr, opening: Opening) -> Option<Taker> {
    let transport = match opening {
        Opening::Tcp(_) => Transport::Tcp,
        Opening::Udp(_) => Transport::Udp,
        Opening::Icmp(..) => return None,
    };
    Some(taker(&listeners(netns, transport).unwrap(), to, opening.port()?, None))
}

fn rules() -> impl Strategy<Value = Rule> {
    let range = |first, last| PortRange { first, last };
    let traffic = prop_oneof![
        Just(Traffic::All),
        Just(tcp(80)),
        Just(Traffic::Tcp(range(80, 81))),
        Just(Traffic::Tcp(PortRange::ALL)),
        Just(Traffic::Udp(range(53, 53))),
        Just(Traffic::Icmp { kind: None, code: None }),
        Just(Traffic::Icmp { kind: Some(8), code: None }),
        Just(Traffic::Icmp { kind: Some(13), code: Some(0) }),
        Just(Traffic::Protocol(17)),
    ];
    let peer = prop_oneof![
        2 => Just(anywhere()),
        1 => Just(Peer::Cidr("::/0".parse().unwrap())),
        1 => Just(Peer::Cidr("10.0.0.4/31".parse().unwrap())),
        1 => Just(Peer::Cidr("10.0.0.7/32".parse().unwrap())),
        5 => (0u128..4).prop_map(|n| Peer::Group(sg(n))),
    ];
    (traffic, peer).prop_map(|(traffic, peer)| Rule { traffic, peer })
}

/// Four ENIs in up to three groups each, of which some are in no ruleset.
fn stacks() -> impl Strategy<Value = Ruleset> {
    let some = || prop::collection::vec(rules(), 0..4);
    let groups = prop::collection::vec((some(), some()), 3);
    let members = prop::collection::vec(prop::collection::btree_set(0u128..4, 0..4), 4);
    (groups, members).prop_map(|(groups, members)| {
        let groups = (0..).zip(groups).map(|(n, (ingress, egress))| group(n, ingress, egress)).collect();
        let enis = (4..).zip(members).map(|(n, in_groups)| eni(n, &Vec::from_iter(in_groups))).collect();
        ruleset(groups, enis)
    })
}

fn flows() -> impl Strategy<Value = Vec<(u8, IpAddr, Opening)>> {
    let opening = prop_oneof![
        3 => Just(Opening::Tcp(80)),
        1 => Just(Opening::Tcp(81)),
        2 => Just(Opening::Udp(53)),
        2 => Just(ECHO),
    ];
    let to = prop_oneof![
        20 => (4u8..8).prop_map(address),
        1 => Just("10.0.0.1".parse().unwrap()),
        1 => Just("10.0.0.2".parse().unwrap()),
        1 => Just("169.254.170.2".parse().unwrap()),
        1 => Just("10.0.3.4".parse().unwrap()),
        1 => Just("192.0.2.1".parse().unwrap()),
        1 => Just("127.0.0.1".parse().unwrap()),
    ];
    prop::collection::vec((4u8..8, to.prop_map(IpAddr::V4), opening), 12)
}

#[test]
fn the_analysis_of_random_stacks_agrees_with_their_packets() {
    let bare = ruleset(vec![], (4..8).map(|n| eni(n, &[])).collect());
    let Some(lab) = Lab::new(&bare) else { return };
    let _sockets = serve(&lab);
    let (lab, seen) = (RefCell::new(lab), RefCell::new(BTreeMap::<String, u32>::new()));
    // Namespaces are made once; each stack is a ruleset in force among them.
    let mut runner = TestRunner::new(Config { cases: STACKS, max_shrink_iters: 40, ..Config::default() });
    let outcome = runner.run(&(stacks(), flows()), |(ruleset, flows)| {
        lab.borrow_mut().set(&ruleset);
        let lab = &*lab.borrow();
        let results: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = flows
                .iter()
                .map(|&(from, to, opening)| {
                    scope.spawn({
                        let ruleset = &ruleset;
                        move || {
                            // A busy machine is late, a source port may be that of a flow which an earlier stack let through,
                            // and a kernel that has sent many ICMP errors sends the next one when it has rested.
                            let patiently = [SHORT, PATIENCE, PATIENCE, PATIENCE];
                            let mut tries =
                                patiently.into_iter().map(|patience| both(lab, ruleset, from, to, opening, patience));
                            let first = tries.next().unwrap();
                            if first.0.agrees_with(first.1) {
                                return first;
                            }
                            tries.find(|(foreseen, outcome)| foreseen.agrees_with(*outcome)).unwrap_or(first)
                        }
                    })
                })
                .collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for ((from, to, opening), (foreseen, outcome)) in flows.iter().zip(results) {
            *seen.borrow_mut().entry(format!("{foreseen:?}")).or_default() += 1;
            prop_assert!(foreseen.agrees_with(outcome), "{from} to {to} {opening:?}: {foreseen:?}, but {outcome:?}");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let seen = seen.into_inner();
    for fate in ["Connected", "Delivered", "Refused", "TimedOut", "Unreachable"] {
        assert!(seen.get(fate).is_some_and(|count| *count > 10), "{fate} is hardly tried: {seen:?}");
    }
}

#[test]
fn a_program_that_accepts_nothing_is_foreseen_by_its_full_queue() {
    let open = ruleset(
        vec![group(1, vec![allow(tcp(80), anywhere())], vec![allow(Traffic::All, anywhere())])],
        vec![eni(4, &[1]), eni(5, &[1])],
    );
    let Some(lab) = Lab::new(&open) else { return };
    let listener = lab.task(5).run(|| TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
    let to: IpAddr = address(5).into();
    let waiting: Vec<_> =
        (0..2).map(|_| lab.task(4).run(|| std::net::TcpStream::connect((to, 80)).unwrap()).unwrap()).collect();
    assert_eq!(both(&lab, &open, 4, to, Opening::Tcp(80), SHORT), (Outcome::TimedOut, Outcome::TimedOut));
    drop((waiting, listener));
    assert_eq!(both(&lab, &open, 4, to, Opening::Tcp(80), SHORT), (Outcome::Refused, Outcome::Refused));
}

#[test]
fn an_address_outside_is_reached_by_the_uplink_and_nothing_is_foreseen_of_it() {
    let mut online = ruleset(vec![group(1, vec![], vec![allow(tcp(80), anywhere())])], vec![eni(4, &[1])]);
    online.router.internet = true;
    let Some(lab) = Lab::new(&online) else { return };
    let (from, outside): (&Eni, IpAddr) = (&online.enis[&eni_id(4)], lab_nft::net::OUTSIDE.into());
    let path = follow(&online, from, outside, Opening::Tcp(80));
    assert!(path.is_open() && path.route == Route::Uplink);
    assert_eq!(foresee(&path, Opening::Tcp(80), None), None);
    let seen = attempt(lab.task(4), &[&lab.vpc], outside, Opening::Tcp(80), PATIENCE).unwrap();
    assert_eq!(seen.outcome, Outcome::Refused, "nobody listens there");
    let shut = follow(&online, from, outside, Opening::Tcp(81));
    assert_eq!(foresee(&shut, Opening::Tcp(81), None), Some(Outcome::TimedOut));
    let seen = attempt(lab.task(4), &[&lab.vpc], outside, Opening::Tcp(81), SHORT).unwrap();
    assert_eq!(seen.outcome, Outcome::TimedOut);
}
