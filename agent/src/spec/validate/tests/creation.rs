//! CreateService.

use serde_json::{Value, json};

use super::super::super::ids::NetworkMode;
use super::super::creation::creation;
use super::super::task_definition::Context;
use super::lines;

/// On FARGATE, where a request does not say otherwise.
fn of(request: Value) -> Vec<String> {
    lines(creation(&request, context(NetworkMode::Awsvpc, true)))
}

fn on_ec2(request: &Value, mode: NetworkMode) -> Vec<String> {
    lines(creation(request, context(mode, false)))
}

fn context(network_mode: NetworkMode, runs_on_fargate: bool) -> Context {
    Context { network_mode, overridden: false, requires_fargate: false, runs_on_fargate }
}

#[test]
fn a_plain_service_has_no_fault() {
    assert!(of(json!({ "desiredCount": 2, "networkConfiguration": { "awsvpcConfiguration": {} } })).is_empty());
}

#[test]
fn a_network_configuration_is_awsvpcs_alone() {
    let request = json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["a"] } } });
    for mode in [NetworkMode::Bridge, NetworkMode::Host, NetworkMode::None] {
        assert_eq!(
            on_ec2(&request, mode),
            [
                "/networkConfiguration: Network Configuration is not valid for the given networkMode of this task definition."
            ]
        );
    }
}

#[test]
fn a_daemon_has_one_task_an_instance() {
    let daemon =
        |fields: Value| on_ec2(&super::with(json!({ "schedulingStrategy": "DAEMON" }), fields), NetworkMode::Awsvpc);
    assert!(daemon(json!({ "deploymentConfiguration": { "maximumPercent": 100 } })).is_empty());
    assert_eq!(
        daemon(json!({ "desiredCount": 0 })),
        [
            "/desiredCount: The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again"
        ]
    );
    for key in ["deployment", "deploymentConfiguration"] {
        assert_eq!(
            daemon(json!({ key: { "maximumPercent": 101 } })),
            [format!(
                "/{key}/maximumPercent: The daemon scheduling strategy does not support values above 100 for maximumPercent"
            )]
        );
    }
    assert_eq!(
        daemon(json!({ "placementStrategy": [{ "type": "random" }] })),
        ["/placementStrategy: The daemon scheduling strategy does not support placement strategies"]
    );
    assert_eq!(daemon(json!({ "availabilityZoneRebalancing": "ENABLED" })).len(), 1);
    assert!(of(json!({ "availabilityZoneRebalancing": "ENABLED", "desiredCount": 0 })).is_empty());
}

#[test]
fn placement_is_checked_in_both_spellings() {
    let spread = json!({ "type": "spread", "field": "instanceId" });
    for (outer, strategies, constraints) in
        [(None, "placementStrategy", "placementConstraints"), (Some("placement"), "strategy", "constraints")]
    {
        let said = |key: &str, list: Vec<Value>| match outer {
            Some(outer) => on_ec2(&json!({ outer: { key: list } }), NetworkMode::Bridge),
            None => on_ec2(&json!({ key: list }), NetworkMode::Bridge),
        };
        let at = outer.map(|outer| format!("/{outer}")).unwrap_or_default();
        assert!(said(strategies, vec![spread.clone(); 5]).is_empty());
        assert_eq!(
            said(strategies, vec![spread.clone(); 6]),
            [format!("{at}/{strategies}: Maximum number of strategies is 5.")]
        );
        assert!(said(strategies, vec![json!({ "type": "binpack", "field": "cpu" })]).is_empty());
        assert_eq!(
            said(strategies, vec![json!({ "type": "binpack", "field": "disk" })]),
            [format!("{at}/{strategies}/0/field: binpack field 'disk' is invalid")]
        );
        assert_eq!(said(strategies, vec![json!({ "type": "best" })]).len(), 1);
        assert!(said(constraints, vec![json!({ "type": "distinctInstance" }); 10]).is_empty());
        assert_eq!(
            said(constraints, vec![json!({ "type": "distinctInstance", "expression": "x" })]),
            [format!("{at}/{constraints}/0/expression: distinctInstance expression should not be specified.")]
        );
        let member = json!({ "type": "memberOf", "expression": "attribute:a exists" });
        assert_eq!(
            said(constraints, vec![member; 11]),
            [format!("{at}/{constraints}: Maximum number of constraints is 10.")]
        );
        assert_eq!(said(constraints, vec![json!({ "type": "sameInstance" })]).len(), 1);
        let query = said(constraints, vec![json!({ "type": "memberOf", "expression": "attribute:a ==" })]);
        assert!(
            query[0].starts_with(&format!(
                "{at}/{constraints}/0/expression: this is no expression of the cluster query language: at character"
            )),
            "{query:?}"
        );
    }
}

