//! What a task is told at 169.254.170.2 in each network mode, and what no other is told (reference 2.6, 9.1–9.4).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use e2e::definition::{run, shell, waiting, with};
use e2e::eventually::eventually;
use e2e::lab::{Lab, Task};
use e2e::metadata::{Answered, ask, environment, get, path};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/orders";

fn definition(family: &str, role: Option<&str>, containers: &[Value]) -> String {
    let mut definition = json!({ "family": family, "containerDefinitions": containers });
    if let Some(role) = role {
        definition["taskRoleArn"] = json!(role);
    }
    definition.to_string()
}

/// A container that waits behind a port.
fn behind_a_port(name: &str) -> Value {
    with(waiting(name), json!({ "portMappings": [{ "containerPort": 8080 }] }))
}

/// What one mode's task is told.
struct Told {
    task: Task,
    /// The task's document, of version 4.
    document: Value,
    /// As DescribeTasks has it.
    shown: Value,
}

impl Told {
    fn of(lab: &Lab, service: &str) -> Self {
        let task = lab.one(service);
        let shown = lab.tasks().into_iter().find(|t| t["ecsnet"]["taskId"] == task.id.as_str()).expect("it is there");
        let at = format!("{}/task", path(lab, &task, Some("app")));
        // What was observed last is published in a turn of its own.
        let document = eventually("its document says that it runs", || {
            let document = get(&task, &at).json(200);
            let settled = document["KnownStatus"] == "RUNNING" && document["Containers"][0]["StartedAt"].is_string();
            if settled { Ok(document) } else { Err(document) }
        });
        Self { task, document, shown }
    }

    fn container(&self, name: &str) -> &Value {
        let mut containers = self.document["Containers"].as_array().expect("containers").iter();
        containers.find(|c| c["Name"] == name).expect("the container")
    }

    /// What is the same in every mode: the task, its containers, and nothing of another's.
    fn is_its_own(&self, lab: &Lab, service: &str) {
        let Self { task, document, shown } = self;
        assert_eq!(document["TaskARN"], shown["taskArn"]);
        assert_eq!((&document["Family"], &document["Revision"]), (&json!(service), &json!("1")));
        assert_eq!((&document["ServiceName"], &document["LaunchType"]), (&json!(service), &json!("EC2")));
        assert_eq!(document["Cluster"], lab.stack.as_str());
        assert_eq!(document["AvailabilityZone"], task.zone.as_str());
        assert_eq!(document["FaultInjectionEnabled"], false);
        for of_task in shown["containers"].as_array().expect("containers") {
            let told = self.container(of_task["name"].as_str().expect("a name"));
            assert_eq!(told["DockerId"], of_task["runtimeId"]);
            assert_eq!((&told["KnownStatus"], &told["Type"]), (&json!("RUNNING"), &json!("NORMAL")));
            assert_eq!(told["Limits"], json!({ "CPU": 2, "Memory": 64 }));
            assert!(told["ImageID"].as_str().is_some_and(|id| id.starts_with("sha256:")), "{told}");
            let labels = &told["Labels"];
            assert_eq!(labels["com.amazonaws.ecs.task-arn"], shown["taskArn"]);
            assert_eq!(labels["com.amazonaws.ecs.container-name"], of_task["name"]);
            assert_eq!(labels["com.amazonaws.ecs.task-definition-family"], service);
            let arn = told["ContainerARN"].as_str().expect("an ARN");
            assert!(arn.contains(&format!(":container/{}/{}/", lab.stack, task.id)), "{arn}");
        }
    }
}

