//! RegisterTaskDefinition.

use serde_json::{Value, json};

use super::super::super::ids::NetworkMode;
use super::super::registration::registration;
use super::super::task_definition::Context;
use super::{lines, with};

const EC2: Context =
    Context { network_mode: NetworkMode::Awsvpc, overridden: false, requires_fargate: false, runs_on_fargate: false };
const FARGATE: Context = Context { requires_fargate: true, runs_on_fargate: true, ..EC2 };

fn in_mode(network_mode: NetworkMode) -> Context {
    Context { network_mode, ..EC2 }
}

/// What is said of a definition with these fields.
fn of(fields: Value, context: Context) -> Vec<String> {
    let base = json!({
        "family": "web",
        "networkMode": context.network_mode.to_string(),
        "containerDefinitions": [{ "name": "app", "image": "app" }],
    });
    lines(registration(&with(base, fields), context))
}

/// What is said of a definition whose one container `app` has these fields.
fn of_container(fields: Value, context: Context) -> Vec<String> {
    let container = with(json!({ "name": "app", "image": "app" }), fields);
    of(json!({ "containerDefinitions": [container] }), context)
}

#[test]
fn a_small_definition_has_no_fault() {
    assert!(of(json!({}), EC2).is_empty());
    assert!(of(json!({}), FARGATE).is_empty());
}

#[test]
fn a_definition_for_fargate_must_say_awsvpc() {
    let said = of(json!({ "networkMode": null }), FARGATE);
    assert_eq!(said, ["/requiresCompatibilities: Fargate only supports network mode 'awsvpc'."]);
    assert!(of(json!({ "networkMode": null }), EC2).is_empty());
}

#[test]
fn a_request_has_at_most_64_kib() {
    let filled = |size: usize| {
        let empty = json!({ "family": "web", "networkMode": "awsvpc", "containerDefinitions": [], "x": "" });
        with(empty.clone(), json!({ "x": "y".repeat(size - empty.to_string().len()) }))
    };
    assert!(lines(registration(&filled(65_536), EC2)).is_empty());
    let said = lines(registration(&filled(65_537), EC2));
    assert_eq!(said, [": Actual length: '65537'. Max allowed length is '65536' bytes."]);
}

#[test]
fn links_have_one_alias_and_exist_in_bridge_mode_only() {
    let links = |links: Value, mode| of_container(json!({ "links": links }), in_mode(mode));
    assert!(links(json!(["b", "b:c"]), NetworkMode::Bridge).is_empty());
    let at = "/containerDefinitions/0/links";
    assert_eq!(
        links(json!(["b", "a:b:c"]), NetworkMode::Bridge),
        [format!("{at}/1: Invalid 'links' setting for container 'app'")]
    );
    for mode in [NetworkMode::Host, NetworkMode::None] {
        assert_eq!(links(json!(["b"]), mode), [format!("{at}: Links are not supported when networkMode={mode}.")]);
        assert!(links(json!([]), mode).is_empty());
        let overridden = Context { overridden: true, ..in_mode(mode) };
        assert!(of_container(json!({ "links": ["b"] }), overridden).is_empty(), "who read it has dropped them");
    }
    for malformed in ["", ":", "b:", ":c"] {
        assert_eq!(links(json!([malformed]), NetworkMode::Bridge).len(), 1, "{malformed}");
    }
}

#[test]
fn a_task_without_a_network_maps_no_port() {
    let mapped = json!({ "portMappings": [{ "containerPort": 80 }] });
    assert_eq!(
        of_container(mapped.clone(), in_mode(NetworkMode::None)),
        ["/containerDefinitions/0/portMappings: Port mappings are not supported when networkMode=none."]
    );
    assert!(of_container(mapped, in_mode(NetworkMode::Host)).is_empty());
}

#[test]
fn a_host_mode_task_leaves_the_instances_network_as_it_is() {
    let controls = |namespace: &str, mode| {
        let control = json!({ "namespace": namespace, "value": "1" });
        of_container(json!({ "systemControls": [control] }), in_mode(mode))
    };
    assert_eq!(
        controls("net.core.somaxconn", NetworkMode::Host),
        [
            "/containerDefinitions/0/systemControls/0/namespace: System controls of net.* are not supported when networkMode=host."
        ]
    );
    assert!(controls("kernel.msgmax", NetworkMode::Host).is_empty());
    assert!(controls("net.core.somaxconn", NetworkMode::Awsvpc).is_empty());
}

