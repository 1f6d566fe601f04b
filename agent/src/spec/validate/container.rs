//! What RegisterTaskDefinition checks of a container beyond the values that the spec keeps (reference 1.10, 2.2).

use std::collections::BTreeSet;

use super::super::ids::NetworkMode;
use super::super::problem::Problem;
use super::registration::{is_fargate, unsupported_on_fargate};
use super::task_definition::Context;
use super::wire::Field;

const CODE: &str = "ClientException";
const NOT_ON_FARGATE: &[&str] = &["json-file", "syslog", "journald", "gelf", "fluentd"];
const FARGATE_LOG_DRIVERS: &[&str] = &["awslogs", "splunk", "awsfirelens"];

/// The names of a definition's containers.
pub(super) fn names<'a>(request: &Field<'a>) -> BTreeSet<&'a str> {
    request.items("containerDefinitions").iter().filter_map(|container| container.text("name")).collect()
}

/// Everything that is wrong with the containers of a request.
pub(super) fn containers(request: &Field<'_>, context: Context) -> Vec<Problem> {
    let mut problems = Vec::new();
    let containers = request.items("containerDefinitions");
    let has_router = containers.iter().any(|container| container.get("firelensConfiguration").is_some());
    for container in &containers {
        let name = container.text("name").unwrap_or_default();
        problems.extend(network(container, name, context));
        problems.extend(log(container, has_router, is_fargate(context)));
        problems.extend(restart_policy(container, name));
        if is_fargate(context) {
            problems.extend(fargate(container));
            let is_from_ecr = container.text("image").is_some_and(|image| image.contains(".dkr.ecr."));
            if is_from_ecr && request.get("executionRoleArn").is_none() {
                problems.push(container.error_at(
                    "image",
                    CODE,
                    "Fargate requires task definition to have execution role ARN to support ECR images",
                ));
            }
        }
        if container.items("environmentFiles").len() > 10 {
            problems.push(container.error_at(
                "environmentFiles",
                CODE,
                "The maximum number of environment files was exceeded. Specify ten or less and try again.",
            ));
        }
        if !container.items("secrets").is_empty() && request.get("executionRoleArn").is_none() {
            problems.push(container.error_at(
                "secrets",
                CODE,
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'",
            ));
        }
    }
    problems
}

/// What the network mode decides; awsvpc's own refusals are in [`super::wording::unsupported_in_awsvpc`].
fn network(container: &Field<'_>, name: &str, context: Context) -> Vec<Problem> {
    let mode = context.network_mode;
    let mut problems = Vec::new();
    let links = container.get("links").filter(Field::says_something);
    match (&links, mode) {
        (Some(links), NetworkMode::Host | NetworkMode::None) if !context.overridden => {
            problems.push(links.error(CODE, format!("Links are not supported when networkMode={mode}.")));
        }
        (Some(_), NetworkMode::Bridge) => {
            let is_malformed = |link: &Field<'_>| {
                link.as_text().is_some_and(|text| text.matches(':').count() > 1 || text.split(':').any(str::is_empty))
            };
            problems.extend(container.items("links").iter().filter(|link| is_malformed(link)).map(|link| {
                link.error(CODE, format!("Invalid 'links' setting for container '{name}'"))
                    .with_hint("name or name:alias")
            }));
        }
        _ => {}
    }
    if mode == NetworkMode::None
        && !context.overridden
        && let Some(mappings) = container.get("portMappings").filter(Field::says_something)
    {
        problems.push(mappings.error(CODE, "Port mappings are not supported when networkMode=none."));
    }
    if mode == NetworkMode::Host && !context.overridden {
        for control in container.items("systemControls") {
            if control.text("namespace").is_some_and(|namespace| namespace.starts_with("net.")) {
                problems.push(
                    control
                        .error_at(
                            "namespace",
                            CODE,
                            "System controls of net.* are not supported when networkMode=host.",
                        )
                        .with_hint("they would change the instance's own network"),
                );
            }
        }
    }
    problems
}

/// `logConfiguration`.
fn log(container: &Field<'_>, has_router: bool, is_fargate: bool) -> Vec<Problem> {
    let Some(log) = container.get("logConfiguration").filter(Field::says_something) else { return Vec::new() };
    // Without a driver, or with one that nobody knows, it is for the reader to tell.
    let Some(driver) = log.text("logDriver") else { return Vec::new() };
    if is_fargate && NOT_ON_FARGATE.contains(&driver) {
        let message = format!("{driver} is not a valid log driver. Must be one of [{}]", FARGATE_LOG_DRIVERS.join(","));
        return vec![log.error_at("logDriver", CODE, message)];
    }
    let mut problems = Vec::new();
    let options = log.get("options");
    if driver == "awslogs" && options.is_none_or(|options| options.get("awslogs-group").is_none()) {
        problems.push(log.error(CODE, "Log driver awslogs requires options: awslogs-group"));
    }
    if driver == "awsfirelens" && !has_router {
        problems.push(log.error(
            CODE,
            "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be configured in one of the containers.",
        ));
    }
    problems
}

/// `restartPolicy`.
fn restart_policy(container: &Field<'_>, name: &str) -> Vec<Problem> {
    let Some(policy) = container.get("restartPolicy") else { return Vec::new() };
    let mut problems = Vec::new();
    if policy.number("restartAttemptPeriod").is_some_and(|period| !(60..=1800).contains(&period)) {
        problems.push(policy.error_at(
            "restartAttemptPeriod",
            CODE,
            format!("The 'restartAttemptPeriod' setting for container '{name}' must be between 60 and 1800."),
        ));
    }
    if policy.items("ignoredExitCodes").len() > 50 {
        let message = format!("The 'ignoredExitCodes' setting for container '{name}' can have at most 50 items.");
        problems.push(policy.error_at("ignoredExitCodes", CODE, message));
    }
    problems
}

/// What Fargate has not.
fn fargate(container: &Field<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(options) = container.get("dockerSecurityOptions").filter(Field::says_something) {
        problems.push(options.error(CODE, unsupported_on_fargate("dockerSecurityOptions")));
    }
    if container.get("disableNetworking").is_some_and(|n| n.says_something()) {
        problems.push(container.error_at("disableNetworking", CODE, unsupported_on_fargate("disableNetworking")));
    }
    let capabilities = container.get("linuxParameters").and_then(|linux| linux.get("capabilities"));
    for added in capabilities.map(|n| n.items("add")).unwrap_or_default() {
        if let Some(capability) = added.as_text().filter(|capability| *capability != "SYS_PTRACE") {
            problems.push(added.error(CODE, format!("{capability} is not allowed on Fargate.")));
        }
    }
    let timeouts = [("startTimeout", 2), ("stopTimeout", 0)];
    for (field, least) in timeouts {
        if container.number(field).is_some_and(|seconds| !(least..=120).contains(&seconds)) {
            let message = format!("{field} must be from {least} to 120 seconds on Fargate");
            problems.push(container.error_at(field, CODE, message));
        }
    }
    problems
}
