//! Tasks in awsvpc mode: an ENI each, with its address, its link and its files (reference 1.4, 5).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use e2e::definition::{busybox, run, shell, task, waiter, waiting};
use e2e::eventually::eventually;
use e2e::lab::{Lab, idle};
use e2e::probe::{Outcome, command, serve_tcp, tcp};
use serde_json::Value;

#[test]
fn a_service_lets_in_those_that_connect_to_it_and_nobody_else() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders] }}
  orders: {{ taskDefinition: {} }}
  other: {{ taskDefinition: {} }}
",
        idle("web", &[]),
        idle("orders", &[8080]),
        idle("other", &[])
    ));
    let (web, orders, other) = (lab.one("web"), lab.one("orders"), lab.one("other"));
    serve_tcp(&orders, 8080);
    serve_tcp(&orders, 8081);
    assert_eq!(tcp(&web, &orders, 8080), Outcome::Answered);
    assert_eq!(tcp(&web, &orders, 8081), Outcome::Dropped);
    assert_eq!(tcp(&other, &orders, 8080), Outcome::Dropped);
    lab.down();
}

#[test]
fn a_task_sees_its_eni_its_name_and_its_files_as_in_ecs() {
    let lab = Lab::new();
    let listens = shell("side", "while true; do echo from the side | nc -l -p 9000; done");
    lab.up(&format!(
        "name: {{name}}
region: eu-west-1
vpc: {{ internet: false, cidr: 10.7.0.0/16, subnets: [ {{ name: s, zone: b, cidr: 10.7.3.0/24 }} ] }}
services:
  web: {{ taskDefinition: {} }}
",
        task("web", &[waiting("app"), listens])
    ));
    let web = lab.one("web");
    assert_eq!(web.zone, "eu-west-1b");
    let name = format!("ip-{}.eu-west-1.compute.internal", web.address.replace('.', "-"));
    let tasks = lab.tasks();
    let detail = |name: &str| {
        let details = tasks[0]["attachments"][0]["details"].as_array().unwrap();
        details.iter().find(|d| d["name"] == name).map(|d| d["value"].as_str().unwrap().to_owned()).unwrap()
    };
    assert_eq!(detail("privateDnsName"), name);
    assert_eq!(detail("privateIPv4Address"), web.address);
    assert!(detail("networkInterfaceId").starts_with("eni-") && detail("networkInterfaceId").len() == 21);

    // What the kernel says, from inside.
    let (_, links) = command(&web, "ip", &["-j", "address"]);
    let links: Value = serde_json::from_str(&links).unwrap();
    let (loopback, links): (Vec<&Value>, Vec<&Value>) =
        links.as_array().unwrap().iter().partition(|l| l["ifname"] == "lo");
    let loopback = loopback[0]["addr_info"].as_array().unwrap().iter();
    let loopback: Vec<String> =
        loopback.map(|a| format!("{}/{}", a["local"], a["prefixlen"]).replace('"', "")).collect();
    // Where this machine has no IPv6 at all, nobody has.
    let ipv6 = Path::new("/proc/net/if_inet6").exists().then(|| "::1/128".to_owned());
    assert_eq!(loopback, ["127.0.0.1/8".to_owned()].into_iter().chain(ipv6).collect::<Vec<_>>());
    assert_eq!(links.len(), 1, "{links:#?}");
    assert_eq!(links[0]["mtu"], 9001);
    assert_eq!(links[0]["address"], detail("macAddress").as_str());
    assert_eq!(links[0]["operstate"], "UP");
    let addresses = links[0]["addr_info"].as_array().unwrap();
    let addresses: Vec<_> = addresses.iter().filter(|a| a["family"] == "inet").collect();
    assert_eq!(addresses.len(), 1);
    assert_eq!((&addresses[0]["local"], &addresses[0]["prefixlen"]), (&web.address.as_str().into(), &24.into()));
    let (_, route) = command(&web, "ip", &["route", "show", "default"]);
    assert!(route.starts_with("default via 10.7.3.1 "), "{route}");

    // What the containers see, both of them, and what a command of the host's sees in the task's network.
    for container in ["app", "side"] {
        let inside = |words: &[&str]| lab.ok(&[&["exec", "web", "-c", container, "--"], words].concat());
        assert_eq!(inside(&["/bin/hostname"]).trim(), name);
        assert_eq!(inside(&["/bin/cat", "/etc/hostname"]).trim(), name);
        let hosts = inside(&["/bin/cat", "/etc/hosts"]);
        let words: Vec<Vec<&str>> = hosts.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["127.0.0.1", "localhost"]);
        assert!(words.contains(&vec![web.address.as_str(), name.as_str()]), "{hosts}");
        let resolv = inside(&["/bin/cat", "/etc/resolv.conf"]);
        assert!(resolv.lines().any(|l| l == "nameserver 10.7.0.2"), "{resolv}");
        assert!(resolv.lines().any(|l| l == "search eu-west-1.compute.internal"), "{resolv}");
        assert_eq!(
            inside(&["/bin/sh", "-c", "until nc 127.0.0.1 9000; do :; done"]).trim(),
            "from the side",
            "containers share localhost"
        );
        assert_eq!(lab.ok(&["run", "--from", "web", "--", "cat", "/etc/hosts"]), hosts);
        assert_eq!(lab.ok(&["run", "--from", "web", "--", "cat", "/etc/resolv.conf"]), resolv);
    }
    assert_eq!(lab.run(&["exec", "web", "--", "/bin/sh", "-c", "exit 7"]).code, 7, "exit codes are passed on");
    lab.down();
}