#[test]
fn port_ranges_have_a_form_and_a_place() {
    let mapping = |mapping: Value, mode| of_container(json!({ "portMappings": [mapping] }), in_mode(mode));
    let awsvpc = |range: &str| mapping(json!({ "containerPortRange": range }), NetworkMode::Awsvpc);
    let at = "/containerDefinitions/0/portMappings/0";
    for range in ["1-65535", "8000-8000"] {
        assert!(awsvpc(range).is_empty(), "{range}");
        assert!(mapping(json!({ "containerPortRange": range }), NetworkMode::Bridge).is_empty(), "{range}");
    }
    for range in ["8010-8000", "80x", "0-10", "1-65536", "8000", "-1-9"] {
        let wanted = format!("{at}/containerPortRange: Invalid 'containerPortRange' setting for container 'app'.");
        assert_eq!(awsvpc(range), [wanted], "{range}");
    }
    for mode in [NetworkMode::Host, NetworkMode::None] {
        let said = mapping(json!({ "containerPortRange": "1-2" }), mode);
        let wanted = format!("{at}/containerPortRange: Container port range is not supported when networkMode={mode}.");
        assert!(said.contains(&wanted), "{said:?}");
    }
    let with_host_port = mapping(json!({ "containerPortRange": "1-2", "hostPort": 1 }), NetworkMode::Bridge);
    assert_eq!(
        with_host_port,
        [format!(
            "{at}/hostPort: Invalid port mapping for container 'app', cannot specify both host port and port range."
        )]
    );
}

#[test]
fn a_container_has_at_most_a_hundred_port_ranges() {
    let ranges = |count: u32| {
        let ranges: Vec<Value> =
            (0..count).map(|i| json!({ "containerPortRange": format!("{0}-{0}", i + 1) })).collect();
        of_container(json!({ "portMappings": ranges }), EC2)
    };
    assert!(ranges(100).is_empty());
    let at = "/containerDefinitions/0/portMappings/100/containerPortRange";
    assert_eq!(ranges(101), [format!("{at}: Container 'app' has more than 100 container port ranges.")]);
}

#[test]
fn ranges_of_ports_do_not_overlap() {
    let pair = |one: Value, other: Value, mode| {
        let first = json!({ "name": "a", "image": "a", "portMappings": [one] });
        let second = json!({ "name": "b", "image": "b", "portMappings": [other] });
        of(json!({ "containerDefinitions": [first, second] }), in_mode(mode))
    };
    let range = |range: &str| json!({ "containerPortRange": range });
    let said = pair(range("8000-8090"), range("8085-8100"), NetworkMode::Awsvpc);
    let at = "/containerDefinitions/1/portMappings/0";
    let wanted = "TCP container port '8085' is used multiple times in task when networkMode=awsvpc.";
    assert_eq!(said, [format!("{at}/containerPortRange: {wanted}")]);
    let said = pair(range("8000-8090"), json!({ "containerPort": 8085 }), NetworkMode::Awsvpc);
    assert_eq!(said, [format!("{at}/containerPort: {wanted}")]);
    let said = pair(json!({ "containerPort": "8085" }), range("8000-8090"), NetworkMode::Awsvpc);
    assert_eq!(said, [format!("{at}/containerPortRange: {wanted}")]);
    assert!(pair(range("8000-8084"), range("8085-8100"), NetworkMode::Awsvpc).is_empty());
    assert!(
        pair(range("1-2"), json!({ "containerPortRange": "1-2", "protocol": "udp" }), NetworkMode::Awsvpc).is_empty()
    );
    assert!(pair(range("1-2"), range("1-2"), NetworkMode::Bridge).is_empty());
    let in_one = of_container(json!({ "portMappings": [range("1-2"), range("2-3")] }), in_mode(NetworkMode::Bridge));
    assert_eq!(in_one.len(), 1);
}

