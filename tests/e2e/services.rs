//! The service scheduler, and what the commands show of it (reference 3).

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::definition::{shell, task, waiter};
use e2e::eventually::eventually;
use e2e::lab::{IMAGE, Lab, Task};
use e2e::probe::{command, inside};
use serde_json::{Value, json};

fn steady_with(lab: &Lab, service: &str, count: usize) -> Vec<Task> {
    eventually(&format!("{service} has {count} tasks"), || {
        let tasks = lab.tasks();
        let live = tasks.iter().filter(|t| t["ecsnet"]["service"] == service).count();
        let running = lab.running(service);
        let shown: Value = serde_json::from_str(&lab.ok(&["services", "--output", "json"])).unwrap();
        let mut services = shown["services"].as_array().unwrap().iter();
        let steady = services.any(|s| s["serviceName"] == service && s["ecsnet"]["steady"] == true);
        if steady && running.len() == count && live == count { Ok(running) } else { Err(tasks) }
    })
}

#[test]
fn a_service_is_scaled_repaired_removed_and_shown() {
    let lab = Lab::new();
    let talks = shell("app", "echo hello from $AWS_REGION; trap 'exit 0' TERM; sleep 100000 & wait");
    let both = format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {} }}
  extra: {{ taskDefinition: {} }}
",
        task("web", &[talks]),
        waiter("extra")
    );
    lab.up(&both);
    let first = lab.one("web");

    // Up and down: the new ones go first when they are in the fuller zone, and the zones stay even.
    lab.ok(&["scale", "web=3"]);
    let three = steady_with(&lab, "web", 3);
    assert!(three.contains(&first));
    lab.ok(&["scale", "web=2"]);
    let two = steady_with(&lab, "web", 2);
    assert_ne!(two[0].zone, two[1].zone);

    // A stopped task is replaced.
    let victim = &two[0];
    lab.ok(&["stop", &victim.id[..12], "--reason", "just a test"]);
    let fresh = eventually("a replacement runs", || {
        let running = lab.running("web");
        let fresh = running.iter().find(|t| !three.contains(t)).cloned();
        fresh.filter(|_| running.len() == 2).ok_or(running)
    });
    let all = lab.all_tasks();
    let shown = |id: &str| all.iter().find(|t| t["ecsnet"]["taskId"] == id).unwrap();
    let gone = shown(&victim.id);
    assert_eq!((&gone["stopCode"], &gone["stoppedReason"]), (&json!("UserInitiated"), &json!("just a test")));

    // The shape of DescribeTasks.
    let view = shown(&fresh.id);
    for field in [
        "taskArn",
        "clusterArn",
        "taskDefinitionArn",
        "group",
        "startedBy",
        "launchType",
        "availabilityZone",
        "desiredStatus",
        "lastStatus",
        "healthStatus",
        "attachments",
        "containers",
        "createdAt",
        "startedAt",
        "version",
    ] {
        assert!(!view[field].is_null(), "{field}: {view:#}");
    }
    assert_eq!(view["group"], "service:web");
    assert!(view["taskArn"].as_str().unwrap().ends_with(&format!(":task/{}/{}", lab.stack, fresh.id)), "{view:#}");
    assert_eq!(view["containers"][0]["networkInterfaces"][0]["privateIpv4Address"], fresh.address.as_str());
    assert_eq!(view["ecsnet"]["securityGroups"], json!(["web"]));

    // What else is shown.
    let logs = lab.ok(&["logs", &fresh.id]);
    assert_eq!(logs, "hello from us-east-1\n");
    assert_eq!(lab.ok(&["logs", "web"]).lines().filter(|l| l.ends_with("| hello from us-east-1")).count(), 2);
    let subnet = view["attachments"][0]["details"][0]["value"].as_str().unwrap();
    for (kind, id, field) in [
        ("task", fresh.id.as_str(), "taskArn"),
        ("service", "web", "serviceArn"),
        ("eni", fresh.address.as_str(), "NetworkInterfaceId"),
        ("subnet", subnet, "CidrBlock"),
        ("security-group", "web", "GroupId"),
        ("stack", lab.stack.as_str(), "vpcId"),
    ] {
        let found: Value = serde_json::from_str(&lab.ok(&["inspect", kind, id, "--output", "json"])).unwrap();
        assert!(!found[field].is_null(), "{kind}: {found:#}");
        assert!(!found.to_string().contains("\"error\""), "{kind}: {found:#}");
    }
    let services: Value = serde_json::from_str(&lab.ok(&["services", "--output", "json"])).unwrap();
    let web = services["services"].as_array().unwrap().iter().find(|s| s["serviceName"] == "web").unwrap();
    assert_eq!((&web["desiredCount"], &web["runningCount"], &web["status"]), (&json!(2), &json!(2), &json!("ACTIVE")));
    assert_eq!(web["deployments"][0]["status"], "PRIMARY");

    let events = lab.ok(&["events", &lab.stack]);
    let deployment = web["deployments"][0]["id"].as_str().unwrap();
    for line in [
        format!("(service web) has started 1 tasks: (task {}).", first.id),
        format!("(service web) (deployment {deployment}) deployment completed."),
        "(service web) has reached a steady state.".to_owned(),
        "(service web) has started 2 tasks: (task ".to_owned(),
        "(service web) has stopped 1 running tasks: (task ".to_owned(),
        format!("(service web) has started 1 tasks: (task {}).", fresh.id),
    ] {
        assert!(events.contains(&line), "{line}\nis not in\n{events}");
    }

    // A service that the file no longer has goes, with its tasks; the others stay as they are.
    let only_web: String = both.lines().filter(|l| !l.starts_with("  extra:")).map(|l| format!("{l}\n")).collect();
    lab.up(&only_web.replace("web: {", "web: { desiredCount: 2,"));
    eventually("the service is gone", || {
        let tasks = lab.tasks();
        let text = lab.ok(&["services", "--output", "json"]);
        if tasks.len() == 2 && !text.contains("\"extra\"") { Ok(()) } else { Err((tasks.len(), text)) }
    });
    assert!(lab.running("web").contains(&fresh));
    lab.down();
}