#[test]
fn a_port_is_taken_once_in_a_task_and_its_network_carries_until_the_last_container_has_ended() {
    let lab = Lab::new();
    // Its input never ends, so it ends with its peer's.
    let listens = shell("app", "trap 'exit 0' TERM; sleep 100000 | nc -l -p 9000 > /tmp/got & wait");
    let leaves = "trap 'echo goodbye | nc $(cat /tmp/peer) 9000; exit 7' TERM; sleep 100000 & wait";
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  stays: {{ securityGroups: [default], taskDefinition: {} }}
  leaves: {{ securityGroups: [default], taskDefinition: {} }}
",
        task("stays", &[listens, waiting("side")]),
        task("leaves", &[shell("app", leaves)]),
    ));
    let inside = |service: &str, container: &str, script: &str| {
        lab.run(&["exec", service, "-c", container, "--", "/bin/sh", "-c", script])
    };
    // 0x2328 is 9000.
    eventually("it listens", || {
        let sockets = inside("stays", "side", "cat /proc/net/tcp /proc/net/tcp6").stdout;
        if sockets.contains(":2328 ") { Ok(()) } else { Err(sockets) }
    });
    let second = inside("stays", "side", "nc -l -p 9000 2>&1");
    assert!(second.code != 0 && second.stdout.contains("in use"), "{second:?}");

    let peer = lab.one("stays").address;
    assert_eq!(inside("leaves", "app", &format!("echo {peer} > /tmp/peer")).code, 0);
    lab.ok(&["scale", "leaves=0"]);
    eventually("what it says at its end arrives", || {
        let got = inside("stays", "app", "cat /tmp/got").stdout;
        if got.trim() == "goodbye" { Ok(()) } else { Err(got) }
    });
    let gone = eventually("it has stopped", || {
        let tasks = lab.all_tasks();
        let found = tasks.iter().find(|t| t["ecsnet"]["service"] == "leaves" && t["lastStatus"] == "STOPPED");
        found.cloned().ok_or(tasks)
    });
    assert_eq!(gone["containers"][0]["exitCode"], 7, "and not killed: {gone:#}");
    lab.down();
}

#[test]
fn tasks_spread_over_zones_with_addresses_of_their_own_and_a_second_up_changes_nothing() {
    let lab = Lab::new();
    let stack = format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, desiredCount: 4 }}
