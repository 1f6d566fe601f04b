//! Container instances come, drain, stop and are lost, and a stack changes its network mode, all with traffic on.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use e2e::definition::{run, shell, waiting, with};
use e2e::eventually::eventually;
use e2e::lab::{Lab, Task};
use e2e::probe::{connect, inside};
use serde_json::{Value, json};

/// A container that answers every connection on port 80 with its host name.
fn answering() -> Value {
    let script = "trap 'exit 0' TERM; nc -ll -p 80 -e hostname & wait";
    with(shell("app", script), json!({ "portMappings": [{ "containerPort": 80 }] }))
}

fn definition(family: &str, containers: &[Value]) -> String {
    json!({ "family": family, "containerDefinitions": containers }).to_string()
}

/// `web` answers in the mode that is given, `asks` has an address of its own.
fn stack(mode: &str, count: u32, more: &str) -> String {
    format!(
        "name: {{name}}
vpc: {{ internet: false }}
{more}services:
  web: {{ taskDefinition: {}, networkMode: {mode}, desiredCount: {count} }}
  asks: {{ taskDefinition: {}, networkMode: awsvpc, connectsTo: [web] }}
",
        definition("web", &[answering()]),
        definition("asks", &[waiting("app")]),
    )
}

/// Where each running task of `web` is reached.
fn endpoints(lab: &Lab) -> Vec<(Task, u16)> {
    let running = lab.running("web").into_iter();
    running
        .map(|task| {
            let port = task.host_ports.first().copied().unwrap_or(80);
            (task, port)
        })
        .collect()
}

/// Whether any task of `web` that is RUNNING answers; one that has just been told to stop may not.
fn somebody_answers(lab: &Lab, asks: &Task) -> bool {
    endpoints(lab).iter().any(|(task, port)| {
        let Ok(mut stream) = connect(asks, task, *port) else { return false };
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).is_ok() && !text.is_empty()
    })
}

fn instance_of(lab: &Lab, task: &Task) -> Value {
    let instances = lab.instances();
    instances.into_iter().find(|i| i["ecsnet"]["instanceId"] == task.instance.as_str()).expect("its instance")
}

fn stopped_reason(lab: &Lab, id: &str) -> String {
    let tasks = lab.all_tasks();
    let task = tasks.iter().find(|t| t["ecsnet"]["taskId"] == id).expect("a stopped task is remembered");
    task["stoppedReason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_mode_of_a_running_stack_changes_without_an_outage_and_leaves_nothing() {
    let lab = Lab::new();
    lab.up(&stack("awsvpc", 2, ""));
    let asks = lab.one("asks");
    let (over, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    let failures = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut failures = 0;
            while !over.load(Ordering::Relaxed) {
                failures += u32::from(!somebody_answers(&lab, &asks));
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            failures
        });
        let mut seen = BTreeSet::new();
        for mode in ["bridge", "host", "awsvpc"] {
            lab.up(&stack(mode, 2, ""));
            let tasks = lab.running("web");
            assert_eq!(tasks.len(), 2);
            assert!(tasks.iter().all(|t| t.mode == mode), "{tasks:#?}");
            assert!(tasks.iter().all(|t| seen.insert(t.id.clone())), "all were replaced");
        }
        over.store(true, Ordering::Relaxed);
        watching.join().expect("the watch ends")
    });
    assert_eq!(failures, 0, "of {rounds:?} rounds");
    eventually("no instance is left that nobody needs", || match lab.instances() {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    });
    lab.down();
}

#[test]
fn the_agent_is_killed_in_the_middle_of_a_switch_and_the_next_one_ends_it() {
    let mut lab = Lab::new();
    lab.up(&stack("awsvpc", 2, ""));
    let asks = lab.one("asks");
    let file = lab.write("next.yaml", &stack("bridge", 2, "").replace("{name}", &lab.stack));
    lab.ok(&["up", file.to_str().unwrap(), "--no-wait"]);
    eventually("a task of the new mode is being made", || {
        let modes: Vec<Value> = lab.tasks().iter().map(|t| t["ecsnet"]["networkMode"].clone()).collect();
        if modes.contains(&json!("bridge")) { Ok(()) } else { Err(modes) }
    });
    lab.kill_agent();
    lab.start_agent();
    eventually("both tasks are in bridge mode", || {
        let running = lab.running("web");
        let done = running.len() == 2 && running.iter().all(|t| t.mode == "bridge") && lab.tasks().len() == 3;
        if done { Ok(()) } else { Err(lab.tasks().iter().map(|t| t["lastStatus"].clone()).collect::<Vec<_>>()) }
    });
    assert!(somebody_answers(&lab, &asks));
    lab.down();
}