#[test]
fn two_ways_to_say_where_tasks_run_exclude_each_other() {
    assert_eq!(
        of(json!({ "launchType": "FARGATE", "capacityProviderStrategy": [{ "capacityProvider": "FARGATE" }] })),
        [
            "/capacityProviderStrategy: Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        ]
    );
    assert!(of(json!({ "platformVersion": "LATEST" })).is_empty());
    assert_eq!(
        on_ec2(&json!({ "platformVersion": "LATEST" }), NetworkMode::Awsvpc),
        ["/platformVersion: The platform version must be null when specifying an EC2 launch type."]
    );
    assert_eq!(
        of(json!({ "role": "x" })),
        ["/role: You cannot specify an IAM role for services that require a service linked role."]
    );
    assert!(on_ec2(&json!({ "role": "x" }), NetworkMode::Bridge).is_empty());
}

#[test]
fn fargate_has_no_instances_to_choose() {
    let said = of(json!({
        "schedulingStrategy": "DAEMON",
        "placementConstraints": [{ "type": "distinctInstance" }],
        "placement": { "constraints": [{ "type": "distinctInstance" }] },
    }));
    assert_eq!(
        said,
        [
            "/placementConstraints: Placement constraints are not supported with FARGATE launch type.",
            "/schedulingStrategy: Tasks using the Fargate launch type don't support the DAEMON scheduling strategy.",
        ],
        "the stack file's short form may stand there for other modes"
    );
    assert_eq!(
        of(json!({ "placementStrategy": [{ "type": "random" }] })),
        ["/placementStrategy: Placement strategies are not supported with FARGATE launch type."]
    );
}

#[test]
fn what_a_flag_overrides_is_no_fault_of_the_request() {
    let request = json!({
        "networkConfiguration": { "awsvpcConfiguration": { "assignPublicIp": "ENABLED" } },
        "platformVersion": "LATEST",
        "role": "x",
    });
    for mode in [NetworkMode::Awsvpc, NetworkMode::Bridge] {
        assert!(lines(creation(&request, Context { overridden: true, ..context(mode, false) })).is_empty());
        assert!(on_ec2(&request, mode).len() >= 2);
    }
}

#[test]
fn only_a_task_on_fargate_gets_a_public_address() {
    let request = |word: &str| json!({ "networkConfiguration": { "awsvpcConfiguration": { "assignPublicIp": word } } });
    assert!(of(request("ENABLED")).is_empty() && on_ec2(&request("DISABLED"), NetworkMode::Awsvpc).is_empty());
    assert_eq!(
        on_ec2(&request("ENABLED"), NetworkMode::Awsvpc),
        [
            "/networkConfiguration/awsvpcConfiguration/assignPublicIp: Assign public IP is not supported for this launch type."
        ]
    );
}

#[test]
fn a_service_has_one_registry() {
    let registries = |count: usize| of(json!({ "serviceRegistries": vec![json!({ "registryArn": "x" }); count] }));
    assert!(registries(1).is_empty());
    assert_eq!(registries(2), ["/serviceRegistries: service registries can have at most 1 items."]);
}

#[test]
fn a_load_balancer_is_named_once() {
    let said =
        of(json!({ "loadBalancers": [{ "targetGroupArn": "x" }, { "targetGroupArn": "x", "loadBalancerName": "y" }] }));
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("/loadBalancers/1: loadBalancerName and targetGroupArn cannot both be specified."));
}

#[test]
fn a_service_connect_entry_has_one_alias_with_a_dns_name() {
    let aliases = |aliases: Value| {
        of(json!({ "serviceConnectConfiguration": { "services": [{ "portName": "http", "clientAliases": aliases }] } }))
    };
    let at = "/serviceConnectConfiguration/services/0";
    assert!(aliases(json!([{ "port": 80, "dnsName": "orders.shop.local" }])).is_empty());
    assert_eq!(
        aliases(json!([{ "port": 80 }, { "port": 81 }])),
        [format!("{at}/clientAliases: 2 clientAliases exceeds the max limit of 1")]
    );
    assert_eq!(aliases(json!([])), [format!("{at}: clientAliases must have 1 element.")]);
    let name = |length: usize| format!("{}.{}", "a".repeat(63), "b".repeat(length - 64));
    assert!(aliases(json!([{ "port": 80, "dnsName": name(126) }])).is_empty());
    let longest = format!("{}.{}", name(125), "c");
    assert_eq!(longest.len(), 127);
    assert!(aliases(json!([{ "port": 80, "dnsName": longest }])).is_empty());
    for bad in ["a b".to_owned(), format!("{longest}c")] {
        let said = aliases(json!([{ "port": 80, "dnsName": bad }]));
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with(&format!("{at}/clientAliases/0/dnsName: The DNS name that you provided is invalid."))
        );
    }
}
