//! A service: its short form and CreateService's own fields.

use serde_json::{Value, json};

use super::super::service::LAUNCH_TYPES;
use super::super::task_definition::NETWORK_MODES;
use super::shapes::*;

const MOST: i64 = i32::MAX as i64;

/// A service of a stack.
pub(super) fn service() -> Value {
    let definition = json!({
        "description": "A path from the stack file, to what `aws ecs register-task-definition --cli-input-json` takes or `describe-task-definition` prints; or the definition itself.",
        "anyOf": [
            { "type": "string" },
            reference("taskDefinition"),
            reference("describedTaskDefinition"),
        ],
    });
    let fields = [
        ("taskDefinition", definition),
        ("desiredCount", default(number("How many tasks.", 0, 5000), json!(1))),
        (
            "protocol",
            default(one_of("For ports without `appProtocol`.", &["http", "http2", "grpc", "tcp"]), json!("tcp")),
        ),
        ("connectsTo", texts("Services that it calls: their own groups let it in, on the ports that they map.")),
        (
            "securityGroups",
            with(
                texts("Groups instead of the one that the service gets by itself, at most 5."),
                json!({ "maxItems": 5 }),
            ),
        ),
        (
            "subnets",
            with(
                texts("Subnets that its tasks are spread over; left out: all."),
                json!({ "minItems": 1, "maxItems": 16 }),
            ),
        ),
        ("discovery", discovery()),
        ("deployment", deployment("How a rolling deployment goes.")),
        (
            "healthCheckGracePeriodSeconds",
            default(number("After a task's start, unhealthy results do not stop it for so long.", 0, MOST), json!(0)),
        ),
        ("networkMode", words("Instead of the task definition's.", &NETWORK_MODES)),
        ("launchType", words("Instead of the stack's.", &LAUNCH_TYPES)),
        ("containers", named("Containers of its task definition, by name.", container())),
        ("networkConfiguration", network_configuration()),
        ("deploymentConfiguration", deployment("The same as `deployment`, under CreateService's name.")),
        (
            "schedulingStrategy",
            default(
                one_of(
                    "As many tasks as `desiredCount` says, or one on each container instance.",
                    &["REPLICA", "DAEMON"],
                ),
                json!("REPLICA"),
            ),
        ),
        (
            "deploymentController",
            open("Others than ECS are not emulated.", [("type", one_of("ECS.", &["ECS", "CODE_DEPLOY", "EXTERNAL"]))]),
        ),
        (
            "placement",
            closed(
                "Which container instances tasks are placed on.",
                [("strategy", strategies()), ("constraints", constraints())],
            ),
        ),
        ("placementStrategy", strategies()),
        ("placementConstraints", constraints()),
        ("capacityProviderStrategy", list("No effect yet.", json!({}))),
        ("platformVersion", text("For FARGATE. No effect yet.")),
        ("role", text("No effect yet.")),
        ("enableExecuteCommand", flag("No effect yet: `ecsnet exec` always works.", false)),
        ("volumeConfigurations", list("No effect yet.", json!({}))),
        ("vpcLatticeConfigurations", list("No effect yet.", json!({}))),
        ("propagateTags", anything("No effect yet.")),
        ("enableECSManagedTags", flag("No effect yet.", false)),
        ("availabilityZoneRebalancing", one_of("No effect yet.", &["ENABLED", "DISABLED"])),
        ("monitoring", anything("No effect yet.")),
        ("loadBalancers", list("Not emulated yet.", json!({}))),
        ("serviceRegistries", with(list("CreateService's form of `discovery`.", registry()), json!({ "maxItems": 1 }))),
        ("serviceConnectConfiguration", anything("Not emulated yet.")),
        ("tags", anything("Not used.")),
        ("clientToken", text("Not used.")),
    ];
    required(closed("A service: so many tasks of one definition.", fields), &["taskDefinition"])
}

/// What the stack file says of a container beside its definition.
fn container() -> Value {
    closed(
        "What is else with it here than in AWS.",
        [("stub", flag("Whether a stub stands in for it, as it cannot do its work without AWS.", false))],
    )
}

