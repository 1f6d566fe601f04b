//! Which container instances tasks are placed on.

use agent::spec::placement::{BinpackField, Constraint, SpreadField, Strategy};
use agent::spec::service::SchedulingStrategy;

use super::*;

const WEB_EC2: &str = r#"{"family": "web", "networkMode": "awsvpc",
  "placementConstraints": [{"type": "memberOf", "expression": "attribute:disk == ssd"}],
  "containerDefinitions": [{"name": "web", "image": "web", "memory": 64}]}"#;

fn load_service(fields: &str) -> Loaded {
    let stack = format!("name: shop\nservices:\n  web: {{ taskDefinition: task.json, {fields} }}\n");
    Folder::with(&[("stack.yaml", &stack), ("task.json", WEB_EC2)]).load(&Overrides::default())
}

fn faults(fields: &str) -> Vec<String> {
    let loaded = load_service(fields);
    for problem in &loaded.problems {
        assert_has_a_place(problem, &loaded);
    }
    loaded.problems.iter().map(|p| format!("{}: {}", p.place.pointer.replace("/services/web", ""), p.message)).collect()
}

#[test]
fn both_spellings_mean_the_same_and_a_definitions_constraints_join_them() {
    let short = "placement: { strategy: [ { type: spread, field: \"attribute:ecs.availability-zone\" }, { type: binpack, field: memory } ], constraints: [ { type: distinctInstance } ] }";
    let long = "placementStrategy: [ { type: spread, field: \"attribute:ecs.availability-zone\" }, { type: binpack, field: memory } ], placementConstraints: [ { type: distinctInstance } ]";
    for fields in [short, long] {
        assert_eq!(faults(fields), Vec::<String>::new());
        let placement = load_service(fields).stack.unwrap().services["web"].placement.clone();
        assert_eq!(
            placement.strategy,
            [Strategy::Spread(SpreadField::availability_zone()), Strategy::Binpack(BinpackField::Memory)]
        );
        let expression = "attribute:disk == ssd".parse().unwrap();
        assert_eq!(placement.constraints, [Constraint::DistinctInstance, Constraint::MemberOf(expression)]);
    }
    let alone = load_service("desiredCount: 1").stack.unwrap().services["web"].placement.clone();
    assert_eq!((alone.strategy.len(), alone.constraints.len()), (0, 1));
}

#[test]
fn every_fault_is_told_where_it_is() {
    assert_eq!(
        faults(
            "placement: { strategy: [ { type: best }, { type: binpack, field: disk }, { field: cpu } ], constraints: [ { type: memberOf, expression: \"attribute:a == b or\" }, { type: distinctInstance, expression: x }, { type: near }, { type: memberOf } ] }"
        ),
        [
            "/placement/strategy/0/type: `best` is no placement strategy: random, spread or binpack",
            "/placement/strategy/1/field: binpack field 'disk' is invalid",
            "/placement/strategy/2: an entry must have a `type`, beside its `field`",
            "/placement/constraints/0/expression: this is no expression of the cluster query language: at character 20: expected attribute:NAME, ec2InstanceId, agentConnected, agentVersion, registeredAt, runningTasksCount or task:group, found the end",
            "/placement/constraints/1/expression: distinctInstance expression should not be specified.",
            "/placement/constraints/2/type: `near` is no placement constraint: distinctInstance or memberOf",
            "/placement/constraints/3/expression: memberOf needs an expression, such as `attribute:ecs.instance-type == t3.small`",
        ]
    );
    assert_eq!(
        faults("placement: { strategy: [] }, placementStrategy: [ { type: random } ]"),
        ["/placementStrategy: this is said twice: here, and in the short form"]
    );
    assert_eq!(faults("placement: { stratgy: [] }"), ["/placement/stratgy: unknown field `stratgy`"]);
}

