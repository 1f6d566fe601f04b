//! A container definition.

use serde_json::{Value, json};

use super::shapes::*;

const MOST: i64 = i32::MAX as i64;

/// A container of a task definition.
pub(super) fn container() -> Value {
    let fields = [
        ("name", with(text("Unique in the definition."), json!({ "pattern": "^[A-Za-z0-9_-]{1,255}$" }))),
        ("image", text("An image's name, with tag or digest.")),
        ("essential", flag("Whether its end is the task's end.", true)),
        ("command", texts("Instead of the image's.")),
        ("entryPoint", texts("Instead of the image's.")),
        ("workingDirectory", text("Instead of the image's.")),
        ("user", text("user, user:group, uid or uid:gid.")),
        (
            "environment",
            list(
                "Variables.",
                required(
                    closed("An entry of the list.", [("name", text("The variable.")), ("value", text("Its value."))]),
                    &["name"],
                ),
            ),
        ),
        ("cpu", default(number("CPU units: its share among the containers.", 0, MOST), json!(0))),
        ("memory", number("Hard limit, MiB; at least 6.", 6, MOST)),
        ("memoryReservation", number("Soft limit, MiB; not above `memory`.", 0, MOST)),
        ("portMappings", list("Ports that it serves.", reference("portMapping"))),
        (
            "dependsOn",
            list(
                "Containers that it waits for.",
                required(
                    closed(
                        "An entry of the list.",
                        [
                            ("containerName", text("The other one.")),
                            (
                                "condition",
                                one_of(
                                    "It has started; has exited; has exited with 0; passed its health check.",
                                    &["START", "COMPLETE", "SUCCESS", "HEALTHY"],
                                ),
                            ),
                        ],
                    ),
                    &["containerName", "condition"],
                ),
            ),
        ),
        ("healthCheck", reference("healthCheck")),
        ("startTimeout", number("Seconds that dependents wait for it; 2 to 120 on FARGATE.", 0, MOST)),
        (
            "stopTimeout",
            default(number("Seconds from SIGTERM to SIGKILL; at most 120 on FARGATE.", 0, MOST), json!(30)),
        ),
        ("readonlyRootFilesystem", flag("Whether its root file system is read only.", false)),
        ("pseudoTerminal", flag("Whether it gets a terminal.", false)),
        ("interactive", flag("Whether standard input is held open.", false)),
        ("linuxParameters", linux_parameters()),
        (
            "ulimits",
            list(
                "Limits of its processes.",
                required(
                    closed(
                        "An entry of the list.",
                        [
                            ("name", text("nofile, nproc, …")),
                            ("softLimit", number("-1 is unlimited.", -1, i64::MAX)),
                            ("hardLimit", number("-1 is unlimited.", -1, i64::MAX)),
                        ],
                    ),
                    &["name", "softLimit", "hardLimit"],
                ),
            ),
        ),
        ("dockerLabels", named("Labels of the container.", json!({ "type": "string" }))),
        ("links", texts("Containers of the task that it knows by name: `name` or `name:alias`. Bridge mode only.")),
        ("hostname", text("Its own name. Not in awsvpc.")),
        ("dnsServers", texts("Addresses, instead of the VPC's resolver. Not in awsvpc.")),
        ("dnsSearchDomains", texts("Instead of the VPC's domain. Not in awsvpc.")),
        (
            "extraHosts",
            list(
                "More lines of its hosts file. Not in awsvpc.",
                required(
                    closed(
                        "An entry of the list.",
                        [("hostname", text("The name.")), ("ipAddress", text("Its address."))],
                    ),
                    &["hostname", "ipAddress"],
                ),
            ),
        ),
        ("disableNetworking", flag("Whether it has loopback alone. Not in awsvpc.", false)),
        (
            "environmentFiles",
            with(
                list(
                    "Files of variables; `environment` wins over them.",
                    required(
                        closed(
                            "An entry of the list.",
                            [
                                ("value", text("A path, or arn:aws:s3:::bucket/key: then the file of the key's name.")),
                                ("type", one_of("The only kind.", &["s3"])),
                            ],
                        ),
                        &["value"],
                    ),
                ),
                json!({ "maxItems": 10 }),
            ),
        ),
        (
            "secrets",
            list(
                "Variables whose values are secret; needs `executionRoleArn`. The stack file's `secrets` says where the values are.",
                required(closed("An entry of the list.", secret()), &["name", "valueFrom"]),
            ),
        ),
        (
            "restartPolicy",
            required(
                closed(
                    "Whether the container is started again in place.",
                    [
                        ("enabled", flag("Whether it is.", false)),
                        (
                            "ignoredExitCodes",
                            with(
                                list("Exit codes after which it is not.", number("An exit code.", 0, 255)),
                                json!({ "maxItems": 50 }),
                            ),
                        ),
                        (
                            "restartAttemptPeriod",
                            default(number("Seconds that it must have run.", 60, 1800), json!(300)),
                        ),
                    ],
                ),
                &["enabled"],
            ),
        ),
        (
            "mountPoints",
            list(
                "Volumes and where they are.",
                required(
                    closed(
                        "An entry of the list.",
                        [
                            ("sourceVolume", text("A name of `volumes`.")),
                            ("containerPath", absolute()),
                            ("readOnly", flag("Whether it may not be written.", false)),
                        ],
                    ),
                    &["sourceVolume", "containerPath"],
                ),
            ),
        ),
        (
            "volumesFrom",
            list(
                "All mounts of another container.",
                required(
                    closed(
                        "An entry of the list.",
                        [
                            ("sourceContainer", text("The other container.")),
                            ("readOnly", flag("Whether it may not be written.", false)),
                        ],
                    ),
                    &["sourceContainer"],
                ),
            ),
        ),
        ("privileged", flag("Not on FARGATE.", false)),
        ("dockerSecurityOptions", texts("Not on FARGATE.")),
        (
            "systemControls",
            list(
                "Kernel parameters; net.* ones hold for the whole task.",
                required(
                    closed(
                        "An entry of the list.",
                        [("namespace", text("As net.core.somaxconn.")), ("value", text("Its value."))],
                    ),
                    &["namespace", "value"],
                ),
            ),
        ),
        (
            "logConfiguration",
            required(
                closed(
                    "Where its output goes.",
                    [
                        (
                            "logDriver",
                            one_of(
                                "All but json-file are replaced by a local log. FARGATE has awslogs, splunk and awsfirelens.",
                                &[
                                    "json-file",
                                    "syslog",
                                    "journald",
                                    "gelf",
                                    "fluentd",
                                    "awslogs",
                                    "splunk",
                                    "awsfirelens",
                                ],
                            ),
                        ),
                        ("options", named("The driver's options.", json!({}))),
                        (
                            "secretOptions",
                            list("Options whose values are secret. Not used.", open("An entry of the list.", secret())),
                        ),
                    ],
                ),
                &["logDriver"],
            ),
        ),
        (
            "firelensConfiguration",
            open(
                "Makes it the log router of the task.",
                [
                    ("type", one_of("What the router is.", &["fluentd", "fluentbit"])),
                    ("options", named("Options of the router.", json!({}))),
                ],
            ),
        ),
        (
            "repositoryCredentials",
            open("An entry of the list.", [("credentialsParameter", text("An ARN of Secrets Manager."))]),
        ),
        (
            "resourceRequirements",
            list(
                "GPUs and the like.",
                open(
                    "An entry of the list.",
                    [
                        ("type", one_of("What.", &["GPU", "InferenceAccelerator", "NeuronDevice"])),
                        ("value", text("Its value.")),
                    ],
                ),
            ),
        ),
        ("credentialSpecs", texts("For Windows.")),
        (
            "versionConsistency",
            one_of("Whether a tag is resolved to a digest once for a deployment.", &["enabled", "disabled"]),
        ),
    ];
    required(closed("A container.", fields), &["name", "image"])
}

