//! Container instances that a stack asks for.

use std::collections::BTreeMap;

use super::*;

const EC2: &str = r#"{"family": "web", "networkMode": "bridge", "containerDefinitions": [
  {"name": "web", "image": "web", "memory": 64}]}"#;

fn load_capacity(capacity: &str) -> Loaded {
    let stack = format!(
        "name: shop\ncapacity:\n{capacity}securityGroups: {{ database: {{}} }}\nservices: {{ web: {{ taskDefinition: task.json }} }}\n"
    );
    Folder::with(&[("stack.yaml", &stack), ("task.json", EC2)]).load(&Overrides::default())
}

fn groups_of(capacity: &str) -> Vec<agent::spec::capacity::InstanceGroup> {
    let loaded = load_capacity(capacity);
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    loaded.stack.unwrap().capacity.unwrap()
}

fn faults(capacity: &str) -> Vec<String> {
    let loaded = load_capacity(capacity);
    for problem in &loaded.problems {
        assert_has_a_place(problem, &loaded);
    }
    loaded.problems.iter().map(|p| format!("{}: {}", p.place.pointer.replace("/capacity", ""), p.message)).collect()
}

#[test]
fn a_group_of_instances_has_what_its_type_has_or_what_it_says() {
    let groups = groups_of(
        "  - { name: workers, count: 2, type: m5.large, zones: [a, us-east-1b], attributes: { stack: blue, spare: } }\n  - { name: own, cpu: 1 vCPU, memory: 2GB, securityGroups: [database, default], eniLimit: 3 }\n  - { name: limited, count: 0, type: c5.large, zones: [b], eniLimit: true }\n  - { name: numbers, cpu: 512, memory: \"1024\", eniLimit: false }\n",
    );
    let [workers, own, limited, numbers] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!(
        (workers.name.as_str(), workers.count, workers.instance_type.as_deref()),
        ("workers", 2, Some("m5.large"))
    );
    assert_eq!((workers.cpu, workers.memory, workers.eni_limit), (2048, 8192, None));
    assert_eq!(workers.availability_zones, ["us-east-1a", "us-east-1b"]);
    assert_eq!(
        workers.attributes,
        BTreeMap::from([("stack".to_owned(), "blue".to_owned()), ("spare".to_owned(), String::new())])
    );
    assert_eq!((own.count, own.instance_type.as_deref(), own.cpu, own.memory), (1, None, 1024, 2048));
    assert_eq!(own.availability_zones, ["us-east-1a", "us-east-1b"], "all zones that have a subnet");
    let groups = own.security_groups.as_ref().unwrap();
    assert_eq!((groups.len(), groups[0].as_str(), own.eni_limit), (2, "database", Some(3)));
    assert_eq!((limited.count, limited.eni_limit, &limited.security_groups), (0, Some(3), &None));
    assert_eq!((numbers.cpu, numbers.memory, numbers.eni_limit), (512, 1024, None));
}

#[test]
fn without_capacity_a_stack_sizes_itself() {
    assert_eq!(stack_of("name: shop\nservices: { web: { taskDefinition: web.json } }\n").capacity, None);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    assert_eq!(
        faults(
            "  - { type: m5.lrge }\n  - { name: a b, type: m5.large, cpu: 1 }\n  - { name: c, cpu: 1024 }\n  - { name: c, memory: 2048 }\n  - { name: d }\n  - { name: e, cpu: x, memory: 0 }\n  - { name: f, cpu: 1, memory: 1, eniLimit: true, zones: [c] }\n  - { name: g, type: t3.nano, zones: [], eniLimit: 16, count: 51 }\n  - { name: h, type: t3.nano, zones: [a, a], colour: blue }\n"
        ),
        [
            "/0: a group of instances must have a `name`",
            "/0/type: `m5.lrge` is no instance type that is known here",
            "/1/name: `a b` cannot be the name of a group of instances",
            "/1/cpu: a `type` has its own cpu and memory: leave out one or the other",
            "/2/cpu: `cpu` needs a `memory` beside it",
            "/3/name: there are two groups of instances named `c`",
            "/3/memory: `memory` needs a `cpu` beside it",
            "/4: a group of instances must have a `type`, or `cpu` and `memory`",
            "/5/cpu: this is no size of an instance",
            "/5/memory: this is no size of an instance",
            "/6/eniLimit: `eniLimit: true` is the limit of a `type`",
            "/6/zones/0: no subnet of the VPC is in zone us-east-1c",
            "/7/zones: an instance is in a zone",
            "/7/eniLimit: expected a whole number from 1 to 15, found 16",
            "/7/count: expected a whole number from 0 to 50, found 51",
            "/8/zones/1: zone us-east-1a is there twice",
            "/8/colour: unknown field `colour`",
        ]
    );
}

