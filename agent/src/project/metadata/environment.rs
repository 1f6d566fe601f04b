//! The variables that tell a container where its metadata and its credentials are (reference 2.6).

use crate::spec::service::LaunchType;

/// Where tasks find the front.
pub const METADATA_ADDRESS: &str = "169.254.170.2";

/// A container's variables: `endpoint_id` is its own and the same in all three paths, `credentials_id` the secret part of
/// its task's credentials' path, if there is a task role. `already_set` says whether the task definition, an environment
/// file or the image sets a name: then both names of the region are left out, as ECS does. Pause and other internal
/// containers get none of these.
pub fn environment(
    endpoint_id: &str,
    credentials_id: Option<&str>,
    launch_type: LaunchType,
    region: &str,
    already_set: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let at = |path: &str| format!("http://{METADATA_ADDRESS}/{path}/{endpoint_id}");
    let mut variables = vec![
        ("ECS_CONTAINER_METADATA_URI", at("v3")),
        ("ECS_CONTAINER_METADATA_URI_V4", at("v4")),
        ("ECS_AGENT_URI", at("api")),
    ];
    if let Some(id) = credentials_id {
        variables.push(("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", format!("/v2/credentials/{id}")));
    }
    let platform = match launch_type {
        LaunchType::Fargate => "AWS_ECS_FARGATE",
        LaunchType::Ec2 => "AWS_ECS_EC2",
    };
    variables.push(("AWS_EXECUTION_ENV", platform.to_owned()));
    let regions = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    if !regions.into_iter().any(already_set) {
        variables.extend(regions.map(|name| (name, region.to_owned())));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(credentials_id: Option<&str>, launch_type: LaunchType, set: &[&str]) -> Vec<String> {
        let variables = environment("0a1b", credentials_id, launch_type, "eu-west-1", |name| set.contains(&name));
        variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_container_is_told_where_its_metadata_and_credentials_are() {
        assert_eq!(
            of(Some("secret"), LaunchType::Fargate, &[]),
            [
                "ECS_CONTAINER_METADATA_URI=http://169.254.170.2/v3/0a1b",
                "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/0a1b",
                "ECS_AGENT_URI=http://169.254.170.2/api/0a1b",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/secret",
                "AWS_EXECUTION_ENV=AWS_ECS_FARGATE",
                "AWS_REGION=eu-west-1",
                "AWS_DEFAULT_REGION=eu-west-1",
            ]
        );
    }

    #[test]
    fn credentials_are_named_with_a_task_role_only() {
        let named = |id| of(id, LaunchType::Ec2, &[]).iter().any(|v| v.starts_with("AWS_CONTAINER_CREDENTIALS"));
        assert!(named(Some("secret")) && !named(None));
    }

    #[test]
    fn the_platform_is_that_of_the_launch_type() {
        assert!(of(None, LaunchType::Ec2, &[]).contains(&"AWS_EXECUTION_ENV=AWS_ECS_EC2".to_owned()));
    }

    #[test]
    fn both_names_of_the_region_are_left_out_when_either_is_set() {
        for set in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            let variables = of(None, LaunchType::Ec2, &[set]);
            assert!(!variables.iter().any(|v| v.contains("REGION=")), "{set}: {variables:?}");
        }
    }
}
