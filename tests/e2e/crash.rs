//! `kill -9` of the agent before and after every step that it does, and what goes on while it is dead.
//!
//! The steps come from the binary itself (`agent --list-steps`), so a new one is tested by being written. Points are
//! independent of each other and walked side by side, each in a place of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use e2e::eventually::eventually;
use e2e::lab::{Answer, Lab, Task, idle};
use e2e::probe::{Outcome, connect, exchange, inside, serve_tcp, tcp};
use serde_json::Value;

/// How many points are walked at once: they mostly wait, for Docker and for tasks to be healthy.
const SIDE_BY_SIDE: usize = 3;

/// What is asked of the agent while a point is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    /// `up` of a new stack.
    Up,
    /// The start of an agent over a running stack.
    Adopt,
    /// `up` with another port: a new definition, a rolling replacement, other rules of a group.
    Change,
    /// `down`.
    Down,
}

/// The kinds that an operation passes for certain. A kind that none of them names is new: it is tried with all.
fn passes(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::Up => &[
            "Commit",
            "ImportImage",
            "HoldVpc",
            "ApplyFilter",
            "BuildRouter",
            "StartResolver",
            "PublishZone",
            "HoldTask",
            "LinkEni",
            "HoldInstance",
            "BuildBridge",
            "AttachContainer",
            "PublishPorts",
            "PullImage",
            "StartContainer",
        ],
        Operation::Adopt => &[
            "ImportImage",
            "ApplyFilter",
            "BuildRouter",
            "PublishZone",
            "LinkEni",
            "BuildBridge",
            "AttachContainer",
            "PublishPorts",
        ],
        Operation::Change => &[
            "Commit",
            "ApplyFilter",
            "PublishZone",
            "HoldTask",
            "LinkEni",
            "AttachContainer",
            "PublishPorts",
            "PullImage",
            "StartContainer",
            "StopContainer",
            "DetachContainer",
            "UnlinkEni",
            "ForgetFlows",
            "RemoveContainer",
            "RemoveRemains",
        ],
        Operation::Down => &[
            "Commit",
            "ApplyFilter",
            "PublishZone",
            "PublishPorts",
            "StopContainer",
            "DetachContainer",
            "UnlinkEni",
            "ForgetFlows",
            "RemoveContainer",
            "RemoveRemains",
            "RemoveFiles",
        ],
    }
}

const OPERATIONS: [Operation; 4] = [Operation::Up, Operation::Adopt, Operation::Change, Operation::Down];

/// Three services; `port` is the one that `orders` opens to `web`. Its tasks have a volume and a cgroup of their own. The
/// task of `edge` is in bridge mode, on one of two container instances.
fn stack(port: u16) -> String {
    let orders = idle("orders", &[port]).replacen("{ ", "{ memory: 128, volumes: [ { name: data } ], ", 1).replacen(
        "memory: 64,",
        "memory: 64, mountPoints: [ { sourceVolume: data, containerPath: /data } ],",
        1,
    );
    format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders, edge] }}
  orders: {{ taskDefinition: {} }}
  edge: {{ taskDefinition: {}, networkMode: bridge }}
",
        idle("web", &[]),
        orders,
        idle("edge", &[port]),
    )
}