",
        waiter("web")
    );
    lab.up(&stack);
    let mut web = lab.running("web");
    assert_eq!(web.len(), 4);
    let zones: Vec<_> = web.iter().map(|t| t.zone.as_str()).collect();
    assert_eq!(zones.iter().filter(|z| **z == "us-east-1a").count(), 2, "{zones:?}");
    assert_eq!(zones.iter().filter(|z| **z == "us-east-1b").count(), 2, "{zones:?}");
    let addresses: BTreeSet<_> = web.iter().map(|t| &t.address).collect();
    assert_eq!(addresses.len(), 4);
    for one in &web {
        let subnet = if one.zone == "us-east-1a" { "10.0.0." } else { "10.0.1." };
        let last: u8 = one.address.strip_prefix(subnet).expect("in its zone's subnet").parse().unwrap();
        assert!((4..255).contains(&last), "five addresses are reserved: {last}");
    }

    let path = lab.dir().join("stack.yaml");
    let again = lab.run(&["up", path.to_str().unwrap(), "--timeout", "60s"]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.stderr.contains("nothing to change"), "{again:#?}");
    let mut after = lab.running("web");
    web.sort_by(|a, b| a.id.cmp(&b.id));
    after.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(after, web);
    lab.down();
}

#[test]
fn a_full_subnet_is_named_while_the_rest_runs() {
    let lab = Lab::new();
    let stack = format!(
        "name: {{name}}
vpc: {{ internet: false, subnets: [ {{ name: small, zone: a, cidr: 10.0.0.0/28 }}, {{ name: wide, zone: b, cidr: 10.0.1.0/24 }} ] }}
services:
  many: {{ taskDefinition: {}, desiredCount: 12, subnets: [small] }}
  rest: {{ taskDefinition: {}, subnets: [wide] }}
",
        waiter("many"),
        waiter("rest")
    );
    let path = lab.write("stack.yaml", &stack.replace("{name}", &lab.stack));
    let path = path.to_str().unwrap();
    assert_eq!(lab.run(&["up", path, "--no-wait"]).code, 0);
    eventually("every address of the subnet is used", || {
        let running = lab.running("many").len();
        if running == 11 && lab.running("rest").len() == 1 { Ok(()) } else { Err(running) }
    });
    let answer = lab.run(&["up", path, "--timeout", "2s"]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stderr.contains("InsufficientFreeAddressesInSubnet"), "{answer:#?}");
    let events = lab.ok(&["events"]);
    let said = events.lines().filter(|l| l.contains("was unable to place a task.")).count();
    assert_eq!(said, 1, "said once: {events}");
    assert!(events.contains("(service rest) has reached a steady state."), "{events}");
    let addresses: BTreeSet<_> = lab.running("many").into_iter().map(|t| t.address).collect();
    let expected: BTreeSet<_> = (4..=14).map(|last| format!("10.0.0.{last}")).collect();
    assert_eq!(addresses, expected);
    lab.down();
}

#[test]
fn a_vpc_with_internet_lets_nobody_in_from_its_uplink() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: true }}
securityGroups:
  open: {{ ingress: [ {{ protocol: all, from: 0.0.0.0/0 }} ] }}
services:
  web: {{ taskDefinition: {}, securityGroups: [open] }}
  orders: {{ taskDefinition: {}, securityGroups: [open] }}
",
        waiter("web"),
        waiter("orders")
    ));
    let (web, orders) = (lab.one("web"), lab.one("orders"));
    serve_tcp(&orders, 8080);
    assert_eq!(tcp(&web, &orders, 8080), Outcome::Answered);

    // A neighbour on Docker's bridge that takes the VPC for its way to the task.
    let stack: Value = serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    let holder = stack["ecsnet"]["vpcHolder"].as_str().unwrap();
    let format = "{{.NetworkSettings.IPAddress}}";
    let uplink = run(Command::new("docker").args(["inspect", "--format", format, holder]));
    let script = format!(
        "ip route add 10.0.0.0/16 via {} || exit 9; nc -w 1 {} 8080 < /dev/null || exit 5",
        uplink.trim(),
        orders.address
    );
    let name = format!("{}-outside", lab.stack);
    let words = ["run", "--rm", "--cap-add", "NET_ADMIN", "--name", &name, busybox(), "/bin/sh", "-c", &script];
    let outside = Command::new("docker").args(words).output().unwrap();
    assert_eq!(outside.status.code(), Some(5), "it has a way and gets no answer: {outside:?}");
    lab.down();
}
