//! Listings for people: columns, two spaces apart, no lines; `-` where there is nothing.

use agent::control::api::{ServiceView, TaskView};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::short;

/// The tasks: one line each, with what AWS knows of each and its place in the network.
///
/// `wide` adds the whole id, the task definition, and why the task stopped or what it waits for.
pub(crate) fn tasks(tasks: &[TaskView], wide: bool) -> String {
    let stacks = several_stacks(tasks.iter().map(|task| task.ecsnet.stack.as_str()));
    let mut header = vec!["TASK"];
    header.extend(stacks.then_some("STACK"));
    header.extend(["SERVICE", "STATUS", "HEALTH", "ZONE", "ADDRESS", "SECURITY GROUPS"]);
    if wide {
        header.extend(["TASK DEFINITION", "REASON"]);
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
            containers: vec![],
            cpu: None,
            memory: None,
            stop_code: None,
            stopped_reason: None,
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            started_at: None,
            stopping_at: None,
            stopped_at: None,
            version: 1,
            ecsnet: TaskExtra {
                stack: "shop".to_owned(),
                service: service.to_owned(),
                task_id: id,
                zone: "us-east-1a".to_owned(),
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
        TASK                              SERVICE  STATUS   HEALTH   ZONE        ADDRESS   SECURITY GROUPS  TASK DEFINITION  REASON
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  web      RUNNING  UNKNOWN  us-east-1a  10.0.0.4  web              web:1            -
        bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  orders   STOPPED  UNKNOWN  us-east-1a  -         orders           orders:1         Essential container in task exited
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
