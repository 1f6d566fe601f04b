//! Names looked up inside a task: the Cloud Map namespace and the VPC's private names (reference 5.2, 5.3, 6).

use std::collections::BTreeSet;
use std::process::Command;

use e2e::definition::{run, shell, task, waiter, with};
use e2e::eventually::eventually;
use e2e::lab::{Lab, Task};
use e2e::probe::command;
use serde_json::{Value, json};

/// What the real `dig` says inside a task.
#[derive(Debug)]
struct Dug {
    status: String,
    answers: Vec<String>,
    authority: Vec<String>,
}

/// Asks with the task's own resolv.conf's server, in the task's network.
fn dig(from: &Task, words: &[&str]) -> Dug {
    let options = ["@10.0.0.2", "+noall", "+comments", "+answer", "+authority", "+tries=1", "+time=3"];
    let (_, text) = command(from, "dig", &[&options, words].concat());
    let mut dug = Dug { status: String::new(), answers: Vec::new(), authority: Vec::new() };
    let mut section = "";
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            dug.status = rest.split(',').next().unwrap().to_owned();
        } else if line.starts_with(";; ") {
            section = line;
        } else if !line.is_empty() && !line.starts_with(';') {
            // Name, TTL, class, type, data.
            let record = line.split_whitespace().collect::<Vec<_>>().join(" ");
            match section {
                ";; ANSWER SECTION:" => dug.answers.push(record),
                ";; AUTHORITY SECTION:" => dug.authority.push(record),
                _ => {}
            }
        }
    }
    dug
}

fn data(dug: &Dug) -> Vec<String> {
    dug.answers.iter().map(|record| record.rsplit(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn names_resolve_inside_a_task_as_in_cloud_map_and_route_53() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  many: {{ taskDefinition: {}, desiredCount: 9, discovery: {{ ttl: 7 }} }}
  some: {{ taskDefinition: {}, desiredCount: 2, discovery: {{ name: other, routing: WEIGHTED }} }}
",
        waiter("many"),
        waiter("some")
    ));
    let (many, some) = (lab.running("many"), lab.running("some"));
    let client = &some[0];
    let addresses = |tasks: &[Task]| tasks.iter().map(|t| t.address.clone()).collect::<BTreeSet<_>>();

    // MULTIVALUE: 8 of the 9, another choice in another order each time, over UDP, EDNS and TCP.
    let name = format!("many.{}.local", lab.stack);
    let mut answers = BTreeSet::new();
    for transport in ["+noedns", "+edns=0", "+tcp"] {
        for _ in 0..6 {
            let dug = dig(client, &[transport, &name]);
            assert_eq!((dug.status.as_str(), dug.answers.len()), ("NOERROR", 8), "{transport}: {dug:?}");
            assert!(dug.answers[0].starts_with(&format!("{name}. 7 IN A ")), "{dug:?}");
            let set: BTreeSet<_> = data(&dug).into_iter().collect();
            assert!(set.len() == 8 && set.is_subset(&addresses(&many)), "{dug:?}");
            answers.insert(data(&dug));
        }
    }
    assert!(answers.len() > 10, "the order is random: {answers:?}");
    let seen: BTreeSet<_> = answers.into_iter().flatten().collect();
    assert_eq!(seen, addresses(&many), "each is chosen at some time");

    // WEIGHTED: one of them.
    let weighted = format!("other.{}.local", lab.stack);
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let dug = dig(client, &[&weighted]);
        assert_eq!(dug.answers.len(), 1, "{dug:?}");
        assert!(dug.answers[0].contains(" 10 IN A "), "{dug:?}");
        seen.extend(data(&dug));
    }
    assert_eq!(seen, addresses(&some));

    // What is not there: the name, or the type.
    for (name, status) in [(format!("none.{}.local", lab.stack), "NXDOMAIN"), (format!("AAAA {name}"), "NOERROR")] {
        let dug = dig(client, &name.split(' ').collect::<Vec<_>>());
        assert_eq!((dug.status.as_str(), dug.answers.len()), (status, 0), "{name}: {dug:?}");
        assert!(dug.authority.len() == 1 && dug.authority[0].contains(" IN SOA "), "{name}: {dug:?}");
    }

    // Private names, both ways; nothing else, as nothing leaves this VPC.
    let private = format!("ip-{}.ec2.internal", client.address.replace('.', "-"));
    assert_eq!(data(&dig(&many[0], &[&private])), std::slice::from_ref(&client.address));
    assert_eq!(data(&dig(&many[0], &["-x", &client.address])), [format!("{private}.")]);
    assert_eq!(dig(client, &["example.com"]).status, "SERVFAIL");

    // The command line asks the same way.
    let asked = lab.ok(&["dig", &private, "--from", "many", "--output", "json"]);
    let asked: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(asked["status"], "NOERROR");
    assert!(asked["answers"][0].as_str().unwrap().ends_with(&format!(" A {}", client.address)), "{asked}");
    lab.down();
}

