//! Listings for people: columns, two spaces apart, no lines; `-` where there is nothing.

use agent::control::api::{ServiceView, TaskView};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::short;

/// The tasks: one line each, with what AWS knows of each and its place in the network.
///
/// `wide` adds the whole id, the network mode, the container instance, the task definition, and why the task stopped or what
/// it waits for.
pub(crate) fn tasks(tasks: &[TaskView], wide: bool) -> String {
    let stacks = several_stacks(tasks.iter().map(|task| task.ecsnet.stack.as_str()));
    let mut header = vec!["TASK"];
    header.extend(stacks.then_some("STACK"));
    header.extend(["SERVICE", "STATUS", "HEALTH", "ZONE", "ADDRESS", "SECURITY GROUPS"]);
    if wide {
        header.extend(["MODE", "INSTANCE", "TASK DEFINITION", "REASON"]);
    }
    let rows = tasks.iter().map(|task| {
        let extra = &task.ecsnet;
        let mut row = vec![if wide { extra.task_id.clone() } else { short(&extra.task_id).to_owned() }];
        row.extend(stacks.then(|| extra.stack.clone()));
        row.extend([
            extra.service.clone(),
            task.last_status.clone(),
            task.health_status.clone(),
            extra.zone.clone(),
            address(task),
            extra.security_groups.join(", "),
        ]);
        if wide {
            row.push(extra.network_mode.clone());
            let instance = task.container_instance_arn.as_deref().map(last_part);
            row.push(instance.map(short).unwrap_or_default().to_owned());
            row.push(last_part(&task.task_definition_arn).to_owned());
            row.push(reason(task).to_owned());
        }
        row
    });
    columns(&header, rows)
}

/// The services: how many tasks there are and should be.
pub(crate) fn services(services: &[ServiceView], wide: bool) -> String {
    let stack = |service: &ServiceView| text(&service.ecsnet, "stack");
    let stacks = several_stacks(services.iter().map(|service| last_part(&service.cluster_arn)));
    let mut header = vec!["SERVICE"];
    header.extend(stacks.then_some("STACK"));
    header.extend(["STATUS", "DESIRED", "RUNNING", "PENDING", "TASK DEFINITION", "NAME"]);
    header.extend(wide.then_some("SECURITY GROUPS"));
    header.extend(wide.then_some("LAST EVENT"));
    let rows = services.iter().map(|service| {
        let mut row = vec![service.service_name.clone()];
        row.extend(stacks.then(|| stack(service)));
        row.extend([
            service.status.clone(),
            service.desired_count.to_string(),
            service.running_count.to_string(),
            service.pending_count.to_string(),
            last_part(&service.task_definition).to_owned(),
            text(&service.ecsnet, "dnsName"),
        ]);
        if wide {
            row.push(text(&service.ecsnet, "securityGroups"));
            row.push(service.events.first().map(|event| text(event, "message")).unwrap_or_default());
        }
        row
    });
    columns(&header, rows)
}

/// The container instances, as DescribeContainerInstances has them: what each is, and how much of it is left.
///
/// `wide` adds the whole id, its group in the stack file, its security groups, and the attributes that are not ECS's own.
pub(crate) fn instances(instances: &[Value], wide: bool) -> String {
    let extra = |instance: &Value, field: &str| text(&instance["ecsnet"], field);
    let names: Vec<String> = instances.iter().map(|instance| extra(instance, "stack")).collect();
    let stacks = several_stacks(names.iter().map(String::as_str));
    let mut header = vec!["INSTANCE"];
    header.extend(stacks.then_some("STACK"));
    header.extend(["EC2 ID", "TYPE", "ZONE", "STATE", "STATUS", "ADDRESS", "CPU FREE", "MEMORY FREE", "TASKS"]);
    if wide {
        header.extend(["GROUP", "SECURITY GROUPS", "ATTRIBUTES"]);
    }
    let rows = instances.iter().map(|instance| {
        let id = extra(instance, "instanceId");
        let mut row = vec![if wide { id } else { short(&id).to_owned() }];
        row.extend(stacks.then(|| extra(instance, "stack")));
        row.extend([
            text(instance, "ec2InstanceId"),
            extra(instance, "instanceType"),
            extra(instance, "zone"),
            extra(instance, "state"),
            text(instance, "status"),
            extra(instance, "address"),
            left(instance, "CPU"),
            left(instance, "MEMORY"),
            instance["ecsnet"]["tasks"].as_array().map_or(0, Vec::len).to_string(),
        ]);
        if wide {
            row.extend([extra(instance, "group"), extra(instance, "securityGroups"), attributes(instance)]);
        }
        row
    });
    columns(&header, rows)
}

