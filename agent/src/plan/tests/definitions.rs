//! Stacks, services and containers for the tests, each with what matters to the test alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::simulation::stack_name;
use crate::spec::ids::{NetworkMode, ServiceName};
use crate::spec::placement::Placement;
use crate::spec::service::{
    CircuitBreaker, DeploymentConfiguration, Discovery, LaunchType, RecordType, RoutingPolicy, SchedulingStrategy,
    Service,
};
use crate::spec::stack::{Stack, Subnet, Vpc};
use crate::spec::task_definition::{
    Condition, ContainerDefinition, Dependency, HealthCheck, PortMapping, TaskDefinition, TransportProtocol,
};

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
        links: Vec::new(),
        hostname: None,
        extra_hosts: Vec::new(),
        dns_servers: Vec::new(),
        dns_search_domains: Vec::new(),
        disable_networking: false,
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
            task_role_arn: None,
            pid_mode: None,
            ipc_mode: None,
        },
        network_mode: crate::spec::ids::NetworkMode::Awsvpc,
        desired_count: count,
        launch_type: LaunchType::Fargate,
        on_instances: false,
        security_groups: vec![crate::spec::ids::GroupName::new("default")],
        subnets: vec![crate::spec::ids::SubnetName::new("a"), crate::spec::ids::SubnetName::new("b")],
        discovery: Some(Discovery {
            name: name.into(),
            ttl: 10,
            routing_policy: RoutingPolicy::Multivalue,
            record: RecordType::A,
        }),
        scheduling_strategy: SchedulingStrategy::Replica,
        placement: Placement::default(),
        deployment_configuration: DeploymentConfiguration::default(),
        health_check_grace_period_seconds: 0,
    }
}

/// A container that serves a port, at that port of its instance or at any.
pub(crate) fn serving(name: &str, container_port: u16, host_port: Option<u16>) -> ContainerDefinition {
    let mapping = PortMapping {
        container_port,
        last_container_port: None,
        host_port,
        protocol: TransportProtocol::Tcp,
        name: None,
        app_protocol: None,
    };
    ContainerDefinition { port_mappings: vec![mapping], ..container(name, "app:1") }
}

/// The service in another network mode; its first mapped port is what an SRV record names.
pub(crate) fn in_mode(mode: NetworkMode, mut service: Service) -> Service {
    service.network_mode = mode;
    service.launch_type = LaunchType::Ec2;
    service.on_instances = true;
    let mut mapped = service.task_definition.container_definitions.iter().flat_map(|c| {
        c.port_mappings
            .iter()
            .map(|m| RecordType::Srv { container_name: c.name.clone(), container_port: m.container_port })
    });
    let record = mapped.next().filter(|_| mode != NetworkMode::None);
    service.discovery = service.discovery.and_then(|discovery| Some(Discovery { record: record?, ..discovery }));
    service
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
        capacity: None,
        credentials_profile: None,
        security_groups: BTreeMap::from([(crate::spec::ids::GroupName::new("default"), group)]),
        services: services.into_iter().map(|s| (s.service_name.clone(), s)).collect(),
    }
}
