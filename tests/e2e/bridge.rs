//! bridge, host and none: tasks on container instances, with real packets (reference 1.1, 1.7, 1.8, 6.5).

use std::collections::{BTreeMap, BTreeSet};

use e2e::definition::{run, shell, waiting, with};
use e2e::eventually::eventually;
use e2e::lab::{Lab, Task};
use e2e::probe::{Outcome, command, connect, exchange, inside, ping, serve_tcp, serve_udp, tcp, udp};
use serde_json::{Value, json};

/// A definition in no mode of its own.
fn definition(family: &str, containers: &[Value]) -> String {
    json!({ "family": family, "containerDefinitions": containers }).to_string()
}

/// A container that waits, with those port mappings.
fn mapped(name: &str, mappings: Value) -> Value {
    with(waiting(name), json!({ "portMappings": mappings }))
}

fn bindings(lab: &Lab, task: &Task) -> Vec<Value> {
    let tasks = lab.tasks();
    let found = tasks.iter().find(|t| t["ecsnet"]["taskId"] == task.id.as_str()).unwrap();
    let containers = found["containers"].as_array().unwrap().iter();
    containers.flat_map(|c| c["networkBindings"].as_array().unwrap().clone()).collect()
}

#[test]
fn a_bridge_task_is_reached_at_its_instance_and_host_port_alone() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders] }}
  orders: {{ taskDefinition: {} }}
  own: {{ taskDefinition: {}, networkMode: awsvpc, connectsTo: [orders] }}
  other: {{ taskDefinition: {}, networkMode: awsvpc }}
",
        definition("web", &[waiting("app")]),
        definition(
            "orders",
            &[mapped(
                "app",
                json!([{ "containerPort": 8080 }, { "containerPort": 53, "hostPort": 5353, "protocol": "udp" }])
            )]
        ),
        definition("own", &[waiting("app")]),
        definition("other", &[waiting("app")]),
    ));
    let (web, orders, own, other) = (lab.one("web"), lab.one("orders"), lab.one("own"), lab.one("other"));
    assert_eq!(orders.mode, "bridge");
    let shown = bindings(&lab, &orders);
    assert_eq!(
        shown,
        [
            json!({ "bindIP": "0.0.0.0", "containerPort": 8080, "hostPort": 32768, "protocol": "tcp" }),
            json!({ "bindIP": "0.0.0.0", "containerPort": 53, "hostPort": 5353, "protocol": "udp" }),
        ]
    );
    serve_tcp(&orders, 8080);
    serve_udp(&orders, 53);
    // From another container in bridge mode, from a task with its own address, and from itself: hairpin.
    assert_eq!(tcp(&web, &orders, 32768), Outcome::Answered);
    assert_eq!(tcp(&own, &orders, 32768), Outcome::Answered);
    assert_eq!(tcp(&orders, &orders, 32768), Outcome::Answered);
    assert_eq!(udp(&own, &orders, 5353, 0), Outcome::Answered);
    assert_eq!(udp(&web, &orders, 5353, 0), Outcome::Answered);
    // The instance's groups judge, and its container's own port is nobody's.
    assert_eq!(tcp(&other, &orders, 32768), Outcome::Dropped);
    assert_eq!(tcp(&own, &orders, 8080), Outcome::Dropped);
    // What leaves a container bears its instance's address.
    let own_listens = inside(&own, || std::net::TcpListener::bind(("0.0.0.0", 9000)).unwrap());
    drop(own_listens);
    // Each instance has the same bridge, and nobody else reaches it.
    let (_, address) = command(&orders, "ip", &["-4", "-o", "address", "show", "eth0"]);
    assert!(address.contains("172.17.0.") && address.contains("/16"), "{address}");
    let inner = address.split_whitespace().find(|w| w.starts_with("172.17.")).unwrap().split('/').next().unwrap();
    let there = Task { address: inner.to_owned(), ..orders.clone() };
    assert_ne!(tcp(&own, &there, 8080), Outcome::Answered);
    assert_eq!(ping(&own, inner), Outcome::Dropped);
    lab.down();
}