fn secret() -> [(&'static str, Value); 2] {
    [("name", text("The name that it gets.")), ("valueFrom", text("A parameter of SSM, or an ARN of Secrets Manager."))]
}

fn absolute() -> Value {
    with(text("The path in the container."), json!({ "pattern": "^/" }))
}

fn linux_parameters() -> Value {
    closed(
        "What of the kernel it gets.",
        [
            (
                "capabilities",
                closed(
                    "Against Docker's own list.",
                    [("add", texts("As NET_ADMIN; on FARGATE only SYS_PTRACE.")), ("drop", texts("As NET_RAW."))],
                ),
            ),
            ("initProcessEnabled", flag("Whether an init runs in front of it.", false)),
            (
                "devices",
                list(
                    "Devices of the host.",
                    required(
                        closed(
                            "An entry of the list.",
                            [
                                ("hostPath", text("The device on the host.")),
                                ("containerPath", absolute()),
                                (
                                    "permissions",
                                    list(
                                        "Left out: all.",
                                        one_of("What may be done with it.", &["read", "write", "mknod"]),
                                    ),
                                ),
                            ],
                        ),
                        &["hostPath"],
                    ),
                ),
            ),
            ("sharedMemorySize", number("MiB of /dev/shm.", 0, MOST)),
            (
                "tmpfs",
                list(
                    "File systems in memory.",
                    required(
                        closed(
                            "An entry of the list.",
                            [
                                ("containerPath", absolute()),
                                ("size", number("MiB.", 1, MOST)),
                                ("mountOptions", texts("As of mount.")),
                            ],
                        ),
                        &["containerPath", "size"],
                    ),
                ),
            ),
            ("maxSwap", number("MiB.", 0, MOST)),
            ("swappiness", number("How readily it swaps.", 0, 100)),
        ],
    )
}

/// A port mapping.
pub(super) fn port_mapping() -> Value {
    let port = |description: &str, least: i64| number(description, least, 65535);
    closed(
        "A port that the container serves.",
        [
            ("containerPort", port("The port inside the task.", 1)),
            (
                "hostPort",
                port(
                    "On the instance, in bridge mode; 0 or left out: a free one. In awsvpc and host mode left out or the same.",
                    0,
                ),
            ),
            ("protocol", default(one_of("What the port speaks.", &["tcp", "udp"]), json!("tcp"))),
            ("name", with(text("For Service Connect."), json!({ "pattern": "^[a-z0-9_][a-z0-9_-]{0,63}$" }))),
            ("appProtocol", one_of("Left out: tcp.", &["http", "http2", "grpc"])),
            (
                "containerPortRange",
                with(
                    text("Instead of `containerPort` and `hostPort`: 8000-8010. In awsvpc and bridge mode."),
                    json!({ "pattern": "^[0-9]+-[0-9]+$" }),
                ),
            ),
        ],
    )
}

/// A container health check.
pub(super) fn health_check() -> Value {
    let seconds =
        |description: &str, least: i64, most: i64, value: i64| default(number(description, least, most), json!(value));
    let check = closed(
        "How its health is seen; the image's own check is ignored.",
        [
            ("command", texts("[\"CMD\", …], [\"CMD-SHELL\", \"…\"], or [\"NONE\"].")),
            ("interval", seconds("Seconds from one check to the next.", 5, 300, 30)),
            ("timeout", seconds("Seconds that a check may take.", 2, 60, 5)),
            ("retries", seconds("Failures in a row that make it unhealthy.", 1, 10, 3)),
            ("startPeriod", seconds("Seconds in which failures do not count.", 0, 300, 0)),
        ],
    );
    required(check, &["command"])
}
