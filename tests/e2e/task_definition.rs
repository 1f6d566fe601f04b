//! What a task definition says is so inside its containers, and goes with the task (reference 2.1, 2.2, 2.4, 2.5, 2.9).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use e2e::definition::{busybox, run, shell, waiting, with};
use e2e::eventually::eventually;
use e2e::lab::Lab;
use serde_json::{Value, json};

/// A definition with more fields than its containers.
fn task(family: &str, containers: &[Value], more: Value) -> String {
    with(json!({ "family": family, "networkMode": "awsvpc", "containerDefinitions": containers }), more).to_string()
}

/// A stack of one service `app`.
fn stack(definition: &str, more: &str) -> String {
    format!("name: {{name}}\nvpc: {{ internet: false }}\nservices:\n  app: {{ taskDefinition: {definition} }}\n{more}")
}

/// What a script prints inside of a container.
fn inside(lab: &Lab, container: &str, script: &str) -> String {
    lab.ok(&["exec", "app", "-c", container, "--", "/bin/sh", "-c", script]).trim_end().to_owned()
}

fn docker(arguments: &[&str]) -> String {
    run(Command::new("docker").args(arguments)).trim_end().to_owned()
}

/// Docker's name of the running task's container.
fn docker_name(lab: &Lab, container: &str) -> String {
    let task = lab.one("app");
    let suffix = format!("{}.{container}", task.id);
    lab.containers().into_iter().find(|name| name.ends_with(&suffix)).expect("it is there")
}

/// A container of the newest task, as DescribeTasks shows it.
fn shown(lab: &Lab, container: &str) -> Value {
    let tasks = lab.all_tasks();
    let containers = tasks.last().and_then(|t| t["containers"].as_array().cloned()).unwrap_or_default();
    containers.into_iter().find(|c| c["name"] == container).unwrap_or_default()
}

