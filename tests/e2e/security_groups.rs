//! Security groups: what is allowed gets through, the rest is dropped silently (reference 4).

use e2e::definition::waiter;
use e2e::lab::{Lab, Task};
use e2e::probe::{
    Outcome, UdpFlow, command, connect, connect_from_port, datagram_arrives, exchange, ping, serve_tcp, serve_udp, tcp,
    udp,
};

const SUBNET: &str = "subnets: [ { name: s, zone: a, cidr: 10.0.0.0/24 } ]";

#[test]
fn every_kind_of_rule_lets_in_what_it_names_and_nothing_else() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false, {SUBNET} }}
securityGroups:
  ranges:
    ingress:
      - {{ port: 6000, from: client }}
      - {{ ports: 7000-7010, from: client }}
      - {{ ports: 8000-8010, protocol: udp, from: client }}
      - {{ type: 8, from: client }}
      - {{ port: 5000, from: 10.0.0.0/24 }}
      - {{ port: 5001, from: 10.0.1.0/24 }}
  team:
    ingress:
      - {{ protocol: all, from: self }}
      - {{ type: 13, from: client }}
  callers: {{}}
  shy:
    egress:
      - {{ port: 6000, to: ranges }}
  shy-too:
    egress:
      - {{ port: 5000, protocol: udp, to: 10.0.0.0/24 }}
services:
  client: {{ taskDefinition: {}, securityGroups: [callers] }}
  server: {{ taskDefinition: {}, securityGroups: [ranges, team] }}
  mate: {{ taskDefinition: {}, securityGroups: [team] }}
  quiet: {{ taskDefinition: {}, securityGroups: [shy, shy-too] }}
",
        waiter("client"),
        waiter("server"),
        waiter("mate"),
        waiter("quiet")
    ));
    let (client, server, mate, quiet) = (lab.one("client"), lab.one("server"), lab.one("mate"), lab.one("quiet"));
    for port in [5000, 5001, 5999, 6000, 6999, 7000, 7010, 7011] {
        serve_tcp(&server, port);
    }
    for port in [5000, 6000, 7999, 8000, 8010, 8011] {
        serve_udp(&server, port);
    }
    serve_tcp(&client, 9000);
    serve_tcp(&mate, 9000);

    for (port, outcome) in [
        (5000, Outcome::Answered),
        (5001, Outcome::Dropped),
        (5999, Outcome::Dropped),
        (6000, Outcome::Answered),
        (6999, Outcome::Dropped),
        (7000, Outcome::Answered),
        (7005, Outcome::Refused),
        (7010, Outcome::Answered),
        (7011, Outcome::Dropped),
    ] {
        assert_eq!(tcp(&client, &server, port), outcome, "tcp {port}");
    }
    for (port, outcome) in [
        (6000, Outcome::Dropped),
        (7999, Outcome::Dropped),
        (8000, Outcome::Answered),
        (8005, Outcome::Refused),
        (8010, Outcome::Answered),
        (8011, Outcome::Dropped),
    ] {
        assert_eq!(udp(&client, &server, port, 0), outcome, "udp {port}");
    }
    assert_eq!(ping(&client, &server.address), Outcome::Answered, "echo requests are let in");

    // The other direction: the client's group lets nobody in, though the server may send.
    assert_eq!(tcp(&server, &client, 9000), Outcome::Dropped);
    assert_eq!(ping(&server, &client.address), Outcome::Dropped);

    // `self`: members reach each other with everything, through any one of their groups; others do not.
    assert_eq!(tcp(&mate, &server, 5999), Outcome::Answered);
    assert_eq!(udp(&mate, &server, 6000, 0), Outcome::Answered);
    assert_eq!(tcp(&server, &mate, 9000), Outcome::Answered);
    assert_eq!(ping(&server, &mate.address), Outcome::Answered);
    assert_eq!(tcp(&client, &mate, 9000), Outcome::Dropped);
    assert_eq!(ping(&client, &mate.address), Outcome::Dropped, "ICMP type 13 is let in, type 8 is not");

    // Both ends count: what the receiver lets in, the sender's egress must allow, and the other way round.
    assert_eq!(tcp(&quiet, &server, 5000), Outcome::Dropped, "let in by the server, not out by its own groups");
    assert_eq!(tcp(&quiet, &server, 6000), Outcome::Dropped, "let out, not in: it is not `client`");
    assert_eq!(udp(&quiet, &server, 5000, 0), Outcome::Dropped, "let out by its second group, not in");
    lab.down();
}

