//! Each bound that AWS sets, at it and beyond it, and each of its refusals on its own: what is said, as `pointer: message`.
//! How it looks in a terminal is shown by the snapshots of the other files.

use serde_json::{Value, json};

use super::*;

/// What is said of a stack file beside the task definition `web.json`.
fn said(stack: &str) -> Vec<String> {
    lines(Folder::with(&[("stack.yaml", stack), ("web.json", WEB)]).load(&Overrides::default()))
}

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

fn lines(loaded: Loaded) -> Vec<String> {
    for problem in &loaded.problems {
        assert_has_a_place(problem, &loaded);
    }
    loaded.problems.iter().map(|p| format!("{}: {}", p.place.pointer, p.message)).collect()
}

const APP: &str = "/containerDefinitions/0";

#[test]
fn a_network_mode_is_one_of_four() {
    assert_eq!(
        of_definition(json!({ "networkMode": "overlay" }))[0],
        "/networkMode: expected `awsvpc` or `bridge` or `host` or `none`, found `overlay`"
    );
    for mode in ["bridge", "host", "none"] {
        assert_eq!(
            of_definition(json!({ "networkMode": mode })),
            [format!("/networkMode: network mode `{mode}` is not emulated yet")]
        );
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
fn images_for_another_machine_are_told() {
    let platform =
        |architecture: &str| of_definition(json!({ "runtimePlatform": { "cpuArchitecture": architecture } }));
    let (here, elsewhere) = if cfg!(target_arch = "aarch64") { ("ARM64", "X86_64") } else { ("X86_64", "ARM64") };
    assert!(platform(here).is_empty());
    assert_eq!(platform(elsewhere).len(), 1);
    assert_eq!(platform("RISCV"), ["/runtimePlatform/cpuArchitecture: expected `X86_64` or `ARM64`, found `RISCV`"]);
}

/// A stack with one service that has these fields.
fn of_service(fields: &str) -> Vec<String> {
    said(&format!("name: shop\nservices:\n  web: {{ taskDefinition: web.json, {fields} }}\n"))
}

#[test]
fn a_service_takes_1_to_16_subnets_and_5_groups() {
    let subnets: Vec<String> = (0..17).map(|n| format!("{{ name: s{n}, zone: a, cidr: 10.0.{n}.0/24 }}")).collect();
    let groups: Vec<String> = (0..6).map(|n| format!("g{n}: {{}}")).collect();
    let service = |subnet_count: usize, group_count: usize| {
        let names =
            |letter: char, count: usize| (0..count).map(|n| format!("{letter}{n}")).collect::<Vec<_>>().join(", ");
        said(&format!(
            "name: shop\nvpc: {{ subnets: [ {} ] }}\nsecurityGroups: {{ {} }}\nservices:\n  web:\n    taskDefinition: web.json\n    networkConfiguration: {{ awsvpcConfiguration: {{ subnets: [{}], securityGroups: [{}] }} }}\n",
            subnets.join(", "),
            groups.join(", "),
            names('s', subnet_count),
            names('g', group_count)
        ))
    };
    let at = "/services/web/networkConfiguration/awsvpcConfiguration";
    assert!(service(1, 0).is_empty() && service(16, 5).is_empty());
    assert_eq!(service(0, 1), [format!("{at}/subnets: subnets can not be empty.")]);
    assert_eq!(service(17, 1), [format!("{at}/subnets: subnets can have at most 16 items.")]);
    assert_eq!(service(1, 6), [format!("{at}/securityGroups: securityGroups can have at most 5 items.")]);
}

#[test]
fn a_service_without_groups_is_in_the_default_group() {
    let stack = stack_of(
        "name: shop\nservices:\n  web:\n    taskDefinition: web.json\n    networkConfiguration: { awsvpcConfiguration: { subnets: [private-a], securityGroups: [] } }\n",
    );
    assert_eq!(stack.services["web"].security_groups.iter().map(|g| g.as_str()).collect::<Vec<_>>(), ["default"]);
}

#[test]
fn subnets_and_groups_of_a_service_exist() {
    assert_eq!(
        of_service("subnets: [nowhere]"),
        [
            "/services/web/subnets/0: Error retrieving subnet information for [nowhere]: The subnet ID 'nowhere' does not exist (ErrorCode: InvalidSubnetID.NotFound)"
        ]
    );
    assert_eq!(
        of_service("securityGroups: [nobody]"),
        [
            "/services/web/securityGroups/0: Error retrieving security group information for [nobody]: The security group 'nobody' does not exist (ErrorCode: InvalidGroup.NotFound)"
        ]
    );
}

#[test]
fn the_bounds_of_a_deployment_leave_it_a_way() {
    let bounds = |minimum: u32, maximum: u32| {
        of_service(&format!("deployment: {{ minimumHealthyPercent: {minimum}, maximumPercent: {maximum} }}"))
    };
    let at = "/services/web/deployment";
    assert_eq!(bounds(101, 200), [format!("{at}/minimumHealthyPercent: minimumHealthyPercent must be at most 100")]);
    assert_eq!(bounds(50, 99), [format!("{at}/maximumPercent: maximumPercent must be at least 100")]);
    assert!(bounds(50, 100).is_empty() && bounds(100, 101).is_empty() && bounds(0, 100).is_empty());
    assert_eq!(
        bounds(100, 100),
        [format!("{at}: Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.")]
    );
}

#[test]
fn a_service_says_how_many_and_by_which_strategy() {
    assert_eq!(
        of_service("desiredCount: -1"),
        ["/services/web/desiredCount: expected a whole number from 0 to 5000, found -1"]
    );
    assert!(of_service("desiredCount: 0, schedulingStrategy: REPLICA").is_empty());
    assert_eq!(
        of_service("schedulingStrategy: ONCE"),
        ["/services/web/schedulingStrategy: expected `REPLICA` or `DAEMON`, found `ONCE`"]
    );
    assert!(
        of_service("schedulingStrategy: DAEMON, desiredCount: 0").contains(
            &"/services/web/desiredCount: The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again".to_owned()
        )
    );
    assert_eq!(
        stack_of("name: shop\nservices: { web: { taskDefinition: web.json } }\n").services["web"].desired_count,
        1
    );
}

#[test]
fn a_grace_period_is_a_number_of_seconds() {
    let grace = |seconds: i64| of_service(&format!("healthCheckGracePeriodSeconds: {seconds}"));
    assert!(grace(0).is_empty() && grace(2_147_483_647).is_empty());
    assert_eq!((grace(-1).len(), grace(2_147_483_648).len()), (1, 1));
}

#[test]
fn a_services_name_has_255_letters_at_most() {
    let named = |name: &str| {
        said(&format!(
            "name: shop\nservices: {{ {name}: {{ taskDefinition: web.json, discovery: {{ name: web }} }} }}\n"
        ))
    };
    assert!(named("a_b-1").is_empty() && named(&"a".repeat(255)).is_empty());
    for name in ["a.b".to_owned(), "a".repeat(256)] {
        let message = format!("/services/{name}: ServiceName must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}");
        assert_eq!(named(&name), [message]);
    }
}

/// A stack with one group that has these ingress rules.
fn of_rules(rules: &str) -> Vec<String> {
    said(&format!("name: shop\nsecurityGroups: {{ db: {{ ingress: [ {rules} ] }} }}\nservices: {{}}\n"))
}

const RULE: &str = "/securityGroups/db/ingress/0";

#[test]
fn a_rule_has_one_protocol_and_one_kind_of_peer() {
    for good in
        ["protocol: 50", "protocol: all", "protocol: \"-1\"", "protocol: tcp", "protocol: icmp, type: -1, code: -1"]
    {
        assert!(of_rules(&format!("{{ {good}, from: 10.0.0.0/8 }}")).is_empty(), "{good}");
    }
    assert_eq!(
        of_rules("{ protocol: foo, port: 1, from: self }"),
        [format!("{RULE}/protocol: Invalid value 'foo' for IP protocol. Unknown protocol.")]
    );
    assert_eq!(
        of_rules("{ protocol: 256, from: self }"),
        [format!("{RULE}/protocol: Invalid value '256' for IP protocol.")]
    );
    assert_eq!(
        of_rules("{ protocol: icmp, type: -1, code: 3, from: self }"),
        [format!("{RULE}/code: a `code` without a `type` means nothing")]
    );
    assert_eq!(of_rules("{ protocol: icmpv6, from: self }"), [format!("{RULE}/protocol: IPv6 is not emulated yet")]);
    assert_eq!(of_rules("{ port: 1 }").len(), 1, "no peer");
    assert_eq!(of_rules("{ port: 1, from: \"fd00::/8\" }"), [format!("{RULE}/from: IPv6 is not emulated yet")]);
}

#[test]
fn a_rules_numbers_are_in_range() {
    assert_eq!(
        of_rules("{ port: 65536, from: self }"),
        [format!("{RULE}/port: TCP/UDP (from) port (65536) out of range")]
    );
    assert_eq!(
        of_rules("{ ports: 80-65536, from: self }"),
        [format!("{RULE}/ports: TCP/UDP (to) port (65536) out of range")]
    );
    assert_eq!(
        of_rules("{ ports: 65535-65534, from: self }"),
        [format!("{RULE}/ports: Invalid TCP/UDP port range(65535:65534)")]
    );
    assert_eq!(
        of_rules("{ protocol: icmp, type: 256, from: self }"),
        [format!("{RULE}/type: ICMP type (256) out of range")]
    );
    assert_eq!(
        of_rules("{ protocol: icmp, type: 3, code: 256, from: self }"),
        [format!("{RULE}/code: ICMP code (256) out of range")]
    );
    for block in ["10.0.0.0/33", "10.0.0/8", "300.0.0.0/8"] {
        assert_eq!(
            of_rules(&format!("{{ port: 1, from: {block} }}")),
            [format!("{RULE}/from: CIDR block {block} is malformed")]
        );
    }
}

#[test]
fn a_group_has_sixty_rules_each_way() {
    let rules = |count: usize| (0..count).map(|n| format!("10.{n}.0.0/16")).collect::<Vec<_>>().join(", ");
    let both = |inbound: usize, outbound: usize| {
        said(&format!(
            "name: shop\nsecurityGroups: {{ db: {{ ingress: [ {{ port: 1, from: [ {} ] }} ], egress: [ {{ port: 1, to: [ {} ] }} ] }} }}\nservices: {{}}\n",
            rules(inbound),
            rules(outbound)
        ))
    };
    assert!(both(60, 60).is_empty());
    let message = "The maximum number of rules per security group has been reached.";
    assert_eq!(both(61, 60), [format!("/securityGroups/db/ingress: {message}")]);
    assert_eq!(both(60, 61), [format!("/securityGroups/db/egress: {message}")]);
    let rules = format!("{{ port: 1, from: [ {} ] }}", rules(61));
    let stack = format!("name: shop\nsecurityGroups: {{ db: {{ ingress: [ {rules} ] }} }}\nservices: {{}}\n");
    let loaded = Folder::with(&[("stack.yaml", &stack)]).load(&Overrides::default());
    assert_eq!(loaded.problems[0].code, "RulesPerSecurityGroupLimitExceeded");
}

#[test]
fn a_rule_for_a_block_stands_once() {
    let twice = |rule: &str| of_rules(&format!("{rule}, {rule}"));
    let said =
        |rule: &str| format!("/securityGroups/db/ingress: the specified rule \"peer: {rule}, ALLOW\" already exists");
    assert_eq!(twice("{ port: 80, from: 10.0.0.0/8 }"), [said("10.0.0.0/8, TCP, from port: 80, to port: 80")]);
    assert_eq!(twice("{ protocol: all, from: 10.0.0.0/8 }"), [said("10.0.0.0/8, ALL")]);
    assert!(of_rules("{ port: 80, from: 10.0.0.0/8 }, { port: 81, from: 10.0.0.0/8 }").is_empty());
    assert!(of_rules("{ port: 80, from: [self, db] }").is_empty(), "two names of one group");
}

#[test]
fn the_group_of_a_service_that_too_many_connect_to_is_told_at_the_service() {
    let callers: String =
        (0..61).map(|n| format!("  c{n}: {{ taskDefinition: web.json, connectsTo: [db] }}\n")).collect();
    let stack = format!("name: shop\nservices:\n  db: {{ taskDefinition: web.json }}\n{callers}");
    assert_eq!(
        said(&stack),
        ["/services/db/ingress: The maximum number of rules per security group has been reached."]
    );
}

#[test]
fn a_group_has_a_name_that_no_id_has() {
    let named = |name: &str| said(&format!("name: shop\nsecurityGroups: {{ {name}: {{}} }}\nservices: {{}}\n"));
    assert_eq!(named("sg-web"), ["/securityGroups/sg-web: Group names may not be in the format sg-*"]);
    assert!(named(&"g".repeat(255)).is_empty());
    let too_long = "g".repeat(256);
    assert_eq!(
        named(&too_long),
        [format!("/securityGroups/{too_long}: Value ({too_long}) for parameter GroupName is invalid.")]
    );
    assert!(named("default").is_empty(), "the VPC's own group, whose rules may be changed");
    let twice = "name: shop\nsecurityGroups: { db: {}, db: {} }\nservices: {}\n";
    assert_eq!(said(twice), [": the key `db` is there twice"]);
}

#[test]
fn a_vpc_is_a_block_of_16_to_28_outside_what_is_reserved() {
    let vpc = |cidr: &str| said(&format!("name: shop\nvpc: {{ cidr: {cidr} }}\nservices: {{}}\n"));
    for good in ["10.0.0.0/16", "10.0.0.0/28", "100.64.0.0/16", "240.0.0.0/16", "192.168.0.0/20"] {
        assert!(vpc(good).is_empty(), "{good}");
    }
    for bad in
        ["10.0.0.0/15", "10.0.0.0/29", "0.1.0.0/16", "127.0.0.0/16", "169.254.0.0/16", "224.0.0.0/16", "239.1.0.0/16"]
    {
        assert_eq!(vpc(bad), [format!("/vpc/cidr: The CIDR '{bad}' is invalid.")], "{bad}");
    }
    let code = Folder::with(&[("stack.yaml", "name: shop\nvpc: { cidr: 10.0.0.0/29 }\nservices: {}\n")]);
    assert_eq!(code.load(&Overrides::default()).problems[0].code, "InvalidVpc.Range");
}

#[test]
fn a_subnet_is_a_block_inside_its_vpc_that_overlaps_no_other() {
    let codes = |cidrs: &[&str]| {
        let subnets: Vec<String> =
            cidrs.iter().enumerate().map(|(n, cidr)| format!("{{ name: s{n}, zone: a, cidr: {cidr} }}")).collect();
        let stack = format!("name: shop\nvpc: {{ subnets: [ {} ] }}\nservices: {{}}\n", subnets.join(", "));
        let loaded = Folder::with(&[("stack.yaml", &stack)]).load(&Overrides::default());
        loaded.problems.into_iter().map(|p| (p.code, p.message)).collect::<Vec<_>>()
    };
    let invalid = |cidr: &str| ("InvalidSubnet.Range".to_owned(), format!("The CIDR '{cidr}' is invalid."));
    assert!(codes(&["10.0.0.0/28", "10.0.0.16/28", "10.0.128.0/17"]).is_empty());
    assert_eq!(codes(&["10.0.0.0/29"]), [invalid("10.0.0.0/29")]);
    assert_eq!(codes(&["10.0.0.0/15"]), [invalid("10.0.0.0/15")]);
    assert_eq!(codes(&["10.1.0.0/24"]), [invalid("10.1.0.0/24")]);
    let conflict = "The CIDR '10.0.0.128/25' conflicts with another subnet".to_owned();
    assert_eq!(codes(&["10.0.0.0/24", "10.0.0.128/25"]), [("InvalidSubnet.Conflict".to_owned(), conflict)]);
}
