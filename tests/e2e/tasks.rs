//! Life and death of a task's containers (reference 2.3–2.10).

use std::process::Command;

use e2e::definition::{busybox, checked_by_a_file, run, shell, task, waiter, waiting, with};
use e2e::eventually::eventually;
use e2e::lab::Lab;
use e2e::registry::Registry;
use serde_json::{Value, json};

/// The first task of a service that has STOPPED.
fn stopped(lab: &Lab, service: &str) -> Value {
    eventually(&format!("a task of {service} has STOPPED"), || {
        let tasks = lab.all_tasks();
        let found = tasks.iter().find(|t| t["ecsnet"]["service"] == service && t["lastStatus"] == "STOPPED");
        found.cloned().ok_or(tasks)
    })
}

fn container<'a>(task: &'a Value, name: &str) -> &'a Value {
    task["containers"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap()
}

#[test]
fn a_task_that_cannot_run_says_why_as_ecs_does_and_the_rest_goes_on() {
    let lab = Lab::new();
    let side = with(shell("side", "exit 5"), json!({ "essential": false }));
    let no_command = with(waiting("app"), json!({ "entryPoint": ["/no/such/command"] }));
    let no_image = with(waiting("app"), json!({ "image": "127.0.0.1:1/no/such:image" }));
    let stack = format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  exits: {{ taskDefinition: {} }}
  no-command: {{ taskDefinition: {} }}
  no-image: {{ taskDefinition: {} }}
  fine: {{ taskDefinition: {} }}
",
        task("exits", &[shell("app", "echo last words; exit 3"), waiting("other")]),
        task("no-command", &[no_command]),
        task("no-image", &[no_image]),
        task("fine", &[waiting("app"), side]),
    );
    let path = lab.write("stack.yaml", &stack.replace("{name}", &lab.stack));
    let path = path.to_str().unwrap();
    lab.ok(&["up", path, "--no-wait"]);

    let task = stopped(&lab, "exits");
    assert_eq!(task["stopCode"], "EssentialContainerExited", "{task:#}");
    assert_eq!(task["stoppedReason"], "Essential container in task exited");
    assert_eq!(container(&task, "app")["exitCode"], 3);
    assert_eq!(task["desiredStatus"], "STOPPED");
    // Its container is gone, what it wrote is not.
    let logs = lab.ok(&["logs", task["ecsnet"]["taskId"].as_str().unwrap()]);
    assert!(logs.contains("last words"), "{logs}");

    let task = stopped(&lab, "no-command");
    assert_eq!(task["stopCode"], "TaskFailedToStart", "{task:#}");
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("CannotStartContainerError: Error response from daemon: "), "{reason}");
    assert!(reason.contains("/no/such/command"), "{reason}");

    let task = stopped(&lab, "no-image");
    assert_eq!(task["stopCode"], "TaskFailedToStart", "{task:#}");
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("CannotPullContainerError: Error response from daemon: "), "{reason}");
    assert!(reason.contains("connection refused"), "Docker's own words: {reason}");
    assert_eq!(container(&task, "app").get("exitCode"), None, "it never ran");

    eventually("the rest is steady", || {
        let events = lab.ok(&["events"]);
        if events.contains("(service fine) has reached a steady state.") { Ok(()) } else { Err(events) }
    });
    let fine = lab.tasks().into_iter().find(|t| t["ecsnet"]["service"] == "fine").unwrap();
    assert_eq!(container(&fine, "side")["exitCode"], 5, "a container that is not essential may end");
    let answer = lab.run(&["up", path, "--timeout", "1s"]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    for words in ["CannotPullContainerError", "CannotStartContainerError", "exited with code 3"] {
        assert!(answer.stderr.contains(words), "{words}: {answer:#?}");
    }
    lab.down();
}

