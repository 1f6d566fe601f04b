//! Bounds and refusals of RegisterTaskDefinition.

use serde_json::{Value, json};

use super::*;

/// What is said of an awsvpc definition with these fields beside its family and one container `app`.
fn of_definition(fields: Value) -> Vec<String> {
    let base = json!({
        "family": "web",
        "networkMode": "awsvpc",
        "containerDefinitions": [{ "name": "app", "image": "app", "memory": 64 }],
    });
    let stack = "name: shop\nservices:\n  web:\n    taskDefinition: task.json\n";
    let definition = with(base, fields).to_string();
    lines(Folder::with(&[("stack.yaml", stack), ("task.json", &definition)]).load(&Overrides::default()))
}

/// What is said of a definition whose one container `app` has these fields too.
fn of_container(fields: Value) -> Vec<String> {
    let container = with(json!({ "name": "app", "image": "app", "memory": 64 }), fields);
    of_definition(json!({ "containerDefinitions": [container] }))
}

/// A value with fields added or, with null, taken away.
fn with(mut base: Value, fields: Value) -> Value {
    for (key, value) in fields.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

const APP: &str = "/containerDefinitions/0";

#[test]
fn a_network_mode_is_one_of_four() {
    assert_eq!(
        of_definition(json!({ "networkMode": "overlay" }))[0],
        "/networkMode: expected `awsvpc` or `bridge` or `host` or `none`, found `overlay`"
    );
    for mode in ["bridge", "host", "none", "awsvpc"] {
        assert!(of_definition(json!({ "networkMode": mode })).is_empty(), "{mode}");
    }
}

#[test]
fn awsvpc_has_no_place_for_these_fields() {
    let at = |field: &str| format!("{APP}/{field}: ");
    for (field, value, message) in [
        ("links", json!(["b"]), "Links are not supported when networkMode=awsvpc."),
        ("hostname", json!("h"), "hostname is not supported on container when networkMode=awsvpc"),
        (
            "extraHosts",
            json!([{ "hostname": "h", "ipAddress": "10.0.0.1" }]),
            "Extra hosts are not supported on container when networkMode=awsvpc",
        ),
        ("dnsServers", json!(["10.0.0.2"]), "DNS servers are not supported on container when networkMode=awsvpc"),
        ("dnsSearchDomains", json!(["x"]), "DNS search domains are not supported on container when networkMode=awsvpc"),
        ("disableNetworking", json!(true), "Disable Networking is not supported on container when networkMode=awsvpc"),
    ] {
        assert_eq!(of_container(json!({ field: value })), [format!("{}{message}", at(field))]);
    }
    assert!(of_container(json!({ "links": [], "disableNetworking": false })).is_empty());
}

#[test]
fn a_port_is_served_once_and_on_its_own_number() {
    let mappings = |mappings: Value| of_container(json!({ "portMappings": mappings }));
    let at = |position: u8, field: &str| format!("{APP}/portMappings/{position}/{field}: ");
    assert_eq!(
        mappings(json!([{ "containerPort": 80, "hostPort": 8080 }])),
        [format!(
            "{}When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
            at(0, "hostPort")
        )]
    );
    assert!(
        mappings(json!([{ "containerPort": 80, "hostPort": 80 }, { "containerPort": 81, "hostPort": 0 }])).is_empty()
    );
    let udp = json!({ "containerPort": 80, "protocol": "udp" });
    assert!(mappings(json!([{ "containerPort": 80 }, udp])).is_empty(), "tcp is the default");
    assert_eq!(
        mappings(json!([udp, udp])),
        [format!(
            "{}UDP container port '80' is used multiple times in task when networkMode=awsvpc.",
            at(1, "containerPort")
        )]
    );
    assert_eq!(
        mappings(json!([{ "containerPort": 80 }, { "containerPort": 80, "protocol": "sctp" }]))[0],
        format!("{}expected `tcp` or `udp`, found `sctp`", at(1, "protocol"))
    );
    let both = json!([{ "name": "a", "image": "a", "memory": 6, "portMappings": [{ "containerPort": 8085 }] },
                      { "name": "b", "image": "b", "memory": 6, "portMappings": [{ "containerPort": 8085 }] }]);
    assert_eq!(
        of_definition(json!({ "containerDefinitions": both })),
        [
            "/containerDefinitions/1/portMappings/0/containerPort: TCP container port '8085' is used multiple times in task when networkMode=awsvpc."
        ]
    );
    for port in [json!(0), json!(-1), json!(65536), json!(70000)] {
        assert_eq!(
            mappings(json!([{ "containerPort": port }])),
            [format!("{}Invalid 'containerPort' setting for container 'app'", at(0, "containerPort"))]
        );
    }
    assert!(mappings(json!([{ "containerPort": 1 }, { "containerPort": 65535 }])).is_empty());
    assert_eq!(
        mappings(json!([{ "containerPort": 1, "containerPortRange": "1-2" }])),
        [format!(
            "{}Invalid port mapping for container 'app', cannot specify both single port and port range.",
            at(0, "containerPortRange")
        )]
    );
}

#[test]
fn a_port_mappings_name_has_a_form_and_stands_once() {
    let named = |one: &str, other: &str| {
        let mapping = |port: u16, name: &str| json!({ "containerPort": port, "name": name, "appProtocol": "http" });
        of_container(json!({ "portMappings": [mapping(80, one), mapping(81, other)] }))
    };
    let longest = "a".repeat(64);
    assert!(named("http", "a_b-9").is_empty() && named(&longest, "_").is_empty());
    for name in ["-a", "A", "a.b", &"a".repeat(65)] {
        let message = format!("{APP}/portMappings/1/name: Invalid 'name' setting '{name}' for container 'app'");
        assert_eq!(named("http", name), [message]);
    }
    assert_eq!(
        named("http", "http"),
        [format!("{APP}/portMappings/1/name: When networkMode=awsvpc, port mapping name is already used")]
    );
    assert_eq!(
        of_container(json!({ "portMappings": [{ "containerPort": 80, "appProtocol": "tcp" }] }))[0],
        format!("{APP}/portMappings/0/appProtocol: expected `http` or `http2` or `grpc`, found `tcp`")
    );
}

#[test]
fn fargate_takes_awsvpc_alone() {
    let fargate = |mode: Value| {
        of_definition(json!({ "networkMode": mode, "requiresCompatibilities": ["FARGATE"], "cpu": 256, "memory": 512 }))
    };
    assert!(fargate(json!("awsvpc")).is_empty());
    for mode in ["bridge", "host", "none"] {
        assert_eq!(fargate(json!(mode)), ["/networkMode: Fargate only supports network mode 'awsvpc'."]);
    }
    assert_eq!(
        fargate(Value::Null),
        ["/requiresCompatibilities: Fargate only supports network mode 'awsvpc'."],
        "left out, it is said, and the task runs in awsvpc"
    );
}

#[test]
fn fargate_has_certain_sizes() {
    let size = |cpu: Value, memory: Value| {
        of_definition(json!({ "requiresCompatibilities": ["FARGATE"], "cpu": cpu, "memory": memory }))
    };
    assert_eq!(size(Value::Null, json!(512)), ["/cpu: Fargate requires that 'cpu' be defined at the task level"]);
    assert_eq!(size(json!(256), Value::Null), ["/memory: Fargate requires that 'memory' be defined at the task level"]);
    for (cpu, memory) in [(256, 2048), (1024, 2048), (4096, 30720), (8192, 16384), (16384, 122_880)] {
        assert!(size(json!(cpu), json!(memory)).is_empty(), "{cpu} {memory}");
    }
    for (cpu, memory) in [(256, 8192), (512, 512), (4096, 31744), (8192, 17408)] {
        assert_eq!(size(json!(cpu), json!(memory)), ["/memory: No Fargate configuration exists for given values."]);
    }
    assert_eq!(size(json!(300), json!(512)), ["/cpu: No Fargate configuration exists for given values."]);
}

#[test]
fn a_tasks_size_is_units_or_vcpus_and_mib_or_gb() {
    let definition = |cpu: &str, memory: &str| {
        definition_of(&format!(
            r#"{{"family": "web", "networkMode": "awsvpc", "cpu": "{cpu}", "memory": "{memory}", "containerDefinitions": [{{"name": "a", "image": "a"}}]}}"#
        ))
    };
    for (cpu, memory, units, mib) in
        [("1 vCPU", "2GB", 1024, 2048), ("256", "512", 256, 512), (".5 vcpu", "1 GB", 512, 1024), ("128", "6", 128, 6)]
    {
        let read = definition(cpu, memory);
        assert_eq!((read.cpu, read.memory), (Some(units), Some(mib)), "{cpu} {memory}");
    }
    let wrong = |field: &str| {
        format!(
            "/{field}: Invalid '{field}' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
        )
    };
    for cpu in ["64", "127", "196609", "1 cpu", "0.3 vCPU"] {
        assert_eq!(of_definition(json!({ "cpu": cpu })), [wrong("cpu")], "{cpu}");
    }
    assert!(of_definition(json!({ "cpu": "196608" })).is_empty());
    assert_eq!(of_definition(json!({ "memory": "2TB" })), [wrong("memory")]);
}

#[test]
fn a_definition_has_containers_with_name_and_image_one_of_them_essential() {
    let containers = |containers: Value| of_definition(json!({ "containerDefinitions": containers }));
    assert_eq!(containers(json!([])), ["/containerDefinitions: Container list cannot be empty"]);
    assert_eq!(containers(Value::Null), ["/containerDefinitions: Container list cannot be empty"]);
    let app = |fields: Value| with(json!({ "name": "app", "image": "app", "memory": 64 }), fields);
    for (field, message) in [
        ("name", "Container.name should not be null or empty."),
        ("image", "Container.image should not be null or empty."),
    ] {
        for empty in [Value::Null, json!("")] {
            assert_eq!(containers(json!([app(json!({ field: empty }))])), [format!("{APP}/{field}: {message}")]);
        }
    }
    assert_eq!(
        containers(json!([app(json!({})), app(json!({}))])),
        ["/containerDefinitions/1/name: Container names must be unique within a task definition"]
    );
    assert_eq!(
        containers(json!([app(json!({ "essential": false }))])),
        ["/containerDefinitions: Task definition doesn't have any essential container"]
    );
}

#[test]
fn names_of_families_and_containers_have_255_letters_at_most() {
    let family = |name: &str| of_definition(json!({ "family": name }));
    let container = |name: &str| of_container(json!({ "name": name }));
    let (longest, too_long) = ("a".repeat(255), "a".repeat(256));
    for good in ["Web_1-a", &longest] {
        assert!(family(good).is_empty() && container(good).is_empty());
    }
    for bad in ["web app", "a.b", &too_long] {
        assert_eq!(family(bad), ["/family: Family contains invalid characters."]);
        assert_eq!(container(bad), [format!("{APP}/name: Container name '{bad}' contains invalid characters.")]);
    }
}

#[test]
fn memory_is_given_and_the_soft_limit_is_not_above_the_hard_one() {
    let memory =
        |memory: Value, reservation: Value| of_container(json!({ "memory": memory, "memoryReservation": reservation }));
    let prefix = "Invalid setting for container 'app'.";
    // ECS refuses it; here it is a warning, as nothing on one machine needs the figure.
    assert_eq!(
        memory(Value::Null, Value::Null),
        [format!("{APP}: {prefix} At least one of 'memory' or 'memoryReservation' must be specified.")]
    );
    assert!(memory(Value::Null, json!(64)).is_empty() && memory(json!(256), json!(256)).is_empty());
    assert_eq!(
        memory(json!(128), json!(256)),
        [format!("{APP}/memoryReservation: {prefix} 'memory' must be greater than or equal to 'memoryReservation'")]
    );
    assert_eq!(memory(json!(5), Value::Null), [format!("{APP}/memory: Invalid 'memory' setting for container 'app'.")]);
    assert!(memory(json!(6), Value::Null).is_empty());
    let beside = json!({ "memory": 512, "containerDefinitions": [{ "name": "app", "image": "a", "memory": 1024 }] });
    assert_eq!(
        of_definition(beside),
        [format!("{APP}/memory: {prefix} The 'memory' setting for container 'app' is greater than for the task")]
    );
}

#[test]
fn a_dependency_is_there_and_can_hold() {
    let depends = |other: Value, condition: &str| {
        let app = json!({ "name": "app", "image": "a", "memory": 6, "dependsOn": [{ "containerName": "db", "condition": condition }] });
        let other = with(json!({ "name": "db", "image": "d", "memory": 6 }), other);
        of_definition(json!({ "containerDefinitions": [app, other] }))
    };
    let condition = format!("{APP}/dependsOn/0/condition: ");
    for word in ["SUCCESS", "COMPLETE"] {
        assert_eq!(
            depends(json!({}), word),
            [format!(
                "{condition}A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"
            )]
        );
        assert!(depends(json!({ "essential": false }), word).is_empty());
    }
    assert_eq!(
        depends(json!({}), "HEALTHY"),
        [format!("{condition}A dependency container with HEALTHY condition must have health check configured")]
    );
    assert!(depends(json!({ "healthCheck": { "command": ["CMD", "x"] } }), "HEALTHY").is_empty());
    assert!(depends(json!({}), "START").is_empty());
    assert_eq!(
        depends(json!({ "name": "other" }), "START"),
        [format!("{APP}/dependsOn/0/containerName: Cannot depend on container + 'db' because it does not exist")]
    );
}

#[test]
fn a_health_check_has_bounds_and_defaults() {
    let check = |field: &str, value: i64| {
        of_container(json!({ "healthCheck": with(json!({ "command": ["CMD-SHELL", "x"] }), json!({ field: value })) }))
    };
    for (field, least, most) in [("interval", 5, 300), ("timeout", 2, 60), ("retries", 1, 10), ("startPeriod", 0, 300)]
    {
        assert!(check(field, least).is_empty() && check(field, most).is_empty(), "{field}");
        assert_eq!(
            check(field, most + 1),
            [format!(
                "{APP}/healthCheck/{field}: Health check {field} must be less than or equal to the maximum allowed value {most} for container 'app'"
            )]
        );
        if least > 0 {
            assert_eq!(
                check(field, least - 1),
                [format!(
                    "{APP}/healthCheck/{field}: Health check {field} must be greater than or equal to the minimum allowed value {least} for container 'app'"
                )]
            );
        }
    }
    let read = |command: &str| {
        let definition = format!(
            r#"{{"family": "web", "networkMode": "awsvpc", "containerDefinitions": [{{"name": "a", "image": "a", "memory": 6, "healthCheck": {{"command": {command}}}}}]}}"#
        );
        definition_of(&definition).container_definitions[0].health_check.clone()
    };
    let plain = read(r#"["CMD", "x"]"#).unwrap();
    let seconds = (plain.interval.as_secs(), plain.timeout.as_secs(), plain.retries, plain.start_period.as_secs());
    assert_eq!(seconds, (30, 5, 3, 0));
    assert_eq!(read(r#"["NONE"]"#), None, "NONE switches it off");
    assert!(of_container(json!({ "healthCheck": { "command": ["x"] } }))[0].contains("this health check is never run"));
}

#[test]
fn a_ulimits_soft_limit_is_not_above_its_hard_one() {
    let ulimit = |soft: i64, hard: i64| {
        of_container(json!({ "ulimits": [{ "name": "nofile", "softLimit": soft, "hardLimit": hard }] }))
    };
    for (soft, hard) in [(1024, 1024), (1024, -1), (-1, -1)] {
        assert!(ulimit(soft, hard).is_empty(), "{soft} {hard}");
    }
    for (soft, hard) in [(2048, 1024), (-1, 1024)] {
        let message = "Soft limit exceeds hard limit for ulimit nofile";
        assert_eq!(ulimit(soft, hard), [format!("{APP}/ulimits/0/softLimit: {message}")]);
    }
}

#[test]
fn timeouts_have_no_default_in_the_definition() {
    let definition = definition_of(WEB);
    let container = &definition.container_definitions[0];
    assert_eq!((container.start_timeout, container.stop_timeout, container.essential), (None, None, true));
}

#[test]
fn a_restart_policy_asks_for_300_seconds_unless_it_says_otherwise() {
    let period = |fields: &str| {
        let container =
            format!(r#"{{"name": "a", "image": "a", "memory": 64, "restartPolicy": {{"enabled": true{fields}}}}}"#);
        let definition = definition_of(&format!(
            r#"{{"family": "web", "networkMode": "awsvpc", "containerDefinitions": [{container}]}}"#
        ));
        let policy = definition.container_definitions[0].restart_policy.clone().unwrap();
        policy.restart_attempt_period.as_secs()
    };
    assert_eq!((period(""), period(r#", "restartAttemptPeriod": 60"#)), (300, 60));
}

#[test]
fn images_for_another_machine_are_told() {
    let platform =
        |architecture: &str| of_definition(json!({ "runtimePlatform": { "cpuArchitecture": architecture } }));
    let (here, elsewhere) = if cfg!(target_arch = "aarch64") { ("ARM64", "X86_64") } else { ("X86_64", "ARM64") };
    assert!(platform(here).is_empty());
    assert_eq!(platform(elsewhere).len(), 1);
    assert_eq!(platform("RISCV"), ["/runtimePlatform/cpuArchitecture: expected `X86_64` or `ARM64`, found `RISCV`"]);
}
