//! A task definition, as RegisterTaskDefinition takes it and DescribeTaskDefinition prints it.

use serde_json::{Value, json};

use super::super::task_definition::NETWORK_MODES;
use super::shapes::*;

/// The definition itself.
pub(super) fn task_definition() -> Value {
    let size = |description: &str, pattern: &str| json!({ "type": ["integer", "string"], "pattern": pattern, "minimum": 1, "description": description });
    let fields = [
        (
            "family",
            with(
                text("Names its revisions: 1 to 255 letters, digits, `-` and `_`."),
                json!({ "pattern": "^[A-Za-z0-9_-]{1,255}$" }),
            ),
        ),
        (
            "containerDefinitions",
            with(
                list("Its containers; at least one is essential.", reference("containerDefinition")),
                json!({ "minItems": 1 }),
            ),
        ),
        (
            "networkMode",
            words(
                "How its containers are attached. Left out: the stack's, else bridge (awsvpc on FARGATE).",
                &NETWORK_MODES,
            ),
        ),
        (
            "requiresCompatibilities",
            list(
                "FARGATE switches Fargate's own checks on.",
                one_of("What it is fit for.", &["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"]),
            ),
        ),
        (
            "cpu",
            size(
                "CPU of the whole task: units (1024 are one), 128 to 196608, or \"1 vCPU\".",
                "^\\s*[0-9.]+\\s*([vV][cC][pP][uU])?\\s*$",
            ),
        ),
        ("memory", size("Memory of the whole task: MiB, or \"2GB\".", "^\\s*[0-9.]+\\s*([gG][bB])?\\s*$")),
        (
            "runtimePlatform",
            closed(
                "What the images are made for.",
                [
                    ("cpuArchitecture", one_of("Another than this machine's is not emulated.", &["X86_64", "ARM64"])),
                    ("operatingSystemFamily", text("LINUX.")),
                ],
            ),
        ),
        ("taskRoleArn", text("The role that the task's containers have.")),
        ("volumes", list("Volumes that containers mount by name.", volume())),
        ("pidMode", one_of("task: its containers share one PID namespace.", &["host", "task"])),
        ("ipcMode", one_of("task: its containers share one IPC namespace.", &["host", "task", "none"])),
        ("proxyConfiguration", proxy_configuration()),
        (
            "placementConstraints",
            with(
                list(
                    "Which container instances may be taken, for tasks of any service.",
                    required(
                        closed(
                            "A constraint.",
                            [
                                ("type", one_of("The only kind.", &["memberOf"])),
                                ("expression", text("A query of the cluster query language.")),
                            ],
                        ),
                        &["type", "expression"],
                    ),
                ),
                json!({ "maxItems": 10 }),
            ),
        ),
        ("ephemeralStorage", open("For FARGATE.", [("sizeInGiB", number("GiB.", 21, 200))])),
        ("enableFaultInjection", flag("Whether the fault injection endpoints are open.", false)),
        ("inferenceAccelerators", list("ECS refuses them by now.", json!({}))),
        ("trustedExecutionConfiguration", anything("No effect here.")),
        ("executionRoleArn", text("The role that ECS itself has: needed with `secrets`.")),
        ("tags", anything("Not used.")),
        ("taskDefinitionArn", anything(ONLY_DESCRIBED)),
        ("revision", anything(ONLY_DESCRIBED)),
        ("status", anything(ONLY_DESCRIBED)),
        ("compatibilities", anything(ONLY_DESCRIBED)),
        ("requiresAttributes", anything(ONLY_DESCRIBED)),
        ("registeredAt", anything(ONLY_DESCRIBED)),
        ("registeredBy", anything(ONLY_DESCRIBED)),
        ("deregisteredAt", anything(ONLY_DESCRIBED)),
        ("deleteRequestedAt", anything(ONLY_DESCRIBED)),
    ];
    let description = "What `aws ecs register-task-definition` takes.";
    required(closed(description, fields), &["family", "containerDefinitions"])
}

const ONLY_DESCRIBED: &str = "Printed by describe-task-definition; not used.";

/// The whole output of `describe-task-definition`.
pub(super) fn described() -> Value {
    let fields = [("taskDefinition", reference("taskDefinition")), ("tags", anything("Not used."))];
    required(closed("What `aws ecs describe-task-definition` prints.", fields), &["taskDefinition"])
}

fn volume() -> Value {
    let fields = [
        ("name", text("What mount points name it by.")),
        (
            "host",
            closed(
                "Left out or empty: made with the task and removed with it.",
                [("sourcePath", text("An absolute path of the host, made if it is not there."))],
            ),
        ),
        (
            "dockerVolumeConfiguration",
            closed(
                "A volume of Docker's.",
                [
                    ("scope", default(one_of("task: removed with the task.", &["task", "shared"]), json!("task"))),
                    ("autoprovision", flag("Whether a shared volume is made if it is not there.", false)),
                    ("driver", text("Docker's volume driver.")),
                    ("driverOpts", named("Its options.", json!({ "type": "string" }))),
                    ("labels", named("Labels of the volume.", json!({ "type": "string" }))),
                ],
            ),
        ),
        ("efsVolumeConfiguration", efs()),
        ("fsxWindowsFileServerVolumeConfiguration", anything("Not emulated.")),
        ("s3filesVolumeConfiguration", anything("Not emulated yet.")),
        ("configuredAtLaunch", flag("Whether the service says what it is. Not emulated yet.", false)),
    ];
    required(closed("A volume of the task.", fields), &["name"])
}

fn efs() -> Value {
    let fields = [
        ("fileSystemId", text("The file system; a directory of this machine stands in for it.")),
        ("rootDirectory", default(text("A directory in it."), json!("/"))),
        ("transitEncryption", one_of("Not used.", &["ENABLED", "DISABLED"])),
        ("transitEncryptionPort", number("Not used.", 0, 65535)),
        ("authorizationConfig", anything("Not used.")),
    ];
    required(closed("A file system of EFS.", fields), &["fileSystemId"])
}

fn proxy_configuration() -> Value {
    let known =
        "ProxyIngressPort, ProxyEgressPort, AppPorts, IgnoredUID or IgnoredGID; EgressIgnoredPorts, EgressIgnoredIPs.";
    open(
        "The App Mesh proxy of the task. Only in awsvpc.",
        [
            ("type", default(one_of("The only kind.", &["APPMESH"]), json!("APPMESH"))),
            ("containerName", text("The container that is the proxy.")),
            ("properties", list(known, open("A property.", [("name", text("Which.")), ("value", text("Its value."))]))),
        ],
    )
}