#[test]
fn a_task_is_told_of_itself_in_each_mode_and_one_in_none_cannot_ask() {
    let lab = Lab::new();
    let two = [behind_a_port("app"), waiting("side")];
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  own: {{ taskDefinition: {}, networkMode: awsvpc }}
  shared: {{ taskDefinition: {}, networkMode: bridge }}
  front: {{ taskDefinition: {}, networkMode: host }}
  alone: {{ taskDefinition: {}, networkMode: none }}
",
        definition("own", None, &two),
        definition("shared", None, &two),
        definition("front", None, &two),
        definition("alone", None, &[waiting("app")]),
    ));
    let own = Told::of(&lab, "own");
    own.is_its_own(&lab, "own");
    let eth0 = &own.container("app")["Networks"][0];
    let details = own.shown["attachments"][0]["details"].as_array().unwrap();
    let detail = |name: &str| &details.iter().find(|d| d["name"] == name).unwrap()["value"];
    assert_eq!(
        (&eth0["NetworkMode"], &eth0["IPv4Addresses"], &eth0["AttachmentIndex"]),
        (&json!("awsvpc"), &json!([own.task.address]), &json!(0))
    );
    assert_eq!((&eth0["MACAddress"], &eth0["PrivateDNSName"]), (detail("macAddress"), detail("privateDnsName")));
    let link = e2e::probe::command(&own.task, "ip", &["-o", "link", "show", "eth0"]).1;
    assert!(link.contains(eth0["MACAddress"].as_str().unwrap()), "{link}");
    let (base, _) = own.task.address.rsplit_once('.').unwrap();
    assert_eq!(eth0["IPv4SubnetCIDRBlock"], format!("{base}.0/24"));
    assert_eq!(eth0["SubnetGatewayIpv4Address"], format!("{base}.1/24"));
    assert_eq!(eth0["DomainNameServers"], json!(["10.0.0.2"]));
    let ports = |port: u16| json!([{ "ContainerPort": 8080, "Protocol": "tcp", "HostPort": port }]);
    assert_eq!(own.container("app")["Ports"], ports(8080));
    assert_eq!(own.container("~internal~ecs~pause")["Type"], "CNI_PAUSE");

    let shared = Told::of(&lab, "shared");
    shared.is_its_own(&lab, "shared");
    for name in ["app", "side"] {
        let address = lab.ok(&["exec", "shared", "-c", name, "--", "/bin/ip", "-4", "-o", "address", "show", "eth0"]);
        let networks = &shared.container(name)["Networks"];
        let told = networks[0]["IPv4Addresses"][0].as_str().unwrap();
        assert!(address.contains(&format!(" {told}/16 ")), "{address} {told}");
        assert_eq!(networks, &json!([{ "NetworkMode": "bridge", "IPv4Addresses": [told] }]));
    }
    let mut published = ports(shared.task.host_ports[0]);
    published[0]["HostIp"] = json!("0.0.0.0");
    assert_eq!(shared.container("app")["Ports"], published);

    let front = Told::of(&lab, "front");
    front.is_its_own(&lab, "front");
    assert_eq!(front.container("side")["Networks"], json!([{ "NetworkMode": "host" }]));
    assert_eq!(front.container("app")["Ports"], ports(8080));

    for told in [&own, &shared, &front] {
        every_path_answers(&lab, told);
    }
    // Version 2 knows a task by its address, which in bridge and host mode is an instance's.
    let by_address = get(&own.task, "/v2/metadata").json(200);
    assert_eq!(by_address["TaskARN"], own.shown["taskArn"]);
    assert_eq!(get(&own.task, "/v2/stats").status, 200);
    for told in [&shared, &front] {
        assert_eq!(get(&told.task, "/v2/metadata").status, 400);
    }
    let alone = lab.one("alone");
    let nobody = path(&lab, &alone, None);
    assert!(ask(&alone, "GET", &nobody, "").is_err(), "nothing but loopback");
    lab.down();
}