#[test]
fn a_type_has_a_nearest_one() {
    let loaded = load_capacity("  - { name: workers, type: m5.lrge }\n");
    insta::assert_snapshot!(report::render(&loaded.problems, &loaded.sources, false).lines().skip(2).collect::<Vec<_>>().join("\n"), @r"
      |
    3 |   - { name: workers, type: m5.lrge }
      |                            ^^^^^^^
      |
      = hint: did you mean `m5.large`? (or give `cpu` and `memory`)
    ");
}

#[test]
fn attributes_have_names_and_values_as_in_ecs() {
    let said =
        |attributes: &str| faults(&format!("  - {{ name: w, type: t3.nano, attributes: {{ {attributes} }} }}\n"));
    assert_eq!(said("a-b_c.d/e: \"x y@z:1\""), Vec::<String>::new());
    assert_eq!(said("\"a b\": x"), ["/0/attributes/a b: `a b` cannot be an attribute's name"]);
    assert_eq!(said("a: \"x;y\""), ["/0/attributes/a: `x;y` cannot be an attribute's value"]);
    assert_eq!(said("ecs.os-type: linux"), ["/0/attributes/ecs.os-type: `ecs.os-type` is one of ECS's own attributes"]);
    let many: Vec<String> = (0..11).map(|n| format!("a{n}: b")).collect();
    assert_eq!(said(&many.join(", ")), ["/0/attributes: an instance has at most 10 attributes of the user's"]);
}

#[test]
fn instances_have_groups_of_the_stack() {
    let said = |groups: &str| faults(&format!("  - {{ name: w, type: t3.nano, securityGroups: [{groups}] }}\n"));
    assert_eq!(said("web, default"), Vec::<String>::new(), "a service's own group too");
    assert_eq!(
        said("databse"),
        [
            "/0/securityGroups/0: Error retrieving security group information for [databse]: The security group 'databse' does not exist (ErrorCode: InvalidGroup.NotFound)"
        ]
    );
}

#[test]
fn capacity_that_nothing_uses_or_that_is_nothing_is_told() {
    let stack = |launch: &str, capacity: &str| {
        report_of(&format!(
            "name: shop\nlaunchType: {launch}\ncapacity: {capacity}\nservices: {{ web: {{ taskDefinition: web.json }} }}\n"
        ))
    };
    insta::assert_snapshot!(stack("FARGATE", "[ { name: w, type: t3.nano } ]"), @r"
    warning: no service uses these instances: all of them run on FARGATE
     --> stack.yaml:3:1
      |
    3 | capacity: [ { name: w, type: t3.nano } ]
      | ^^^^^^^^
      |
      = hint: launchType: EC2
    ");
    insta::assert_snapshot!(stack("EC2", "[]"), @r"
    warning: there is no container instance: no task of web finds a place
     --> stack.yaml:3:1
      |
    3 | capacity: []
      | ^^^^^^^^
      |
      = hint: leave `capacity` out to get as many as the tasks need
    ");
    assert_eq!(
        stack("EC2", "[ { name: w, count: 30, type: t3.nano }, { name: v, count: 21, type: t3.nano } ]").lines().next(),
        Some("error: 51 container instances are more than 50")
    );
}
