//! Bounds and refusals of CreateService.

use super::*;

/// A stack with one service that has these fields.
fn of_service(fields: &str) -> Vec<String> {
    said(&format!("name: shop\nservices:\n  web: {{ taskDefinition: web.json, {fields} }}\n"))
}

#[test]
fn a_service_takes_1_to_16_subnets_and_5_groups() {
    let subnets: Vec<String> = (0..17).map(|n| format!("{{ name: s{n}, zone: a, cidr: 10.0.{n}.0/24 }}")).collect();
    let groups: Vec<String> = (0..6).map(|n| format!("g{n}: {{}}")).collect();
    let service = |subnet_count: usize, group_count: usize| {
        let names =
            |letter: char, count: usize| (0..count).map(|n| format!("{letter}{n}")).collect::<Vec<_>>().join(", ");
        said(&format!(
            "name: shop\nvpc: {{ subnets: [ {} ] }}\nsecurityGroups: {{ {} }}\nservices:\n  web:\n    taskDefinition: web.json\n    networkConfiguration: {{ awsvpcConfiguration: {{ subnets: [{}], securityGroups: [{}] }} }}\n",
            subnets.join(", "),
            groups.join(", "),
            names('s', subnet_count),
            names('g', group_count)
        ))
    };
    let at = "/services/web/networkConfiguration/awsvpcConfiguration";
    assert!(service(1, 0).is_empty() && service(16, 5).is_empty());
    assert_eq!(service(0, 1), [format!("{at}/subnets: subnets can not be empty.")]);
    assert_eq!(service(17, 1), [format!("{at}/subnets: subnets can have at most 16 items.")]);
    assert_eq!(service(1, 6), [format!("{at}/securityGroups: securityGroups can have at most 5 items.")]);
}

#[test]
fn a_service_without_groups_is_in_the_default_group() {
    let stack = stack_of(
        "name: shop\nservices:\n  web:\n    taskDefinition: web.json\n    networkConfiguration: { awsvpcConfiguration: { subnets: [private-a], securityGroups: [] } }\n",
    );
    assert_eq!(stack.services["web"].security_groups.iter().map(|g| g.as_str()).collect::<Vec<_>>(), ["default"]);
}

#[test]
fn subnets_and_groups_of_a_service_exist() {
    assert_eq!(
        of_service("subnets: [nowhere]"),
        [
            "/services/web/subnets/0: Error retrieving subnet information for [nowhere]: The subnet ID 'nowhere' does not exist (ErrorCode: InvalidSubnetID.NotFound)"
        ]
    );
    assert_eq!(
        of_service("securityGroups: [nobody]"),
        [
            "/services/web/securityGroups/0: Error retrieving security group information for [nobody]: The security group 'nobody' does not exist (ErrorCode: InvalidGroup.NotFound)"
        ]
    );
}

#[test]
fn the_bounds_of_a_deployment_leave_it_a_way() {
    let bounds = |minimum: u32, maximum: u32| {
        of_service(&format!("deployment: {{ minimumHealthyPercent: {minimum}, maximumPercent: {maximum} }}"))
    };
    let at = "/services/web/deployment";
    assert_eq!(bounds(101, 200), [format!("{at}/minimumHealthyPercent: minimumHealthyPercent must be at most 100")]);
    assert_eq!(bounds(50, 99), [format!("{at}/maximumPercent: maximumPercent must be at least 100")]);
    assert!(bounds(50, 100).is_empty() && bounds(100, 101).is_empty() && bounds(0, 100).is_empty());
    assert_eq!(
        bounds(100, 100),
        [format!("{at}: Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.")]
    );
}

#[test]
fn a_service_says_how_many_and_by_which_strategy() {
    assert_eq!(
        of_service("desiredCount: -1"),
        ["/services/web/desiredCount: expected a whole number from 0 to 5000, found -1"]
    );
    assert!(of_service("desiredCount: 0, schedulingStrategy: REPLICA").is_empty());
    assert_eq!(
        of_service("schedulingStrategy: ONCE"),
        ["/services/web/schedulingStrategy: expected `REPLICA` or `DAEMON`, found `ONCE`"]
    );
    assert!(
        of_service("schedulingStrategy: DAEMON, desiredCount: 0").contains(
            &"/services/web/desiredCount: The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again".to_owned()
        )
    );
    assert_eq!(
        stack_of("name: shop\nservices: { web: { taskDefinition: web.json } }\n").services["web"].desired_count,
        1
    );
}

#[test]
fn a_grace_period_is_a_number_of_seconds() {
    let grace = |seconds: i64| of_service(&format!("healthCheckGracePeriodSeconds: {seconds}"));
    assert!(grace(0).is_empty() && grace(2_147_483_647).is_empty());
    assert_eq!((grace(-1).len(), grace(2_147_483_648).len()), (1, 1));
}

#[test]
fn a_services_name_has_255_letters_at_most() {
    let named = |name: &str| {
        said(&format!(
            "name: shop\nservices: {{ {name}: {{ taskDefinition: web.json, discovery: {{ name: web }} }} }}\n"
        ))
    };
    assert!(named("a_b-1").is_empty() && named(&"a".repeat(255)).is_empty());
    for name in ["a.b".to_owned(), "a".repeat(256)] {
        let message = format!("/services/{name}: ServiceName must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}");
        assert_eq!(named(&name), [message]);
    }
}