/// The paths of versions 3 and 4, each of the two containers with an id of its own that is not Docker's.
fn every_path_answers(lab: &Lab, told: &Told) {
    let task = &told.task;
    let mut ids = BTreeSet::new();
    for name in ["app", "side"] {
        let variables = environment(lab, task, Some(name));
        let id = variables["ECS_AGENT_URI"].strip_prefix("http://169.254.170.2/api/").unwrap().to_owned();
        assert_eq!(variables["ECS_CONTAINER_METADATA_URI"], format!("http://169.254.170.2/v3/{id}"));
        assert_eq!(variables["ECS_CONTAINER_METADATA_URI_V4"], format!("http://169.254.170.2/v4/{id}"));
        assert_eq!(variables["AWS_EXECUTION_ENV"], "AWS_ECS_EC2");
        assert_eq!([&variables["AWS_REGION"], &variables["AWS_DEFAULT_REGION"]], ["us-east-1", "us-east-1"]);
        assert!(!variables.contains_key("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), "there is no role");
        assert_ne!(told.container(name)["DockerId"], id.as_str());
        ids.insert(id.clone());

        // As the container itself asks.
        let script = "/bin/busybox wget -q -O - $ECS_CONTAINER_METADATA_URI_V4";
        let own = lab.ok(&["exec", &task.id, "-c", name, "--", "/bin/sh", "-c", script]);
        assert_eq!(&serde_json::from_str::<Value>(&own).unwrap(), told.container(name));
        let third = get(task, &format!("/v3/{id}")).json(200);
        assert_eq!(third["DockerId"], told.container(name)["DockerId"]);
        let networks = third["Networks"][0].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
        assert!(networks.iter().all(|n| ["NetworkMode", "IPv4Addresses"].contains(n)), "{networks:?}");
        assert_eq!(get(task, &format!("/v3/{id}/task")).json(200)["TaskARN"], told.shown["taskArn"]);
        assert_eq!(get(task, &format!("/v4/{id}/taskWithTags")).json(200), told.document);
        let stats = get(task, &format!("/v4/{id}/stats")).json(200);
        assert_eq!(stats["id"], told.container(name)["DockerId"]);
        assert!(stats["memory_stats"]["usage"].is_u64(), "{stats}");
        let of_task = get(task, &format!("/v4/{id}/task/stats")).json(200);
        let docker_id = told.container(name)["DockerId"].as_str().unwrap();
        assert_eq!(of_task[docker_id]["id"], docker_id);
    }
    assert_eq!(ids.len(), 2, "each container has its own");
}

#[test]
fn a_task_learns_nothing_of_another_and_an_unknown_id_is_nobody() {
    let lab = Lab::new();
    let services = |modes: &[&str]| -> String {
        let of = |mode: &&str| {
            let definition = definition(mode, Some(ROLE), &[behind_a_port("app")]);
            format!("  {mode}: {{ taskDefinition: {definition}, networkMode: {mode}, desiredCount: 2 }}\n")
        };
        modes.iter().map(of).collect()
    };
    // One instance: the two tasks in bridge mode ask the same front.
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
capacity: [ {{ name: one, cpu: 2048, memory: 2048, zones: [a] }} ]
services:
{}",
        services(&["awsvpc", "bridge"])
    ));
    for mode in ["awsvpc", "bridge"] {
        let [one, two] = lab.running(mode).try_into().expect("two tasks");
        let (of_one, of_two) = (environment(&lab, &one, None), environment(&lab, &two, None));
        let id = |of: &BTreeMap<String, String>| of["ECS_AGENT_URI"].rsplit_once('/').unwrap().1.to_owned();
        let (one_s, two_s) = (id(&of_one), id(&of_two));
        assert_eq!(get(&one, &format!("/v4/{one_s}")).status, 200);
        for unknown in ["nope", &two_s] {
            // Word for word the same, so that it cannot be told which ids there are.
            let words = |answered: Answered| answered.body.replace(unknown, "ID");
            for path in ["", "/task", "/taskWithTags", "/stats", "/task/stats"] {
                let answered = get(&one, &format!("/v4/{unknown}{path}"));
                assert_eq!(answered.status, 404, "{mode} {path}: {answered:?}");
                assert_eq!(words(answered), words(get(&one, &format!("/v4/ID{path}"))));
            }
            assert_eq!(get(&one, &format!("/v3/{unknown}/task")).status, 404);
            let protection = format!("/api/{unknown}/task-protection/v1/state");
            assert_eq!(ask(&one, "PUT", &protection, r#"{"ProtectionEnabled":true}"#).unwrap().status, 404);
        }
        let keys = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
        assert_eq!(get(&one, &of_one[keys]).status, 200);
        let refused = get(&one, &of_two[keys]).json(400);
        assert_eq!(refused["code"], "InvalidIdInRequest");
    }
    lab.down();
}

#[test]
fn the_first_thing_that_a_container_does_is_answered() {
    let lab = Lab::new();
    // A log's last line is kept when it is whole.
    let script =
        "/bin/busybox wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task; echo; trap 'exit 0' TERM; sleep 100000 & wait";
    let service = |mode: &str, count: u32| {
        let definition = definition(mode, None, &[shell("app", script)]);
        format!("  in-{mode}: {{ taskDefinition: {definition}, networkMode: {mode}, desiredCount: {count} }}\n")
    };
    lab.up(&format!(
        "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n{}{}{}",
        service("awsvpc", 3),
        service("bridge", 3),
        service("host", 2)
    ));
    for mode in ["awsvpc", "bridge", "host"] {
        for task in lab.running(&format!("in-{mode}")) {
            let said = lab.ok(&["logs", &task.id]);
            let document: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{mode}: {said:?}"));
            assert!(document["TaskARN"].as_str().unwrap().ends_with(&task.id), "{document}");
            // Programs read it first of all, and once.
            let own = &document["Containers"][0]["DockerId"];
            assert_eq!(own.as_str().map(str::len), Some(64), "{document}");
        }
    }
    lab.down();
}

#[test]
fn metadata_and_keys_are_answered_while_the_agent_is_dead_and_statistics_are_not() {
    let mut lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  own: {{ taskDefinition: {}, networkMode: awsvpc }}
  shared: {{ taskDefinition: {}, networkMode: bridge }}
",
        definition("own", Some(ROLE), &[behind_a_port("app")]),
        definition("shared", Some(ROLE), &[behind_a_port("app")]),
    ));
    let asking = ["own", "shared"].map(|service| {
        let task = lab.one(service);
        let keys = environment(&lab, &task, None)["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"].clone();
        let at = path(&lab, &task, None);
        (task, at, keys)
    });
    for (task, at, _) in &asking {
        assert_eq!(get(task, &format!("{at}/stats")).status, 200);
    }
    lab.kill_agent();
    for (task, at, keys) in &asking {
        let document = get(task, &format!("{at}/task")).json(200);
        assert!(document["TaskARN"].as_str().unwrap().ends_with(&task.id));
        assert_eq!(get(task, keys).json(200)["RoleArn"], ROLE);
        assert_eq!(get(task, &format!("{at}/stats")).status, 503);
        assert_eq!(get(task, &format!("{at}/task/stats")).status, 503);
        let protection = at.replace("/v4/", "/api/") + "/task-protection/v1/state";
        assert_eq!(get(task, &protection).json(503)["error"]["Code"], "ServerException");
    }
    lab.start_agent();
    for (task, at, _) in &asking {
        eventually("statistics are back", || match get(task, &format!("{at}/stats")) {
            answered if answered.status == 200 => Ok(()),
            other => Err(other),
        });
    }
    // Who answers dies itself: an instance's front, and the resolver, which is its VPC's.
    for name in lab.containers().iter().filter(|name| name.contains("-front.") || name.ends_with("-resolver")) {
        run(Command::new("docker").args(["kill", name]));
    }
    for (task, at, _) in &asking {
        eventually("metadata is back", || match ask(task, "GET", at, "") {
            Ok(answered) if answered.status == 200 => Ok(()),
            other => Err(other),
        });
        let now = lab.running(if task.mode == "awsvpc" { "own" } else { "shared" });
        assert!(now.iter().any(|t| t.id == task.id), "the task has not noticed: {now:#?}");
    }
    lab.down();
}

