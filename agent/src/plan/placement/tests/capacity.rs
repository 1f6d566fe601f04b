//! Capacity that sizes itself.

use rstest::rstest;

use super::*;

const ZONE: &str = "us-east-1a";

#[rstest]
#[case(Wish { cpu: 2048, memory: 8192, ..wish() }, Some("m5.large"))]
#[case(Wish { cpu: 2049, ..wish() }, Some("m5.xlarge"))]
#[case(Wish { memory: 40_000, ..wish() }, Some("m5.4xlarge"))]
#[case(Wish { cpu: 98_304, memory: 393_216, ..wish() }, Some("m5.24xlarge"))]
#[case(Wish { cpu: 98_305, ..wish() }, None)]
// Only a type that the constraints allow helps, and only if one does.
#[case(Wish { constraints: vec![member_of("attribute:ecs.instance-type =~ t3.*")], ..wish() }, Some("t3.nano"))]
#[case(Wish { constraints: vec![member_of("attribute:ecs.cpu-architecture == arm64")], memory: 3000, ..wish() }, Some("m6g.medium"))]
#[case(Wish { constraints: vec![member_of("attribute:stack == blue")], ..wish() }, None)]
#[case(Wish { constraints: vec![member_of("task:group == service:cache")], ..wish() }, None)]
#[case(Wish { constraints: vec![member_of("registeredAt < 2018-02-13")], ..wish() }, None)]
#[case(Wish { constraints: vec![Constraint::DistinctInstance], ..wish() }, Some("m5.large"))]
#[case(Wish { fixed_ports: HostPorts::from([(TransportProtocol::Tcp, 22)]), ..wish() }, None)]
#[case(Wish { zones: Some(BTreeSet::from(["us-east-1b".into()])), ..wish() }, None)]
fn the_smallest_instance_that_takes_a_task(#[case] wish: Wish, #[case] expected: Option<&str>) {
    assert_eq!(instance_type_for(&wish, ZONE).map(|found| found.to_string()).as_deref(), expected);
}

#[test]
fn a_new_instance_goes_where_the_fewest_are() {
    let zones = ["us-east-1a", "us-east-1b", "us-east-1c"].map(str::to_owned);
    let zone = |cluster: &Cluster, wish: &Wish| {
        needed_instance(wish, &cluster.candidates(), &zones).map(|needed| needed.availability_zone)
    };
    assert_eq!(zone(&Cluster::default(), &wish()), Some("us-east-1a"));
    let mut cluster = Cluster::in_zones(&["us-east-1b", "us-east-1a"]);
    assert_eq!(zone(&cluster, &wish()), Some("us-east-1c"));
    cluster.nodes.push(Node::new("c", "us-east-1c"));
    assert_eq!(zone(&cluster, &wish()), Some("us-east-1a"));
    cluster.nodes[0].active = false;
    assert_eq!(zone(&cluster, &wish()), Some("us-east-1b"), "a DRAINING one is on its way out");

    let in_c = Wish { constraints: vec![member_of("attribute:ecs.availability-zone == us-east-1c")], ..wish() };
    assert_eq!(zone(&cluster, &in_c), Some("us-east-1c"), "where it helps");
    let elsewhere = Wish { zones: Some(BTreeSet::from(["us-west-2a".into()])), ..wish() };
    assert_eq!(zone(&cluster, &elsewhere), None);
}

/// The instance that is said to be missing does take the task, so that adding instances comes to an end.
#[test]
fn the_instance_that_is_added_takes_the_task() {
    let zones = ["us-east-1a", "us-east-1b"].map(str::to_owned);
    let mut cluster = Cluster::default();
    let wish = Wish { cpu: 1500, constraints: vec![Constraint::DistinctInstance], ..wish() };
    for count in 1..=6 {
        assert!(cluster.place(&wish).is_err());
        let candidates = cluster.candidates();
        let needed = needed_instance(&wish, &candidates, &zones).unwrap();
        let (zone, known) = (needed.availability_zone, needed.instance_type);
        cluster.nodes.push(Node::new(&count.to_string(), zone).size(known.cpu(), known.memory));
        assert_eq!(cluster.place(&wish).unwrap(), count.to_string());
    }
}