#[test]
fn what_linux_has_is_as_the_definition_says() {
    let lab = Lab::new();
    let app = with(
        waiting("app"),
        json!({
            "ulimits": [{ "name": "nproc", "softLimit": 1000, "hardLimit": 2000 }],
            "dependsOn": [{ "containerName": "earlier", "condition": "START" }],
            "systemControls": [
                { "namespace": "net.core.somaxconn", "value": "777" },
                { "namespace": "kernel.msgmax", "value": "4321" },
            ],
            "readonlyRootFilesystem": true,
            "dockerLabels": { "team": "shop" },
            "dockerSecurityOptions": ["no-new-privileges"],
            "linuxParameters": {
                "capabilities": { "add": ["NET_ADMIN"], "drop": ["CHOWN"] },
                "initProcessEnabled": true,
                "sharedMemorySize": 32,
                "tmpfs": [{ "containerPath": "/scratch", "size": 8, "mountOptions": ["noexec"] }],
                "devices": [{ "hostPath": "/dev/zero", "containerPath": "/dev/mine", "permissions": ["read"] }],
                "maxSwap": 16,
                "swappiness": 7,
            },
            "logConfiguration": { "logDriver": "json-file", "options": { "max-size": "5m", "max-file": "2" } },
        }),
    );
    let earlier =
        with(waiting("earlier"), json!({ "systemControls": [{ "namespace": "net.core.somaxconn", "value": "555" }] }));
    let side = with(waiting("side"), json!({ "privileged": true }));
    lab.up(&format!("{}launchType: EC2\n", stack(&task("app", &[app, earlier], json!({})), "")));
    let app = |script: &str| inside(&lab, "app", script);
    let limits = app("cat /proc/1/limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(name.split(' ').count()).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max processes"), ["1000", "2000"]);
    let own = std::fs::read_to_string("/proc/self/limits").unwrap();
    let own = own.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().nth(4).unwrap();
    // Fargate's own, or what this machine has; where the latter is less, nobody may raise it.
    let open_files = own.parse().map_or(65_535, |own: u32| own.min(65_535)).to_string();
    assert!(
        [vec!["65535"; 2], vec![&open_files; 2]]
            .contains(&limit("Max open files").iter().map(String::as_str).collect())
    );
    assert_eq!(app("cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax"), "777\n4321");
    let of_the_network = inside(&lab, "earlier", "cat /proc/sys/net/core/somaxconn");
    assert_eq!(of_the_network, "777", "one network, and who started last has its way");
    assert!(app("touch /x 2>&1 || true").contains("Read-only file system"));
    assert_eq!(app("touch /scratch/x && echo written"), "written");
    let mounts = app("cat /proc/mounts");
    let mount = |path: &str| mounts.lines().find(|line| line.split(' ').nth(1) == Some(path)).unwrap().to_owned();
    assert!(mount("/dev/shm").contains("size=32768k"), "{}", mount("/dev/shm"));
    assert!(mount("/scratch").contains("size=8192k") && mount("/scratch").contains("noexec"), "{}", mount("/scratch"));
    assert!(app("/bin/busybox ps -o pid,args | /bin/busybox grep '^ *1 '").contains("init"), "an init is process 1");
    assert_eq!(app("/bin/busybox head -c 3 /dev/mine | /bin/busybox wc -c"), "3");
    let status = app("cat /proc/self/status");
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    let capabilities = u64::from_str_radix(&field("CapBnd:"), 16).unwrap();
    assert_eq!((capabilities >> 12 & 1, capabilities & 1), (1, 0), "NET_ADMIN and not CHOWN");
    assert_eq!(field("NoNewPrivs:"), "1");
    let name = docker_name(&lab, "app");
    let told = |what: &str| docker(&["inspect", "--format", &format!("{{{{{what}}}}}"), &name]);
    assert_eq!(told("index .Config.Labels \"team\""), "shop");
    assert_eq!(told("json .HostConfig.LogConfig.Config"), r#"{"max-file":"2","max-size":"5m"}"#);
    assert_eq!(told(".HostConfig.MemorySwap"), ((64 + 16) * 1024 * 1024).to_string());
    assert_eq!(told(".HostConfig.MemorySwappiness"), "7");
    lab.down();

    let lab = Lab::new();
    let path = lab.write(
        "stack.yaml",
        &stack(&task("app", std::slice::from_ref(&side), json!({})), "").replace("{name}", &lab.stack),
    );
    lab.ok(&["up", path.to_str().unwrap(), "--no-wait"]);
    // Where Docker itself lacks a capability, nothing privileged starts, and says so.
    let outcome = eventually("it is privileged, or Docker cannot have it so", || {
        let ended = lab.all_tasks().iter().find_map(|t| t["stoppedReason"].as_str().map(str::to_owned));
        let runs = (!lab.running("app").is_empty()).then(|| inside(&lab, "side", "cat /proc/self/status"));
        runs.or(ended).ok_or_else(|| lab.all_tasks())
    });
    assert!(outcome.contains("CapEff:\t000001ffffffffff") || outcome.contains("unable to apply caps"), "{outcome}");
    lab.down();
    let file =
        lab.write("fargate.yaml", &format!("{}launchType: FARGATE\n", stack(&task("app", &[side], json!({})), "")));
    let answer = lab.run(&["validate", file.to_str().unwrap()]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.stderr.contains("privileged") && answer.stderr.contains("fargate.yaml:4:"), "{answer:?}");
}