#[test]
fn tasks_of_a_lost_instance_stop_with_ecs_reason_and_start_elsewhere() {
    let lab = Lab::new();
    lab.up(&stack("bridge", 2, ""));
    let asks = lab.one("asks");
    let before = lab.running("web");
    let lost = instance_of(&lab, &before[0]);
    let holder = lab
        .containers()
        .into_iter()
        .find(|name| name.ends_with(&format!("instance.{}", before[0].instance)))
        .expect("its holder");
    run(Command::new("docker").args(["kill", &holder]));
    let ec2 = lost["ec2InstanceId"].as_str().unwrap();
    eventually("a replacement runs", || {
        let running = lab.running("web");
        let done = running.len() == 2 && running.iter().all(|t| t.id != before[0].id);
        if done { Ok(()) } else { Err(running) }
    });
    assert_eq!(stopped_reason(&lab, &before[0].id), format!("Host EC2 (instance {ec2}) terminated."));
    assert!(lab.running("web").iter().any(|t| t.id == before[1].id), "the other one goes on");
    let dig = lab.ok(&["dig", &format!("web.{}.local", lab.stack), "SRV"]);
    assert!(!dig.contains(&before[0].id), "{dig}");
    assert!(somebody_answers(&lab, &asks));
    lab.down();
}

#[test]
fn an_instance_is_drained_stopped_and_started() {
    let lab = Lab::new();
    lab.up(&stack("bridge", 2, "capacity: [ { name: two, count: 2, cpu: 2048, memory: 2048, zones: [a, b] } ]\n"));
    let asks = lab.one("asks");
    let before = lab.running("web");
    let id = before[0].instance.clone();
    lab.ok(&["instance", "drain", &id]);
    eventually("its task has moved", || {
        assert!(somebody_answers(&lab, &asks), "minimumHealthyPercent is kept");
        let running = lab.running("web");
        let done = running.len() == 2 && running.iter().all(|t| t.instance != id) && lab.tasks().len() == 3;
        if done { Ok(()) } else { Err(running) }
    });
    let state = |field: &str| {
        let instances = lab.instances();
        let found = instances.iter().find(|i| i["ecsnet"]["instanceId"] == id.as_str()).unwrap();
        match field {
            "state" => found["ecsnet"]["state"].clone(),
            field => found[field].clone(),
        }
    };
    assert_eq!(state("status"), "DRAINING");
    lab.ok(&["instance", "start", &id]);
    assert_eq!(state("status"), "ACTIVE");

    // The other one has both tasks now: stopping it moves them here.
    let other = lab.running("web")[0].instance.clone();
    let gone = lab.running("web")[0].id.clone();
    lab.ok(&["instance", "stop", &other]);
    eventually("both tasks run here", || {
        let running = lab.running("web");
        if running.len() == 2 && running.iter().all(|t| t.instance == id) { Ok(()) } else { Err(running) }
    });
    assert!(stopped_reason(&lab, &gone).ends_with(" stopped."), "{}", stopped_reason(&lab, &gone));
    let stopped = || {
        lab.instances().iter().find(|i| i["ecsnet"]["instanceId"] == other.as_str()).unwrap()["ecsnet"]["state"].clone()
    };
    eventually("it is stopped", || if stopped() == "stopped" { Ok(()) } else { Err(stopped()) });
    lab.ok(&["instance", "start", &other]);
    eventually("it runs again", || if stopped() == "running" { Ok(()) } else { Err(stopped()) });
    lab.down();
}

