//! `explain`: what decides about a connection, and the probe that agrees.

use e2e::definition::{checked_by_a_file, task, waiter, waiting, with};
use e2e::lab::{Answer, Lab, Task};
use e2e::probe::{command, inside, serve_tcp, serve_udp};
use serde_json::{Value, json};

const SUBNET: &str = "subnets: [ { name: s, zone: a, cidr: 10.0.0.0/24 } ]";

/// The analyses, and the exit code.
fn explain(lab: &Lab, words: &[&str]) -> (i32, Vec<Value>, Answer) {
    let answer = lab.run(&[&["explain"], words, &["--output", "json"]].concat());
    let value: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    (answer.code, value["NetworkInsightsAnalyses"].as_array().cloned().unwrap_or_default(), answer)
}

/// Of the one path: exit code, what it was told to be missing, and what the probe saw.
fn one(lab: &Lab, words: &[&str]) -> (i32, Vec<String>, String) {
    let (code, analyses, answer) = explain(lab, words);
    assert_eq!(analyses.len(), 1, "{answer:#?}");
    assert_eq!(analyses[0]["ecsnet"]["disagreement"], Value::Null, "{answer:#?}");
    let codes = analyses[0]["Explanations"].as_array().unwrap().iter();
    let codes = codes.map(|e| e["ExplanationCode"].as_str().unwrap().to_owned()).collect();
    let probe = &analyses[0]["ecsnet"]["probe"];
    let seen = probe["seen"]["outcome"].as_str().unwrap_or("not tried").to_owned();
    (code, codes, seen)
}

fn found(code: i32, codes: &[&str], seen: &str) -> (i32, Vec<String>, String) {
    (code, codes.iter().map(|c| (*c).to_owned()).collect(), seen.to_owned())
}

fn mapped(family: &str, ports: Value) -> String {
    task(family, &[with(waiting("app"), json!({ "portMappings": ports }))])
}

#[test]
fn explain_names_what_decides_and_its_probe_agrees() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false, {SUBNET} }}
securityGroups:
  shy: {{ egress: [ {{ port: 6000, to: door }} ] }}
  door:
    ingress: [ {{ ports: 6000-6003, from: [shy, web] }}, {{ port: 6000, protocol: udp, from: web }}, {{ protocol: icmp, from: web }} ]
services:
  web: {{ taskDefinition: {}, connectsTo: [users] }}
  users: {{ taskDefinition: {}, desiredCount: 2 }}
  quiet: {{ taskDefinition: {}, securityGroups: [shy] }}
  server: {{ taskDefinition: {}, securityGroups: [door] }}
",
        waiter("web"),
        mapped("users", json!([{ "containerPort": 8080 }])),
        waiter("quiet"),
        waiter("server"),
    ));
    let (web, server) = (lab.one("web"), lab.one("server"));
    serve_tcp(&server, 6000);
    serve_tcp(&server, 7000);
    serve_udp(&server, 6000);
    let _loopback = inside(&server, || std::net::TcpListener::bind(("127.0.0.1", 6001)).unwrap());

    // Allowed, a missing rule on either side or both, nothing that listens, a socket on loopback alone.
    assert_eq!(one(&lab, &["web", "server:6000"]), found(0, &[], "connected"));
    assert_eq!(one(&lab, &["web", "server:6000", "--protocol", "udp"]), found(0, &[], "connected"));
    assert_eq!(one(&lab, &["web", "server", "--protocol", "icmp"]), found(0, &[], "connected"));
    assert_eq!(one(&lab, &["web", "server:7000"]), found(1, &["ENI_SG_RULES_MISMATCH"], "timedOut"));
    assert_eq!(
        one(&lab, &["web", "server:7000", "--protocol", "udp"]),
        found(1, &["ENI_SG_RULES_MISMATCH", "NO_LISTENER"], "timedOut")
    );
    assert_eq!(one(&lab, &["quiet", "server:6000"]), found(0, &[], "connected"));
    assert_eq!(
        one(&lab, &["quiet", "server", "--protocol", "icmp"]),
        found(1, &["ENI_SG_RULES_MISMATCH", "ENI_SG_RULES_MISMATCH"], "timedOut")
    );
    assert_eq!(one(&lab, &["quiet", "server:6002"]), found(1, &["ENI_SG_RULES_MISMATCH", "NO_LISTENER"], "timedOut"));
    assert_eq!(one(&lab, &["web", "server:6002"]), found(1, &["NO_LISTENER"], "refused"));
    assert_eq!(one(&lab, &["web", "server:6001"]), found(1, &["LISTENER_ON_LOOPBACK_ONLY"], "refused"));
    assert_eq!(one(&lab, &["server", "localhost:6001"]), found(0, &[], "connected"));

    // A task by its id and the other ways to name an end.
    assert_eq!(one(&lab, &[&web.id[..8], &format!("{}/server:6000", lab.stack)]), found(0, &[], "connected"));
    assert_eq!(one(&lab, &["web", &format!("{}:6000", server.address)]), found(0, &[], "connected"));
    let name = format!("server.{}.local", lab.stack);
    assert_eq!(one(&lab, &["web", &format!("{name}:6000")]), found(0, &[], "connected"));

    // Addresses that are no task's.
    assert_eq!(one(&lab, &["web", "10.0.0.2:53", "--protocol", "udp"]), found(0, &[], "delivered"));
    assert_eq!(one(&lab, &["web", "10.0.0.1:53"]), found(1, &["PROTOCOL_RESTRICTION"], "timedOut"));
    assert_eq!(one(&lab, &["web", "10.0.0.200:80"]), found(1, &["NO_POSSIBLE_DESTINATION"], "timedOut"));
    assert_eq!(one(&lab, &["web", "192.0.2.1:80"]), found(1, &["NO_ROUTE_TO_DESTINATION"], "unreachable"));

    // A wrong name: of a service, and in DNS.
    let answer = lab.run(&["explain", "web", "usres"]);
    assert_eq!(answer.code, 2, "{answer:#?}");
    assert!(answer.stderr.contains("did you mean `users`?"), "{answer:#?}");
    let answer = lab.run(&["explain", "web", &format!("usres.{}.local:80", lab.stack)]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stdout.contains("NAME_NOT_FOUND"), "{answer:#?}");
    assert!(answer.stdout.contains(&format!("did you mean `users.{}.local`?", lab.stack)), "{answer:#?}");

    // All tasks of a service, all ports that its definition maps; one of them serves.
    serve_tcp(&lab.running("users")[0], 8080);
    let answer = lab.run(&["explain", "web", "users"]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stdout.ends_with("1 of 2 reachable\n"), "{answer:#?}");
    assert!(answer.stdout.contains("lets in `{ port: 8080, from: web }`"), "{answer:#?}");
    lab.down();
}