#[test]
fn containers_wait_for_what_they_depend_on() {
    let lab = Lab::new();
    let init = |script: &str| with(shell("init", script), json!({ "essential": false }));
    let checked = with(
        shell("db", "trap 'exit 0' TERM; touch /tmp/healthy; sleep 100000 & wait"),
        json!({ "healthCheck": checked_by_a_file() }),
    );
    let needs = |what: &[(&str, &str)]| -> Value {
        what.iter().map(|(name, condition)| json!({ "containerName": name, "condition": condition })).collect()
    };
    let app = with(waiting("app"), json!({ "dependsOn": needs(&[("init", "SUCCESS"), ("db", "HEALTHY")]) }));
    let starved = with(waiting("app"), json!({ "dependsOn": needs(&[("init", "SUCCESS")]) }));
    let stack = format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  good: {{ taskDefinition: {} }}
  bad: {{ taskDefinition: {} }}
",
        task("good", &[app, init("sleep 1"), checked]),
        task("bad", &[starved, init("exit 9")]),
    );
    let path = lab.write("stack.yaml", &stack.replace("{name}", &lab.stack));
    lab.ok(&["up", path.to_str().unwrap(), "--no-wait"]);

    let bad = stopped(&lab, "bad");
    assert_eq!(container(&bad, "init")["exitCode"], 9);
    assert_eq!(container(&bad, "app")["exitCode"], 143, "{bad:#}");
    let reason = container(&bad, "app")["reason"].as_str().unwrap();
    assert!(reason.contains("init") && reason.contains("exit code 9"), "{reason}");

    let good =
        eventually("every condition holds", || lab.running("good").into_iter().next().ok_or_else(|| lab.tasks()));
    let at = |name: &str, field: &str| {
        let container = lab.containers().into_iter().find(|c| c.ends_with(&format!("{}.{name}", good.id))).unwrap();
        run(Command::new("docker").args(["inspect", "--format", &format!("{{{{.State.{field}}}}}"), &container]))
    };
    // Docker's times have one form, so they sort as text.
    assert!(at("app", "StartedAt") > at("init", "FinishedAt"), "SUCCESS");
    let tasks = lab.tasks();
    let task = tasks.iter().find(|t| t["ecsnet"]["taskId"] == good.id.as_str()).unwrap();
    assert_eq!(container(task, "db")["healthStatus"], "HEALTHY");
    assert_eq!(container(task, "init")["exitCode"], 0);
    lab.down();
}

