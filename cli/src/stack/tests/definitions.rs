//! Task definitions: ECS's checks, what has no effect here, what a flag overrides, and files that people published.

use super::*;

#[test]
fn a_definition_that_says_nothing_of_networks_is_bridge_as_in_ecs() {
    let mode = |lines: &str| {
        let stack = stack_of(&format!(
            "name: shop\n{lines}services:\n  web:\n    taskDefinition: {{ family: web, containerDefinitions: [ {{ name: a, image: a, memory: 9 }} ] }}\n"
        ));
        let web = &stack.services["web"];
        (web.network_mode, web.launch_type)
    };
    assert_eq!(mode(""), (NetworkMode::Bridge, LaunchType::Ec2));
    assert_eq!(mode("launchType: EC2\n"), (NetworkMode::Bridge, LaunchType::Ec2));
    assert_eq!(mode("launchType: FARGATE\n"), (NetworkMode::Awsvpc, LaunchType::Fargate));
}

#[test]
fn containers_are_checked_in_ecs_words() {
    insta::assert_snapshot!(report_of_definition("task.yaml", r#"family: we b
networkMode: awsvpc
cpu: 64
memory: 2 GB
containerDefinitions:
  - name: a
    image: a
    memory: 4096
    memoryReservation: 5000
    essential: false
    portMappings:
      - { containerPort: 80, hostPort: 8080 }
      - { containerPort: 70000 }
    dependsOn:
      - { containerName: b, condition: HEALTHY }
      - { containerName: sidecar, condition: START }
    healthCheck: { command: [CMD, x], interval: 301, retries: 0 }
  - name: b
    essential: false
    portMappings: [ { containerPort: "80" } ]
    dependsOn: [ { containerName: a, condition: START } ]
    hostname: b
    links: [a]
    ulimits: [ { name: nofile, softLimit: 9, hardLimit: 8 } ]
  - { name: b, image: b, essential: false, dependsOn: [ { containerName: a, condition: DONE } ] }
"#), @r###"
error: Family contains invalid characters.
 --> task.yaml:1:9
  |
1 | family: we b
  |         ^^^^
  |
  = hint: letters, digits, `-` and `_`, at most 255

error: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
 --> task.yaml:3:6
  |
3 | cpu: 64
  |      ^^
  |
  = hint: 128 to 196608 units; 1024 units are one vCPU

error: Task definition doesn't have any essential container
 --> task.yaml:5:1
  |
5 | containerDefinitions:
  | ^^^^^^^^^^^^^^^^^^^^

error: Invalid setting for container 'a'. The 'memory' setting for container 'a' is greater than for the task
 --> task.yaml:8:13
  |
8 |     memory: 4096
  |             ^^^^

error: Invalid setting for container 'a'. 'memory' must be greater than or equal to 'memoryReservation'
 --> task.yaml:9:24
  |
9 |     memoryReservation: 5000
  |                        ^^^^

error: When networkMode=awsvpc, the host ports and container ports in port mappings must match.
  --> task.yaml:12:40
   |
12 |       - { containerPort: 80, hostPort: 8080 }
   |                                        ^^^^

error: Invalid 'containerPort' setting for container 'a'
  --> task.yaml:13:26
   |
13 |       - { containerPort: 70000 }
   |                          ^^^^^
   |
   = hint: a port is from 1 to 65535

error: Container dependencies cannot form a cycle
  --> task.yaml:14:5
   |
14 |     dependsOn:
   |     ^^^^^^^^^
   |
   = hint: a → b → a

error: A dependency container with HEALTHY condition must have health check configured
  --> task.yaml:15:40
   |
15 |       - { containerName: b, condition: HEALTHY }
   |                                        ^^^^^^^

error: Cannot depend on container + 'sidecar' because it does not exist
  --> task.yaml:16:26
   |
16 |       - { containerName: sidecar, condition: START }
   |                          ^^^^^^^

error: Health check interval must be less than or equal to the maximum allowed value 300 for container 'a'
  --> task.yaml:17:49
   |
17 |     healthCheck: { command: [CMD, x], interval: 301, retries: 0 }
   |                                                 ^^^

error: Health check retries must be greater than or equal to the minimum allowed value 1 for container 'a'
  --> task.yaml:17:63
   |
17 |     healthCheck: { command: [CMD, x], interval: 301, retries: 0 }
   |                                                               ^

error: Container.image should not be null or empty.
  --> task.yaml:18:5
   |
18 |   - name: b
   |     ^^^^^^^

error: TCP container port '80' is used multiple times in task when networkMode=awsvpc.
  --> task.yaml:20:38
   |
20 |     portMappings: [ { containerPort: "80" } ]
   |                                      ^^^^

error: hostname is not supported on container when networkMode=awsvpc
  --> task.yaml:22:15
   |
22 |     hostname: b
   |               ^

error: Links are not supported when networkMode=awsvpc.
  --> task.yaml:23:12
   |
23 |     links: [a]
   |            ^^

error: Soft limit exceeds hard limit for ulimit nofile
  --> task.yaml:24:43
   |
24 |     ulimits: [ { name: nofile, softLimit: 9, hardLimit: 8 } ]
   |                                           ^

error: Container names must be unique within a task definition
  --> task.yaml:25:13
   |
25 |   - { name: b, image: b, essential: false, dependsOn: [ { containerName: a, condition: DONE } ] }
   |             ^

error: expected `START` or `COMPLETE` or `SUCCESS` or `HEALTHY`, found `DONE`
  --> task.yaml:25:88
   |
25 |   - { name: b, image: b, essential: false, dependsOn: [ { containerName: a, condition: DONE } ] }
   |                                                                                        ^^^^
"###);
}

#[test]
fn a_circle_through_volumes_from_would_never_start_either() {
    let text = report_of_definition(
        "task.yaml",
        "family: web\nnetworkMode: awsvpc\ncontainerDefinitions:\n  - { name: a, image: a, memory: 9, volumesFrom: [ { sourceContainer: b } ] }\n  - { name: b, image: b, memory: 9, dependsOn: [ { containerName: a, condition: START } ] }\n",
    );
    assert!(text.starts_with("error: Container dependencies cannot form a cycle\n"), "{text}");
    assert!(text.contains("hint: a → b → a"), "{text}");
}

#[test]
fn nothing_is_privileged_on_fargate() {
    let text = report_of_definition(
        "task.yaml",
        "family: web\nnetworkMode: awsvpc\nrequiresCompatibilities: [FARGATE]\ncpu: 256\nmemory: 512\ncontainerDefinitions:\n  - { name: a, image: a, privileged: true }\n",
    );
    assert!(text.starts_with("error: Tasks using the Fargate launch type do not support privileged"), "{text}");
    assert!(text.contains("--> task.yaml:7:"), "{text}");
}

#[test]
fn fargate_has_sizes() {
    insta::assert_snapshot!(report_of_definition("task.yaml", "family: web\nrequiresCompatibilities: [FARGATE]\nmemory: 3GB\ncontainerDefinitions: [ { name: a, image: a } ]\n"), @r###"
error: Fargate requires that 'cpu' be defined at the task level
 --> task.yaml:1:1
  |
1 | family: web
  | ^^^^^^^^^^^

warning: Fargate only supports network mode 'awsvpc'.
 --> task.yaml:2:26
  |
2 | requiresCompatibilities: [FARGATE]
  |                          ^^^^^^^^
  |
  = hint: ECS refuses a definition for FARGATE without `networkMode: awsvpc`; here it runs in awsvpc
"###);
    insta::assert_snapshot!(report_of_definition("task.yaml", "family: web\nrequiresCompatibilities: [FARGATE]\ncpu: .25 vCPU\nmemory: 3GB\nnetworkMode: bridge\ncontainerDefinitions: [ { name: a, image: a } ]\n"), @r###"
error: No Fargate configuration exists for given values.
 --> task.yaml:4:9
  |
4 | memory: 3GB
  |         ^^^
  |
  = hint: with 256 units, memory is one of 512, 1024, 2048

error: Fargate only supports network mode 'awsvpc'.
 --> task.yaml:5:14
  |
5 | networkMode: bridge
  |              ^^^^^^
"###);
}

#[test]
fn fields_of_ecs_that_do_nothing_here_are_named() {
    insta::assert_snapshot!(report_of_definition("task.yaml", r#"taskDefinition:
  family: web
  revision: 3
  status: ACTIVE
  networkMode: awsvpc
  taskRoleArn: arn:aws:iam::1:role/x
  volumes: []
  containerDefinitions:
    - name: a
      image: a
      memory: 64
      privileged: false
      mountPoints: []
      linuxParameters: { swappiness: 1, initProcessEnabled: true }
      logConfiguration: { logDriver: awslogs, options: { awslogs-group: web, awslogs-region: us-east-1 } }
      healthCheck: { command: [/healthcheck] }
"#), @r###"
warning: `swappiness` does nothing without `maxSwap`, as in ECS
  --> task.yaml:14:26
   |
14 |       linuxParameters: { swappiness: 1, initProcessEnabled: true }
   |                          ^^^^^^^^^^

warning: the log driver `awslogs` is replaced by a local log, which `ecsnet logs` shows
  --> task.yaml:15:7
   |
15 |       logConfiguration: { logDriver: awslogs, options: { awslogs-group: web, awslogs-region: us-east-1 } }
   |       ^^^^^^^^^^^^^^^^

warning: this health check is never run: its command begins with `/healthcheck`, not with `CMD` or `CMD-SHELL`
  --> task.yaml:16:31
   |
16 |       healthCheck: { command: [/healthcheck] }
   |                               ^^^^^^^^^^^^^
   |
   = hint: ["CMD", "/healthcheck", …]
"###);
}

#[test]
fn describes_output_is_taken_as_it_is() {
    let definition = definition_of(
        "{\"taskDefinition\": {\"taskDefinitionArn\": \"x\", \"revision\": 1, \"family\": \"web\", \"networkMode\": \"awsvpc\", \"cpu\": \"1 vCPU\", \"memory\": \"2GB\", \"registeredBy\": \"x\", \"containerDefinitions\": [{\"name\": \"a\", \"image\": \"a\", \"memory\": \"64\", \"environment\": []}]}, \"tags\": []}",
    );
    assert_eq!((definition.cpu, definition.memory), (Some(1024), Some(2048)));
    assert_eq!(definition.container_definitions[0].memory, Some(64));
}

/// As the AWS CLI prints a definition with nothing special in it: every list is there and empty.
#[test]
fn what_describe_adds_means_nothing() {
    let definition = definition_of(
        r#"{"taskDefinition": {
        "taskDefinitionArn": "arn:aws:ecs:us-east-1:1:task-definition/web:3", "family": "web", "revision": 3,
        "status": "ACTIVE", "networkMode": "awsvpc", "executionRoleArn": "arn:aws:iam::1:role/e", "cpu": "256",
        "memory": "512", "requiresCompatibilities": ["FARGATE"], "compatibilities": ["EC2", "FARGATE"],
        "requiresAttributes": [{"name": "ecs.capability.task-eni"}], "placementConstraints": [], "volumes": [],
        "registeredAt": "2026-11-24T12:00:00+00:00", "registeredBy": "arn:aws:iam::1:user/u",
        "enableFaultInjection": false,
        "containerDefinitions": [{
            "name": "a", "image": "a", "cpu": 0, "essential": true, "command": [], "entryPoint": [],
            "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}], "environment": [],
            "environmentFiles": [], "secrets": [], "mountPoints": [], "volumesFrom": [], "systemControls": [],
            "dnsServers": [], "dnsSearchDomains": [], "extraHosts": [], "dockerSecurityOptions": [],
            "dockerLabels": {}, "ulimits": [], "links": [], "dependsOn": [], "credentialSpecs": [],
            "resourceRequirements": [], "privileged": false, "readonlyRootFilesystem": false,
            "linuxParameters": {"capabilities": {"add": [], "drop": []}, "devices": [], "tmpfs": []}}]},
        "tags": []}"#,
    );
    let container = &definition.container_definitions[0];
    assert_eq!((&container.command, &container.entry_point), (&None, &None), "an empty list is none");
    assert_eq!((container.devices.len(), container.tmpfs.len(), definition.volumes.len()), (0, 0, 0));
}

#[test]
fn a_flag_that_overrides_a_definition_says_what_it_drops() {
    let stack = "name: shop\nservices:\n  web:\n    taskDefinition: task.yaml\n";
    let definition = "family: web\nnetworkMode: bridge\ncontainerDefinitions:\n  - { name: a, image: a, memory: 64, links: [b], portMappings: [ { containerPort: 80, hostPort: 8080 } ] }\n";
    let folder = Folder::with(&[("stack.yaml", stack), ("task.yaml", definition)]);
    let overrides = Overrides { network_mode: Some(NetworkMode::Awsvpc), connect: None };
    insta::assert_snapshot!(folder.report(&overrides), @r###"
note: `links` is dropped: in awsvpc the containers of a task reach each other on localhost (task.yaml:4:38)
note: host port 8080 is dropped: in awsvpc the task is reached at its own address, port 80 (task.yaml:4:97)
note: awsvpc: security groups move from the container instance to each task (web)
note: awsvpc: names have A records in place of SRV (web)
"###);
    let stack = folder.load(&overrides).stack.unwrap();
    assert_eq!(stack.services["web"].task_definition.container_definitions[0].port_mappings[0].host_port, None);
    insta::assert_snapshot!(folder.report(&Overrides { network_mode: Some(NetworkMode::Host), connect: Some(Connect::AppMesh) }), @r###"
note: `links` is dropped: in host the containers of a task reach each other on localhost (task.yaml:4:38)
note: host port 8080 is dropped: in host mode port 80 is the instance's own (task.yaml:4:97)

error: connect `app-mesh` is not emulated yet
 |
 = hint: --connect discovery

note: host: a container's port is its instance's: two tasks with one port are never on one instance (web)
"###);
}

/// Files that other people published: each is understood, or what is said of it is listed here with the reason.
#[test]
fn published_task_definitions_get_justified_messages() {
    // Files that say awsvpc and a host port of another number, and a mode that ECS has not.
    const OTHER_PORT: &str = "When networkMode=awsvpc, the host ports and container ports in port mappings must match.";
    const JUSTIFIED: &[(&str, &str)] = &[
        ("kibana_ec2.json", OTHER_PORT),
        ("tomcat_ec2.json", OTHER_PORT),
        ("ecs-ec2-task-def.json", "expected `awsvpc` or `bridge` or `host` or `none`, found `default`"),
    ];
    const WARNINGS: &[(&str, &str)] = &[
        ("NotEmulated", "a role: nothing on one machine answers to it, and the task runs"),
        ("Overridden", "the flag below puts a mode in place of the file's own"),
        ("Chosen", "an SRV record names one port, and the file maps several"),
        ("NeverRun", "a health check that Docker never runs in AWS either"),
        ("Replaced", "awslogs and its like lead out of this machine; the log is here"),
        ("StandIn", "a file system of EFS is in AWS; a directory stands in"),
        ("NoSuchFile", "a path of the author's host, which this machine need not have"),
    ];
    let Some(corpus) = corpus() else { return };
    let modes = [NetworkMode::Awsvpc, NetworkMode::Bridge, NetworkMode::Host, NetworkMode::None].map(Some);
    for (file, mode) in files_of(&corpus.join("task-definitions"))
        .iter()
        .flat_map(|file| std::iter::once(None).chain(modes).map(move |mode| (file, mode)))
    {
        let loaded = load_definition(file, mode);
        for problem in &loaded.problems {
            assert_has_a_place(problem, &loaded);
            let is_justified = match problem.severity {
                Severity::Error => JUSTIFIED
                    .iter()
                    .any(|(name, message)| file.to_string_lossy().ends_with(name) && problem.message == *message),
                Severity::Warning | Severity::Note => WARNINGS.iter().any(|(code, _)| *code == problem.code),
            };
            assert!(is_justified, "{} in {mode:?}: {problem:?}", file.display());
        }
    }
}

/// Files that are no JSON, published all the same: one message each, which says what to do.
#[test]
fn published_files_that_are_no_json_get_one_helpful_message() {
    let Some(corpus) = corpus() else { return };
    for file in files_of(&corpus.join("malformed")) {
        let loaded = load_definition(&file, Some(NetworkMode::Awsvpc));
        let [problem] = loaded.problems.as_slice() else { panic!("{}: {:?}", file.display(), loaded.problems) };
        assert_has_a_place(problem, &loaded);
        assert!(problem.message.starts_with("not valid JSON: "), "{problem:?}");
        assert!(problem.hint.is_some(), "{}: {problem:?}", file.display());
    }
}

/// Files of other people, beside the repository where they are; none is copied into it.
pub(super) fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let corpus = std::env::var_os("ECSNET_CORPUS").map_or(beside, PathBuf::from);
    if !corpus.is_dir() {
        eprintln!("skipped: no corpus at {}", corpus.display());
        return None;
    }
    Some(corpus)
}

/// The files of a folder of the corpus.
pub(super) fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A stack of the one definition, in its own mode or brought into another by the flag.
fn load_definition(file: &Path, network_mode: Option<NetworkMode>) -> Loaded {
    let stack = format!("name: shop\nservices:\n  web:\n    taskDefinition: {}\n", file.display());
    Folder::with(&[("stack.yaml", &stack)]).load(&Overrides { network_mode, connect: None })
}