#[test]
fn a_proxy_has_all_that_its_rules_need() {
    let properties = ["ProxyIngressPort", "ProxyEgressPort", "AppPorts", "IgnoredUID"];
    let proxy = |container: &str, without: &str, mode| {
        let properties: Vec<Value> =
            properties.iter().filter(|p| **p != without).map(|p| json!({ "name": p, "value": "1" })).collect();
        let proxy = json!({ "type": "APPMESH", "containerName": container, "properties": properties });
        of(json!({ "proxyConfiguration": proxy }), in_mode(mode))
    };
    assert!(proxy("app", "", NetworkMode::Awsvpc).is_empty());
    let at = "/proxyConfiguration";
    assert_eq!(
        proxy("app", "", NetworkMode::Bridge),
        [format!("{at}: APPMESH proxy configuration is only supported in networkMode=awsvpc")]
    );
    assert_eq!(
        proxy("envoy", "", NetworkMode::Awsvpc),
        [format!("{at}/containerName: Proxy container [envoy] does not exist.")]
    );
    for (without, said) in [
        ("ProxyIngressPort", "Ingress port not found"),
        ("ProxyEgressPort", "Egress port not found"),
        ("AppPorts", "App ports not found"),
        ("IgnoredUID", "one of IgnoredUID and IgnoredGID must be given"),
    ] {
        assert_eq!(proxy("app", without, NetworkMode::Awsvpc), [format!("{at}: {said}")]);
    }
    let other = json!({ "proxyConfiguration": { "type": "OTHER" } });
    assert!(of(other, EC2).contains(&"/proxyConfiguration/type: `OTHER` is no type of proxy".to_owned()));
}

#[test]
fn volumes_are_declared_and_mounted() {
    let said = of(
        json!({
            "volumes": [{ "name": "unused" }, { "name": "data" }],
            "containerDefinitions": [{
                "name": "app",
                "image": "app",
                "mountPoints": [{ "sourceVolume": "data" }, { "sourceVolume": "other" }],
                "volumesFrom": [{ "sourceContainer": "app" }, { "sourceContainer": "nobody" }],
            }],
        }),
        EC2,
    );
    assert_eq!(
        said,
        [
            "/containerDefinitions/0/mountPoints/1/sourceVolume: Unknown volume 'other'.",
            "/containerDefinitions/0/volumesFrom/1/sourceContainer: Invalid 'volumesFrom' setting. Unknown container: 'nobody'.",
            "/volumes/0/name: Volumes [unused] are not referenced by any of the containers",
        ]
    );
}

#[test]
fn fargate_has_no_host_to_share() {
    let definition = json!({
        "pidMode": "host",
        "ipcMode": "task",
        "volumes": [
            { "name": "a", "host": { "sourcePath": "/srv" } },
            { "name": "b", "dockerVolumeConfiguration": { "scope": "task" } },
            { "name": "c", "host": {} },
        ],
        "containerDefinitions": [{
            "name": "app",
            "image": "app",
            "mountPoints": [{ "sourceVolume": "a" }, { "sourceVolume": "b" }, { "sourceVolume": "c" }],
            "dockerSecurityOptions": ["no-new-privileges"],
            "disableNetworking": true,
            "linuxParameters": { "capabilities": { "add": ["SYS_PTRACE", "NET_ADMIN"] } },
        }],
    });
    let prefix = "Fargate compatible task definitions do not support";
    assert_eq!(
        of(definition.clone(), FARGATE),
        [
            format!("/volumes/0/host: {prefix} sourcePath"),
            format!("/volumes/1/dockerVolumeConfiguration: {prefix} dockerVolumeConfiguration"),
            "/pidMode: Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'.".to_owned(),
            format!("/ipcMode: {prefix} ipcMode"),
            format!("/containerDefinitions/0/dockerSecurityOptions: {prefix} dockerSecurityOptions"),
            format!("/containerDefinitions/0/disableNetworking: {prefix} disableNetworking"),
            "/containerDefinitions/0/linuxParameters/capabilities/add/1: NET_ADMIN is not allowed on Fargate.".to_owned(),
        ]
    );
    assert!(of(definition, EC2).is_empty());
    assert!(of(json!({ "pidMode": "task" }), FARGATE).is_empty());
}

#[test]
fn fargate_bounds_the_timeouts() {
    let said = |field: &str, seconds: u32, context| !of_container(json!({ field: seconds }), context).is_empty();
    for (field, seconds, refused) in [
        ("startTimeout", 1, true),
        ("startTimeout", 2, false),
        ("startTimeout", 120, false),
        ("startTimeout", 121, true),
        ("stopTimeout", 120, false),
        ("stopTimeout", 121, true),
    ] {
        assert_eq!(said(field, seconds, FARGATE), refused, "{field} {seconds}");
        assert!(!said(field, seconds, EC2));
    }
}

#[test]
fn ephemeral_storage_has_bounds_and_is_fargates() {
    let storage = |size: u32, context| of(json!({ "ephemeralStorage": { "sizeInGiB": size } }), context);
    let bounds = "/ephemeralStorage/sizeInGiB: sizeInGiB must be from 21 to 200";
    for (size, refused) in [(20, true), (21, false), (200, false), (201, true)] {
        assert_eq!(storage(size, FARGATE).contains(&bounds.to_owned()), refused, "{size}");
    }
    assert_eq!(storage(21, EC2), ["/ephemeralStorage: ephemeralStorage is for tasks on Fargate only"]);
}

