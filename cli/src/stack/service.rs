//! A service of a stack file: its short form and the fields of CreateService that it may use instead (reference 3.1, 3.2, 6.2).
//!
//! Reads what stands in the service alone; names of groups, subnets and other services are looked up in `to_spec`.

use agent::spec::ids::NetworkMode;
use agent::spec::placement::Placement;
use agent::spec::problem::{Place, Problem};
use agent::spec::service::{CircuitBreaker, DeploymentConfiguration, LaunchType, SchedulingStrategy};

use super::discovery::{self, DiscoveryDocument};
use super::placement;
use super::read::Node;
use super::task_definition::NETWORK_MODES;

const READ: &[&str] = &[
    "taskDefinition",
    "desiredCount",
    "protocol",
    "connectsTo",
    "securityGroups",
    "subnets",
    "discovery",
    "deployment",
    "healthCheckGracePeriodSeconds",
    "networkMode",
    "launchType",
    "networkConfiguration",
    "deploymentConfiguration",
    "schedulingStrategy",
    "deploymentController",
    "containers",
    "placement",
    "placementStrategy",
    "placementConstraints",
    "serviceRegistries",
];
const WITHOUT_EFFECT: &[&str] = &[
    "capacityProviderStrategy",
    "platformVersion",
    "role",
    "enableExecuteCommand",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
    "propagateTags",
    "enableECSManagedTags",
    "availabilityZoneRebalancing",
    "monitoring",
];
/// They would change where traffic goes.
const REFUSED: &[&str] = &["loadBalancers", "serviceConnectConfiguration"];
/// They say nothing that the stack file does not say itself.
const PASSED_OVER: &[&str] = &["tags", "clientToken"];

/// A service as it was read.
#[derive(Debug)]
pub(super) struct ServiceDocument<'a> {
    /// Where it is.
    pub(super) node: Node<'a>,
    /// Its key.
    pub(super) name: &'a str,
    /// How many tasks.
    pub(super) desired_count: u32,
    /// The mode that it asks for itself.
    pub(super) network_mode: Option<NetworkMode>,
    /// The launch type that it asks for itself.
    pub(super) launch_type: Option<LaunchType>,
    /// The services that it calls.
    pub(super) connects_to: Vec<Node<'a>>,
    /// Groups by name; None: one of its own.
    pub(super) security_groups: Option<Node<'a>>,
    /// Subnets by name; None: all.
    pub(super) subnets: Option<Node<'a>>,
    /// As many tasks as `desired_count` says, or one on each instance.
    pub(super) scheduling_strategy: SchedulingStrategy,
    /// Where they go; without what its task definition says.
    pub(super) placement: Placement,
    /// What it says of discovery.
    pub(super) discovery: DiscoveryDocument<'a>,
    /// Bounds of a deployment.
    pub(super) deployment: DeploymentConfiguration,
    /// Whether the bounds are under CreateService's own key.
    pub(super) deployment_key: &'static str,
    /// Seconds.
    pub(super) grace_period: u32,
    /// Containers of its definition that a stub replaces, with where that is said.
    pub(super) stubs: Vec<(&'a str, Node<'a>)>,
}

/// The words for launch types.
pub(super) const LAUNCH_TYPES: [(&str, LaunchType); 2] = [("FARGATE", LaunchType::Fargate), ("EC2", LaunchType::Ec2)];

/// Reads a service.
pub(super) fn read<'a>(name: &'a str, node: &Node<'a>) -> Option<ServiceDocument<'a>> {
    let known = [READ, WITHOUT_EFFECT, REFUSED, PASSED_OVER].concat();
    if !node.has_only(&known) {
        return None;
    }
    let found = |keys: &'static [&'static str]| keys.iter().filter_map(|key| Some((*key, node.get(key)?)));
    found(WITHOUT_EFFECT).for_each(|(key, n)| n.no_effect(key));
    found(REFUSED).for_each(|(key, n)| n.not_emulated(&format!("`{key}`"), None));
    if node.lacks("taskDefinition", &known) {
        let place = Place { at_key: true, ..node.place() };
        node.note(
            Problem::error(place, "MissingField", format!("service `{name}` has no `taskDefinition`"))
                .with_hint("a path to a task definition's file, or the definition itself"),
        );
    }
    let scheduling_strategy = node
        .get("schedulingStrategy")
        .and_then(|n| n.word(&[("REPLICA", SchedulingStrategy::Replica), ("DAEMON", SchedulingStrategy::Daemon)]))
        .unwrap_or_default();
    if let Some(n) = node.get("deploymentController").and_then(|n| n.get("type"))
        && n.text().is_some_and(|kind| kind != "ECS")
    {
        n.not_emulated("a deployment controller other than ECS", None);
    }
    // Used once connections go through a load balancer or a mesh; its words are checked in any case.
    if let Some(n) = node.get("protocol") {
        n.word(&[("http", ()), ("http2", ()), ("grpc", ()), ("tcp", ())]);
    }
    let (long_subnets, long_groups) = network_configuration(node);
    let (deployment, deployment_key) = deployment(node, scheduling_strategy);
    Some(ServiceDocument {
        name,
        desired_count: node.get("desiredCount").and_then(|n| n.number_in(0..=5000)).unwrap_or(1),
        network_mode: node.get("networkMode").and_then(|n| n.word(&NETWORK_MODES)),
        launch_type: node.get("launchType").and_then(|n| n.word(&LAUNCH_TYPES)),
        connects_to: node.get("connectsTo").map(|n| n.items()).unwrap_or_default(),
        security_groups: either(node.get("securityGroups"), long_groups),
        subnets: either(node.get("subnets"), long_subnets),
        scheduling_strategy,
        placement: placement::read(node),
        discovery: discovery::read(node.get("discovery"), node.get("serviceRegistries")),
        deployment,
        deployment_key,
        grace_period: node
            .get("healthCheckGracePeriodSeconds")
            .and_then(|n| n.number_in(0..=i32::MAX as u32))
            .unwrap_or(0),
        stubs: node.get("containers").map(|n| stubs(&n)).unwrap_or_default(),
        node: node.clone(),
    })
}