#[test]
fn srv_records_name_instance_and_host_port_and_there_is_no_address_at_the_services_name() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
services:
  orders: {{ taskDefinition: {}, desiredCount: 3 }}
",
        definition("orders", &[mapped("app", json!([{ "containerPort": 8080 }]))])
    ));
    let tasks = lab.running("orders");
    let name = format!("orders.{}.local", lab.stack);
    let answer: Value = serde_json::from_str(&lab.ok(&["dig", &name, "SRV", "--output", "json"])).unwrap();
    let text = answer.to_string();
    for task in &tasks {
        let port = task.host_ports[0];
        assert!(text.contains(&format!("1 1 {port} {}.{name}", task.id)), "{text}");
        let target = lab.ok(&["dig", &format!("{}.{name}", task.id), "A"]);
        assert!(target.contains(&task.address), "{target}");
    }
    let none = lab.run(&["dig", &name, "A"]);
    assert!(!none.stdout.contains("10.0."), "{none:?}");
    lab.down();
}

#[test]
fn twenty_tasks_at_once_get_ports_of_their_own_and_each_answers() {
    let lab = Lab::new();
    let answers = |n: u32| {
        let script = format!("while true; do echo {n} $(hostname) | nc -l -p 80; done");
        with(shell("app", &script), json!({ "portMappings": [{ "containerPort": 80 }], "memory": 16 }))
    };
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
services:
  a: {{ taskDefinition: {}, desiredCount: 10 }}
  b: {{ taskDefinition: {}, desiredCount: 10 }}
  asks: {{ taskDefinition: {}, networkMode: awsvpc, connectsTo: [a, b] }}
",
        definition("a", &[answers(1)]),
        definition("b", &[answers(2)]),
        definition("asks", &[waiting("app")]),
    ));
    let asks = lab.one("asks");
    let tasks: Vec<Task> = ["a", "b"].iter().flat_map(|s| lab.running(s)).collect();
    let places: BTreeSet<(String, u16)> = tasks.iter().map(|t| (t.instance.clone(), t.host_ports[0])).collect();
    assert_eq!(places.len(), 20, "{tasks:#?}");
    let mut heard = BTreeSet::new();
    for task in &tasks {
        let mut stream = connect(&asks, task, task.host_ports[0]).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        heard.insert(text);
    }
    assert_eq!(heard.len(), 20, "{heard:?}");
    lab.down();
}

#[test]
fn links_names_and_hosts_of_a_bridge_container_are_its_own() {
    let lab = Lab::new();
    let db = with(waiting("db"), json!({ "hostname": "database" }));
    let app = with(
        waiting("app"),
        json!({ "links": ["db:store"], "extraHosts": [{ "hostname": "far", "ipAddress": "192.0.2.7" }] }),
    );
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {} }}
",
        definition("web", &[app, db])
    ));
    let inside = |container: &str, words: &[&str]| lab.ok(&[&["exec", "web", "-c", container, "--"], words].concat());
    let hosts = inside("app", &["/bin/cat", "/etc/hosts"]);
    let line = |name: &str| {
        let found = hosts.lines().find(|l| l.split_whitespace().skip(1).any(|w| w == name));
        found.and_then(|l| l.split_whitespace().next()).unwrap_or_else(|| panic!("{name} in {hosts}")).to_owned()
    };
    assert_eq!(line("far"), "192.0.2.7");
    assert_eq!(line("db"), line("store"));
    let address = inside("db", &["/bin/ip", "-4", "-o", "address", "show", "eth0"]);
    assert!(address.contains(&format!(" {}/16", line("db"))), "{address} {hosts}");
    assert_eq!(inside("db", &["/bin/hostname"]).trim(), "database");
    assert!(!inside("db", &["/bin/cat", "/etc/hosts"]).contains("store"), "a link is one way");
    lab.down();
}