#[test]
fn restart_policies_have_bounds() {
    let said = |policy: Value| of_container(json!({ "restartPolicy": policy }), EC2);
    for (period, refused) in [(59, true), (60, false), (1800, false), (1801, true)] {
        let found = said(json!({ "enabled": true, "restartAttemptPeriod": period }));
        let wanted = "/containerDefinitions/0/restartPolicy/restartAttemptPeriod: The 'restartAttemptPeriod' setting for container 'app' must be between 60 and 1800.";
        assert_eq!(found.contains(&wanted.to_owned()), refused, "{period}");
    }
    let codes = |count: i32| said(json!({ "enabled": true, "ignoredExitCodes": (0..count).collect::<Vec<_>>() })).len();
    assert_eq!((codes(50), codes(51)), (0, 1));
}

#[test]
fn at_most_ten_environment_files() {
    let files = |count: usize| {
        of_container(json!({ "environmentFiles": vec![json!({ "type": "s3", "value": "x.env" }); count] }), EC2)
    };
    assert!(files(10).is_empty());
    assert_eq!(
        files(11),
        [
            "/containerDefinitions/0/environmentFiles: The maximum number of environment files was exceeded. Specify ten or less and try again."
        ]
    );
}

#[test]
fn secrets_and_ecr_need_a_role() {
    let secrets = json!([{ "name": "a", "image": "a", "secrets": [{ "name": "X", "valueFrom": "y" }] }]);
    assert_eq!(
        of(json!({ "containerDefinitions": secrets }), EC2),
        [
            "/containerDefinitions/0/secrets: When you are specifying container secrets, you must also specify a value for 'executionRoleArn'"
        ]
    );
    let role = "arn:aws:iam::111122223333:role/x";
    assert!(of(json!({ "containerDefinitions": secrets, "executionRoleArn": role }), EC2).is_empty());
    let ecr = json!([{ "name": "a", "image": "1.dkr.ecr.us-east-1.amazonaws.com/a" }]);
    assert_eq!(
        of(json!({ "containerDefinitions": ecr }), FARGATE),
        [
            "/containerDefinitions/0/image: Fargate requires task definition to have execution role ARN to support ECR images"
        ]
    );
    assert!(of(json!({ "containerDefinitions": ecr, "executionRoleArn": role }), FARGATE).is_empty());
    assert!(of(json!({ "containerDefinitions": ecr }), EC2).is_empty());
}

#[test]
fn log_drivers_are_known_and_have_what_they_need() {
    let log = |log: Value, context| of_container(json!({ "logConfiguration": log }), context);
    let at = "/containerDefinitions/0/logConfiguration";
    assert_eq!(
        log(json!({ "logDriver": "awslogs" }), EC2),
        [format!("{at}: Log driver awslogs requires options: awslogs-group")]
    );
    assert!(log(json!({ "logDriver": "awslogs", "options": { "awslogs-group": "x" } }), FARGATE).is_empty());
    assert_eq!(
        log(json!({ "logDriver": "json-file" }), FARGATE),
        [format!("{at}/logDriver: json-file is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]")]
    );
    assert!(log(json!({ "logDriver": "json-file" }), EC2).is_empty());
    assert_eq!(
        log(json!({ "logDriver": "awsfirelens" }), EC2),
        [format!(
            "{at}: When awsfirelens log driver is specified in log configuration, a firelens configuration object must be configured in one of the containers."
        )]
    );
    let router =
        json!({ "logConfiguration": { "logDriver": "awsfirelens" }, "firelensConfiguration": { "type": "fluentbit" } });
    assert!(of_container(router, EC2).is_empty());
}

#[test]
fn a_definition_takes_ten_constraints_of_one_type() {
    let constraints = |kind: &str, count: usize| {
        of(
            json!({ "placementConstraints": vec![json!({ "type": kind, "expression": "attribute:a exists" }); count] }),
            EC2,
        )
    };
    assert!(constraints("memberOf", 10).is_empty());
    assert_eq!(constraints("memberOf", 11), ["/placementConstraints: Maximum number of constraints is 10."]);
    assert_eq!(
        constraints("distinctInstance", 1),
        ["/placementConstraints/0/type: a task definition takes no constraint of type `distinctInstance`"]
    );
}
