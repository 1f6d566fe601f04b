//! What CreateService checks beyond the values that the spec keeps (reference 1.10, 3.1, 3.5, 8.2): over the request as it came.
//! A stack file's `placement` is CreateService's two lists under one key.

use serde_json::Value;

use super::super::ids::NetworkMode;
use super::super::placement::{Constraint, EntryError, Strategy};
use super::super::problem::Problem;
use super::task_definition::Context;
use super::wire::Field;

const CODE: &str = "InvalidParameterException";

/// Everything that is wrong with a request, but for what [`super::service`] says of its values.
pub fn creation(request: &Value, context: Context) -> Vec<Problem> {
    let request = Field::root(request);
    let (mode, runs_on_ec2) = (context.network_mode, !context.runs_on_fargate);
    let mut problems = Vec::new();
    let is_daemon = request.text("schedulingStrategy") == Some("DAEMON");
    problems.extend(placement(&request, is_daemon, context.runs_on_fargate));
    if is_daemon {
        problems.extend(daemon(&request, context.runs_on_fargate));
    }
    if mode != NetworkMode::Awsvpc
        && !context.overridden
        && let Some(network) = request.get("networkConfiguration").filter(Field::says_something)
    {
        problems.push(
            network
                .error(CODE, "Network Configuration is not valid for the given networkMode of this task definition."),
        );
    }
    if request.get("launchType").is_some()
        && request.get("capacityProviderStrategy").is_some_and(|n| n.says_something())
    {
        problems.push(request.error_at(
            "capacityProviderStrategy",
            CODE,
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        ));
    }
    if runs_on_ec2
        && !context.overridden
        && let Some(version) = request.get("platformVersion")
    {
        problems.push(version.error(CODE, "The platform version must be null when specifying an EC2 launch type."));
    }
    if mode == NetworkMode::Awsvpc
        && !context.overridden
        && let Some(role) = request.get("role")
    {
        problems
            .push(role.error(CODE, "You cannot specify an IAM role for services that require a service linked role."));
    }
    let inner = request.get("networkConfiguration").and_then(|network| network.get("awsvpcConfiguration"));
    if let Some(inner) = inner.filter(|inner| inner.text("assignPublicIp") == Some("ENABLED"))
        && runs_on_ec2
        && !context.overridden
    {
        problems.push(inner.error_at(
            "assignPublicIp",
            CODE,
            "Assign public IP is not supported for this launch type.",
        ));
    }
    if request.items("serviceRegistries").len() > 1 {
        problems.push(request.error_at("serviceRegistries", CODE, "service registries can have at most 1 items."));
    }
    for entry in request.items("loadBalancers") {
        if entry.get("loadBalancerName").is_some() && entry.get("targetGroupArn").is_some() {
            problems.push(entry.error(
                CODE,
                "loadBalancerName and targetGroupArn cannot both be specified. You must specify either a loadBalancerName or a targetGroupArn in all loadBalancer entries",
            ));
        }
    }
    problems.extend(service_connect(&request));
    problems
}

/// Strategies and constraints (3.5).
fn placement(request: &Field<'_>, is_daemon: bool, runs_on_fargate: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let short = request.get("placement");
    let places =
        [(Some(request.clone()), "placementStrategy", "placementConstraints"), (short, "strategy", "constraints")];
    for (holder, strategy_key, constraint_key) in places {
        let Some(holder) = holder else { continue };
        let strategies = holder.items(strategy_key);
        if is_daemon && !strategies.is_empty() {
            let message = "The daemon scheduling strategy does not support placement strategies";
            problems.push(holder.error_at(strategy_key, CODE, message));
        }
        if strategies.len() > 5 {
            problems.push(holder.error_at(strategy_key, CODE, "Maximum number of strategies is 5."));
        }
        for strategy in &strategies {
            problems.extend(strategy_fault(strategy));
        }
        let constraints = holder.items(constraint_key);
        for (key, what, items) in
            [(strategy_key, "strategies", &strategies), (constraint_key, "constraints", &constraints)]
        {
            // The short form may stand in a file whose tasks a flag takes off Fargate.
            if runs_on_fargate && key != "strategy" && key != "constraints" && !items.is_empty() {
                let message = format!("Placement {what} are not supported with FARGATE launch type.");
                problems.push(holder.error_at(key, CODE, message).with_hint("launchType: EC2"));
            }
        }
        if constraints.len() > 10 {
            problems.push(holder.error_at(constraint_key, CODE, "Maximum number of constraints is 10."));
        }
        for constraint in constraints {
            problems.extend(constraint_fault(&constraint));
        }
    }
    problems
}