#[test]
fn host_mode_shares_the_instances_network_and_none_has_loopback_alone() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  front: {{ taskDefinition: {}, networkMode: host }}
  behind: {{ taskDefinition: {}, networkMode: bridge, placement: {{ constraints: [] }} }}
  alone: {{ taskDefinition: {}, networkMode: none }}
  asks: {{ taskDefinition: {}, networkMode: awsvpc, connectsTo: [front] }}
",
        definition("front", &[mapped("app", json!([{ "containerPort": 8080 }]))]),
        definition("behind", &[mapped("app", json!([{ "containerPort": 80, "hostPort": 9090 }]))]),
        definition("alone", &[waiting("app")]),
        definition("asks", &[waiting("app")]),
    ));
    let (front, behind, alone, asks) = (lab.one("front"), lab.one("behind"), lab.one("alone"), lab.one("asks"));
    assert_eq!((front.mode.as_str(), front.host_ports.as_slice()), ("host", &[8080][..]));
    let own = json!({ "bindIP": "0.0.0.0", "containerPort": 8080, "hostPort": 8080, "protocol": "tcp" });
    assert_eq!(bindings(&lab, &front), [own]);
    serve_tcp(&front, 8080);
    assert_eq!(tcp(&asks, &front, 8080), Outcome::Answered);
    // A bridge task at any of its instance's addresses, as a process on that instance sees it.
    serve_tcp(&behind, 80);
    let instance = lab.instances().into_iter().find(|i| i["ecsnet"]["instanceId"] == behind.instance.as_str()).unwrap();
    let on_it = Task { netns: instance["ecsnet"]["netns"].as_str().unwrap().to_owned(), ..behind.clone() };
    for address in [behind.address.as_str(), "127.0.0.1", "172.17.0.1"] {
        let at = Task { address: address.to_owned(), ..behind.clone() };
        assert_eq!(tcp(&on_it, &at, 9090), Outcome::Answered, "{address}");
    }
    let (_, links) = command(&alone, "ip", &["-o", "link"]);
    assert_eq!(links.lines().count(), 1, "{links}");
    assert_eq!(alone.address, "");
    lab.down();
}

#[test]
fn containers_of_a_task_share_a_localhost_in_host_mode_alone() {
    let lab = Lab::new();
    let serving = |name: &str, port: u16| {
        shell(name, &format!("trap 'exit 0' TERM; nc -ll -p {port} -e /bin/echo from {name} & wait"))
    };
    let more = |container: Value| with(container, json!({ "portMappings": [{ "containerPort": 8080 }] }));
    let service = |mode: &str, containers: &[Value]| {
        format!("  in-{mode}: {{ taskDefinition: {}, networkMode: {mode} }}\n", definition(mode, containers))
    };
    let off = with(waiting("off"), json!({ "disableNetworking": true }));
    let named = with(
        waiting("app"),
        json!({
            "hostname": "inner", "dnsServers": ["192.0.2.53"], "dnsSearchDomains": ["corp.example"],
            "portMappings": [{ "containerPortRange": "9000-9004" }],
        }),
    );
    lab.up(&format!(
        "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n{}{}{}  asks: {{ taskDefinition: {}, networkMode: awsvpc, connectsTo: [in-host, in-bridge] }}\n",
        service("bridge", &[named, more(serving("side", 8080)), off]),
        service("host", &[waiting("app"), more(serving("side", 8080))]),
        service("none", &[waiting("app"), serving("side", 8080)]),
        definition("asks", &[waiting("app")]),
    ));
    let inside = |service: &str, container: &str, script: &str| {
        lab.ok(&["exec", service, "-c", container, "--", "/bin/sh", "-c", script])
    };
    let netns = |service, container| inside(service, container, "/bin/busybox readlink /proc/self/ns/net");
    let sibling = |service, container| inside(service, container, "nc -w 1 127.0.0.1 8080 </dev/null || echo nobody");
    assert_eq!(sibling("in-host", "app").trim(), "from side");
    assert_eq!(netns("in-host", "app"), netns("in-host", "side"));
    for service in ["in-bridge", "in-none"] {
        assert_eq!(sibling(service, "app").trim(), "nobody", "{service}");
        assert_eq!(sibling(service, "side").trim(), "from side", "{service}");
        assert_ne!(netns(service, "app"), netns(service, "side"), "{service}");
    }
    for (service, container) in [("in-none", "app"), ("in-bridge", "off")] {
        let links = inside(service, container, "ip -o link");
        assert_eq!(links.lines().count(), 1, "{service}: {links}");
    }
    // What a container of its own network may say of it.
    assert_eq!(inside("in-bridge", "app", "hostname").trim(), "inner");
    let resolver = inside("in-bridge", "app", "cat /etc/resolv.conf");
    assert!(resolver.contains("nameserver 192.0.2.53") && resolver.contains("search corp.example"), "{resolver}");
    // A range is one row of the same length.
    let (shared, asks) = (lab.one("in-bridge"), lab.one("asks"));
    let shown = bindings(&lab, &shared);
    let range = shown.iter().find(|b| b["containerPortRange"] == "9000-9004").unwrap_or_else(|| panic!("{shown:?}"));
    let (first, last) = range["hostPortRange"].as_str().unwrap().split_once('-').unwrap();
    let (first, last): (u16, u16) = (first.parse().unwrap(), last.parse().unwrap());
    assert_eq!(last - first, 4);
    serve_tcp(&shared, 9004);
    assert_eq!(tcp(&asks, &shared, last), Outcome::Answered);
    lab.down();
}

