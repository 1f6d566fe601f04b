//! The task and container documents, and who gets them.

use serde_json::{Value, json};

use super::{BATCH, HOST, LONE, Running, WEB};
use crate::project::metadata::example::{arn, id};
use crate::project::metadata::{ClockDrift, EphemeralStorage, RateLimit};

#[tokio::test]
async fn version_4_answers_the_asking_container_and_its_task() {
    let front = Running::start().await;
    let app = front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
    assert_eq!(app["Name"], "app");
    let log = front.get(WEB, &format!("/v4/{}", id::WEB_LOG)).await.ok();
    assert_eq!(log["Name"], "log");
    let task = front.get(WEB, &format!("/v4/{}/task", id::WEB_LOG)).await.ok();
    assert_eq!(task["TaskARN"], arn("web"));
    let names: Vec<&Value> = task["Containers"].as_array().unwrap().iter().map(|c| &c["Name"]).collect();
    assert_eq!(names, ["app", "log"]);
    assert_eq!(task["Containers"][0], app);
}

#[tokio::test]
async fn version_3_has_the_same_paths() {
    let front = Running::start().await;
    let app = front.get(WEB, &format!("/v3/{}", id::WEB_APP)).await.ok();
    assert_eq!(app["Name"], "app");
    let task = front.get(WEB, &format!("/v3/{}/task", id::WEB_APP)).await.ok();
    assert_eq!((&task["TaskARN"], &task["Containers"][0]), (&json!(arn("web")), &app));
    let tagged = front.get(WEB, &format!("/v3/{}/taskWithTags", id::WEB_APP)).await.ok();
    assert_eq!(tagged["TaskTags"], json!({"team": "shop"}));
}

