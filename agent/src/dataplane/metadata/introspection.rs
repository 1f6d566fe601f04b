//! The introspection API of a container instance, on port 51678 (reference 9.1): which tasks it has. Pure.
//!
//! For whoever is on the instance, so it tells of all its tasks, and never of credentials.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::index::Index;
use super::path::parameter;
use super::reply::{self, Reply};
use crate::project::metadata::{ContainerDocument, FrontTask, Introspection};

/// What `/license` answers.
const LICENSE: &str = include_str!("../../../../LICENSE");

/// Answers a request for `path`.
pub(super) fn answer(index: &Index, path: &str, query: Option<&str>) -> Reply {
    let Some(introspection) = &index.front.introspection else { return reply::not_found() };
    match path {
        "/v1/metadata" => reply::json(StatusCode::OK, &metadata(introspection)),
        "/v1/tasks" => tasks(&index.front.tasks, query),
        "/license" => reply::text(StatusCode::OK, LICENSE),
        _ => reply::not_found(),
    }
}

fn metadata(introspection: &Introspection) -> Value {
    json!({
        "Cluster": introspection.cluster,
        "ContainerInstanceArn": introspection.container_instance_arn,
        "Version": concat!("ecsnet - v", env!("CARGO_PKG_VERSION")),
    })
}

fn tasks(tasks: &[FrontTask], query: Option<&str>) -> Reply {
    let (arn, docker_id) = (parameter(query, "taskarn"), parameter(query, "dockerid"));
    let found = match (arn, docker_id) {
        ("", "") => {
            let all: Vec<Value> = tasks.iter().map(task).collect();
            return reply::json(StatusCode::OK, &json!({ "Tasks": all }));
        }
        (arn, "") => tasks.iter().find(|task| task.task_arn == arn),
        ("", id) => tasks.iter().find(|task| task.document.containers.iter().any(|c| c.docker_id.starts_with(id))),
        _ => return reply::json(StatusCode::BAD_REQUEST, &Map::new()),
    };
    match found {
        Some(found) => reply::json(StatusCode::OK, &task(found)),
        None => reply::json(StatusCode::NOT_FOUND, &Map::new()),
    }
}

fn task(task: &FrontTask) -> Value {
    let document = &task.document;
    json!({
        "Arn": task.task_arn,
        "DesiredStatus": document.desired_status,
        "KnownStatus": document.known_status,
        "Family": document.family,
        "Version": document.revision,
        "Containers": document.containers.iter().map(container).collect::<Vec<_>>(),
    })
}

/// What version 3 shows of a container, as far as this API has it.
fn container(container: &ContainerDocument) -> Value {
    let mut fields = container.to_v3();
    let shown = [
        "DockerId",
        "DockerName",
        "Name",
        "Image",
        "ImageID",
        "CreatedAt",
        "StartedAt",
        "Ports",
        "Networks",
        "Volumes",
    ];
    fields.retain(|name, _| shown.contains(&name.as_str()));
    Value::Object(fields)
}