/// A stack whose `server` lets in what `ingress` says; `client` is in its own group and may send everything.
fn client_and_server(ingress: &str) -> String {
    format!(
        "name: {{name}}
vpc: {{ internet: false, {SUBNET} }}
securityGroups:
  door: {{ ingress: [ {ingress} ] }}
services:
  client: {{ taskDefinition: {} }}
  server: {{ taskDefinition: {}, securityGroups: [door] }}
  stranger: {{ taskDefinition: {} }}
",
        waiter("client"),
        waiter("server"),
        waiter("stranger")
    )
}

#[test]
fn a_removed_rule_cuts_new_and_untracked_flows_and_keeps_tracked_ones() {
    let lab = Lab::new();
    let tracked = "{ port: 6000, from: client }, { port: 6000, protocol: udp, from: client }";
    let untracked = "{ port: 7000, from: 0.0.0.0/0 }, { port: 7000, protocol: udp, from: 0.0.0.0/0 }";
    lab.up(&client_and_server(&format!("{tracked}, {untracked}")));
    let (client, server) = (lab.one("client"), lab.one("server"));
    for port in [6000, 7000, 8000] {
        serve_tcp(&server, port);
        serve_udp(&server, port);
    }
    let mut kept = connect(&client, &server, 6000).unwrap();
    let mut cut = connect(&client, &server, 7000).unwrap();
    let kept_udp = UdpFlow::open(&client, &server, 6000);
    let cut_udp = UdpFlow::open(&client, &server, 7000);
    assert_eq!((exchange(&mut kept), exchange(&mut cut)), (Outcome::Answered, Outcome::Answered));
    assert_eq!((kept_udp.exchange(), cut_udp.exchange()), (Outcome::Answered, Outcome::Answered));
    assert_eq!(tcp(&client, &server, 8000), Outcome::Dropped);

    lab.up(&client_and_server("{ port: 8000, from: client }"));
    assert_eq!((lab.one("client"), lab.one("server")), (client.clone(), server.clone()), "no task is replaced");
    assert_eq!(exchange(&mut kept), Outcome::Answered, "a tracked connection goes on");
    assert_eq!(kept_udp.exchange(), Outcome::Answered, "a tracked exchange goes on");
    assert_eq!(exchange(&mut cut), Outcome::Dropped, "an untracked connection is cut at once");
    assert_eq!(cut_udp.exchange(), Outcome::Dropped, "an untracked exchange is cut at once");
    assert_eq!(tcp(&client, &server, 6000), Outcome::Dropped, "a new connection needs a rule");
    assert_eq!(udp(&client, &server, 6000, 0), Outcome::Dropped, "a new exchange needs a rule");
    assert_eq!(tcp(&client, &server, 8000), Outcome::Answered, "the added rule is in force");
    lab.down();
}

#[test]
fn rules_stay_in_force_and_connections_open_while_the_agent_is_dead_and_after() {
    let mut lab = Lab::new();
    lab.up(&client_and_server("{ port: 6000, from: client }"));
    let (client, server, stranger) = (lab.one("client"), lab.one("server"), lab.one("stranger"));
    serve_tcp(&server, 6000);
    let mut open = connect(&client, &server, 6000).unwrap();
    let mut in_force = |when: &str| {
        assert_eq!(exchange(&mut open), Outcome::Answered, "{when}: the open connection");
        assert_eq!(tcp(&client, &server, 6000), Outcome::Answered, "{when}: a new one");
        assert_eq!(tcp(&stranger, &server, 6000), Outcome::Dropped, "{when}: a stranger");
    };
    in_force("before");
    lab.kill_agent();
    in_force("while the agent is dead");
    lab.start_agent();
    let adopted = e2e::eventually::eventually("the agent adopts the tasks", || {
        let running = lab.running("server");
        if running.is_empty() { Err(running) } else { Ok(running) }
    });
    assert_eq!(adopted, std::slice::from_ref(&server));
    in_force("after");
    lab.down();
}