#[tokio::test]
async fn every_mode_is_answered_and_any_method() {
    let front = Running::start().await;
    for (source, id) in [(WEB, id::WEB_APP), (LONE, id::LONE), (BATCH, id::BATCH), (HOST, id::DAEMON)] {
        front.get(source, &format!("/v4/{id}/task")).await.ok();
    }
    // ECS's agent does not look at the method here.
    front.ask(WEB, "POST", &format!("/v4/{}", id::WEB_APP), "{}").await.ok();
    let head = front.ask(WEB, "HEAD", &format!("/v4/{}", id::WEB_APP), "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn an_unknown_id_is_404_in_ecs_s_words() {
    let front = Running::start().await;
    let said = async |path: &str| front.get(WEB, path).await.error();
    let container = "unable to get container ID from request: unable to get docker ID from v3 endpoint ID: nope";
    let task = "unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope";
    assert_eq!(said("/v4/nope").await, (404, format!("V4 container metadata handler: {container}")));
    assert_eq!(said("/v4/nope/task").await, (404, format!("V4 task metadata handler: {task}")));
    assert_eq!(said("/v4/nope/taskWithTags").await, (404, format!("V4 task metadata handler: {task}")));
    assert_eq!(said("/v4/nope/stats").await, (404, format!("V4 container stats handler: {task}")));
    assert_eq!(said("/v4/nope/task/stats").await, (404, format!("V4 task stats handler: {task}")));
    assert_eq!(said("/v3/nope").await, (404, format!("V3 container metadata handler: {container}")));
    assert_eq!(said("/v3/nope/task").await, (404, format!("V3 task metadata handler: {task}")));
    let other = front.get(WEB, "/nothing/here").await;
    assert_eq!((other.status, other.body.as_str()), (404, "404 page not found\n"));
}

#[tokio::test]
async fn another_task_s_id_is_as_unknown_as_any() {
    let front = Running::start().await;
    for path in ["", "/task", "/taskWithTags", "/stats", "/task/stats"] {
        let id = id::WEB_APP;
        let foreign = front.get(LONE, &format!("/v4/{id}{path}")).await;
        let unknown = front.get(LONE, &format!("/v4/nope{path}")).await;
        assert_eq!(foreign.status, 404);
        assert_eq!(foreign.body.replace(id, "nope"), unknown.body);
    }
}

#[tokio::test]
async fn version_2_knows_the_caller_by_address_and_in_awsvpc_only() {
    let front = Running::start().await;
    assert_eq!(front.get(WEB, "/v2/metadata").await.ok()["TaskARN"], arn("web"));
    assert_eq!(front.get(LONE, "/v2/metadata/").await.ok()["TaskARN"], arn("lone"));
    assert_eq!(front.get(WEB, "/v2/metadata/docker-web-log").await.ok()["Name"], "log");
    let foreign = front.get(LONE, "/v2/metadata/docker-web-log").await;
    assert_eq!(foreign.error(), (404, "Unable to generate metadata for container 'docker-web-log'".to_owned()));
    for source in [BATCH, HOST] {
        let message = format!("Unable to get task arn from request: unable to associate '{source}' with task");
        assert_eq!(front.get(source, "/v2/metadata").await.error(), (400, message));
    }
}

#[tokio::test]
async fn tags_are_in_task_with_tags_only() {
    let front = Running::start().await;
    let plain = front.get(WEB, &format!("/v4/{}/task", id::WEB_APP)).await.ok();
    let mut tagged = front.get(WEB, &format!("/v4/{}/taskWithTags", id::WEB_APP)).await.ok();
    assert!(plain.get("TaskTags").is_none());
    assert_eq!(tagged.as_object_mut().unwrap().shift_remove("TaskTags"), Some(json!({"team": "shop"})));
    assert_eq!(tagged, plain);
    let batch = front.get(BATCH, &format!("/v4/{}/taskWithTags", id::BATCH)).await.ok();
    assert_eq!((batch.get("TaskTags"), &batch["ContainerInstanceTags"]), (None, &json!({"rack": "1"})));
    // When they cannot be read, why.
    let lone = front.get(LONE, &format!("/v4/{}/taskWithTags", id::LONE)).await.ok();
    let error = json!([{"ErrorField": "TaskTags", "ErrorCode": "AccessDeniedException", "ErrorMessage": "not allowed",
        "StatusCode": 400, "RequestId": "r-1", "ResourceARN": arn("lone")}]);
    assert_eq!((lone.get("TaskTags"), &lone["Errors"]), (None, &error));
}

#[tokio::test]
async fn times_are_rfc_3339_with_nanoseconds_and_left_out_until_they_happened() {
    let front = Running::start().await;
    let web = front.get(WEB, &format!("/v4/{}/task", id::WEB_APP)).await.ok();
    assert_eq!(web["PullStartedAt"], "2026-08-01T12:00:00.123456789Z");
    assert_eq!(web["PullStoppedAt"], "2026-08-01T12:00:01Z");
    assert!(web.get("ExecutionStoppedAt").is_none());
    let lone = front.get(LONE, &format!("/v4/{}/task", id::LONE)).await.ok();
    for time in ["PullStartedAt", "PullStoppedAt", "ExecutionStoppedAt"] {
        assert!(lone.get(time).is_none(), "{time}");
    }
}

#[tokio::test]
async fn what_a_task_is_told_depends_on_its_launch_type() {
    let front = Running::with(|front| {
        front.tasks[0].document.clock_drift = Some(ClockDrift {
            clock_error_bound: 0.5,
            reference_timestamp: "2026-08-01T12:00:00Z".parse().unwrap(),
            clock_synchronization_status: "SYNCHRONIZED".to_owned(),
        });
        front.tasks[0].document.ephemeral_storage = Some(EphemeralStorage { utilized: 261, reserved: 20496 });
    })
    .await;
    let fargate = front.get(WEB, &format!("/v4/{}/task", id::WEB_APP)).await.ok();
    let ec2 = front.get(LONE, &format!("/v4/{}/task", id::LONE)).await.ok();
    assert_eq!((&fargate["LaunchType"], &ec2["LaunchType"]), (&json!("FARGATE"), &json!("EC2")));
    assert_eq!(fargate["Cluster"], "arn:aws:ecs:us-east-1:000000000000:cluster/shop");
    assert_eq!((&ec2["Cluster"], &ec2["Revision"]), (&json!("shop"), &json!("7")));
    assert_eq!((&fargate["FaultInjectionEnabled"], &ec2["FaultInjectionEnabled"]), (&json!(false), &json!(false)));
    assert_eq!(fargate["EphemeralStorageMetrics"], json!({"Utilized": 261, "Reserved": 20496}));
    let drift = json!({"ClockErrorBound": 0.5, "ReferenceTimestamp": "2026-08-01T12:00:00Z",
        "ClockSynchronizationStatus": "SYNCHRONIZED"});
    assert_eq!(fargate["ClockDrift"], drift);
    assert!(ec2.get("ClockDrift").is_none() && ec2.get("EphemeralStorageMetrics").is_none());
}

#[tokio::test]
async fn limits_of_a_task_are_there_when_set_at_its_level() {
    let front = Running::with(|front| front.tasks[3].document.limits = Some(limits(1.0))).await;
    let of = async |source: &str, id: &str| front.get(source, &format!("/v4/{id}/task")).await;
    assert_eq!(of(WEB, id::WEB_APP).await.ok()["Limits"], json!({"CPU": 0.25, "Memory": 512}));
    assert!(of(LONE, id::LONE).await.ok().get("Limits").is_none());
    // A whole number as ECS prints it.
    assert!(of(HOST, id::DAEMON).await.body.contains(r#""Limits":{"CPU":1}"#));
}

fn limits(cpu: f64) -> crate::project::metadata::TaskLimits {
    crate::project::metadata::TaskLimits { cpu: Some(cpu), memory: None }
}

#[tokio::test]
async fn empty_fields_of_a_task_are_left_out() {
    let front = Running::start().await;
    let web = front.get(WEB, &format!("/v4/{}/task", id::WEB_APP)).await.ok();
    let lone = front.get(LONE, &format!("/v4/{}/task", id::LONE)).await.ok();
    for field in ["ServiceName", "AvailabilityZone", "VPCID"] {
        assert!(web.get(field).is_some() && lone.get(field).is_none(), "{field}");
    }
}

#[tokio::test]
async fn the_pause_of_a_task_on_ec2_is_among_its_containers() {
    let front = Running::start().await;
    let kinds = async |source: &str, id: &str| {
        let task = front.get(source, &format!("/v4/{id}/task")).await.ok();
        task["Containers"].as_array().unwrap().iter().map(|c| c["Type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(LONE, id::LONE).await, ["NORMAL", "CNI_PAUSE"]);
    assert_eq!(kinds(WEB, id::WEB_APP).await, ["NORMAL", "NORMAL"]);
}

#[tokio::test]
async fn a_container_has_its_ports_labels_limits_and_names() {
    let front = Running::start().await;
    let app = front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
    assert_eq!(app["Ports"], json!([{"ContainerPort": 8080, "Protocol": "tcp", "HostPort": 8080}]));
    let batch = front.get(BATCH, &format!("/v4/{}", id::BATCH)).await.ok();
    let port = json!([{"ContainerPort": 80, "Protocol": "tcp", "HostPort": 32768, "HostIp": "0.0.0.0"}]);
    assert_eq!(batch["Ports"], port);
    let labels = app["Labels"].as_object().unwrap();
    let ecs = ["cluster", "container-name", "task-arn", "task-definition-family", "task-definition-version"];
    assert!(ecs.iter().all(|label| labels.contains_key(&format!("com.amazonaws.ecs.{label}"))), "{labels:?}");
    assert_eq!((labels.len(), &labels["mine"]), (6, &json!("kept")));
    assert_eq!(app["Limits"], json!({"CPU": 256, "Memory": 512}));
    assert_eq!(batch["Limits"], json!({"CPU": 2}));
    assert_eq!(app["ImageID"], format!("sha256:{}", "0".repeat(64)));
    assert_eq!(app["ContainerARN"], "arn:aws:ecs:us-east-1:000000000000:container/shop/web/app");
}

#[tokio::test]
async fn health_exit_code_end_and_restarts_are_left_out_where_there_are_none() {
    let front = Running::with(|front| {
        let main = &mut front.tasks[2].document.containers[0];
        main.exit_code = Some(137);
        main.finished_at = Some("2026-08-01T12:05:00.5Z".parse().unwrap());
    })
    .await;
    let app = front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
    let health = json!({"status": "HEALTHY", "statusSince": "2026-08-01T12:00:09.5Z", "exitCode": 0, "output": "fine"});
    assert_eq!((&app["Health"], &app["RestartCount"]), (&health, &json!(1)));
    assert!(app.get("ExitCode").is_none() && app.get("FinishedAt").is_none());
    let ended = front.get(BATCH, &format!("/v4/{}", id::BATCH)).await.ok();
    assert_eq!((&ended["ExitCode"], &ended["FinishedAt"]), (&json!(137), &json!("2026-08-01T12:05:00.5Z")));
    assert!(ended.get("Health").is_none() && ended.get("RestartCount").is_none());
}

#[tokio::test]
async fn networks_are_those_of_the_mode() {
    let front = Running::start().await;
    let of = async |source: &str, path: String| front.get(source, &path).await.ok()["Networks"].clone();
    let eni = json!([{
        "NetworkMode": "awsvpc",
        "IPv4Addresses": ["10.0.2.106"],
        "AttachmentIndex": 0,
        "MACAddress": "0e:9e:32:c7:48:85",
        "IPv4SubnetCIDRBlock": "10.0.2.0/24",
        "DomainNameServers": ["10.0.0.2"],
        "DomainNameSearchList": ["ec2.internal"],
        "PrivateDNSName": "ip-10-0-2-106.ec2.internal",
        "SubnetGatewayIpv4Address": "10.0.2.1/24",
    }]);
    assert_eq!(of(WEB, format!("/v4/{}", id::WEB_APP)).await, eni);
    let bridge = json!([{"NetworkMode": "bridge", "IPv4Addresses": ["172.17.0.2"]}]);
    assert_eq!(of(BATCH, format!("/v4/{}", id::BATCH)).await, bridge);
    assert_eq!(of(HOST, format!("/v4/{}", id::DAEMON)).await, json!([{"NetworkMode": "host"}]));
}

#[tokio::test]
async fn versions_2_and_3_show_less() {
    let front = Running::start().await;
    let network = json!([{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.2.106"]}]);
    for path in [format!("/v3/{}/task", id::WEB_APP), "/v2/metadata".to_owned()] {
        let task = front.get(WEB, &path).await.ok();
        let container = &task["Containers"][0];
        assert_eq!(container["Networks"], network);
        for field in ["LaunchType", "VPCID", "ServiceName", "FaultInjectionEnabled"] {
            assert!(task.get(field).is_none(), "{field}");
        }
        for field in ["LogDriver", "LogOptions", "ContainerARN"] {
            assert!(container.get(field).is_none(), "{field}");
        }
        assert_eq!((&task["Limits"]["CPU"], &container["Health"]["status"]), (&json!(0.25), &json!("HEALTHY")));
    }
}

/// What OpenTelemetry's detectors of ECS read, in Go, Python, Java and JavaScript.
#[tokio::test]
async fn an_opentelemetry_detector_finds_what_it_reads() {
    let front = Running::start().await;
    let container = front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
    let task = front.get(WEB, &format!("/v4/{}/task", id::WEB_APP)).await.ok();
    for field in ["DockerId", "ContainerARN", "Image", "ImageID", "DockerName", "LogDriver"] {
        assert!(container[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    for option in ["awslogs-group", "awslogs-region", "awslogs-stream"] {
        assert!(container["LogOptions"][option].is_string(), "{option}");
    }
    for field in ["Cluster", "TaskARN", "Family", "Revision", "LaunchType", "AvailabilityZone"] {
        assert!(task[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
}

#[tokio::test]
async fn a_path_with_empty_parts_is_moved_as_go_does_it() {
    let front = Running::start().await;
    let moved = front.get(WEB, &format!("/v4/{}//task?x=y", id::WEB_APP)).await;
    assert_eq!(moved.status, 301);
    assert!(moved.head.contains(&format!("location: /v4/{}/task?x=y", id::WEB_APP)), "{moved:?}");
}

#[tokio::test]
async fn a_task_that_asks_too_often_is_told_so_and_others_are_not() {
    // Slow enough to refill nothing while the test runs.
    let limit = RateLimit { per_second: 0, burst: 60 };
    let front = Running::with(|front| front.request_limit = Some(limit)).await;
    let mut refused = 0;
    for _ in 0..100 {
        let answer = front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await;
        if answer.status == 429 {
            assert_eq!(answer.body, "You have reached maximum request limit.");
            refused += 1;
        }
    }
    assert_eq!(refused, 40);
    // Its other container and its credentials count too; another task does not.
    assert_eq!(front.get(WEB, &format!("/v4/{}", id::WEB_LOG)).await.status, 429);
    assert_eq!(front.get(WEB, &format!("/v2/credentials/{}", id::WEB_CREDENTIALS)).await.status, 429);
    assert_eq!(front.get(LONE, &format!("/v4/{}", id::LONE)).await.status, 200);
    assert_eq!(front.get(HOST, &format!("/v4/{}", id::DAEMON)).await.status, 200);
}