/// Looks the name up anew and connects to the first address of the answer.
fn visit(client: &Task, name: &str) -> Result<(), (Vec<String>, String)> {
    let (_, text) = command(client, "dig", &["@10.0.0.2", "+short", "+tries=1", "+time=2", name]);
    let answer: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(address) = answer.first().and_then(|a| a.parse::<Ipv4Addr>().ok()) else {
        return Err((answer, "no address".to_owned()));
    };
    let address = SocketAddr::from((address, 8080));
    match inside(client, || TcpStream::connect_timeout(&address, Duration::from_secs(1))) {
        Ok(_) => Ok(()),
        Err(error) => Err((vec![address.ip().to_string()], error.to_string())),
    }
}

#[test]
fn a_rolling_update_never_leaves_clients_without_a_task() {
    let lab = Lab::new();
    let stack = |version: &str| {
        let app = json!({
            "name": "app", "image": IMAGE, "command": ["users"], "memory": 64,
            "portMappings": [{ "containerPort": 8080 }],
            "environment": [{ "name": "VERSION", "value": version }],
            "healthCheck": { "command": ["CMD", "/shop", "health", "http://127.0.0.1:8080/health"], "interval": 5, "timeout": 4 },
        });
        format!(
            "name: {{name}}
vpc: {{ internet: false }}
services:
  client: {{ taskDefinition: {}, connectsTo: [web] }}
  web: {{ taskDefinition: {}, desiredCount: 2, deployment: {{ minimumHealthyPercent: 100, maximumPercent: 200 }} }}
",
            waiter("client"),
            task("web", &[app])
        )
    };
    lab.up(&stack("1"));
    let client = lab.one("client");
    let before = lab.running("web");
    let name = format!("web.{}.local", lab.stack);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let (mut visits, mut failures) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                visits += 1;
                // A task may go between the answer and the connection (3.9); then the next answer must be good.
                if let Err(first) = visit(&client, &name)
                    && let Err(second) = visit(&client, &name)
                {
                    failures.push((first, second));
                }
            }
            (visits, failures)
        });
        let updated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lab.up(&stack("2"));
            steady_with(&lab, "web", 2)
        }));
        done.store(true, Ordering::Relaxed);
        let (visits, failures) = visitor.join().unwrap();
        let after = updated.unwrap();
        assert!(after.iter().all(|t| !before.contains(t)), "every task is replaced: {after:?}");
        assert!(visits > 20, "{visits}");
        assert!(failures.is_empty(), "{} of {visits} visits failed: {failures:?}", failures.len());
    });
    let views = lab.all_tasks();
    let revision = |id: &str| {
        let view = views.iter().find(|t| t["ecsnet"]["taskId"] == id).unwrap();
        view["taskDefinitionArn"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    };
    assert_eq!(revision(&before[0].id), "1");
    assert_eq!(revision(&lab.running("web")[0].id), "2");
    assert_eq!(lab.one("client"), client, "what did not change stays");

    // New tasks first, old ones go when these are healthy.
    let events = lab.ok(&["events"]);
    let position = |words: &str| events.rfind(words).unwrap_or_else(|| panic!("{words}: {events}"));
    let started = position("(service web) has started 2 tasks");
    assert!(started < position("(service web) has stopped"), "{events}");
    assert!(started < position("deployment completed."), "{events}");
    lab.down();
}