#[test]
fn a_task_that_fits_nowhere_is_an_event_in_ecs_words_and_the_rest_runs() {
    let lab = Lab::new();
    let fixed = with(answering(), json!({ "portMappings": [{ "containerPort": 80, "hostPort": 8080 }] }));
    let large = with(answering(), json!({ "memory": 100_000 }));
    let text = format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
capacity: [ {{ name: one, cpu: 2048, memory: 2048, zones: [a] }} ]
services:
  fits: {{ taskDefinition: {} }}
  ports: {{ taskDefinition: {}, desiredCount: 2 }}
  large: {{ taskDefinition: {} }}
  blue: {{ taskDefinition: {}, placement: {{ constraints: [ {{ type: memberOf, expression: \"attribute:colour == blue\" }} ] }} }}
",
        definition("fits", &[answering()]),
        definition("ports", &[fixed]),
        definition("large", &[large]),
        definition("blue", &[answering()]),
    );
    let file = lab.write("stack.yaml", &text.replace("{name}", &lab.stack));
    lab.ok(&["up", file.to_str().unwrap(), "--no-wait"]);
    eventually("what fits runs", || {
        if lab.running("fits").len() == 1 && lab.running("ports").len() == 1 { Ok(()) } else { Err(lab.tasks()) }
    });
    let events = lab.ok(&["events"]);
    for (service, words) in [
        ("ports", "is already using a port required by your task"),
        ("large", "has insufficient memory available"),
        ("blue", "MemberOf placement constraint unsatisfied."),
    ] {
        let said =
            events.lines().find(|line| line.contains(&format!("(service {service}) was unable to place a task")));
        assert!(said.is_some_and(|line| line.contains(words)), "{service}: {events}");
    }
    lab.down();
}

#[test]
fn a_port_of_another_process_is_named_when_fixed_and_passed_over_when_dynamic() {
    let lab = Lab::new();
    let one = "capacity: [ { name: one, cpu: 2048, memory: 2048, zones: [a] } ]\n";
    lab.up(&stack("bridge", 1, one));
    let instance = instance_of(&lab, &lab.one("web"));
    let netns = instance["ecsnet"]["netns"].as_str().unwrap().to_owned();
    let on_it = Task { netns, ..lab.one("web") };
    let bound = [8080, 32769].map(|port| inside(&on_it, || TcpListener::bind(("0.0.0.0", port)).unwrap()));
    let fixed = with(answering(), json!({ "portMappings": [{ "containerPort": 80, "hostPort": 8080 }] }));
    let text = format!(
        "name: {{name}}
vpc: {{ internet: false }}
networkMode: bridge
{one}services:
  web: {{ taskDefinition: {}, desiredCount: 2 }}
  fixed: {{ taskDefinition: {} }}
",
        definition("web", &[answering()]),
        definition("fixed", &[fixed]),
    );
    let file = lab.write("more.yaml", &text.replace("{name}", &lab.stack));
    lab.ok(&["up", file.to_str().unwrap(), "--no-wait"]);
    let reason = eventually("the task that wants the port says why not", || {
        let tasks = lab.all_tasks();
        let failed = tasks.iter().find(|t| t["ecsnet"]["service"] == "fixed" && t["stoppedReason"].is_string());
        failed.map(|t| t["stoppedReason"].as_str().unwrap().to_owned()).ok_or(tasks.len())
    });
    assert!(reason.ends_with("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{reason}");
    eventually("the others run, at ports that are free", || {
        let ports: BTreeSet<u16> = lab.running("web").iter().flat_map(|t| t.host_ports.clone()).collect();
        if ports == BTreeSet::from([32768, 32770]) { Ok(()) } else { Err(ports) }
    });
    drop(bound);
    lab.down();
}

#[test]
fn awsvpc_on_ec2_is_placed_and_its_eni_limit_binds_where_the_stack_says_so() {
    let lab = Lab::new();
    let text = format!(
        "name: {{name}}
launchType: EC2
vpc: {{ internet: false }}
capacity: [ {{ name: small, type: t3.small, zones: [a], eniLimit: true }} ]
services:
  web: {{ taskDefinition: {}, networkMode: awsvpc, desiredCount: 3 }}
",
        definition("web", &[waiting("app")]),
    );
    let file = lab.write("stack.yaml", &text.replace("{name}", &lab.stack));
    lab.ok(&["up", file.to_str().unwrap(), "--no-wait"]);
    // A t3.small has three ENIs, one of them its own.
    let running = eventually("two tasks run", || {
        let running = lab.running("web");
        if running.len() == 2 { Ok(running) } else { Err(running) }
    });
    assert!(running.iter().all(|t| t.mode == "awsvpc" && !t.instance.is_empty()), "{running:#?}");
    let events = lab.ok(&["events"]);
    assert!(events.contains("was unable to place a task") && events.contains("\"RESOURCE:ENI\""), "{events}");
    lab.down();
}