fn discovery() -> Value {
    closed(
        "Its registration in Cloud Map.",
        [
            ("name", text("The name below the namespace; the service's own when left out.")),
            (
                "type",
                one_of(
                    "A in awsvpc, SRV in bridge and host mode, when left out. AAAA is not there yet.",
                    &["A", "SRV", "AAAA"],
                ),
            ),
            ("containerName", text("Whose port an SRV record names; when left out, the first that maps one.")),
            ("containerPort", number("Which of its ports.", 1, 65535)),
            ("ttl", default(number("Seconds that an answer may be kept.", 0, MOST), json!(10))),
            (
                "routing",
                default(
                    one_of("Up to eight healthy instances in an answer, or one.", &["MULTIVALUE", "WEIGHTED"]),
                    json!("MULTIVALUE"),
                ),
            ),
        ],
    )
}

fn registry() -> Value {
    let entry = closed(
        "A registry.",
        [
            ("registryArn", text("The name below the namespace, in place of an ARN.")),
            ("port", number("The port of SRV records in awsvpc.", 1, 65535)),
            ("containerName", text("Whose port SRV records name.")),
            ("containerPort", number("Which of its ports.", 1, 65535)),
        ],
    );
    required(entry, &["registryArn"])
}

fn deployment(description: &str) -> Value {
    let breaker = |description: &str| {
        closed(
            description,
            [
                ("enable", flag("Whether a deployment that gets no task steady ends as FAILED.", false)),
                ("rollback", flag("Whether it then goes back to the last good one.", false)),
            ],
        )
    };
    closed(
        description,
        [
            (
                "minimumHealthyPercent",
                default(number("Tasks that must stay, in percent of `desiredCount`, rounded up.", 0, 100), json!(100)),
            ),
            (
                "maximumPercent",
                default(
                    number("Tasks that there may be, in percent of `desiredCount`, rounded down.", 100, MOST),
                    json!(200),
                ),
            ),
            ("circuitBreaker", breaker("Gives up on a deployment that never becomes steady.")),
            ("deploymentCircuitBreaker", breaker("The same as `circuitBreaker`, under AWS's name.")),
            (
                "strategy",
                default(
                    one_of("ROLLING is there yet.", &["ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"]),
                    json!("ROLLING"),
                ),
            ),
            ("alarms", anything("No effect yet.")),
            ("lifecycleHooks", anything("No effect yet.")),
            ("bakeTimeInMinutes", anything("No effect yet.")),
            ("earlySuccessCriteria", anything("No effect yet.")),
        ],
    )
}

fn network_configuration() -> Value {
    let inner = closed(
        "The network of awsvpc tasks, with names in place of ids.",
        [
            ("subnets", with(texts("The same as the service's `subnets`."), json!({ "maxItems": 16 }))),
            ("securityGroups", with(texts("The same as the service's `securityGroups`."), json!({ "maxItems": 5 }))),
            ("assignPublicIp", default(one_of("No effect yet.", &["ENABLED", "DISABLED"]), json!("DISABLED"))),
        ],
    );
    closed("As CreateService has it.", [("awsvpcConfiguration", inner)])
}

fn strategies() -> Value {
    let strategy = closed(
        "An entry of the list.",
        [
            ("type", one_of("How.", &["random", "spread", "binpack"])),
            ("field", text("For spread: instanceId, host or attribute:NAME; for binpack: cpu or memory.")),
        ],
    );
    let strategy = required(strategy, &["type"]);
    with(
        list("In which order container instances are taken; spread over zones when left out.", strategy),
        json!({ "maxItems": 5 }),
    )
}

/// Constraints of a service.
fn constraints() -> Value {
    let constraint = closed(
        "An entry of the list.",
        [
            ("type", one_of("Which.", &["distinctInstance", "memberOf"])),
            ("expression", text("For memberOf: a query of the cluster query language.")),
        ],
    );
    let constraint = required(constraint, &["type"]);
    with(list("Which container instances may be taken.", constraint), json!({ "maxItems": 10 }))
}
