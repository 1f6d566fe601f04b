//! Tables and properties of [`super::answer`].

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rstest::rstest;

use super::*;
use crate::project::zone::{Answers, Instance, Origin, PrivateNames, Srv, Zone};

fn instance(id: usize, healthy: bool) -> Instance {
    let host = u8::try_from(id % 250).unwrap();
    let address = Ipv4Addr::new(10, 0, u8::try_from(id / 250).unwrap(), host);
    Instance { id: format!("i{id}"), healthy, addresses: vec![IpAddr::V4(address)], srv: None }
}

fn answers(routing: Routing, instances: Vec<Instance>) -> Answers {
    Answers { ttl: 10, routing, instances, ptr: Vec::new() }
}

fn index(names: BTreeMap<String, Answers>) -> Index {
    let zone = Zone {
        generation: 1,
        listen: Vec::new(),
        authoritative: ["shop.local", "ec2.internal", "0.10.in-addr.arpa"].map(Origin::new).to_vec(),
        names,
        private_names: Some(PrivateNames {
            domain: "ec2.internal".into(),
            blocks: vec!["10.0.0.0/20".parse().unwrap()],
        }),
        forward: Vec::new(),
        packet_limit: None,
    };
    Index::new(&zone).unwrap()
}

fn shop() -> Index {
    let srv = Srv { priority: 1, weight: 1, port: 8080, target: "i1.grpc.shop.local".into() };
    let by_port = Instance { id: "i1".into(), healthy: true, addresses: Vec::new(), srv: Some(srv) };
    index(BTreeMap::from([
        ("web.shop.local".into(), answers(Routing::Multivalue, vec![instance(1, true)])),
        ("grpc.shop.local".into(), answers(Routing::Multivalue, vec![by_port])),
        ("i1.grpc.shop.local".into(), answers(Routing::Multivalue, vec![instance(1, true)])),
        ("v1.api.shop.local".into(), answers(Routing::Multivalue, vec![instance(2, true)])),
        ("empty.shop.local".into(), answers(Routing::Multivalue, Vec::new())),
        (
            "9.0.0.10.in-addr.arpa".into(),
            Answers { ptr: vec!["vip.shop.local".into()], ..answers(Routing::Multivalue, Vec::new()) },
        ),
    ]))
}

fn ask(index: &Index, name: &str, kind: RecordType, seed: u64) -> Outcome {
    answer(index, &Name::from_ascii(name).unwrap(), kind, &mut StdRng::seed_from_u64(seed))
}

/// An outcome in a word, with the data of its records.
fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Records(records) => {
            records.iter().map(|record| record.data.to_string()).collect::<Vec<_>>().join(", ")
        }
        Outcome::NoData(soa) => format!("NODATA {}", soa.name),
        Outcome::NoName(soa) => format!("NXDOMAIN {}", soa.name),
        Outcome::NotOurs => "not ours".into(),
    }
}

#[rstest]
#[case::service("web.shop.local.", RecordType::A, "10.0.0.1")]
#[case::any_case("WeB.sHOP.LOCAL.", RecordType::A, "10.0.0.1")]
#[case::no_ipv6("web.shop.local.", RecordType::AAAA, "NODATA shop.local.")]
#[case::srv("grpc.shop.local.", RecordType::SRV, "1 1 8080 i1.grpc.shop.local.")]
#[case::srv_has_no_address("grpc.shop.local.", RecordType::A, "NODATA shop.local.")]
#[case::instance("i1.grpc.shop.local.", RecordType::A, "10.0.0.1")]
#[case::parent_exists("api.shop.local.", RecordType::A, "NODATA shop.local.")]
#[case::unknown("no.shop.local.", RecordType::A, "NXDOMAIN shop.local.")]
#[case::below_a_service("x.web.shop.local.", RecordType::A, "NXDOMAIN shop.local.")]
#[case::no_instances("empty.shop.local.", RecordType::A, "NXDOMAIN shop.local.")]
#[case::apex("shop.local.", RecordType::A, "NODATA shop.local.")]
#[case::apex_ns("shop.local.", RecordType::NS, "ns-1536.awsdns-00.co.uk.")]
#[case::any_type("web.shop.local.", RecordType::ANY, "10.0.0.1")]
#[case::private_name("ip-10-0-1-23.ec2.internal.", RecordType::A, "10.0.1.23")]
#[case::private_name_type("ip-10-0-1-23.ec2.internal.", RecordType::AAAA, "NODATA ec2.internal.")]
#[case::private_name_outside("ip-10-0-99-1.ec2.internal.", RecordType::A, "NXDOMAIN ec2.internal.")]
#[case::reverse("23.1.0.10.in-addr.arpa.", RecordType::PTR, "ip-10-0-1-23.ec2.internal.")]
#[case::reverse_of_its_own("9.0.0.10.in-addr.arpa.", RecordType::PTR, "vip.shop.local.")]
#[case::reverse_parent("1.0.10.in-addr.arpa.", RecordType::PTR, "NODATA 0.10.in-addr.arpa.")]
#[case::reverse_outside("1.99.0.10.in-addr.arpa.", RecordType::PTR, "NXDOMAIN 0.10.in-addr.arpa.")]
#[case::elsewhere("example.com.", RecordType::A, "not ours")]
#[case::suffix_is_no_parent("xshop.local.", RecordType::A, "not ours")]
#[case::above_the_origin("local.", RecordType::A, "not ours")]
#[case::root(".", RecordType::NS, "not ours")]
#[case::dot_in_a_label("web\\.shop.local.", RecordType::A, "not ours")]
fn a_question_has_one_outcome(#[case] name: &str, #[case] kind: RecordType, #[case] expected: &str) {
    assert_eq!(brief(&ask(&shop(), name, kind, 1)), expected);
}

