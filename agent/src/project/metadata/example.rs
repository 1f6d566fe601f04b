//! A front to test with: tasks of a VPC and of an instance, one of each kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{
    ContainerDocument, ContainerHealth, ContainerLimits, ContainerType, Front, FrontCredentials, FrontTask,
    NetworkDocument, PortDocument, TagError, Tags, TaskDocument, TaskLimits, local_keys,
};
use crate::spec::service::LaunchType;

/// What tasks are asked by.
pub(crate) mod id {
    /// The container `app` of `web`.
    pub(crate) const WEB_APP: &str = "11111111-aaaa-4aaa-8aaa-000000000001";
    /// The container `log` of `web`.
    pub(crate) const WEB_LOG: &str = "11111111-aaaa-4aaa-8aaa-000000000002";
    /// The credentials of `web`.
    pub(crate) const WEB_CREDENTIALS: &str = "c1111111-aaaa-4aaa-8aaa-000000000001";
    /// The only container of `lone`, which has no role and no service.
    pub(crate) const LONE: &str = "22222222-aaaa-4aaa-8aaa-000000000001";
    /// The only container of `batch`, in bridge mode.
    pub(crate) const BATCH: &str = "33333333-aaaa-4aaa-8aaa-000000000001";
    /// The credentials of `batch`, which are not there yet.
    pub(crate) const BATCH_CREDENTIALS: &str = "c3333333-aaaa-4aaa-8aaa-000000000001";
    /// The only container of `daemon`, in host mode.
    pub(crate) const DAEMON: &str = "44444444-aaaa-4aaa-8aaa-000000000001";
}

/// The ARN of a task of the example.
pub(crate) fn arn(task: &str) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:task/shop/{task}")
}

/// `web` (awsvpc, Fargate, in a service, with a role), `lone` (awsvpc, EC2), `batch` (bridge) and `daemon` (host).
pub(crate) fn front(listen: SocketAddr) -> Front {
    Front {
        profile: None,
        generation: 1,
        listen: vec![listen],
        request_limit: None,
        tasks: vec![web(), lone(), batch(), daemon()],
        introspection: None,
    }
}

fn web() -> FrontTask {
    let awsvpc = |name: &str| ContainerDocument {
        ports: vec![PortDocument {
            container_port: 8080,
            protocol: "tcp".to_owned(),
            host_port: Some(8080),
            host_ip: String::new(),
        }],
        networks: vec![eni()],
        ..container("web", name)
    };
    let app = ContainerDocument {
        limits: ContainerLimits::new(256, Some(512)),
        health: Some(ContainerHealth {
            status: "HEALTHY".to_owned(),
            status_since: Some("2026-08-01T12:00:09.5Z".parse().unwrap()),
            exit_code: Some(0),
            output: "fine".to_owned(),
        }),
        log_driver: "awslogs".to_owned(),
        log_options: BTreeMap::from([
            ("awslogs-group".to_owned(), "/ecs/web".to_owned()),
            ("awslogs-region".to_owned(), "us-east-1".to_owned()),
            ("awslogs-stream".to_owned(), "ecs/app/web".to_owned()),
        ]),
        restart_count: Some(1),
        snapshotter: "overlayfs".to_owned(),
        ..awsvpc("app")
    };
    FrontTask {
        task_arn: arn("web"),
        endpoints: BTreeMap::from([
            (id::WEB_APP.to_owned(), "app".to_owned()),
            (id::WEB_LOG.to_owned(), "log".to_owned()),
        ]),
        sources: vec!["127.10.0.1".parse().unwrap()],
        v2: true,
        network_holder: Some("pause-web".to_owned()),
        document: TaskDocument {
            cluster: "arn:aws:ecs:us-east-1:000000000000:cluster/shop".to_owned(),
            service_name: "web".to_owned(),
            group: "service:web".to_owned(),
            containers: vec![app, awsvpc("log")],
            limits: Some(TaskLimits { cpu: Some(0.25), memory: Some(512) }),
            pull_started_at: Some("2026-08-01T12:00:00.123456789Z".parse().unwrap()),
            pull_stopped_at: Some("2026-08-01T12:00:01Z".parse().unwrap()),
            launch_type: Some(LaunchType::Fargate),
            vpc_id: "vpc-0123456789abcdef0".to_owned(),
            availability_zone: "us-east-1a".to_owned(),
            ..document("web")
        },
        tags: Tags { task: BTreeMap::from([("team".to_owned(), "shop".to_owned())]), ..Tags::default() },
        credentials: Some(FrontCredentials {
            id: id::WEB_CREDENTIALS.to_owned(),
            role_arn: "arn:aws:iam::000000000000:role/web".to_owned(),
            keys: Some(local_keys()),
        }),
    }
}

