//! Stacks, services and containers for the tests, each with what matters to the test alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::simulation::stack_name;
use crate::spec::ids::ServiceName;
use crate::spec::service::{CircuitBreaker, DeploymentConfiguration, Discovery, LaunchType, RoutingPolicy, Service};
use crate::spec::stack::{Stack, Subnet, Vpc};
use crate::spec::task_definition::{Condition, ContainerDefinition, Dependency, HealthCheck, TaskDefinition};

pub(crate) fn container(name: &str, image: &str) -> ContainerDefinition {
    ContainerDefinition {
        name: crate::spec::ids::ContainerName::new(name),
        image: image.into(),
        essential: true,
        command: None,
        entry_point: None,
        working_directory: None,
        user: None,
        environment: Vec::new(),
        cpu: 0,
        memory: None,
        memory_reservation: None,
        port_mappings: Vec::new(),
        depends_on: Vec::new(),
        health_check: None,
        start_timeout: None,
        stop_timeout: None,
        readonly_root_filesystem: false,
        pseudo_terminal: false,
        interactive: false,
        init_process_enabled: false,
        capabilities_add: Vec::new(),
        capabilities_drop: Vec::new(),
        ulimits: Vec::new(),
        docker_labels: BTreeMap::new(),
        environment_files: Vec::new(),
        secrets: Vec::new(),
        restart_policy: None,
        mount_points: Vec::new(),
        volumes_from: Vec::new(),
        privileged: false,
        docker_security_options: Vec::new(),
        system_controls: Vec::new(),
        devices: Vec::new(),
        shared_memory_size: None,
        tmpfs: Vec::new(),
        max_swap: None,
        swappiness: None,
        log_options: BTreeMap::new(),
        stub: false,
    }
}

pub(crate) fn checked(name: &str, image: &str) -> ContainerDefinition {
    let second = Duration::from_secs(1);
    let check = HealthCheck {
        command: vec!["CMD".into(), "true".into()],
        interval: second * 5,
        timeout: second * 2,
        retries: 3,
        start_period: Duration::ZERO,
    };
    ContainerDefinition { health_check: Some(check), ..container(name, image) }
}

pub(crate) fn after(definition: ContainerDefinition, other: &str, condition: Condition) -> ContainerDefinition {
    let mut definition = definition;
    definition.depends_on.push(Dependency { container_name: crate::spec::ids::ContainerName::new(other), condition });
    definition
}

pub(crate) fn service(name: &str, count: u32, containers: Vec<ContainerDefinition>) -> Service {
    Service {
        service_name: ServiceName::new(name),
        task_definition: TaskDefinition {
            family: name.into(),
            cpu: None,
            memory: None,
            container_definitions: containers,
            volumes: Vec::new(),
            pid_mode: None,
            ipc_mode: None,
        },
        network_mode: crate::spec::ids::NetworkMode::Awsvpc,
        desired_count: count,
        launch_type: LaunchType::Fargate,
        security_groups: vec![crate::spec::ids::GroupName::new("default")],
        subnets: vec![crate::spec::ids::SubnetName::new("a"), crate::spec::ids::SubnetName::new("b")],
        discovery: Some(Discovery { name: name.into(), ttl: 10, routing_policy: RoutingPolicy::Multivalue }),
        deployment_configuration: DeploymentConfiguration::default(),
        health_check_grace_period_seconds: 0,
    }
}

pub(crate) fn bounds(mut service: Service, minimum: u32, maximum: u32) -> Service {
    service.deployment_configuration.minimum_healthy_percent = minimum;
    service.deployment_configuration.maximum_percent = maximum;
    service
}

pub(crate) fn breaker(mut service: Service, rollback: bool) -> Service {
    service.deployment_configuration.deployment_circuit_breaker = CircuitBreaker { enable: true, rollback };
    service
}

pub(crate) fn stack(services: Vec<Service>) -> Stack {
    stack_in(services, "10.0.0.0/18", "10.0.64.0/18")
}

pub(crate) fn stack_in(services: Vec<Service>, a: &str, b: &str) -> Stack {
    let subnet = |name: &str, zone: &str, cidr: &str| Subnet {
        name: crate::spec::ids::SubnetName::new(name),
        availability_zone: zone.into(),
        cidr: cidr.parse().unwrap(),
    };
    let group = crate::spec::security_group::SecurityGroup {
        ingress: Vec::new(),
        egress: Vec::new(),
        description: String::new(),
    };
    Stack {
        name: stack_name(),
        region: "us-east-1".into(),
        dns_namespace: "shop.local".into(),
        vpc: Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
            host_access: false,
            internet: false,
            subnets: vec![subnet("a", "us-east-1a", a), subnet("b", "us-east-1b", b)],
        },
        security_groups: BTreeMap::from([(crate::spec::ids::GroupName::new("default"), group)]),
        services: services.into_iter().map(|s| (s.service_name.clone(), s)).collect(),
    }
}