#[test]
fn a_task_cannot_send_from_an_address_that_is_not_its_own() {
    let lab = Lab::new();
    lab.up(&client_and_server("{ port: 6000, protocol: udp, from: client }"));
    let (client, server, stranger) = (lab.one("client"), lab.one("server"), lab.one("stranger"));
    assert!(datagram_arrives(&client, &client.address, &server, 6000));
    assert!(!datagram_arrives(&stranger, &stranger.address, &server, 6000));
    assert!(!datagram_arrives(&stranger, &client.address, &server, 6000), "the source check drops it");
    assert!(!datagram_arrives(&client, "10.9.9.9", &server, 6000), "the source check drops any foreign address");
    assert!(datagram_arrives(&client, &client.address, &server, 6000));
    lab.down();
}

#[test]
fn the_vpc_router_serves_dns_and_nothing_else() {
    let lab = Lab::new();
    lab.up(&client_and_server("{ protocol: all, from: 0.0.0.0/0 }"));
    let client = lab.one("client");
    let at = |address: &str| Task { address: address.to_owned(), ..client.clone() };
    assert_eq!(ping(&client, "10.0.0.1"), Outcome::Dropped, "the gateway answers no ping");
    assert_eq!(tcp(&client, &at("10.0.0.1"), 53), Outcome::Dropped, "the gateway is no resolver");
    assert_eq!(tcp(&client, &at("10.0.0.1"), 22), Outcome::Dropped);
    assert_eq!(ping(&client, "10.0.0.2"), Outcome::Dropped, "nor does the resolver answer a ping");
    assert_eq!(tcp(&client, &at("10.0.0.2"), 22), Outcome::Dropped);
    assert!(connect(&client, &at("10.0.0.2"), 53).is_ok(), "DNS over TCP is served");
    let name = format!("server.{}.local", lab.stack);
    for server in ["@10.0.0.2", "@169.254.169.253"] {
        let (code, answer) = command(&client, "dig", &["+short", "+tries=1", server, &name]);
        assert_eq!((code, answer.trim()), (0, lab.one("server").address.as_str()), "{server}");
    }
    // The other way: a process in the VPC's namespace opens no flow to a task.
    let stack: serde_json::Value =
        serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    let server = lab.one("server");
    serve_tcp(&server, 6000);
    let router = Task { netns: stack["ecsnet"]["netns"].as_str().unwrap().to_owned(), ..client.clone() };
    assert_eq!(tcp(&client, &server, 6000), Outcome::Answered);
    assert_eq!(tcp(&router, &server, 6000), Outcome::Dropped);
    lab.down();
}

#[test]
fn reused_address_inherits_no_flow() {
    let lab = Lab::new();
    // 11 addresses: a server, a friend, and 8 of the stranger's use up 10, so the friend's is the next but one.
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false, subnets: [ {{ name: s, zone: a, cidr: 10.0.0.0/28 }} ] }}
securityGroups:
  door: {{ ingress: [ {{ port: 6000, from: friend }}, {{ port: 6000, protocol: udp, from: friend }} ] }}
services:
  friend: {{ taskDefinition: {} }}
  server: {{ taskDefinition: {}, securityGroups: [door] }}
  stranger: {{ taskDefinition: {}, desiredCount: 8 }}
",
        waiter("friend"),
        waiter("server"),
        waiter("stranger")
    ));
    let (friend, server) = (lab.one("friend"), lab.one("server"));
    serve_tcp(&server, 6000);
    serve_udp(&server, 6000);
    assert_eq!(udp(&friend, &server, 6000, 5555), Outcome::Answered);
    let mut open = connect_from_port(&friend, 5555, &server, 6000).unwrap();
    assert_eq!(exchange(&mut open), Outcome::Answered);

    lab.ok(&["scale", "friend=0"]);
    e2e::eventually::eventually("the friend is gone", || {
        let left: Vec<_> = lab.tasks().into_iter().filter(|t| t["ecsnet"]["service"] == "friend").collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    drop(open);
    lab.ok(&["scale", "stranger=10"]);
    let heir = e2e::eventually::eventually("a stranger has the friend's address", || {
        let strangers = lab.running("stranger");
        strangers.iter().find(|t| t.address == friend.address).cloned().ok_or(strangers)
    });
    assert_eq!(udp(&heir, &server, 6000, 5555), Outcome::Dropped);
    assert_eq!(connect_from_port(&heir, 5555, &server, 6000).err(), Some(Outcome::Dropped));
    lab.down();
}
