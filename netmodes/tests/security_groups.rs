//! Security groups with real packets between namespaces: what reference 4 allows passes, all else is dropped.
//! Needs root; says so and passes without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab_nft;

use std::net::{Ipv4Addr, UdpSocket};

use lab_nft::net::{Lab, OUTSIDE, Probe, SILENCE, UPLINK, answers, flow, pings, send_as};
use lab_nft::{address, allow, anywhere, empty, eni, group, ruleset, sg, tcp};
use netmodes::security::group::{Peer, PortRange, Rule, Ruleset, Traffic};
use netmodes::vpc::eni::Eni;

const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn cidr(text: &str) -> Peer {
    Peer::Cidr(text.parse().unwrap())
}

fn ports(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

fn all_out() -> Vec<Rule> {
    vec![allow(Traffic::All, anywhere())]
}

/// 10.0.0.4 in group 1 may send anything; 10.0.0.5 in group 2 lets in `ingress`; 10.0.0.6 is in group 3.
fn server(ingress: Vec<Rule>) -> Ruleset {
    ruleset(
        vec![group(1, vec![], all_out()), group(2, ingress, vec![]), group(3, vec![], all_out())],
        vec![eni(4, &[1]), eni(5, &[2]), eni(6, &[3])],
    )
}

/// The same the other way round: 10.0.0.5 lets everything in, 10.0.0.4 may send `egress`.
fn client(egress: Vec<Rule>) -> Ruleset {
    ruleset(
        vec![group(1, vec![], egress), group(2, vec![allow(Traffic::All, anywhere())], vec![])],
        vec![eni(4, &[1]), eni(5, &[2])],
    )
}

/// One rule, what it lets through, what it does not.
fn kinds(peer: Peer, stranger: Peer) -> Vec<(Rule, Vec<Probe>, Vec<Probe>)> {
    use Probe::{Icmp, Raw, Tcp, Udp};
    let echo = |code| Traffic::Icmp { kind: Some(8), code };
    vec![
        (allow(Traffic::All, peer.clone()), vec![Tcp(1), Udp(65535), Icmp(8, 0), Raw(50)], vec![]),
        (allow(tcp(80), peer.clone()), vec![Tcp(80)], vec![Tcp(81), Udp(80), Icmp(8, 0), Raw(50)]),
        (allow(Traffic::Tcp(ports(8000, 8002)), peer.clone()), vec![Tcp(8000), Tcp(8002)], vec![Tcp(7999), Tcp(8003)]),
        (allow(Traffic::Tcp(PortRange::ALL), peer.clone()), vec![Tcp(1), Tcp(65535)], vec![Udp(1), Icmp(8, 0)]),
        (allow(Traffic::Udp(ports(53, 53)), peer.clone()), vec![Udp(53)], vec![Udp(54), Tcp(53)]),
        (allow(Traffic::Udp(PortRange::ALL), peer.clone()), vec![Udp(1), Udp(65535)], vec![Tcp(1)]),
        (allow(Traffic::Icmp { kind: None, code: None }, peer.clone()), vec![Icmp(8, 0), Icmp(5, 1)], vec![Tcp(1)]),
        (allow(echo(None), peer.clone()), vec![Icmp(8, 0), Icmp(8, 3)], vec![Icmp(13, 0), Icmp(5, 1)]),
        (allow(echo(Some(3)), peer.clone()), vec![Icmp(8, 3)], vec![Icmp(8, 0)]),
        (allow(Traffic::Icmp { kind: Some(5), code: Some(1) }, peer.clone()), vec![Icmp(5, 1)], vec![Icmp(5, 0)]),
        (allow(Traffic::Protocol(50), peer), vec![Raw(50)], vec![Raw(51), Tcp(1)]),
        (allow(Traffic::All, stranger), vec![], vec![Tcp(1), Udp(1), Icmp(8, 0), Raw(50)]),
    ]
}

/// A VPC for each rule: what was let through under one stays tracked under the next.
fn hold_to(way: fn(Vec<Rule>) -> Ruleset, peer: &Peer, stranger: &Peer) {
    for (rule, passes, dropped) in kinds(peer.clone(), stranger.clone()) {
        let Some(lab) = Lab::new(&way(vec![rule.clone()])) else { return };
        for probe in passes {
            assert!(lab.reaches(4, 5, probe), "{rule:?} lets {probe:?} through");
        }
        for probe in dropped {
            assert!(!lab.reaches(4, 5, probe), "{rule:?} drops {probe:?}");
        }
    }
}

#[test]
fn each_kind_of_ingress_rule_lets_in_what_it_names_and_no_more() {
    hold_to(server, &cidr("10.0.0.4/32"), &cidr("10.0.0.6/31"));
}

#[test]
fn each_kind_of_ingress_rule_works_for_any_address_too() {
    hold_to(server, &anywhere(), &cidr("::/0"));
}

#[test]
fn each_kind_of_ingress_rule_works_for_a_group() {
    hold_to(server, &Peer::Group(sg(1)), &Peer::Group(sg(3)));
}

#[test]
fn each_kind_of_egress_rule_lets_out_what_it_names_and_no_more() {
    hold_to(client, &cidr("10.0.0.0/29"), &cidr("10.0.0.8/29"));
}

#[test]
fn each_kind_of_egress_rule_works_for_any_address() {
    hold_to(client, &anywhere(), &cidr("::/0"));
}

#[test]
fn each_kind_of_egress_rule_works_for_a_group() {
    hold_to(client, &Peer::Group(sg(2)), &Peer::Group(sg(1)));
    hold_to(client, &Peer::Group(sg(2)), &Peer::Group(sg(9)));
}

#[test]
fn the_rules_of_all_groups_on_an_eni_add_up() {
    let groups = vec![
        group(1, vec![], all_out()),
        group(2, vec![allow(tcp(80), anywhere())], vec![]),
        group(3, vec![allow(tcp(81), Peer::Group(sg(1)))], vec![]),
    ];
    let Some(lab) = Lab::new(&ruleset(groups, vec![eni(4, &[1]), eni(5, &[2, 3]), eni(6, &[3, 1])])) else { return };
    assert!(lab.reaches(4, 5, Probe::Tcp(80)) && lab.reaches(4, 5, Probe::Tcp(81)));
    assert!(!lab.reaches(4, 5, Probe::Tcp(82)));
    assert!(!lab.reaches(4, 6, Probe::Tcp(80)) && lab.reaches(4, 6, Probe::Tcp(81)));
}

#[test]
fn the_default_group_admits_its_own_members_only() {
    let default = group(1, vec![allow(Traffic::All, Peer::Group(sg(1)))], all_out());
    let other = group(2, vec![], all_out());
    let enis = vec![eni(4, &[1]), eni(5, &[1]), eni(6, &[2]), eni(7, &[])];
    let Some(mut lab) = Lab::new(&ruleset(vec![default, other], enis)) else { return };
    assert!(lab.reaches(4, 5, Probe::Tcp(1)) && lab.reaches(5, 4, Probe::Udp(1)));
    assert!(!lab.reaches(6, 5, Probe::Tcp(1)) && !lab.reaches(4, 6, Probe::Tcp(1)));
    assert!(!lab.reaches(7, 4, Probe::Tcp(1)), "an ENI without groups sends nothing");
    let (out, into) = (lab.dropped(7), lab.dropped(5));
    assert!(out.egress.packets > 0 && out.egress.bytes > 0 && out.ingress.packets == 0, "{out:?}");
    assert!(into.ingress.packets > 0 && into.egress.packets == 0 && into.source.packets == 0, "{into:?}");
}

#[test]
fn a_new_member_counts_at_once_and_a_gone_one_keeps_its_tracked_flows_only() {
    let rules = vec![allow(tcp(80), Peer::Group(sg(1)))];
    let Some(mut lab) = Lab::new(&server(rules.clone())) else { return };
    let mut open = lab.connect(4, 5, 80);
    assert!(!lab.reaches(6, 5, Probe::Tcp(80)));
    let mut changed = server(rules);
    changed.enis.insert(lab_nft::eni_id(6), eni(6, &[3, 1]));
    changed.enis.insert(lab_nft::eni_id(4), eni(4, &[3]));
    lab.set(&changed);
    assert!(lab.reaches(6, 5, Probe::Tcp(80)));
    assert!(!lab.reaches(4, 5, Probe::Tcp(80)));
    assert!(open.there() && open.back());
}

#[test]
fn removing_rules_cuts_no_tracked_flow() {
    let Some(mut lab) = Lab::new(&server(vec![allow(Traffic::All, Peer::Group(sg(1)))])) else { return };
    let (mut stream, datagrams) = (lab.connect(4, 5, 80), lab.exchange(4, 5, 53));
    let mut closed = server(vec![]);
    closed.groups.insert(sg(1), group(1, vec![], vec![]));
    lab.set(&closed);
    assert!(stream.there() && stream.back() && datagrams.there() && datagrams.back());
    assert!(!lab.reaches(4, 5, Probe::Tcp(80)) && !lab.reaches(4, 5, Probe::Udp(53)));
}

/// Receiver in group 2: any address to port 80 in, everything out. The client is untracked on its side only with `answers_in`.
fn untracked(ingress: Vec<Rule>, egress: Vec<Rule>, client_in: Vec<Rule>, client_out: Vec<Rule>) -> Ruleset {
    ruleset(vec![group(1, client_in, client_out), group(2, ingress, egress)], vec![eni(4, &[1]), eni(5, &[2])])
}

fn web() -> Vec<Rule> {
    vec![allow(tcp(80), anywhere()), allow(Traffic::Udp(ports(53, 53)), anywhere())]
}

#[test]
fn an_untracked_flow_is_cut_at_once_when_the_receivers_rule_goes() {
    let Some(mut lab) = Lab::new(&untracked(web(), all_out(), vec![], all_out())) else { return };
    let (mut stream, datagrams) = (lab.connect(4, 5, 80), lab.exchange(4, 5, 53));
    lab.set(&untracked(vec![allow(tcp(81), anywhere())], all_out(), vec![], all_out()));
    assert!(!stream.there() && !datagrams.there());
    lab.set(&untracked(web(), all_out(), vec![], all_out()));
    assert!(datagrams.there() && datagrams.back(), "there is no state to lose");
}

#[test]
fn an_untracked_flow_is_cut_when_its_answers_are_no_longer_allowed() {
    let Some(mut lab) = Lab::new(&untracked(web(), all_out(), vec![], all_out())) else { return };
    let (mut stream, datagrams) = (lab.connect(4, 5, 80), lab.exchange(4, 5, 53));
    lab.set(&untracked(web(), vec![], vec![], all_out()));
    assert!(datagrams.there() && !datagrams.back() && !stream.back());
}

#[test]
fn an_untracked_flow_is_cut_at_once_when_the_senders_rule_goes() {
    let open = vec![allow(Traffic::All, anywhere())];
    let narrow = || vec![allow(Traffic::All, cidr("10.0.0.0/24"))];
    let Some(mut lab) = Lab::new(&untracked(narrow(), vec![], open.clone(), all_out())) else { return };
    let (mut stream, datagrams) = (lab.connect(4, 5, 80), lab.exchange(4, 5, 53));
    lab.set(&untracked(narrow(), vec![], open.clone(), vec![]));
    assert!(!stream.there() && !datagrams.there() && datagrams.back(), "it was untracked at the sender");
    lab.set(&untracked(narrow(), vec![], vec![], all_out()));
    assert!(datagrams.there() && !datagrams.back(), "answers need the rule for every port");
    lab.set(&untracked(vec![], vec![], open, all_out()));
    assert!(datagrams.there() && datagrams.back(), "at the receiver it is tracked");
}

#[test]
fn a_client_with_default_egress_and_no_ingress_is_tracked() {
    let Some(mut lab) = Lab::new(&untracked(web(), vec![], vec![], all_out())) else { return };
    let (mut stream, datagrams) = (lab.connect(4, 5, 80), lab.exchange(4, 5, 53));
    lab.set(&untracked(vec![], vec![], vec![], vec![]));
    assert!(stream.there() && stream.back() && datagrams.there() && datagrams.back());
}

#[test]
fn a_flow_that_a_narrower_rule_matches_is_tracked_beside_a_rule_for_any_address() {
    let mut both = web();
    both.push(allow(tcp(80), Peer::Group(sg(1))));
    let Some(mut lab) = Lab::new(&untracked(both, all_out(), vec![], all_out())) else { return };
    let mut stream = lab.connect(4, 5, 80);
    lab.set(&untracked(vec![], vec![], vec![], vec![]));
    assert!(stream.there() && stream.back());
}

#[test]
fn an_echo_is_answered_whatever_the_other_direction_allows() {
    let every = vec![allow(Traffic::All, anywhere())];
    let Some(lab) = Lab::new(&untracked(every, vec![], vec![], all_out())) else { return };
    assert!(pings(lab.task(4), address(5)));
    assert!(!pings(lab.task(5), address(4)), "4 lets nothing in");
}

#[test]
fn a_packet_with_anothers_source_address_is_dropped_and_counted() {
    let Some(mut lab) = Lab::new(&server(vec![allow(Traffic::All, Peer::Group(sg(3)))])) else { return };
    let socket = lab.task(5).run(|| UdpSocket::bind((address(5), 9))).unwrap().unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    send_as(lab.task(6), address(6), (address(5), 9).into());
    assert!(socket.recv(&mut [0]).is_ok(), "6 is let in under its own address");
    send_as(lab.task(4), address(6), (address(5), 9).into());
    assert!(socket.recv(&mut [0]).is_err(), "4 is not, under that of 6");
    assert_eq!((lab.dropped(4).source.packets, lab.dropped(6).source.packets), (1, 0));

    let mut unchecked = server(vec![allow(Traffic::All, Peer::Group(sg(3)))]);
    unchecked.enis.insert(lab_nft::eni_id(4), Eni { source_check: false, ..eni(4, &[1]) });
    lab.set(&unchecked);
    send_as(lab.task(4), address(6), (address(5), 9).into());
    assert!(socket.recv(&mut [0]).is_ok(), "an ENI without source check forwards for others");
}

#[test]
fn the_resolver_and_metadata_are_open_to_every_eni_and_nothing_else_is() {
    let Some(lab) = Lab::new(&ruleset(vec![], vec![eni(4, &[])])) else { return };
    for (to, probe) in [
        (RESOLVER, Probe::Udp(53)),
        (RESOLVER, Probe::Tcp(53)),
        (Ipv4Addr::new(169, 254, 169, 253), Probe::Udp(53)),
        (METADATA, Probe::Tcp(80)),
    ] {
        assert!(answers(lab.task(4), to, probe), "{to} {probe:?}");
        assert!(answers(&lab.vpc, to, probe), "{to} {probe:?} from inside");
    }
    for (to, probe) in [
        (RESOLVER, Probe::Tcp(80)),
        (GATEWAY, Probe::Udp(53)),
        (GATEWAY, Probe::Tcp(22)),
        (METADATA, Probe::Udp(80)),
        (METADATA, Probe::Tcp(81)),
    ] {
        assert!(!answers(lab.task(4), to, probe), "{to} {probe:?}");
    }
    assert!(!pings(lab.task(4), GATEWAY), "the router answers no ping");
}

#[test]
fn a_process_in_the_vpc_namespace_opens_no_flow_to_a_task() {
    let every = group(1, vec![allow(Traffic::All, anywhere())], all_out());
    let Some(lab) = Lab::new(&ruleset(vec![every], vec![eni(4, &[1])])) else { return };
    assert!(!answers(&lab.vpc, address(4), Probe::Tcp(80)));
    assert!(!answers(&lab.vpc, address(4), Probe::Udp(53)));
    assert!(!pings(&lab.vpc, address(4)));
}

#[test]
fn the_uplink_is_reached_by_egress_rules_masqueraded_and_opens_nothing() {
    let online = |ingress: Vec<Rule>, egress| {
        let mut online = ruleset(vec![group(1, ingress, egress)], vec![eni(4, &[1])]);
        online.router.internet = true;
        online
    };
    let every = || vec![allow(Traffic::All, anywhere())];
    let Some(mut lab) = Lab::new(&online(every(), vec![allow(tcp(80), anywhere())])) else { return };
    let outside = lab.outside.take().unwrap();
    assert!(answers(lab.task(4), OUTSIDE, Probe::Tcp(80)));
    assert!(!answers(lab.task(4), OUTSIDE, Probe::Tcp(81)));
    for (to, probe) in [
        (address(4), Probe::Tcp(80)),
        (address(4), Probe::Udp(9)),
        (RESOLVER, Probe::Udp(53)),
        (UPLINK, Probe::Tcp(53)),
        (METADATA, Probe::Tcp(80)),
    ] {
        assert!(!answers(&outside, to, probe), "{to} {probe:?} from outside");
    }
    // The resolver's own questions, and nothing else of the namespace.
    assert!(answers(&lab.vpc, OUTSIDE, Probe::Udp(53)) && answers(&lab.vpc, OUTSIDE, Probe::Tcp(53)));
    assert!(!answers(&lab.vpc, OUTSIDE, Probe::Tcp(80)));

    let mut stream = flow(lab.task(4), &outside, OUTSIDE, 80);
    assert_eq!(stream.peer.ip(), UPLINK);
    lab.set(&online(vec![], vec![]));
    assert!(stream.there() && stream.back(), "always tracked, as through a NAT gateway");
}

/// Reference 5.4: an ENI takes 9001 bytes, what is beyond the gateway fewer, and no rule is needed to hear of it.
#[test]
fn the_sender_of_a_packet_too_big_for_the_uplink_is_told() {
    let udp = |port| Traffic::Udp(PortRange { first: port, last: port });
    for (ingress, egress) in
        [(vec![], vec![allow(udp(9), cidr("172.31.0.1/32"))]), (vec![allow(Traffic::All, anywhere())], all_out())]
    {
        let mut online = ruleset(vec![group(1, ingress, egress)], vec![eni(4, &[1])]);
        online.router.internet = true;
        let Some(lab) = Lab::new(&online) else { return };
        let receiver = lab.outside.as_ref().unwrap().run(|| UdpSocket::bind((OUTSIDE, 9))).unwrap().unwrap();
        let sender = lab.task(4).run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        sender.connect((OUTSIDE, 9)).unwrap();
        for socket in [&receiver, &sender] {
            socket.set_read_timeout(Some(SILENCE)).unwrap();
        }
        // It fits the ENI to the byte.
        sender.send(&[0; 9001 - 28]).unwrap();
        let error = sender.recv(&mut [0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "{error}");
        sender.send(&[0; 1500 - 28]).unwrap();
        assert_eq!(receiver.recv(&mut [0; 9001]).unwrap(), 1500 - 28, "the first one to arrive");
    }
}

#[test]
fn without_internet_the_namespace_ignores_its_uplink() {
    let mut online = empty(false);
    online.router.internet = true;
    let Some(mut lab) = Lab::new(&online) else { return };
    assert!(answers(&lab.vpc, OUTSIDE, Probe::Udp(53)));
    lab.set(&empty(false));
    assert!(!answers(&lab.vpc, OUTSIDE, Probe::Udp(53)));
}

#[test]
fn without_an_egress_rule_a_task_opens_nothing_and_answers_what_is_let_in() {
    let every = || vec![allow(Traffic::All, anywhere())];
    let rules =
        ruleset(vec![group(1, every(), all_out()), group(2, every(), vec![])], vec![eni(4, &[1]), eni(5, &[2])]);
    let Some(lab) = Lab::new(&rules) else { return };
    for probe in [Probe::Tcp(80), Probe::Udp(53), Probe::Icmp(8, 0)] {
        assert!(!lab.reaches(5, 4, probe), "{probe:?}");
    }
    let mut stream = lab.connect(4, 5, 80);
    let datagrams = lab.exchange(4, 5, 53);
    assert!(stream.there() && stream.back() && datagrams.there() && datagrams.back());
    assert!(pings(lab.task(4), address(5)));
}

#[test]
fn what_a_task_says_to_itself_is_never_filtered() {
    let Some(mut lab) = Lab::new(&ruleset(vec![], vec![eni(4, &[])])) else { return };
    lab_nft::net::ip(lab.task(4), "link set lo up\n");
    let mut stream = flow(lab.task(4), lab.task(4), Ipv4Addr::LOCALHOST, 80);
    assert!(stream.there() && stream.back());
    let mut stream = flow(lab.task(4), lab.task(4), address(4), 81);
    assert!(stream.there() && stream.back(), "by its own address too");
    assert_eq!((lab.dropped(4).egress.packets, lab.dropped(4).ingress.packets), (0, 0));
}