#[test]
fn a_negative_answer_is_cached_for_the_soa_ttl_of_15_seconds() {
    let Outcome::NoName(soa) = ask(&shop(), "no.shop.local.", RecordType::A, 1) else { panic!("not NXDOMAIN") };
    assert_eq!(soa.ttl, 15);
}

fn addresses(outcome: Outcome) -> Vec<Ipv4Addr> {
    let Outcome::Records(records) = outcome else { panic!("no records: {outcome:?}") };
    let address = |record: Record| if let RData::A(address) = record.data { address.0 } else { panic!("not A") };
    records.into_iter().map(address).collect()
}

proptest! {
    #[test]
    fn an_answer_is_a_choice_of_the_healthy(health in prop::collection::vec(any::<bool>(), 1..300), weighted: bool, seed: u64) {
        let routing = if weighted { Routing::Weighted } else { Routing::Multivalue };
        let instances: Vec<Instance> = health.iter().enumerate().map(|(id, healthy)| instance(id, *healthy)).collect();
        let of = |instances: &[Instance], only_healthy: bool| -> HashSet<IpAddr> {
            let chosen = instances.iter().filter(|instance| instance.healthy || !only_healthy);
            chosen.flat_map(|instance| instance.addresses.clone()).collect()
        };
        let eligible = of(&instances, health.contains(&true));
        let index = index(BTreeMap::from([("web.shop.local".into(), answers(routing, instances))]));
        let got = addresses(ask(&index, "web.shop.local.", RecordType::A, seed));

        let most = if weighted { 1 } else { MULTIVALUE_RECORDS };
        prop_assert_eq!(got.len(), eligible.len().min(most));
        let distinct: HashSet<_> = got.iter().collect();
        prop_assert_eq!(distinct.len(), got.len());
        prop_assert!(got.iter().all(|address| eligible.contains(&IpAddr::V4(*address))));
    }

    #[test]
    fn no_name_and_type_make_it_panic(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8), kind: u16) {
        let name = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
        answer(&shop(), &name, RecordType::from(kind), &mut StdRng::seed_from_u64(1));
    }
}

#[rstest]
#[case::fewer_than_eight(3)]
#[case::exactly_eight(8)]
#[case::one_more(9)]
#[case::many(60)]
fn every_healthy_instance_comes_first_about_as_often_as_any_other(#[case] instances: usize) {
    let all = (0..instances).map(|id| instance(id, true)).collect();
    let index = index(BTreeMap::from([("web.shop.local".into(), answers(Routing::Multivalue, all))]));
    let mut first: BTreeMap<Ipv4Addr, u32> = BTreeMap::new();
    let mut rng = StdRng::seed_from_u64(7);
    let name = Name::from_ascii("web.shop.local.").unwrap();
    let rounds = u32::try_from(instances).unwrap() * 400;
    for _ in 0..rounds {
        *first.entry(addresses(answer(&index, &name, RecordType::A, &mut rng))[0]).or_default() += 1;
    }
    assert_eq!(first.len(), instances);
    // 400 expected, standard deviation 20 at most: 100 away is five of them, and the seed is fixed.
    assert!(first.values().all(|count| (300..=500).contains(count)), "{first:?}");
}

#[test]
fn equal_addresses_are_one_record() {
    let twin = Instance { id: "twin".into(), ..instance(1, true) };
    let index =
        index(BTreeMap::from([("web.shop.local".into(), answers(Routing::Multivalue, vec![instance(1, true), twin]))]));
    assert_eq!(addresses(ask(&index, "web.shop.local.", RecordType::A, 1)), [Ipv4Addr::new(10, 0, 0, 1)]);
}
