//! What RegisterTaskDefinition checks beyond the values that the spec keeps (reference 1.10, 2.1, 2.5, 8.1.3): over the request as it
//! came, so that a definition which ECS refuses is refused here too, whether or not a field does anything on one machine.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::ids::NetworkMode;
use super::super::placement::Constraint;
use super::super::problem::{Problem, Severity};
use super::creation::expression_fault;
use super::task_definition::Context;
use super::wire::Field;
use super::{container, port_range};

const CODE: &str = "ClientException";
const LARGEST: usize = 65_536;

/// Everything that is wrong with a request, but for what [`super::task_definition`] says of its values.
pub fn registration(request: &Value, context: Context) -> Vec<Problem> {
    let request = Field::root(request);
    let mut problems = Vec::new();
    let size = request.size();
    if size > LARGEST {
        problems
            .push(request.error(CODE, format!("Actual length: '{size}'. Max allowed length is '{LARGEST}' bytes.")));
    }
    if context.requires_fargate && request.get("networkMode").is_none() {
        problems.push(Problem {
            severity: Severity::Warning,
            ..request
                .error_at("requiresCompatibilities", CODE, "Fargate only supports network mode 'awsvpc'.")
                .with_hint(format!(
                    "ECS refuses a definition for FARGATE without `networkMode: awsvpc`; here it runs in {}",
                    context.network_mode
                ))
        });
    }
    problems.extend(proxy(&request, context));
    problems.extend(volumes(&request, context));
    problems.extend(namespaces_and_storage(&request, context));
    problems.extend(constraints(&request));
    problems.extend(container::containers(&request, context));
    problems.extend(port_range::port_ranges(&request, context));
    problems
}

/// `proxyConfiguration` (8.1.3).
fn proxy(request: &Field<'_>, context: Context) -> Vec<Problem> {
    let mode = context.network_mode;
    let Some(proxy) = request.get("proxyConfiguration") else { return Vec::new() };
    let mut problems = Vec::new();
    if mode != NetworkMode::Awsvpc && !context.overridden {
        problems.push(proxy.error(CODE, "APPMESH proxy configuration is only supported in networkMode=awsvpc"));
    }
    if let Some(kind) = proxy.text("type").filter(|kind| *kind != "APPMESH") {
        problems.push(proxy.error_at("type", CODE, format!("`{kind}` is no type of proxy")).with_hint("APPMESH"));
    }
    match proxy.text("containerName") {
        None => problems.push(proxy.error(CODE, "a `proxyConfiguration` must have a `containerName`")),
        Some(name) if container::names(request).contains(name) => {}
        Some(name) => {
            problems.push(proxy.error_at("containerName", CODE, format!("Proxy container [{name}] does not exist.")));
        }
    }
    let has = |wanted: &str| proxy.items("properties").iter().any(|property| property.text("name") == Some(wanted));
    if !has("ProxyIngressPort") {
        problems.push(proxy.error(CODE, "Ingress port not found"));
    }
    for (wanted, what) in [("ProxyEgressPort", "Egress port not found"), ("AppPorts", "App ports not found")] {
        if !has(wanted) {
            problems.push(
                proxy.error(CODE, what).with_hint(format!("`properties` needs an entry with the name `{wanted}`")),
            );
        }
    }
    if !has("IgnoredUID") && !has("IgnoredGID") {
        problems.push(
            proxy.error(CODE, "one of IgnoredUID and IgnoredGID must be given").with_hint(
                "the user that Envoy runs as, 1337 by custom: what it sends itself must not be captured again",
            ),
        );
    }
    problems
}

/// `volumes` and who mounts them (2.5).
fn volumes(request: &Field<'_>, context: Context) -> Vec<Problem> {
    let mut problems = Vec::new();
    let volumes = request.items("volumes");
    let declared: BTreeSet<&str> = volumes.iter().filter_map(|volume| volume.text("name")).collect();
    let mut mounted = BTreeSet::new();
    let containers = container::names(request);
    for container in request.items("containerDefinitions") {
        for point in container.items("mountPoints") {
            let Some(name) = point.text("sourceVolume") else { continue };
            mounted.insert(name);
            if !declared.contains(name) {
                problems.push(point.error_at("sourceVolume", CODE, format!("Unknown volume '{name}'.")));
            }
        }
        for from in container.items("volumesFrom") {
            let Some(name) = from.text("sourceContainer").filter(|name| !containers.contains(name)) else { continue };
            problems.push(from.error_at(
                "sourceContainer",
                CODE,
                format!("Invalid 'volumesFrom' setting. Unknown container: '{name}'."),
            ));
        }
    }
    for volume in &volumes {
        if let Some(name) = volume.text("name").filter(|name| !mounted.contains(name)) {
            problems.push(volume.error_at(
                "name",
                CODE,
                format!("Volumes [{name}] are not referenced by any of the containers"),
            ));
        }
        if is_fargate(context) {
            let on_host = volume.get("host").filter(|host| host.text("sourcePath").is_some());
            for (found, field) in
                [(on_host, "sourcePath"), (volume.get("dockerVolumeConfiguration"), "dockerVolumeConfiguration")]
            {
                if let Some(found) = found {
                    problems.push(found.error(CODE, unsupported_on_fargate(field)));
                }
            }
        }
    }
    problems
}

/// `pidMode`, `ipcMode` and `ephemeralStorage` (2.1).
fn namespaces_and_storage(request: &Field<'_>, context: Context) -> Vec<Problem> {
    let mut problems = Vec::new();
    if is_fargate(context) {
        if request.text("pidMode") == Some("host") {
            problems.push(request.error_at(
                "pidMode",
                CODE,
                "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'.",
            ));
        }
        if let Some(mode) = request.get("ipcMode") {
            problems.push(mode.error(CODE, unsupported_on_fargate("ipcMode")));
        }
    }
    if let Some(storage) = request.get("ephemeralStorage") {
        if !is_fargate(context) && !context.overridden {
            problems.push(
                storage
                    .error(CODE, "ephemeralStorage is for tasks on Fargate only")
                    .with_hint("on an instance a task has what the instance's disk has"),
            );
        }
        if storage.number("sizeInGiB").is_none_or(|size| !(21..=200).contains(&size)) {
            problems.push(storage.error_at("sizeInGiB", CODE, "sizeInGiB must be from 21 to 200"));
        }
    }
    problems
}

/// `placementConstraints` of a definition (3.1).
fn constraints(request: &Field<'_>) -> Vec<Problem> {
    let constraints = request.items("placementConstraints");
    let mut problems = Vec::new();
    if constraints.len() > 10 {
        problems.push(request.error_at("placementConstraints", CODE, "Maximum number of constraints is 10."));
    }
    for constraint in constraints {
        if let Some(kind) = constraint.text("type").filter(|kind| *kind != "memberOf") {
            let message = format!("a task definition takes no constraint of type `{kind}`");
            problems.push(constraint.error_at("type", CODE, message).with_hint("memberOf; a service takes the others"));
        } else if let Err(error) = Constraint::new("memberOf", constraint.text("expression")) {
            problems.push(constraint.error_at("expression", CODE, expression_fault(&error)));
        }
    }
    problems
}

/// Whether Fargate's rules hold.
pub(super) fn is_fargate(context: Context) -> bool {
    context.requires_fargate || context.runs_on_fargate
}

/// What Fargate says of a field that it has not.
pub(super) fn unsupported_on_fargate(field: &str) -> String {
    format!("Fargate compatible task definitions do not support {field}")
}