#[test]
fn a_port_is_used_again_after_its_task_without_its_flows() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
capacity: [ {{ name: one, cpu: 2048, memory: 4096, zones: [a] }} ]
services:
  orders: {{ taskDefinition: {}, deployment: {{ minimumHealthyPercent: 0, maximumPercent: 100 }} }}
  own: {{ taskDefinition: {}, networkMode: awsvpc, connectsTo: [orders] }}
",
        definition("orders", &[mapped("app", json!([{ "containerPort": 80, "hostPort": 8080 }]))]),
        definition("own", &[waiting("app")]),
    ));
    let (first, own) = (lab.one("orders"), lab.one("own"));
    serve_tcp(&first, 80);
    let mut open = connect(&own, &first, 8080).unwrap();
    assert_eq!(exchange(&mut open), Outcome::Answered);
    lab.ok(&["stop", &first.id]);
    let second = eventually("a replacement on the same port", || {
        let running = lab.running("orders");
        running.into_iter().find(|t| t.id != first.id).ok_or("none yet")
    });
    assert_eq!(second.host_ports, [8080]);
    serve_tcp(&second, 80);
    assert_eq!(tcp(&own, &second, 8080), Outcome::Answered);
    assert_ne!(exchange(&mut open), Outcome::Answered, "the old flow leads nowhere");
    lab.down();
}

#[test]
fn the_hosts_own_network_has_nothing_of_an_instance() {
    let read = || {
        let links = run(std::process::Command::new("ip").args(["-o", "link"]));
        let names: BTreeSet<String> =
            links.lines().filter_map(|l| Some(l.split(": ").nth(1)?.split('@').next()?.to_owned())).collect();
        let routes = run(std::process::Command::new("ip").args(["route"]));
        (names.into_iter().filter(|n| !n.starts_with("veth")).collect::<Vec<_>>(), routes)
    };
    let before = read();
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
services:
  orders: {{ taskDefinition: {}, desiredCount: 2 }}
",
        definition("orders", &[mapped("app", json!([{ "containerPort": 80 }]))])
    ));
    assert_eq!(read(), before);
    let by_instance: BTreeMap<String, usize> =
        lab.running("orders").into_iter().fold(BTreeMap::new(), |mut count, task| {
            *count.entry(task.instance).or_default() += 1;
            count
        });
    assert_eq!(by_instance.len(), 2, "spread over the zones");
    lab.down();
}
