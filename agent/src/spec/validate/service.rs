//! Checks of a service's own fields (reference 1.10, 3.1, 3.2, 6.1). References to other things are looked up where names are
//! turned into values.

use super::super::problem::Problem;
use super::super::service::{DeploymentConfiguration, Discovery, Service};
use super::{error, is_dns_label, is_ecs_name};

const CODE: &str = "InvalidParameterException";

/// What is wrong with a service's name.
pub fn service_name(name: &str) -> Option<Problem> {
    (!is_ecs_name(name))
        .then(|| error("", CODE, format!("ServiceName must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}")))
}

/// Everything that is wrong with a service, its name and task definition left out; pointers are as in CreateService.
pub fn service(service: &Service) -> Vec<Problem> {
    let mut problems = Vec::new();
    let network = "/networkConfiguration/awsvpcConfiguration";
    if service.subnets.is_empty() {
        problems.push(error(format!("{network}/subnets"), CODE, "subnets can not be empty."));
    }
    if service.subnets.len() > 16 {
        problems.push(error(format!("{network}/subnets"), CODE, "subnets can have at most 16 items."));
    }
    if service.security_groups.len() > 5 {
        problems.push(error(format!("{network}/securityGroups"), CODE, "securityGroups can have at most 5 items."));
    }
    problems.extend(service.discovery.as_ref().and_then(discovery));
    problems.extend(deployment(&service.deployment_configuration));
    problems
}

fn discovery(discovery: &Discovery) -> Option<Problem> {
    let well_formed = discovery.name.len() <= 127 && discovery.name.split('.').all(is_dns_label);
    (!well_formed).then(|| {
        error("/discovery/name", "InvalidInput", format!("`{}` cannot be a Cloud Map service's name", discovery.name))
            .with_hint("up to 127 letters, digits, `-` and `_` in labels of up to 63")
    })
}

/// Everything that is wrong with the bounds of a rolling deployment (3.2).
fn deployment(bounds: &DeploymentConfiguration) -> Vec<Problem> {
    let at = |field: &str| format!("/deploymentConfiguration/{field}");
    let mut problems = Vec::new();
    if bounds.minimum_healthy_percent > 100 {
        problems.push(error(at("minimumHealthyPercent"), CODE, "minimumHealthyPercent must be at most 100"));
    }
    if bounds.maximum_percent < 100 {
        problems.push(error(at("maximumPercent"), CODE, "maximumPercent must be at least 100"));
    }
    if bounds.minimum_healthy_percent == 100 && bounds.maximum_percent == 100 {
        problems.push(error(
            "/deploymentConfiguration",
            CODE,
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ));
    }
    problems
}