#[test]
fn a_role_has_keys_those_of_a_profile_where_the_stack_names_one_and_they_are_shown_nowhere() {
    let mut lab = Lab::without_agent();
    let file = lab.write(
        "credentials",
        "[local]\naws_access_key_id = AKIAE2EPROFILE\naws_secret_access_key = s3cret-of-e2e\naws_session_token = t0ken-of-e2e\n",
    );
    lab.set("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string());
    lab.start_agent();
    let stack = |profile: &str| {
        format!(
            "name: {{name}}
vpc: {{ internet: false }}
{profile}services:
  own: {{ taskDefinition: {}, networkMode: awsvpc }}
  shared: {{ taskDefinition: {}, networkMode: bridge }}
  plain: {{ taskDefinition: {}, networkMode: bridge }}
",
            definition("own", Some(ROLE), &[waiting("app")]),
            definition("shared", Some(ROLE), &[waiting("app")]),
            definition("plain", None, &[waiting("app")]),
        )
    };
    let keys = |service: &str| {
        let task = lab.one(service);
        let at = environment(&lab, &task, None)["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"].clone();
        (get(&task, &at).json(200), get(&task, &at.replace("/v2/credentials/", "/v1/credentials?id=")).json(200))
    };
    lab.up(&stack(""));
    for service in ["own", "shared"] {
        let (second, first) = keys(service);
        assert_eq!(second, first);
        assert_eq!(second["RoleArn"], ROLE);
        assert!(second["AccessKeyId"].as_str().unwrap().starts_with("ASIA"), "{second}");
        let end: jiff::Timestamp = second["Expiration"].as_str().unwrap().parse().unwrap();
        let hours = (end - jiff::Timestamp::now()).as_secs_f64() / 3600.0;
        assert!((4.9..=6.0).contains(&hours), "{hours}");
    }
    assert!(!environment(&lab, &lab.one("plain"), None).contains_key("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"));

    let before = lab.one("own").id;
    lab.up(&stack("credentials: { profile: local }\n"));
    for service in ["own", "shared"] {
        let of_profile = eventually("the profile's keys are served", || match keys(service).0 {
            keys if keys["AccessKeyId"] == "AKIAE2EPROFILE" => Ok(keys),
            others => Err(others),
        });
        assert_eq!(of_profile["SecretAccessKey"], "s3cret-of-e2e");
        assert_eq!(of_profile["Token"], "t0ken-of-e2e");
    }
    assert_eq!(lab.one("own").id, before, "keys are no reason to replace a task");
    let mut everything = lab.agent_log();
    for name in lab.containers() {
        everything += &run(Command::new("docker").args(["inspect", &name]));
    }
    for (kind, id) in [("stack", lab.stack.clone()), ("task", before), ("service", "own".to_owned())] {
        everything += &lab.ok(&["inspect", kind, &id, "--output", "json"]);
    }
    everything += &lab.ok(&["events"]);
    everything += &lab.ok(&["ps", "--output", "json"]);
    for secret in ["s3cret-of-e2e", "t0ken-of-e2e"] {
        assert!(!everything.contains(secret), "{secret} is shown");
    }
    lab.down();
}

#[test]
fn botocore_finds_the_keys_of_a_role_as_on_aws() {
    let python = "/usr/bin/python3";
    let there = Command::new(python).args(["-c", "import botocore"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no botocore; `apt-get install python3-botocore` brings it");
        return;
    }
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  own: {{ taskDefinition: {}, networkMode: awsvpc }}
  shared: {{ taskDefinition: {}, networkMode: bridge }}
",
        definition("own", Some(ROLE), &[waiting("app")]),
        definition("shared", Some(ROLE), &[waiting("app")]),
    ));
    // The chain that every client of botocore and boto3 looks through, with nothing set but what the container has.
    let script = "import botocore.session as s; c = s.Session().get_credentials(); k = c.get_frozen_credentials(); \
                  print(c.method, k.access_key, bool(k.secret_key), bool(k.token), c.refresh_needed())";
    for service in ["own", "shared"] {
        let task = lab.one(service);
        let variables = environment(&lab, &task, None);
        let set = |name: &str| format!("{name}={}", variables[name]);
        let (uri, region) = (set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), set("AWS_DEFAULT_REGION"));
        let words = ["-i", "HOME=/nonexistent", "AWS_EC2_METADATA_DISABLED=true", &uri, &region, python, "-c", script];
        let (code, said) = e2e::probe::command(&task, "/usr/bin/env", &words);
        assert_eq!((code, said.trim()), (0, "container-role ASIAECSNETLOCAL00000 True True False"), "{service}");
    }
    lab.down();
}
