//! The stack itself, its VPC and its security groups.

use serde_json::{Value, json};

use super::super::capacity::MOST_INSTANCES;
use super::super::service::LAUNCH_TYPES;
use super::super::task_definition::NETWORK_MODES;
use super::super::to_spec::CONNECTS;
use super::shapes::*;

/// What a file holds.
pub(super) fn stack() -> Value {
    let fields = [
        (
            "name",
            with(
                text("The stack's name; part of the names of its containers and of its DNS namespace."),
                json!({ "pattern": "^[a-z][a-z0-9-]{0,30}$" }),
            ),
        ),
        ("region", default(text("Spelled in names and ARNs only."), json!("us-east-1"))),
        ("networkMode", words("For task definitions that name none; `--network-mode` overrides all.", &NETWORK_MODES)),
        (
            "launchType",
            words(
                "For services that name none; a definition made for FARGATE says so itself, and other modes than awsvpc are EC2.",
                &LAUNCH_TYPES,
            ),
        ),
        (
            "connect",
            default(
                words("How services find and reach each other; `discovery` and `none` are there yet.", &CONNECTS),
                json!("discovery"),
            ),
        ),
        ("namespace", text("The Cloud Map namespace that services are found in; `<name>.local` when left out.")),
        ("vpc", vpc()),
        (
            "capacity",
            list("Container instances; left out: as many as the tasks need, one in each zone at least.", capacity()),
        ),
        (
            "securityGroups",
            named(
                "Security groups by name; a service that names none gets one of its own.",
                reference("securityGroup"),
            ),
        ),
        ("services", named("Services by name.", reference("service"))),
        ("secrets", named("Where the values are that task definitions take from AWS, by name.", secret())),
        (
            "credentials",
            required(
                closed(
                    "Which keys tasks with a role are given; left out, keys that AWS does not know.",
                    [("profile", text("A profile of the shared AWS credentials file that has keys."))],
                ),
                &["profile"],
            ),
        ),
        ("loadBalancers", anything("Load balancers by name. Not emulated yet.")),
        ("targetGroups", anything("Target groups by name. Not emulated yet.")),
    ];
    required(closed("Services of Amazon ECS and the VPC that they run in.", fields), &["name", "services"])
}

fn secret() -> Value {
    let places = closed(
        "A secret of Secrets Manager, or a parameter of SSM: one of these.",
        [
            ("file", text("A file, seen from the stack file; one line feed at its end is not part of the value.")),
            ("env", text("A variable of the command that reads the stack file.")),
        ],
    );
    with(places, json!({ "oneOf": [{ "required": ["file"] }, { "required": ["env"] }] }))
}

fn vpc() -> Value {
    let subnet = closed(
        "A subnet of the VPC.",
        [
            ("name", text("What services name it by.")),
            ("zone", text("`a`, or the whole name of an availability zone, as `us-east-1a`.")),
            ("cidr", cidr("An IPv4 block of /16 to /28 inside the VPC's, overlapping no other.")),
        ],
    );
    let subnets = list(
        "Left out: `private-a` and `private-b`, a /24 in each of two zones.",
        required(subnet, &["name", "zone", "cidr"]),
    );
    closed(
        "The network.",
        [
            ("cidr", default(cidr("An IPv4 block of /16 to /28."), json!("10.0.0.0/16"))),
            ("internet", flag("Whether tasks reach what is outside the VPC.", true)),
            ("hostAccess", flag("Whether the host gets a route into the VPC; rules name it `host`.", false)),
            ("subnets", with(subnets, json!({ "minItems": 1 }))),
        ],
    )
}

