//! What a refusal says, and of which instance.

use rstest::rstest;

use super::*;

const BEGINNING: &str = "was unable to place a task because no container instance met all of its requirements. ";
const END: &str = " For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.";

fn refusal(cluster: &mut Cluster, wish: &Wish) -> String {
    let words = cluster.place(wish).unwrap_err();
    words.strip_prefix(BEGINNING).and_then(|rest| rest.strip_suffix(END)).unwrap().to_owned()
}

/// 3.8-09.
#[test]
fn no_room_names_the_closest_instance_and_the_missing_cpu() {
    let mut cluster = Cluster::in_zones(&["us-east-1a"]);
    let words = cluster.place(&Wish { cpu: 2049, ..wish() }).unwrap_err();
    assert_eq!(
        format!("(service web) {words}"),
        "(service web) was unable to place a task because no container instance met all of its requirements. The \
         closest matching (container-instance a) has insufficient CPU units available. For more information, see the \
         Troubleshooting section of the Amazon ECS Developer Guide."
    );
}

/// 3.8-10.
#[rstest]
#[case(Wish { cpu: 4096, ..wish() }, "has insufficient CPU units available")]
#[case(Wish { memory: 9000, ..wish() }, "has insufficient memory available")]
#[case(Wish { fixed_ports: HostPorts::from([(TransportProtocol::Tcp, 22)]), ..wish() }, "is already using a port required by your task")]
#[case(Wish { zones: Some(BTreeSet::from(["us-east-1c".into()])), ..wish() }, "is missing an attribute required by your task")]
#[case(Wish { constraints: vec![member_of("attribute:gpu exists")], ..wish() }, "encountered error \"MemberOf placement constraint unsatisfied.\"")]
fn the_event_names_what_is_missing(#[case] wish: Wish, #[case] shortage: &str) {
    let mut cluster = Cluster::in_zones(&["us-east-1a"]);
    assert_eq!(refusal(&mut cluster, &wish), format!("The closest matching (container-instance a) {shortage}."));
}

#[test]
fn an_instance_whose_agent_does_not_answer_takes_nothing() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1a"]);
    cluster.nodes[0].agent_connected = false;
    assert_eq!(cluster.place(&wish()).unwrap(), "b");
    cluster.nodes[1].agent_connected = false;
    assert_eq!(
        refusal(&mut cluster, &wish()),
        "The closest matching (container-instance a) encountered error \"AGENT\"."
    );
}

#[test]
fn a_cluster_without_an_active_instance_has_none() {
    let none = "Reason: No Container Instances were found in your cluster.";
    assert_eq!(refusal(&mut Cluster::default(), &wish()), none);
    let mut draining = Cluster::in_zones(&["us-east-1a"]);
    draining.nodes[0].active = false;
    assert_eq!(refusal(&mut draining, &wish()), none);
}

/// Closest lacks the fewest things, then what is looked at latest; the smallest id where that is the same.
#[test]
fn the_closest_instance_is_the_one_that_lacks_least() {
    let mut cluster = Cluster::of(vec![
        Node::new("a", "us-east-1a").size(64, 64),
        Node::new("b", "us-east-1a").size(64, 8192),
        Node::new("d", "us-east-1a").size(2048, 64),
        Node::new("c", "us-east-1a").size(2048, 64),
    ]);
    let expected = "The closest matching (container-instance c) has insufficient memory available.";
    assert_eq!(refusal(&mut cluster, &wish()), expected);
    cluster.nodes.reverse();
    assert_eq!(refusal(&mut cluster, &wish()), expected, "whatever the order");
}

#[test]
fn one_lack_is_closer_than_two_later_ones() {
    let mut cluster = Cluster::of(vec![
        Node::new("a", "us-east-1a").with("stack", "blue").size(64, 64),
        Node::new("b", "us-east-1a"),
    ]);
    let wish = Wish { constraints: vec![member_of("attribute:stack == blue")], ..wish() };
    assert_eq!(
        refusal(&mut cluster, &wish),
        "The closest matching (container-instance b) encountered error \"MemberOf placement constraint unsatisfied.\"."
    );
}