/// How much of a resource is left of how much.
fn left(instance: &Value, resource: &str) -> String {
    let of = |list: &str| {
        let found = instance[list].as_array().into_iter().flatten().find(|r| r["name"] == resource);
        found.and_then(|r| r["integerValue"].as_i64()).map_or("?".to_owned(), |amount| amount.to_string())
    };
    format!("{}/{}", of("remainingResources"), of("registeredResources"))
}

/// The user's own attributes.
fn attributes(instance: &Value) -> String {
    let attributes = instance["attributes"].as_array().into_iter().flatten();
    let own = attributes.filter_map(|attribute| {
        let name = attribute["name"].as_str().filter(|name| !name.starts_with("ecs."))?;
        Some(attribute["value"].as_str().map_or(name.to_owned(), |value| format!("{name}={value}")))
    });
    own.collect::<Vec<_>>().join(", ")
}

/// Columns under a header.
pub(crate) fn columns(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    // Padding is for what comes after; the last column needs none.
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// An address of its own, or the ports on its host.
fn address(task: &TaskView) -> String {
    let ports: Vec<String> = task.ecsnet.host_ports.iter().map(u16::to_string).collect();
    match (task.ecsnet.address, ports.is_empty()) {
        (Some(address), true) => address.to_string(),
        (Some(address), false) => format!("{address}:{}", ports.join(",")),
        (None, true) => String::new(),
        (None, false) => format!(":{}", ports.join(",")),
    }
}

/// Why it stopped, or what it waits for.
pub(crate) fn reason(task: &TaskView) -> &str {
    task.stopped_reason.as_deref().or(task.ecsnet.waiting.as_deref()).unwrap_or_default()
}

fn several_stacks<'a>(mut stacks: impl Iterator<Item = &'a str>) -> bool {
    let first = stacks.next();
    stacks.any(|stack| Some(stack) != first)
}

