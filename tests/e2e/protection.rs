//! Task protection, asked for from inside a task (reference 3.11, 9.5).

use e2e::definition::{waiting, with};
use e2e::eventually::eventually;
use e2e::lab::{Lab, Task};
use e2e::metadata::{Answered, ask, path};
use serde_json::{Value, json};

fn stack(mode: &str, role: bool, variable: &str) -> String {
    let app = with(waiting("app"), json!({ "environment": [{ "name": "RELEASE", "value": variable }] }));
    let mut definition = json!({ "family": "web", "containerDefinitions": [app] });
    if role {
        definition["taskRoleArn"] = json!("arn:aws:iam::123456789012:role/web");
    }
    format!(
        "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n  web: {{ taskDefinition: {definition}, networkMode: {mode}, desiredCount: 2 }}\n"
    )
}

fn asked(lab: &Lab, task: &Task, method: &str, body: &str) -> Answered {
    let at = path(lab, task, None).replace("/v4/", "/api/") + "/task-protection/v1/state";
    ask(task, method, &at, body).expect("an answer")
}

fn statuses(lab: &Lab) -> Vec<(Value, Value)> {
    lab.tasks().iter().map(|t| (t["ecsnet"]["taskId"].clone(), t["lastStatus"].clone())).collect()
}

fn only(lab: &Lab, ids: &[&str]) {
    eventually("only these are left", || {
        let tasks = statuses(lab);
        let done = tasks.len() == ids.len() && tasks.iter().all(|(id, _)| ids.iter().any(|own| id == own));
        if done { Ok(()) } else { Err(tasks) }
    });
}

fn outlives(mode: &str) {
    let mut lab = Lab::new();
    lab.up(&stack(mode, true, "1"));
    let [one, two] = lab.running("web").try_into().expect("two tasks");
    let state = asked(&lab, &one, "GET", "").json(200);
    assert_eq!(state["protection"]["ProtectionEnabled"], false);
    assert_eq!(asked(&lab, &one, "PUT", r#"{"ExpiresInMinutes":5}"#).status, 400);

    let before = jiff::Timestamp::now();
    let on = asked(&lab, &one, "PUT", r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#).json(200);
    assert_eq!(on["protection"]["ProtectionEnabled"], true);
    assert!(on["protection"]["TaskArn"].as_str().unwrap().ends_with(&one.id));
    let end: jiff::Timestamp = on["protection"]["ExpirationDate"].as_str().unwrap().parse().unwrap();
    let minutes = (end - before).as_secs_f64() / 60.0;
    assert!((59.9..60.5).contains(&minutes), "{minutes}");

    // Scale in takes the other one; the protected one outlives the agent too.
    lab.ok(&["scale", "web=0"]);
    only(&lab, &[&one.id]);
    lab.kill_agent();
    lab.start_agent();
    let kept = eventually("the new agent answers", || match asked(&lab, &one, "GET", "") {
        answered if answered.status == 200 => Ok(answered.json(200)),
        others => Err(others),
    });
    assert_eq!(kept, on);

    // A deployment brings its own beside it.
    let file = lab.write("next.yaml", &stack(mode, true, "2").replace("{name}", &lab.stack));
    lab.ok(&["up", file.to_str().unwrap(), "--no-wait"]);
    eventually("the deployment's tasks run beside it", || {
        let running = lab.running("web");
        let new = running.iter().filter(|t| ![&one.id, &two.id].contains(&&t.id)).count();
        if new >= 1 && running.iter().any(|t| t.id == one.id) { Ok(()) } else { Err(statuses(&lab)) }
    });

    // StopTask does not ask.
    lab.ok(&["stop", &one.id]);
    eventually("it stops", || {
        if lab.running("web").iter().any(|t| t.id == one.id) { Err(statuses(&lab)) } else { Ok(()) }
    });
    let rest = eventually("the deployment is complete", || {
        let running = lab.running("web");
        if running.len() == 2 && lab.tasks().len() == 2 { Ok(running) } else { Err(statuses(&lab)) }
    });

    // Protection that is taken back, and then the scale in that waited for it.
    asked(&lab, &rest[0], "PUT", r#"{"ProtectionEnabled":true}"#).json(200);
    lab.ok(&["scale", "web=0"]);
    only(&lab, &[&rest[0].id]);
    let off = asked(&lab, &rest[0], "PUT", r#"{"ProtectionEnabled":false}"#).json(200);
    assert_eq!(off["protection"]["ExpirationDate"], Value::Null);
    only(&lab, &[]);
    lab.down();
}

#[test]
fn a_protected_task_outlives_scale_in_and_deployments_and_not_a_stop() {
    outlives("awsvpc");
}

#[test]
fn a_protected_task_on_an_instance_outlives_them_too() {
    outlives("bridge");
}

#[test]
fn without_a_role_there_is_no_protection() {
    let lab = Lab::new();
    lab.up(&stack("bridge", false, "1"));
    let task = lab.running("web").swap_remove(0);
    let refused = asked(&lab, &task, "PUT", r#"{"ProtectionEnabled":true}"#).json(403);
    assert_eq!(refused["error"]["Code"], "AccessDeniedException");
    lab.down();
}