#[test]
fn a_container_gets_its_environment_user_and_directory_and_is_killed_when_it_does_not_stop() {
    let lab = Lab::new();
    let app = with(
        waiting("app"),
        json!({ "environment": [{ "name": "GREETING", "value": "a b=c" }], "user": "1234:5678", "workingDirectory": "/tmp" }),
    );
    let deaf = with(shell("app", "trap '' TERM; sleep 100000 & wait"), json!({ "stopTimeout": 2 }));
    lab.up(&format!(
        "name: {{name}}
region: eu-west-1
launchType: FARGATE
vpc: {{ internet: false }}
services:
  env: {{ taskDefinition: {} }}
  deaf: {{ taskDefinition: {} }}
",
        task("env", &[app]),
        task("deaf", &[deaf])
    ));
    let shell = |script: &str| lab.ok(&["exec", "env", "--", "/bin/sh", "-c", script]);
    assert_eq!(shell("echo $GREETING; pwd; id -u; id -g"), "a b=c\n/tmp\n1234\n5678\n");
    assert_eq!(shell("echo $AWS_REGION $AWS_EXECUTION_ENV"), "eu-west-1 AWS_ECS_FARGATE\n");
    lab.ok(&["scale", "env=0", "deaf=0"]);
    assert_eq!(container(&stopped(&lab, "env"), "app")["exitCode"], 0);
    let deaf = stopped(&lab, "deaf");
    assert_eq!(container(&deaf, "app")["exitCode"], 137);
    assert_eq!(deaf["stopCode"], "ServiceSchedulerInitiated");
    let reason = deaf["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("Scaling activity initiated by (deployment ecs-svc/"), "{reason}");
    lab.down();
}

#[test]
fn how_a_container_ended_is_in_its_exit_code_and_reason() {
    let lab = Lab::new();
    let side = |name: &str, script: &str| with(shell(name, script), json!({ "essential": false }));
    // Process 1 hears no signal that it does not handle, so an init is process 1.
    let by_signal = |name: &str, signal: &str| {
        let init = json!({ "linuxParameters": { "initProcessEnabled": true } });
        with(side(name, &format!("kill -{signal} $$; sleep 100000")), init)
    };
    // Docker sees no want of memory in a container's first moments.
    let hungry = "sleep 2; exec /bin/busybox tail -c 100000000 /dev/zero";
    let hungry = with(side("hungry", hungry), json!({ "memory": 8 }));
    let containers = [
        waiting("app"),
        side("none", "true"),
        side("own", "exit 3"),
        side("not-executable", "/etc"),
        side("not-found", "/no/such/command"),
        by_signal("term", "TERM"),
        by_signal("segv", "SEGV"),
        by_signal("kill", "KILL"),
        hungry,
    ];
    lab.up(&format!(
        "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n  web: {{ taskDefinition: {} }}\n",
        task("web", &containers)
    ));
    let expected = [
        ("none", 0),
        ("own", 3),
        ("not-executable", 126),
        ("not-found", 127),
        ("term", 143),
        ("segv", 139),
        ("kill", 137),
        ("hungry", 137),
    ];
    let ended = eventually("all of them have ended", || {
        let tasks = lab.tasks();
        let over = expected.iter().all(|(name, _)| container(&tasks[0], name)["lastStatus"] == "STOPPED");
        if over { Ok(tasks[0].clone()) } else { Err(tasks) }
    });
    for (name, code) in expected {
        assert_eq!(container(&ended, name)["exitCode"], code, "{name}");
    }
    // Docker may tell why after it told the end.
    eventually("the hungry one says why", || {
        let hungry = container(&lab.tasks()[0], "hungry").clone();
        let says = hungry["reason"] == "OutOfMemoryError: Container killed due to memory usage";
        if says { Ok(()) } else { Err(hungry) }
    });
    assert_eq!((&ended["lastStatus"], &container(&ended, "app")["lastStatus"]), (&json!("RUNNING"), &json!("RUNNING")));
    lab.down();
}

#[test]
fn a_task_whose_check_fails_is_replaced() {
    let lab = Lab::new();
    let app = with(
        shell("app", "trap 'exit 0' TERM; touch /tmp/healthy; sleep 100000 & wait"),
        json!({ "healthCheck": checked_by_a_file() }),
    );
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {} }}
",
        task("web", &[app])
    ));
    let sick = lab.one("web");
    lab.ok(&["exec", "web", "--", "/bin/rm", "/tmp/healthy"]);
    let gone = stopped(&lab, "web");
    assert_eq!(gone["ecsnet"]["taskId"], sick.id.as_str());
    assert_eq!(gone["stoppedReason"], "Task failed container health checks");
    assert_eq!(gone["stopCode"], "ServiceSchedulerInitiated");
    let events = lab.ok(&["events"]);
    assert!(events.contains(&format!("(service web) (task {}) failed container health checks.", sick.id)), "{events}");
    let fresh = eventually("its replacement runs", || lab.running("web").into_iter().next().ok_or_else(|| lab.tasks()));
    assert_ne!((&fresh.id, &fresh.address), (&sick.id, &sick.address));
    lab.down();
}

#[test]
fn an_image_that_is_missing_is_pulled_from_its_registry() {
    let lab = Lab::new();
    let registry = Registry::start(&lab, None);
    let image = format!("{}/{}/app:1", registry.address, lab.stack);
    let docker = |words: &[&str]| run(Command::new("docker").args(words));
    docker(&["tag", busybox(), &image]);
    docker(&["push", &image]);
    docker(&["rmi", &image]);
    let app = with(waiting("app"), json!({ "image": image }));
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  pulled: {{ taskDefinition: {} }}
  local: {{ taskDefinition: {} }}
",
        task("pulled", &[app]),
        waiter("local")
    ));
    lab.one("pulled");
    lab.down();
    docker(&["rmi", &image]);
}