#[test]
fn a_record_appears_when_its_task_is_healthy_and_is_gone_before_its_containers_are_told_to_stop() {
    let lab = Lab::new();
    let check =
        json!({ "command": ["CMD", "/bin/test", "-e", "/tmp/healthy"], "interval": 5, "timeout": 2, "retries": 10 });
    let app = with(
        shell("app", "trap 'echo told; sleep 2; exit 0' TERM; sleep 100000 & wait"),
        json!({ "healthCheck": check, "stopTimeout": 20 }),
    );
    let stack = format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  client: {{ taskDefinition: {} }}
  web: {{ taskDefinition: {} }}
",
        waiter("client"),
        task("web", &[app])
    );
    let path = lab.write("stack.yaml", &stack.replace("{name}", &lab.stack));
    lab.ok(&["up", path.to_str().unwrap(), "--no-wait"]);
    let running = |service: &str| {
        eventually("it is RUNNING", || lab.running(service).into_iter().next().ok_or_else(|| lab.tasks()))
    };
    let (client, web) = (running("client"), running("web"));
    let name = format!("web.{}.local", lab.stack);
    assert_eq!(data(&dig(&client, &[&name])), Vec::<String>::new(), "RUNNING, and not yet healthy");

    lab.ok(&["exec", "web", "--", "/bin/touch", "/tmp/healthy"]);
    eventually("its record appears", || {
        let dug = dig(&client, &[&name]);
        if data(&dug) == std::slice::from_ref(&web.address) { Ok(()) } else { Err(dug) }
    });
    let health = lab.tasks().iter().find(|t| t["ecsnet"]["taskId"] == web.id.as_str()).unwrap()["healthStatus"].clone();
    assert_eq!(health, "HEALTHY");

    let container = lab.containers().into_iter().find(|c| c.ends_with(&format!("{}.app", web.id))).unwrap();
    let told = || run(Command::new("docker").args(["logs", &container])).contains("told");
    lab.ok(&["stop", &web.id]);
    loop {
        // In this order: what is answered now was still served when the log was read.
        let told_before = told();
        let dug = dig(&client, &[&name]);
        if data(&dug).is_empty() {
            break;
        }
        assert!(!told_before, "told to stop while its record is served: {dug:?}");
    }
    eventually("it is told to stop", || if told() { Ok(()) } else { Err("not yet") });
    lab.down();
}

#[test]
fn dns_answers_go_on_without_the_agent_and_a_killed_resolver_comes_back() {
    let mut lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  client: {{ taskDefinition: {} }}
  web: {{ taskDefinition: {} }}
",
        waiter("client"),
        waiter("web")
    ));
    let (client, web) = (lab.one("client"), lab.one("web"));
    let name = format!("web.{}.local", lab.stack);
    let stack: Value = serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    let resolver = stack["ecsnet"]["resolver"].as_str().unwrap();
    assert_eq!(data(&dig(&client, &[&name])), std::slice::from_ref(&web.address));
    lab.kill_agent();
    assert_eq!(
        data(&dig(&client, &[&name])),
        std::slice::from_ref(&web.address),
        "the resolver does not need the agent"
    );
    lab.start_agent();
    assert_eq!(data(&dig(&client, &[&name])), std::slice::from_ref(&web.address));

    run(Command::new("docker").args(["kill", resolver]));
    eventually("the resolver comes back", || {
        let dug = dig(&client, &[&name]);
        if data(&dug) == std::slice::from_ref(&web.address) { Ok(()) } else { Err(dug) }
    });
    assert_eq!((lab.one("client"), lab.one("web")), (client, web), "no task is replaced for it");
    lab.down();
}