#[test]
fn volumes_live_as_long_as_they_should_and_are_shared_as_they_should() {
    let lab = Lab::new();
    let (host, shared) = (lab.dir().join("made/by/docker"), format!("{}-shared", lab.stack));
    let mount = |volume: &str, path: &str, read_only: bool| json!({ "sourceVolume": volume, "containerPath": path, "readOnly": read_only });
    let writer = with(
        shell(
            "writer",
            "trap 'exit 0' TERM; for d in /empty /own /shared /host; do echo $d >> $d/file; done; touch /tmp/healthy; sleep 100000 & wait",
        ),
        json!({
            "mountPoints": [
                mount("empty", "/empty", false), mount("own", "/own", false),
                mount("shared", "/shared", false), mount("host", "/host", false),
            ],
            "healthCheck": { "command": ["CMD", "/bin/test", "-e", "/tmp/healthy"], "interval": 5, "timeout": 2 },
        }),
    );
    let after = json!([{ "containerName": "writer", "condition": "HEALTHY" }]);
    let reader = with(waiting("reader"), json!({ "dependsOn": after, "mountPoints": [mount("empty", "/seen", true)] }));
    let heir = with(
        waiting("heir"),
        json!({ "dependsOn": after, "volumesFrom": [{ "sourceContainer": "writer", "readOnly": true }] }),
    );
    let volumes = json!({ "volumes": [
        { "name": "empty", "host": {} },
        { "name": "own", "dockerVolumeConfiguration": { "scope": "task", "labels": { "mine": "yes" } } },
        { "name": shared, "dockerVolumeConfiguration": { "scope": "shared", "autoprovision": true, "driver": "local" } },
        { "name": "host", "host": { "sourcePath": host } },
    ] });
    let definition = task("app", &[writer, reader, heir], volumes);
    lab.up(&stack(&definition.replace("\"sourceVolume\":\"shared\"", &format!("\"sourceVolume\":\"{shared}\"")), ""));
    assert_eq!(inside(&lab, "reader", "cat /seen/file"), "/empty");
    assert!(inside(&lab, "reader", "touch /seen/x 2>&1 || true").contains("Read-only"));
    assert_eq!(
        inside(&lab, "heir", "cat /empty/file /own/file /shared/file /host/file"),
        "/empty\n/own\n/shared\n/host"
    );
    assert!(inside(&lab, "heir", "touch /own/x 2>&1 || true").contains("Read-only"));
    let first = lab.one("app");
    let volumes_of = |task: &str| docker(&["volume", "ls", "-q", "--filter", &format!("name={task}")]);
    let own = volumes_of(&first.id);
    assert_eq!(own.lines().count(), 2, "{own}");
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", "label=mine=yes", "--filter", &format!("name={}", first.id)])
            .lines()
            .count(),
        1
    );

    lab.ok(&["stop", &first.id]);
    let second = eventually("its replacement runs", || {
        lab.running("app").into_iter().find(|t| t.id != first.id).ok_or_else(|| lab.tasks())
    });
    eventually("the first task's volumes are gone", || match volumes_of(&first.id) {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    });
    let target = |container: &str, script: &str| {
        lab.ok(&["exec", &second.id, "-c", container, "--", "/bin/sh", "-c", script]).trim_end().to_owned()
    };
    assert_eq!(target("heir", "cat /empty/file /own/file"), "/empty\n/own", "fresh for each task");
    assert_eq!(target("heir", "cat /shared/file /host/file"), "/shared\n/shared\n/host\n/host", "kept across tasks");
    lab.down();
    assert_eq!(volumes_of(&second.id), "");
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &format!("name={shared}")]), shared);
    docker(&["volume", "rm", &shared]);
    assert_eq!(std::fs::read_to_string(host.join("file")).unwrap(), "/host\n/host\n");
}

#[test]
fn a_shared_volume_that_nobody_made_stops_the_task_and_says_why() {
    let lab = Lab::new();
    let app = with(
        waiting("app"),
        json!({ "mountPoints": [{ "sourceVolume": "ecsnet-e2e-none", "containerPath": "/data" }] }),
    );
    let volumes =
        json!({ "volumes": [{ "name": "ecsnet-e2e-none", "dockerVolumeConfiguration": { "scope": "shared" } }] });
    let path = lab.write("stack.yaml", &stack(&task("app", &[app], volumes), "").replace("{name}", &lab.stack));
    lab.ok(&["up", path.to_str().unwrap(), "--no-wait"]);
    let reason = eventually("a task has stopped", || {
        let reason = lab.all_tasks().iter().find_map(|t| t["stoppedReason"].as_str().map(str::to_owned));
        reason.ok_or_else(|| lab.all_tasks())
    });
    assert!(reason.starts_with("CannotCreateVolumeError: there is no Docker volume `ecsnet-e2e-none`"), "{reason}");
    lab.down();
}