fn lone() -> FrontTask {
    let pause = ContainerDocument {
        name: "~internal~ecs~pause".to_owned(),
        kind: ContainerType::CniPause,
        networks: vec![eni()],
        ..container("lone", "pause")
    };
    FrontTask {
        task_arn: arn("lone"),
        endpoints: BTreeMap::from([(id::LONE.to_owned(), "main".to_owned())]),
        sources: vec!["127.10.0.2".parse().unwrap()],
        v2: true,
        network_holder: Some("pause-lone".to_owned()),
        document: TaskDocument {
            containers: vec![ContainerDocument { networks: vec![eni()], ..container("lone", "main") }, pause],
            ..document("lone")
        },
        tags: Tags {
            errors: vec![TagError {
                error_field: "TaskTags".to_owned(),
                error_code: "AccessDeniedException".to_owned(),
                error_message: "not allowed".to_owned(),
                status_code: 400,
                request_id: "r-1".to_owned(),
                resource_arn: arn("lone"),
            }],
            ..Tags::default()
        },
        credentials: None,
    }
}

fn batch() -> FrontTask {
    let main = ContainerDocument {
        ports: vec![PortDocument {
            container_port: 80,
            protocol: "tcp".to_owned(),
            host_port: Some(32768),
            host_ip: "0.0.0.0".to_owned(),
        }],
        networks: vec![NetworkDocument {
            network_mode: "bridge".to_owned(),
            ipv4_addresses: vec!["172.17.0.2".to_owned()],
            ..NetworkDocument::default()
        }],
        ..container("batch", "main")
    };
    FrontTask {
        task_arn: arn("batch"),
        endpoints: BTreeMap::from([(id::BATCH.to_owned(), "main".to_owned())]),
        sources: vec!["127.10.0.3".parse().unwrap()],
        v2: false,
        network_holder: None,
        document: TaskDocument { containers: vec![main], ..document("batch") },
        tags: Tags { container_instance: BTreeMap::from([("rack".to_owned(), "1".to_owned())]), ..Tags::default() },
        credentials: Some(FrontCredentials {
            id: id::BATCH_CREDENTIALS.to_owned(),
            role_arn: "arn:aws:iam::000000000000:role/batch".to_owned(),
            keys: None,
        }),
    }
}

fn daemon() -> FrontTask {
    let network = NetworkDocument { network_mode: "host".to_owned(), ..NetworkDocument::default() };
    FrontTask {
        task_arn: arn("daemon"),
        endpoints: BTreeMap::from([(id::DAEMON.to_owned(), "main".to_owned())]),
        sources: vec![],
        v2: false,
        network_holder: None,
        document: TaskDocument {
            containers: vec![ContainerDocument { networks: vec![network], ..container("daemon", "main") }],
            ..document("daemon")
        },
        tags: Tags::default(),
        credentials: None,
    }
}

fn document(task: &str) -> TaskDocument {
    TaskDocument {
        cluster: "shop".to_owned(),
        task_arn: arn(task),
        family: task.to_owned(),
        revision: "7".to_owned(),
        desired_status: "RUNNING".to_owned(),
        known_status: "RUNNING".to_owned(),
        launch_type: Some(LaunchType::Ec2),
        ..TaskDocument::default()
    }
}

fn container(task: &str, name: &str) -> ContainerDocument {
    let label = |name: &str, value: &str| (format!("com.amazonaws.ecs.{name}"), value.to_owned());
    ContainerDocument {
        docker_id: format!("docker-{task}-{name}"),
        name: name.to_owned(),
        docker_name: format!("ecs-{task}-7-{name}"),
        image: "busybox".to_owned(),
        image_id: format!("sha256:{}", "0".repeat(64)),
        labels: BTreeMap::from([
            label("cluster", "shop"),
            label("container-name", name),
            label("task-arn", &arn(task)),
            label("task-definition-family", task),
            label("task-definition-version", "7"),
            ("mine".to_owned(), "kept".to_owned()),
        ]),
        desired_status: "RUNNING".to_owned(),
        known_status: "RUNNING".to_owned(),
        created_at: Some("2026-08-01T12:00:02Z".parse().unwrap()),
        started_at: Some("2026-08-01T12:00:03.25Z".parse().unwrap()),
        container_arn: format!("arn:aws:ecs:us-east-1:000000000000:container/shop/{task}/{name}"),
        ..ContainerDocument::default()
    }
}

fn eni() -> NetworkDocument {
    NetworkDocument {
        network_mode: "awsvpc".to_owned(),
        ipv4_addresses: vec!["10.0.2.106".to_owned()],
        attachment_index: Some(0),
        mac_address: "0e:9e:32:c7:48:85".to_owned(),
        ipv4_subnet_cidr_block: "10.0.2.0/24".to_owned(),
        domain_name_servers: vec!["10.0.0.2".to_owned()],
        domain_name_search_list: vec!["ec2.internal".to_owned()],
        private_dns_name: "ip-10-0-2-106.ec2.internal".to_owned(),
        subnet_gateway_ipv4_address: "10.0.2.1/24".to_owned(),
        ..NetworkDocument::default()
    }
}