/// A table of somebody else's in the VPC, which drops what ecsnet lets through.
fn sabotage(lab: &Lab, like: &Task) {
    let stack: Value = serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    let vpc = Task { netns: stack["ecsnet"]["netns"].as_str().unwrap().to_owned(), ..like.clone() };
    let rules = "table ip saboteur { chain c { type filter hook forward priority 10; tcp dport 6000 drop; }; }";
    assert_eq!(command(&vpc, "nft", &[rules]).0, 0, "root may add a table");
}

#[test]
fn explain_says_loudly_when_its_probe_sees_something_else() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false, {SUBNET} }}
securityGroups: {{ door: {{ ingress: [ {{ ports: 6000-6001, from: web }} ] }} }}
services:
  web: {{ taskDefinition: {} }}
  server: {{ taskDefinition: {}, securityGroups: [door] }}
",
        waiter("web"),
        waiter("server"),
    ));
    let server = lab.one("server");
    serve_tcp(&server, 6000);
    serve_tcp(&server, 6001);
    sabotage(&lab, &server);
    let answer = lab.run(&["explain", "web", "server:6000"]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stdout.contains("DISAGREEMENT"), "{answer:#?}");
    assert!(answer.stderr.contains("by the analysis it is answered, but the probe was dropped"), "{answer:#?}");
    assert_eq!(one(&lab, &["web", "server:6001"]), found(0, &[], "connected"));
    lab.down();
}

#[test]
fn explain_tells_of_tasks_that_are_not_there_and_of_names_that_lead_elsewhere() {
    let lab = Lab::new();
    let checked = task("ill", &[with(waiting("app"), json!({ "healthCheck": checked_by_a_file() }))]);
    let path = lab.write(
        "stack.yaml",
        &format!(
            "name: {}
vpc: {{ internet: false, {SUBNET} }}
services:
  web: {{ taskDefinition: {} }}
  none: {{ taskDefinition: {}, desiredCount: 0 }}
  ill: {{ taskDefinition: {checked}, discovery: {{ name: ill }} }}
",
            lab.stack,
            waiter("web"),
            waiter("none"),
        ),
    );
    lab.ok(&["up", path.to_str().unwrap(), "--no-wait"]);
    e2e::eventually::eventually("web and the task without health run", || {
        let running = (lab.running("web").len(), lab.running("ill").len());
        if running == (1, 1) { Ok(()) } else { Err(running) }
    });
    let (code, codes, seen) = one(&lab, &["web", "none:80"]);
    assert_eq!((code, codes, seen), found(1, &["BAD_STATE"], "not tried"));

    let name = format!("ill.{}.local:80", lab.stack);
    let answer = lab.run(&["explain", "web", &name]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stdout.contains(": its health check "), "{answer:#?}");
    let answer = lab.run(&["explain", "web", "ill:80"]);
    assert!(answer.stdout.contains("does not lead here"), "{answer:#?}");

    // Another stack is another VPC, with the very same addresses.
    let other = format!("{}b", lab.stack);
    let path = lab.write(
        "other.yaml",
        &format!(
            "name: {other}\nvpc: {{ internet: false }}\nservices:\n  far: {{ taskDefinition: {} }}\n",
            waiter("far")
        ),
    );
    lab.ok(&["up", path.to_str().unwrap()]);
    assert_eq!(one(&lab, &["web", "far:80"]), found(1, &["NO_ROUTE_TO_DESTINATION"], "not tried"));

    let stopped = lab.one("far");
    lab.ok(&["stop", &stopped.id]);
    e2e::eventually::eventually("the task has stopped", || {
        let status = lab.all_tasks().into_iter().find(|t| t["ecsnet"]["taskId"] == stopped.id.as_str());
        let status = status.map(|t| t["lastStatus"].clone());
        if status == Some(json!("STOPPED")) { Ok(()) } else { Err(status) }
    });
    assert_eq!(one(&lab, &["web", &format!("{}:80", stopped.id)]), found(1, &["BAD_STATE"], "not tried"));
    lab.down();
}