#[test]
fn a_definitions_constraint_is_an_expression() {
    let definition = WEB_EC2.replace("attribute:disk == ssd", "attribute:disk ==");
    let stack = "name: shop\nservices: { web: { taskDefinition: task.json } }\n";
    let loaded = Folder::with(&[("stack.yaml", stack), ("task.json", &definition)]).load(&Overrides::default());
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].place.pointer, "/placementConstraints/0/expression");
}

#[test]
fn fargate_has_no_instances_to_choose_from() {
    assert_eq!(
        faults(
            "launchType: FARGATE, placementStrategy: [ { type: random } ], placementConstraints: [ { type: distinctInstance } ]"
        ),
        [
            "/placementStrategy: Placement strategies are not supported with FARGATE launch type.",
            "/placementConstraints: Placement constraints are not supported with FARGATE launch type.",
        ]
    );
    assert_eq!(
        faults("launchType: FARGATE, placement: { strategy: [ { type: random } ] }"),
        ["/placement: `placement` has no effect on FARGATE, where a task is on no container instance"]
    );
    assert_eq!(
        faults("launchType: FARGATE, schedulingStrategy: DAEMON"),
        ["/schedulingStrategy: Tasks using the Fargate launch type don't support the DAEMON scheduling strategy."]
    );
}

#[test]
fn a_daemon_has_one_task_on_each_instance() {
    let stack = load_service("schedulingStrategy: DAEMON").stack.unwrap();
    let web = &stack.services["web"];
    assert_eq!(web.scheduling_strategy, SchedulingStrategy::Daemon);
    let bounds = web.deployment_configuration;
    assert_eq!((bounds.minimum_healthy_percent, bounds.maximum_percent), (0, 100), "its own defaults");
    assert_eq!(load_service("").stack.unwrap().services["web"].scheduling_strategy, SchedulingStrategy::Replica);
    assert_eq!(
        faults("schedulingStrategy: DAEMON, desiredCount: 0"),
        [
            "/desiredCount: The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again"
        ]
    );
    for fields in ["placementStrategy: [ { type: random } ]", "placement: { strategy: [ { type: random } ] }"] {
        let said = faults(&format!("schedulingStrategy: DAEMON, {fields}"));
        assert!(
            said[0].ends_with(": The daemon scheduling strategy does not support placement strategies"),
            "{said:?}"
        );
    }
    assert_eq!(
        faults("schedulingStrategy: DAEMON, deployment: { maximumPercent: 200 }"),
        [
            "/deployment/maximumPercent: The daemon scheduling strategy does not support values above 100 for maximumPercent"
        ]
    );
    assert_eq!(
        faults(
            "schedulingStrategy: DAEMON, placement: { constraints: [ { type: memberOf, expression: \"attribute:a exists\" } ] }"
        ),
        Vec::<String>::new()
    );
}

#[test]
fn tasks_in_awsvpc_are_on_instances_where_somebody_asks_for_it() {
    let on_instances = |top: &str, fields: &str, definition: &str| {
        let stack = format!("name: shop\n{top}services:\n  web: {{ taskDefinition: task.json, {fields} }}\n");
        let folder = Folder::with(&[("stack.yaml", &stack), ("task.json", definition)]);
        folder.load(&Overrides::default()).stack.unwrap().services["web"].on_instances
    };
    assert!(!on_instances("", "desiredCount: 1", WEB), "ECS's default alone asks for none");
    assert!(!on_instances("launchType: FARGATE\n", "desiredCount: 1", WEB));
    assert!(on_instances("", "launchType: EC2", WEB));
    assert!(on_instances("launchType: EC2\n", "desiredCount: 1", WEB));
    assert!(on_instances("capacity: [ { name: w, type: t3.nano } ]\n", "desiredCount: 1", WEB));
    assert!(on_instances("", "schedulingStrategy: DAEMON", WEB));
    assert!(on_instances("", "placement: { strategy: [ { type: random } ] }", WEB));
    assert!(on_instances("", "desiredCount: 1", WEB_EC2), "its definition has a constraint");
    assert!(on_instances("", "networkMode: bridge", WEB));
}