fn capacity() -> Value {
    let size = |description: &str, pattern: &str| json!({ "type": ["integer", "string"], "pattern": pattern, "minimum": 1, "description": description });
    let group = closed(
        "A group of instances.",
        [
            ("name", with(text("The group's name."), json!({ "pattern": "^[A-Za-z0-9_-]{1,255}$" }))),
            ("count", default(number("How many.", 0, i64::from(MOST_INSTANCES)), json!(1))),
            ("type", text("An instance type, as m5.large: its CPU and memory.")),
            (
                "cpu",
                size(
                    "Instead of `type`: units (1024 are one), or \"2 vCPU\".",
                    "^\\s*[0-9.]+\\s*([vV][cC][pP][uU])?\\s*$",
                ),
            ),
            ("memory", size("Instead of `type`: MiB, or \"4 GB\".", "^\\s*[0-9.]+\\s*([gG][bB])?\\s*$")),
            (
                "zones",
                with(
                    texts(
                        "The zones that they are spread over, as `a` or `us-east-1a`; left out: all that have a subnet.",
                    ),
                    json!({ "minItems": 1 }),
                ),
            ),
            (
                "attributes",
                with(
                    named("For placement constraints, by name.", json!({ "type": "string" })),
                    json!({ "maxProperties": 10 }),
                ),
            ),
            (
                "securityGroups",
                with(
                    texts("Groups of the instances, at most 5; left out: those of all services that may run on them."),
                    json!({ "maxItems": 5 }),
                ),
            ),
            (
                "eniLimit",
                json!({
                    "description": "ENIs of an instance, its own among them: true for as many as EC2 gives the type; left out, no limit.",
                    "type": ["boolean", "integer", "string"],
                    "minimum": 1,
                    "maximum": 15,
                }),
            ),
        ],
    );
    with(required(group, &["name"]), json!({ "oneOf": [{ "required": ["type"] }, { "required": ["cpu", "memory"] }] }))
}

fn cidr(description: &str) -> Value {
    with(text(description), json!({ "pattern": "^[0-9.]+/[0-9]+$" }))
}

/// A group that the user writes.
pub(super) fn security_group() -> Value {
    closed(
        "Who may open connections to its members, and to whom they may. What no rule allows is dropped silently.",
        [
            ("ingress", list("Who may open a flow to a member; nobody when left out.", reference("ingressRule"))),
            (
                "egress",
                list(
                    "To whom a member may open a flow; when left out, all protocols to 0.0.0.0/0.",
                    reference("egressRule"),
                ),
            ),
            ("description", text("Why the group is there.")),
        ],
    )
}

/// A rule with `from`.
pub(super) fn ingress_rule() -> Value {
    rule("Lets flows in.", "from")
}

/// A rule with `to`.
pub(super) fn egress_rule() -> Value {
    rule("Lets flows out.", "to")
}

fn rule(description: &str, peer: &str) -> Value {
    let port = json!({
        "type": ["integer", "string"],
        "pattern": "^\\s*[0-9]+\\s*(-\\s*[0-9]+\\s*)?$",
        "minimum": 0,
        "maximum": 65535,
    });
    let code = |what: &str| number(&format!("ICMP {what}, -1 or left out for all."), -1, 255);
    let peers = json!({
        "description": "A group's name, a service's name, a CIDR block, `self`, or `host` with `hostAccess`; or a list of them.",
        "type": ["string", "array"],
        "items": { "type": "string" },
    });
    let fields = [
        ("port", with(port.clone(), json!({ "description": "A port, 8080, or a range of them, 8000-8100." }))),
        ("ports", with(port, json!({ "description": "The same as `port`." }))),
        (
            "protocol",
            json!({
                "description": "tcp, udp, icmp, a protocol's number, or all.",
                "default": "tcp",
                "anyOf": [
                    { "enum": ["tcp", "udp", "icmp", "all"] },
                    { "type": "integer", "minimum": -1, "maximum": 255 },
                    { "type": "string" },
                ],
            }),
        ),
        ("type", code("type")),
        ("code", code("code")),
        ("description", text("Why the rule is there.")),
        (peer, peers),
    ];
    required(closed(description, fields), &[peer])
}