/// `containers: { NAME: { stub: true } }`: those that cannot do their work without AWS.
fn stubs<'a>(node: &Node<'a>) -> Vec<(&'a str, Node<'a>)> {
    let mut stubs = Vec::new();
    for (name, n) in node.entries() {
        if n.has_only(&["stub"]) && n.get("stub").and_then(|n| n.boolean()) == Some(true) {
            stubs.push((name, n));
        }
    }
    stubs
}

/// The short form or CreateService's own; both at once contradict each other.
pub(super) fn either<'a>(short: Option<Node<'a>>, long: Option<Node<'a>>) -> Option<Node<'a>> {
    if let (Some(_), Some(long)) = (&short, &long) {
        long.error("InvalidParameterException", "this is said twice: here, and in the short form");
    }
    short.or(long)
}

fn network_configuration<'a>(node: &Node<'a>) -> (Option<Node<'a>>, Option<Node<'a>>) {
    let Some(outer) = node.get("networkConfiguration") else { return (None, None) };
    if !outer.has_only(&["awsvpcConfiguration"]) {
        return (None, None);
    }
    let Some(inner) = outer.get("awsvpcConfiguration") else { return (None, None) };
    if !inner.has_only(&["subnets", "securityGroups", "assignPublicIp"]) {
        return (None, None);
    }
    if let Some(n) = inner.get("assignPublicIp")
        && n.word(&[("ENABLED", true), ("DISABLED", false)]) == Some(true)
    {
        n.no_effect("assignPublicIp");
    }
    (inner.get("subnets"), inner.get("securityGroups"))
}

fn deployment(node: &Node<'_>, strategy: SchedulingStrategy) -> (DeploymentConfiguration, &'static str) {
    let mut bounds = DeploymentConfiguration::default();
    if strategy == SchedulingStrategy::Daemon {
        // One task an instance leaves no room for a second (3.2).
        (bounds.minimum_healthy_percent, bounds.maximum_percent) = (0, 100);
    }
    let (short, long) = (node.get("deployment"), node.get("deploymentConfiguration"));
    let key = if short.is_some() { "deployment" } else { "deploymentConfiguration" };
    let Some(n) = either(short, long) else { return (bounds, key) };
    let fields = [
        "minimumHealthyPercent",
        "maximumPercent",
        "circuitBreaker",
        "deploymentCircuitBreaker",
        "strategy",
        "alarms",
        "lifecycleHooks",
        "bakeTimeInMinutes",
        "earlySuccessCriteria",
    ];
    if !n.has_only(&fields) {
        return (bounds, key);
    }
    for field in ["alarms", "lifecycleHooks", "bakeTimeInMinutes", "earlySuccessCriteria"] {
        if let Some(n) = n.get(field) {
            n.no_effect(field);
        }
    }
    if let Some(n) = n.get("strategy")
        && n.text().is_some_and(|strategy| strategy != "ROLLING")
    {
        n.not_emulated("a deployment strategy other than ROLLING", None);
    }
    if let Some(percent) = n.get("minimumHealthyPercent").and_then(|n| n.number_in(0..=i32::MAX as u32)) {
        bounds.minimum_healthy_percent = percent;
    }
    if let Some(percent) = n.get("maximumPercent").and_then(|n| n.number_in(0..=i32::MAX as u32)) {
        bounds.maximum_percent = percent;
    }
    if let Some(n) = either(n.get("circuitBreaker"), n.get("deploymentCircuitBreaker"))
        && n.has_only(&["enable", "rollback"])
    {
        let flag = |key: &str| n.get(key).and_then(|n| n.boolean()).unwrap_or(false);
        bounds.deployment_circuit_breaker = CircuitBreaker { enable: flag("enable"), rollback: flag("rollback") };
    }
    (bounds, key)
}