#[test]
fn the_agent_may_be_killed_before_and_after_every_step() {
    let kinds: Vec<String> = Lab::without_agent().ok(&["agent", "--list-steps"]).lines().map(str::to_owned).collect();
    let named: BTreeSet<&str> = OPERATIONS.iter().flat_map(|o| passes(*o)).copied().collect();
    assert!(named.iter().all(|name| kinds.iter().any(|kind| kind == name)), "{named:?} are not all in {kinds:?}");
    let only = std::env::var("ECSNET_TEST_POINT").ok();
    let points = kinds.iter().flat_map(|kind| [format!("before:{kind}"), format!("after:{kind}")]);
    let points: Vec<String> = points.filter(|point| only.as_ref().is_none_or(|only| point == only)).collect();
    let left = Mutex::new(points.clone());
    let failed = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(point) = { left.lock().unwrap().pop() } {
                    // Each point is a test of its own: one that fails does not hide the others.
                    let outcome = std::panic::catch_unwind(|| walk(&point, named.contains(kind_of(&point))));
                    if let Err(panic) = outcome {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failed.lock().unwrap().insert(point, text);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} points: {failed:#?}", failed.len(), points.len());
}

fn kind_of(point: &str) -> &str {
    point.split_once(':').map_or(point, |(_, kind)| kind)
}

/// Takes one stack through its life, with an agent that dies at `point` in each operation that passes it.
fn walk(point: &str, known: bool) {
    let mut lab = Lab::without_agent();
    let (mut died, mut served) = (0, BTreeSet::new());
    for operation in OPERATIONS {
        let passes = passes(operation).contains(&kind_of(point));
        if passes || !known && operation != Operation::Adopt {
            let dies = perish(&mut lab, point, operation);
            assert!(dies || !passes, "{operation:?} does not pass {point}");
            died += u32::from(dies);
        } else if matches!(operation, Operation::Up | Operation::Down) {
            if !agent_answers(&lab) {
                lab.start_agent();
            }
            request(&lab, operation);
        }
        match operation {
            Operation::Down => check_gone(&lab),
            Operation::Change if passes || !known => check_runs(&lab, &mut served, point, operation, (8082, 8080)),
            Operation::Up | Operation::Adopt if passes || !known => {
                check_runs(&lab, &mut served, point, operation, (8080, 8082));
            }
            _ => {}
        }
    }
    assert!(died > 0, "no operation passes {point}");
}

/// Has an agent die at the point, and another one take over. False when the operation ends without passing the point.
fn perish(lab: &mut Lab, point: &str, operation: Operation) -> bool {
    lab.kill_agent();
    let mut forgotten = false;
    let armed = lab.dir().join("armed");
    let point_when_armed = format!("{point}:{}", armed.display());
    if operation == Operation::Adopt {
        std::fs::write(&armed, "").unwrap();
        lab.start_agent_that_crashes(&point_when_armed);
    } else {
        lab.start_agent_that_crashes(&point_when_armed);
        eventually("the agent answers", || if agent_answers(lab) { Ok(()) } else { Err(lab.agent_log()) });
        if operation != Operation::Up {
            // It has looked at everything when it calls the stack steady; what it does from now on was asked for.
            lab.ok(&["up", lab.dir().join("stack.yaml").to_str().unwrap()]);
        }
        std::fs::write(&armed, "").unwrap();
        let answer = request(lab, operation);
        if answer.code == 0 {
            std::fs::remove_file(&armed).unwrap();
            return false;
        }
        // Dead before it was on disk: what was asked for is forgotten, and the command said that it failed.
        forgotten = point != "after:Commit" && answer.stderr.contains("broke off the answer to");
        forgotten &= !answer.stderr.contains("/progress");
    }
    eventually(&format!("the agent dies at {point} in {operation:?}"), || match lab.agent_ended() {
        Some(_) => Ok(()),
        None => Err("it lives"),
    });
    assert!(lab.agent_was_killed(), "{:?}", lab.agent_ended());
    std::fs::remove_file(&armed).unwrap();
    lab.start_agent();
    if forgotten {
        let answer = request(lab, operation);
        assert_eq!(answer.code, 0, "{operation:?} again: {answer:?}; agent: {}", lab.agent_log());
    }
    true
}

/// Asks for it and waits.
fn request(lab: &Lab, operation: Operation) -> Answer {
    let text = stack(if operation == Operation::Change { 8082 } else { 8080 });
    match operation {
        Operation::Up | Operation::Change => {
            let file = lab.write("stack.yaml", &text.replace("{name}", &lab.stack));
            lab.run(&["up", file.to_str().unwrap(), "--timeout", "60s"])
        }
        Operation::Adopt | Operation::Down => lab.run(&["down", "--all"]),
    }
}

fn agent_answers(lab: &Lab) -> bool {
    UnixStream::connect(lab.socket()).is_ok()
}

/// Steady, with exactly what should be there; what the group opens is open and the rest is not.
fn check_runs(lab: &Lab, served: &mut BTreeSet<String>, point: &str, operation: Operation, (open, closed): (u16, u16)) {
    let (web, orders, edge) =
        eventually(&format!("one task each after {point} in {operation:?}"), || settled(lab, open));
    if served.insert(edge.id.clone()) {
        serve_tcp(&edge, open);
    }
    assert_eq!(tcp(&web, &edge, edge.host_ports[0]), Outcome::Answered, "edge, {point} in {operation:?}");
    if served.insert(orders.id.clone()) {
        serve_tcp(&orders, open);
        serve_tcp(&orders, closed);
    }
    assert_eq!(tcp(&web, &orders, open), Outcome::Answered, "{point} in {operation:?}");
    assert_eq!(tcp(&web, &orders, closed), Outcome::Dropped, "{point} in {operation:?}");
    let answer = lab.ok(&["dig", &format!("orders.{}.local", lab.stack), "--from", "web"]);
    assert!(answer.contains(&orders.address), "{point} in {operation:?}: {answer}");
}

/// The three tasks, once everything is steady and nothing else of the stack is left in Docker or in its VPC.
fn settled(lab: &Lab, open: u16) -> Result<(Task, Task, Task), String> {
    let read = |arguments: &[&str]| -> Value { serde_json::from_str(&lab.ok(arguments)).unwrap() };
    let services = read(&["services", "--output", "json"]);
    let services = services["services"].as_array().cloned().unwrap_or_default();
    if services.len() != 3 || services.iter().any(|service| service["ecsnet"]["steady"] != true) {
        return Err(format!("{services:#?}"));
    }
    let definitions: Vec<&str> = services.iter().filter_map(|s| s["taskDefinition"].as_str()).collect();
    let revision = if open == 8080 { "orders:1" } else { "orders:2" };
    assert!(definitions.iter().any(|definition| definition.ends_with(revision)), "{definitions:?}");
    let (tasks, web, orders, edge) = (lab.tasks(), lab.running("web"), lab.running("orders"), lab.running("edge"));
    let (3, [web], [orders], [edge]) = (tasks.len(), &web[..], &orders[..], &edge[..]) else {
        return Err(format!("{tasks:#?}"));
    };
    let containers: BTreeSet<String> = lab.containers().into_iter().collect();
    // The VPC's holder, the resolver, two instances with a front each, and for each task a pause and its one container.
    if containers.len() != 12 || ![web, orders, edge].iter().all(|task| has(&containers, &task.id) == 2) {
        return Err(format!("{containers:#?}"));
    }
    let vpc = read(&["inspect", "stack", &lab.stack, "--output", "json"]);
    let enis = vpc["kernel"]["enis"].as_object().cloned().unwrap_or_default();
    let addresses: BTreeSet<&str> = enis.values().filter_map(|eni| eni["host_routes"][0].as_str()).collect();
    let expected = [web, orders, edge].map(|task| task.address.as_str());
    if enis.len() != 4 || !expected.iter().all(|address| addresses.contains(address)) {
        return Err(format!("{enis:#?}"));
    }
    Ok((web.clone(), orders.clone(), edge.clone()))
}

fn has(containers: &BTreeSet<String>, id: &str) -> usize {
    containers.iter().filter(|name| name.contains(id)).count()
}

fn check_gone(lab: &Lab) {
    eventually("the stack is gone by itself", || {
        let left = (lab.containers(), std::fs::read_dir(lab.data_dir().join("stacks")).map_or(0, Iterator::count));
        if left == (Vec::new(), 0) { Ok(()) } else { Err(left) }
    });
    assert_eq!(lab.run(&["down", "--all"]).code, 0);
    lab.assert_no_leak();
}

#[test]
fn traffic_dns_and_groups_go_on_while_the_agent_is_dead() {
    let mut lab = Lab::new();
    lab.up(&stack(8080));
    let (web, orders) = (lab.one("web"), lab.one("orders"));
    serve_tcp(&orders, 8080);
    serve_tcp(&orders, 8081);
    let mut open = connect(&web, &orders, 8080).unwrap();
    let (over, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    let name = format!("orders.{}.local", lab.stack);
    std::thread::scope(|scope| {
        // Also when something here panics: the scope waits for the watch.
        let end = EndWatch(&over);
        let watching = scope.spawn(|| {
            let mut failures = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let round = rounds.fetch_add(1, Ordering::Relaxed);
                if exchange(&mut open) != Outcome::Answered {
                    failures.push(format!("round {round}: the open connection"));
                }
                if tcp(&web, &orders, 8080) != Outcome::Answered {
                    failures.push(format!("round {round}: a new connection"));
                }
                if let Err(error) = resolve(&web, &name, &orders.address) {
                    failures.push(format!("round {round}: {error}"));
                }
                if round.is_multiple_of(10) && tcp(&web, &orders, 8081) != Outcome::Dropped {
                    failures.push(format!("round {round}: the group did not refuse"));
                }
            }
            failures
        });
        // Killed three times, each time dead for as long as 30 rounds take, and brought back.
        for _ in 0..3 {
            pass(&rounds, 10);
            lab.kill_agent();
            pass(&rounds, 30);
            lab.start_agent();
            lab.ok(&["inspect", "stack", &lab.stack]);
        }
        pass(&rounds, 10);
        drop(end);
        assert_eq!(watching.join().unwrap(), Vec::<String>::new(), "of {rounds:?} rounds");
    });
    drop(open);
    lab.down();
}

struct EndWatch<'a>(&'a AtomicBool);

impl Drop for EndWatch<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until that many more rounds are over.
fn pass(rounds: &AtomicU32, more: u32) {
    let until = rounds.load(Ordering::Relaxed) + more;
    eventually("the watch goes on", || match rounds.load(Ordering::Relaxed) {
        now if now >= until => Ok(()),
        now => Err(now),
    });
}

/// Asks the VPC's resolver for an A record, from inside a task, as a client without a cache does.
fn resolve(from: &Task, name: &str, expected: &str) -> Result<(), String> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = inside(from, || std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect("10.0.0.2:53").unwrap();
    let mut answer = [0; 512];
    let length = socket.send(&query).and_then(|_| socket.recv(&mut answer)).map_err(|error| format!("DNS: {error}"))?;
    let address: std::net::Ipv4Addr = expected.parse().unwrap();
    // One answer: its address ends the message.
    if answer[..length].ends_with(&address.octets()) { Ok(()) } else { Err(format!("DNS: {:?}", &answer[..length])) }
}