/// Every file of the agent's store.
fn store(lab: &Lab) -> Vec<u8> {
    let files = ["state.db", "state.db-wal", "state.db-shm"].map(|name| lab.data_dir().join(name));
    files.iter().filter_map(|path| std::fs::read(path).ok()).flatten().collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_secret_reaches_its_container_and_nobody_else() {
    let mut lab = Lab::without_agent();
    // The most that anybody can ask of the logs.
    lab.set("RUST_LOG", "trace,bollard=trace");
    let [in_json, plain, by_env] =
        ["json", "plain", "env"].map(|kind| format!("{kind}-{:032x}", rand::random::<u128>()));
    lab.set("ECSNET_E2E_SECRET", &by_env);
    lab.write("db.json", &json!({ "user": "u", "password": in_json }).to_string());
    lab.write("token", &format!("{plain}\n"));
    lab.write("web.env", "FROM_FILE=file\nBOTH=file\n");
    lab.start_agent();
    let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/db-AbCdEf";
    let app = with(
        waiting("app"),
        json!({
            "environmentFiles": [{ "value": "arn:aws:s3:::bucket/web.env", "type": "s3" }],
            "environment": [{ "name": "BOTH", "value": "own" }],
            "secrets": [
                { "name": "PASSWORD", "valueFrom": format!("{arn}:password::") },
                { "name": "TOKEN", "valueFrom": "/shop/token" },
                { "name": "KEY", "valueFrom": "shop-key" },
            ],
        }),
    );
    let definition = task("app", &[app], json!({ "executionRoleArn": "arn:aws:iam::111122223333:role/e" }));
    let secrets = "secrets:\n  shop/db: { file: db.json }\n  /shop/token: { file: token }\n  shop-key: { env: ECSNET_E2E_SECRET }\n";
    let mut said = lab.up(&stack(&definition, secrets));
    let read = |lab: &Lab| inside(lab, "app", "echo $PASSWORD $TOKEN $KEY $FROM_FILE $BOTH");
    assert_eq!(read(&lab), format!("{in_json} {plain} {by_env} file own"));

    let file = lab.data_dir().join("stacks").join(&lab.stack).join("secrets.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Another token, which running tasks do not see and new ones do; the agent that starts them knows only what is on disk.
    let renewed = format!("renewed-{:032x}", rand::random::<u128>());
    lab.write("token", &renewed);
    let path = lab.dir().join("stack.yaml");
    said += &lab.ok(&["up", path.to_str().unwrap()]);
    assert!(read(&lab).contains(&plain), "as in ECS");
    lab.kill_agent();
    lab.set("ECSNET_E2E_SECRET", "something else");
    lab.start_agent();
    let first = lab.one("app");
    lab.ok(&["stop", &first.id]);
    eventually("its replacement runs", || match &lab.running("app")[..] {
        [task] if task.id != first.id => Ok(()),
        _ => Err(lab.tasks()),
    });
    assert_eq!(read(&lab), format!("{in_json} {renewed} {by_env} file own"));

    let task = lab.one("app");
    for arguments in [
        &["inspect", "service", "app"][..],
        &["inspect", "task", &task.id],
        &["inspect", "stack", &lab.stack],
        &["ps", "--all", "--output", "json"],
        &["services", "--output", "json"],
        &["events"],
        &["plan", path.to_str().unwrap()],
    ] {
        let answer = lab.run(arguments);
        said += &format!("{}{}", answer.stdout, answer.stderr);
    }
    said += &docker(&["inspect", "--format", "{{json .Config.Labels}} {{.Name}}", &docker_name(&lab, "app")]);
    let (log, store) = (lab.agent_log(), store(&lab));
    assert!(log.contains("StartContainer") && log.contains("TRACE"), "it did log");
    assert!(said.contains("shop-key") && holds(&store, "shop-key"), "the names are there");
    for secret in [&in_json, &plain, &by_env, &renewed] {
        assert!(!said.contains(secret.as_str()), "{said}");
        assert!(
            !log.contains(secret.as_str()),
            "in the agent's log: {:?}",
            log.lines().find(|l| l.contains(secret.as_str()))
        );
        assert!(!holds(&store, secret), "in the store");
    }
    lab.down();
    assert!(!file.exists());
}

#[test]
fn what_is_missing_is_told_at_its_place_and_nothing_is_started() {
    let lab = Lab::new();
    let app = with(
        waiting("app"),
        json!({
            "environmentFiles": [{ "value": "arn:aws:s3:::bucket/gone.env", "type": "s3" }],
            "secrets": [{ "name": "TOKEN", "valueFrom": "/shop/token" }, { "name": "OUT", "valueFrom": "out" }],
        }),
    );
    let text = stack(&task("app", &[app], json!({})), "secrets:\n  out: { file: ../out }\n");
    let path = lab.write("stack.yaml", &text.replace("{name}", &lab.stack));
    for verb in ["validate", "up"] {
        let answer = lab.run(&[verb, path.to_str().unwrap()]);
        assert_eq!(answer.code, 2, "{answer:#?}");
        for words in [
            "bucket/gone.env",
            "secret `TOKEN`",
            "`../out` leads out of the stack's folder",
            "stack.yaml:4:",
            "stack.yaml:6:",
        ] {
            assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
        }
    }
    assert_eq!(lab.containers(), Vec::<String>::new());
    assert!(lab.tasks().is_empty());
}

#[test]
fn a_restart_policy_starts_an_essential_container_again_in_place() {
    let lab = Lab::new();
    // ECS's least period is a minute.
    let script = "trap 'exit 0' TERM; echo run >> /tmp/runs; sleep 45 & wait; touch /tmp/late; sleep 17 & wait; exit 3";
    let policy = json!({ "enabled": true, "restartAttemptPeriod": 60, "ignoredExitCodes": [4] });
    let app = with(shell("app", script), json!({ "restartPolicy": policy }));
    let brief = with(shell("brief", "exit 3"), json!({ "restartPolicy": policy, "essential": false }));
    lab.up(&stack(&task("app", &[app, brief], json!({})), ""));
    let task = lab.one("app");
    let id = |lab: &Lab| docker(&["inspect", "--format", "{{.Id}} {{.RestartCount}}", &docker_name(lab, "app")]);
    let before = id(&lab);
    let brief = shown(&lab, "brief");
    assert_eq!(
        (&brief["lastStatus"], &brief["exitCode"]),
        (&json!("STOPPED"), &json!(3)),
        "it ran for too short a time"
    );
    eventually("it has run for most of a minute", || {
        let answer = lab.run(&["exec", "app", "-c", "app", "--", "/bin/test", "-e", "/tmp/late"]);
        if answer.code == 0 { Ok(()) } else { Err(answer) }
    });
    eventually("it was started again", || {
        let container = shown(&lab, "app");
        let again = container["ecsnet"]["restartCount"] == 1 && container["lastStatus"] == "RUNNING";
        if again { Ok(()) } else { Err(container) }
    });
    assert_eq!(inside(&lab, "app", "cat /tmp/runs"), "run\nrun", "with its file system");
    assert_eq!(id(&lab), before, "by us, not by Docker, and the same container");
    assert_eq!(lab.one("app"), task, "the task goes on, at its address");
    lab.ok(&["stop", &task.id]);
    eventually("it is not started again once the task stops", || {
        let stopped = lab
            .all_tasks()
            .into_iter()
            .find(|t| t["ecsnet"]["taskId"] == task.id.as_str() && t["lastStatus"] == "STOPPED");
        stopped.ok_or_else(|| lab.all_tasks())
    });
    lab.down();
}

/// The directories of a task's parent cgroup.
fn cgroups(task: &str) -> Vec<PathBuf> {
    let trees = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|e| e.path().join("ecs").join(task));
    trees.chain([Path::new("/sys/fs/cgroup/ecs").join(task)]).filter(|path| path.is_dir()).collect()
}

#[test]
fn a_task_s_size_holds_for_all_its_containers_together_and_goes_with_it() {
    let lab = Lab::new();
    // 40 MiB in the memory of `tail`: each of the two fits into the task's 64, both do not.
    let hog = "/bin/busybox mkfifo /tmp/f; exec 3<>/tmp/f; /bin/busybox tail -c 41943040 </tmp/f & \
               /bin/busybox head -c 41943040 /dev/zero >&3; touch /tmp/full; wait $!; exit $?";
    let unlimited = |name: &str, script: String| {
        let mut container = shell(name, &script);
        container.as_object_mut().unwrap().remove("memory");
        container
    };
    let first = unlimited("first", format!("trap 'exit 0' TERM; {hog}"));
    let second = unlimited(
        "second",
        format!("trap 'exit 0' TERM; until test -e /tmp/go; do /bin/busybox usleep 100000; done; {hog}"),
    );
    lab.up(&stack(&task("app", &[first, second], json!({ "cpu": "256", "memory": "64" })), ""));
    let id = lab.one("app").id;
    let parents = cgroups(&id);
    let value = |file: &str| parents.iter().find_map(|dir| std::fs::read_to_string(dir.join(file)).ok());
    let is = |v1: (&str, &str), v2: (&str, &str)| {
        let seen = value(v1.0).map(|text| (v1.1, text)).or_else(|| value(v2.0).map(|text| (v2.1, text)));
        let (expected, seen) = seen.expect("one of the two");
        assert_eq!(seen.trim(), expected);
    };
    is(("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864"));
    is(("cpu.cfs_quota_us", "25000"), ("cpu.max", "25000 100000"));
    for container in ["first", "second"] {
        assert!(inside(&lab, container, "cat /proc/1/cgroup").contains(&format!("/ecs/{id}/")), "{container}");
    }
    eventually("the first one is full", || {
        let answer = lab.run(&["exec", "app", "-c", "first", "--", "/bin/test", "-e", "/tmp/full"]);
        if answer.code == 0 { Ok(()) } else { Err(answer) }
    });
    inside(&lab, "second", "touch /tmp/go");
    let over = eventually("one of the two is killed", || {
        let over =
            lab.all_tasks().into_iter().find(|t| t["ecsnet"]["taskId"] == id.as_str() && t["lastStatus"] == "STOPPED");
        over.ok_or_else(|| lab.all_tasks())
    });
    assert_eq!(over["stopCode"], "EssentialContainerExited", "{over:#}");
    let codes: Vec<_> = over["containers"].as_array().unwrap().iter().map(|c| c["exitCode"].clone()).collect();
    assert!(codes.contains(&json!(137)), "{over:#}");
    assert_eq!(cgroups(&id), Vec::<PathBuf>::new());
    let ids: Vec<String> =
        lab.all_tasks().iter().filter_map(|t| t["ecsnet"]["taskId"].as_str().map(str::to_owned)).collect();
    lab.down();
    assert!(ids.iter().all(|id| cgroups(id).is_empty()));
}

#[test]
fn containers_of_a_task_share_processes_and_memory_when_asked_and_a_stub_is_healthy() {
    let lab = Lab::new();
    let check = json!({ "command": ["CMD", "/only/in/the/real/image"], "interval": 5, "timeout": 2 });
    let sidecar = json!({
        "name": "sidecar", "image": "127.0.0.1:1/no/such:image", "memory": 32, "healthCheck": check,
        "secrets": [{ "name": "KEY", "valueFrom": "only-in-aws" }],
    });
    let app = with(
        shell("app", "trap 'exit 0' TERM; touch /dev/shm/from-app; /bin/busybox sleep 77777 & wait"),
        json!({ "dependsOn": [{ "containerName": "sidecar", "condition": "HEALTHY" }] }),
    );
    let other = waiting("other");
    let definition = |modes: Value| task("app", &[app.clone(), sidecar.clone(), other.clone()], modes);
    let text = |modes: Value| {
        format!(
            "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n  app:\n    containers: {{ sidecar: {{ stub: true }} }}\n    taskDefinition: {}\n",
            definition(modes)
        )
    };
    lab.up(&text(json!({ "pidMode": "task", "ipcMode": "task", "executionRoleArn": "arn:aws:iam::1:role/e" })));
    let namespaces =
        |container: &str| inside(&lab, container, "for n in pid ipc; do /bin/busybox readlink /proc/self/ns/$n; done");
    assert_eq!(namespaces("app"), namespaces("other"));
    assert!(inside(&lab, "other", "/bin/busybox ps -o args").contains("sleep 77777"));
    assert_eq!(inside(&lab, "other", "test -e /dev/shm/from-app && echo seen"), "seen");
    let stub = shown(&lab, "sidecar");
    assert_eq!((&stub["healthStatus"], &stub["ecsnet"]["stub"]), (&json!("HEALTHY"), &json!(true)), "{stub:#}");

    lab.up(&text(json!({ "executionRoleArn": "arn:aws:iam::1:role/e" })));
    let namespaces = |container: &str| {
        inside(&lab, container, "for n in pid ipc mnt; do /bin/busybox readlink /proc/self/ns/$n; done")
    };
    let (of_app, of_other) = (namespaces("app"), namespaces("other"));
    assert!(of_app.lines().zip(of_other.lines()).all(|(a, b)| a != b), "{of_app} {of_other}");
    assert!(!inside(&lab, "other", "/bin/busybox ps -o args").contains("sleep 77777"));
    assert_eq!(inside(&lab, "other", "test -e /dev/shm/from-app || echo own"), "own");
    lab.down();
}

/// An image whose own check fails and whose stop signal is SIGINT.
struct Image(String);

impl Image {
    fn build(lab: &Lab) -> Self {
        let image = Self(format!("ecsnet-e2e/{}:1", lab.stack));
        let file =
            format!("FROM {}\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=1s CMD [\"/no/such/check\"]\n", busybox());
        let folder = lab.dir().join("image");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("Dockerfile"), file).unwrap();
        docker(&["build", "-q", "-t", &image.0, folder.to_str().unwrap()]);
        image
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

/// A process that ends with the test.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_dependency_comes_first_and_goes_last_by_its_image_s_signal() {
    let lab = Lab::new();
    let image = Image::build(&lab);
    let script = |code: u8| format!("trap 'exit {code}' INT; trap 'exit 9' TERM; sleep 100000 & wait");
    let db = with(
        shell("db", &script(5)),
        json!({
            "image": image.0, "essential": false,
            "healthCheck": { "command": ["CMD", "/bin/test", "-e", "/tmp/healthy"], "interval": 5, "timeout": 2, "retries": 1 },
        }),
    );
    let app = with(
        shell("app", &script(6)),
        json!({ "image": image.0, "dependsOn": [{ "containerName": "db", "condition": "HEALTHY" }] }),
    );
    let path = lab.write("stack.yaml", &stack(&task("app", &[app, db], json!({})), "").replace("{name}", &lab.stack));
    lab.ok(&["up", path.to_str().unwrap(), "--no-wait"]);
    let ends_with = |name: &str| lab.containers().into_iter().find(|c| c.ends_with(&format!(".{name}")));
    let db = eventually("the dependency runs and is not healthy", || {
        let found = ends_with("db").filter(|_| shown(&lab, "db")["lastStatus"] == "RUNNING");
        found.ok_or_else(|| lab.containers())
    });
    let unhealthy = || docker(&["inspect", "--format", "{{.State.Health.Status}}", &db]) == "unhealthy";
    eventually("its check has failed", || if unhealthy() { Ok(()) } else { Err(()) });
    assert_eq!(ends_with("app"), None, "not even created");
    docker(&["exec", &db, "/bin/touch", "/tmp/healthy"]);
    lab.ok(&["up", path.to_str().unwrap(), "--timeout", "60s"]);
    let app = shown(&lab, "app");
    assert_eq!(app["healthStatus"], "UNKNOWN", "the image's own check counts for nothing");
    docker(&["exec", &db, "/bin/rm", "/tmp/healthy"]);
    eventually("the dependency is unhealthy again", || if unhealthy() { Ok(()) } else { Err(()) });
    let running = lab.one("app");

    let events = std::fs::File::create(lab.dir().join("events")).unwrap();
    let filters =
        ["--filter", "event=die", "--filter", &format!("label=ecsnet.task={}", running.id)].map(str::to_owned);
    let watch = Command::new("docker")
        .args(["events", "--since", "1s", "--format", "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}"])
        .args(filters)
        .stdout(events)
        .spawn()
        .unwrap();
    let watch = Watch(watch);
    lab.ok(&["stop", &running.id]);
    let died = eventually("all its containers have ended", || {
        let text = std::fs::read_to_string(lab.dir().join("events")).unwrap();
        let lines: Vec<String> = text.lines().filter_map(|l| l.rsplit_once('.')).map(|(_, l)| l.to_owned()).collect();
        // What comes after them is what held the task's network.
        lines.get(..2).map(<[String]>::to_vec).ok_or(text)
    });
    drop(watch);
    assert_eq!(died, ["app 6", "db 5"]);
    lab.down();
}