/// What stands behind the last `/` of an ARN.
fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use agent::control::api::TaskExtra;
    use serde_json::json;

    use super::*;

    /// A made-up task whose id repeats `digit`.
    pub(crate) fn task(digit: char, service: &str, status: &str) -> TaskView {
        let id: String = std::iter::repeat_n(digit, 32).collect();
        TaskView {
            task_arn: format!("arn:aws:ecs:us-east-1:000000000000:task/shop/{id}"),
            cluster_arn: "arn:aws:ecs:us-east-1:000000000000:cluster/shop".to_owned(),
            task_definition_arn: format!("arn:aws:ecs:us-east-1:000000000000:task-definition/{service}:1"),
            group: format!("service:{service}"),
            started_by: "ecs-svc/1".to_owned(),
            launch_type: "FARGATE".to_owned(),
            availability_zone: "us-east-1a".to_owned(),
            desired_status: "RUNNING".to_owned(),
            last_status: status.to_owned(),
            health_status: "UNKNOWN".to_owned(),
            attachments: vec![],
            container_instance_arn: None,
            containers: vec![],
            cpu: None,
            memory: None,
            stop_code: None,
            stopped_reason: None,
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            started_at: None,
            stopping_at: None,
            stopped_at: None,
            connectivity: None,
            connectivity_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
            version: 1,
            ecsnet: TaskExtra {
                stack: "shop".to_owned(),
                service: service.to_owned(),
                task_id: id,
                zone: "us-east-1a".to_owned(),
                network_mode: "awsvpc".to_owned(),
                address: (status == "RUNNING").then(|| "10.0.0.4".parse().unwrap()),
                security_groups: vec![service.to_owned()],
                host_ports: vec![],
                netns: None,
                waiting: None,
            },
        }
    }

    fn both() -> Vec<TaskView> {
        let mut stopped = task('b', "orders", "STOPPED");
        stopped.stopped_reason = Some("Essential container in task exited".to_owned());
        vec![task('a', "web", "RUNNING"), stopped]
    }

    #[test]
    fn a_task_is_a_line() {
        insta::assert_snapshot!(tasks(&both(), false), @r"
        TASK      SERVICE  STATUS   HEALTH   ZONE        ADDRESS   SECURITY GROUPS
        aaaaaaaa  web      RUNNING  UNKNOWN  us-east-1a  10.0.0.4  web
        bbbbbbbb  orders   STOPPED  UNKNOWN  us-east-1a  -         orders
        ");
    }

    #[test]
    fn wide_says_why_a_task_stopped() {
        insta::assert_snapshot!(tasks(&both(), true), @r"
        TASK                              SERVICE  STATUS   HEALTH   ZONE        ADDRESS   SECURITY GROUPS  MODE    INSTANCE  TASK DEFINITION  REASON
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  web      RUNNING  UNKNOWN  us-east-1a  10.0.0.4  web              awsvpc  -         web:1            -
        bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  orders   STOPPED  UNKNOWN  us-east-1a  -         orders           awsvpc  -         orders:1         Essential container in task exited
        ");
    }

    #[test]
    fn two_stacks_are_told_apart() {
        let mut tasks = both();
        tasks[1].ecsnet.stack = "test".to_owned();
        tasks[1].ecsnet.host_ports = vec![32768, 32769];
        insta::assert_snapshot!(super::tasks(&tasks, false), @r"
        TASK      STACK  SERVICE  STATUS   HEALTH   ZONE        ADDRESS       SECURITY GROUPS
        aaaaaaaa  shop   web      RUNNING  UNKNOWN  us-east-1a  10.0.0.4      web
        bbbbbbbb  test   orders   STOPPED  UNKNOWN  us-east-1a  :32768,32769  orders
        ");
    }

    #[test]
    fn a_task_on_an_instance_has_its_address_and_its_ports() {
        let mut bridged = task('a', "web", "RUNNING");
        bridged.ecsnet.network_mode = "bridge".to_owned();
        bridged.ecsnet.host_ports = vec![32768, 32769];
        let arn = "arn:aws:ecs:us-east-1:000000000000:container-instance/shop/0123456789abcdef0123456789abcdef";
        bridged.container_instance_arn = Some(arn.to_owned());
        insta::assert_snapshot!(super::tasks(&[bridged], true), @r"
        TASK                              SERVICE  STATUS   HEALTH   ZONE        ADDRESS               SECURITY GROUPS  MODE    INSTANCE  TASK DEFINITION  REASON
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  web      RUNNING  UNKNOWN  us-east-1a  10.0.0.4:32768,32769  web              bridge  01234567  web:1            -
        ");
    }

    #[test]
    fn an_instance_is_a_line() {
        let resources = |cpu: u32, memory: u32| {
            json!([
                { "name": "CPU", "type": "INTEGER", "integerValue": cpu },
                { "name": "MEMORY", "type": "INTEGER", "integerValue": memory },
                { "name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"] },
            ])
        };
        let instance = json!({
            "ec2InstanceId": "i-0123456789abcdef0",
            "status": "ACTIVE",
            "registeredResources": resources(2048, 8192),
            "remainingResources": resources(1792, 7680),
            "attributes": [{ "name": "ecs.os-type", "value": "linux" }, { "name": "disk", "value": "ssd" }, { "name": "spare" }],
            "ecsnet": {
                "stack": "shop", "instanceId": "0123456789abcdef0123456789abcdef", "group": "fast", "zone": "us-east-1a",
                "instanceType": null, "address": "10.0.0.7", "securityGroups": ["orders", "web"], "state": "running",
                "tasks": ["a", "b"],
            },
        });
        insta::assert_snapshot!(instances(std::slice::from_ref(&instance), false), @r"
        INSTANCE  EC2 ID               TYPE  ZONE        STATE    STATUS  ADDRESS   CPU FREE   MEMORY FREE  TASKS
        01234567  i-0123456789abcdef0  -     us-east-1a  running  ACTIVE  10.0.0.7  1792/2048  7680/8192    2
        ");
        insta::assert_snapshot!(instances(&[instance], true), @r"
        INSTANCE                          EC2 ID               TYPE  ZONE        STATE    STATUS  ADDRESS   CPU FREE   MEMORY FREE  TASKS  GROUP  SECURITY GROUPS  ATTRIBUTES
        0123456789abcdef0123456789abcdef  i-0123456789abcdef0  -     us-east-1a  running  ACTIVE  10.0.0.7  1792/2048  7680/8192    2      fast   orders, web      disk=ssd, spare
        ");
    }

    #[test]
    fn no_task_leaves_the_header() {
        insta::assert_snapshot!(tasks(&[], false), @"TASK  SERVICE  STATUS  HEALTH  ZONE  ADDRESS  SECURITY GROUPS");
    }

    #[test]
    fn a_service_is_a_line() {
        let service = ServiceView {
            service_arn: "arn:aws:ecs:us-east-1:000000000000:service/shop/web".to_owned(),
            service_name: "web".to_owned(),
            cluster_arn: "arn:aws:ecs:us-east-1:000000000000:cluster/shop".to_owned(),
            status: "ACTIVE".to_owned(),
            desired_count: 2,
            running_count: 1,
            pending_count: 1,
            launch_type: "FARGATE".to_owned(),
            task_definition: "arn:aws:ecs:us-east-1:000000000000:task-definition/web:3".to_owned(),
            deployments: vec![],
            events: vec![serde_json::json!({"message": "(service web) has started 1 tasks"})],
            ecsnet: serde_json::json!({"stack": "shop", "dnsName": "web.shop.local", "securityGroups": ["web"]}),
        };
        insta::assert_snapshot!(services(&[service], true), @r"
        SERVICE  STATUS  DESIRED  RUNNING  PENDING  TASK DEFINITION  NAME            SECURITY GROUPS  LAST EVENT
        web      ACTIVE  2        1        1        web:3            web.shop.local  web              (service web) has started 1 tasks
        ");
    }
}