fn strategy_fault(strategy: &Field<'_>) -> Option<Problem> {
    let error = Strategy::new(strategy.text("type")?, strategy.text("field")).err()?;
    let key = if matches!(error, EntryError::UnknownStrategy(_)) { "type" } else { "field" };
    Some(strategy.error_at(key, CODE, error.to_string()))
}

/// What is wrong with a constraint of a service.
fn constraint_fault(constraint: &Field<'_>) -> Option<Problem> {
    let error = Constraint::new(constraint.text("type")?, constraint.text("expression")).err()?;
    Some(match &error {
        EntryError::UnknownConstraint(_) => constraint.error_at("type", CODE, error.to_string()),
        _ => constraint.error_at("expression", CODE, expression_fault(&error)),
    })
}

/// What is wrong with an expression, in a sentence.
pub(super) fn expression_fault(error: &EntryError) -> String {
    match error {
        EntryError::Syntax(error) => format!("this is no expression of the cluster query language: {error}"),
        other => other.to_string(),
    }
}

/// The strategy DAEMON (3.1).
fn daemon(request: &Field<'_>, runs_on_fargate: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    if runs_on_fargate {
        let message = "Tasks using the Fargate launch type don't support the DAEMON scheduling strategy.";
        problems.push(request.error_at("schedulingStrategy", CODE, message).with_hint("launchType: EC2"));
    }
    if let Some(count) = request.get("desiredCount") {
        problems.push(count.error(
            CODE,
            "The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again",
        ));
    }
    for bounds in ["deployment", "deploymentConfiguration"].iter().filter_map(|key| request.get(key)) {
        if bounds.number("maximumPercent").is_some_and(|percent| percent > 100) {
            let message = "The daemon scheduling strategy does not support values above 100 for maximumPercent";
            problems.push(bounds.error_at("maximumPercent", CODE, message));
        }
    }
    if request.text("availabilityZoneRebalancing") == Some("ENABLED") {
        problems.push(request.error_at(
            "availabilityZoneRebalancing",
            CODE,
            "The service couldn't be created because Availability Zone Rebalancing does not support DAEMON as scheduling strategy. Update scheduling strategy and try again.",
        ));
    }
    problems
}

/// `serviceConnectConfiguration` (8.2.1); a stack always has a namespace, so that its absence is no fault.
fn service_connect(request: &Field<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(connect) = request.get("serviceConnectConfiguration") else { return problems };
    for service in connect.items("services") {
        let aliases = service.items("clientAliases");
        match aliases.len() {
            1 => {}
            0 => problems.push(service.error(CODE, "clientAliases must have 1 element.")),
            count => {
                let message = format!("{count} clientAliases exceeds the max limit of 1");
                problems.push(service.error_at("clientAliases", CODE, message));
            }
        }
        for alias in aliases {
            if let Some(name) = alias.text("dnsName").filter(|name| !is_alias(name)) {
                let message = "The DNS name that you provided is invalid. The name must be a valid DNS name but doesn't need to be fully-qualified. Up to 127 characters are allowed.";
                problems.push(alias.error_at("dnsName", CODE, message).with_hint(format!("`{name}` is none")));
            }
        }
    }
    problems
}

fn is_alias(name: &str) -> bool {
    name.len() <= 127 && name.split('.').all(super::is_dns_label)
}
