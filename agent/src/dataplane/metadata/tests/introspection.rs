//! The introspection API of a container instance.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Answer, BATCH, LONE, Running, anywhere, client, connect};
use crate::project::metadata::Introspection;
use crate::project::metadata::example::arn;

const INSTANCE: &str = "arn:aws:ecs:us-east-1:000000000000:container-instance/shop/0a1b";

/// A front with introspection for the instance itself and for `batch`, and where that is.
async fn start() -> (Running, std::net::SocketAddr) {
    let front = Running::with(|front| {
        front.introspection = Some(Introspection {
            listen: vec![anywhere()],
            sources: vec!["127.10.0.3/32".parse().unwrap()],
            cluster: "shop".to_owned(),
            container_instance_arn: INSTANCE.to_owned(),
        });
    })
    .await;
    let listening = client::status(front.dir.path()).await.unwrap().listening;
    (front, listening[1])
}

async fn get(address: std::net::SocketAddr, source: &str, path: &str) -> Answer {
    let mut stream = connect(address, source).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    Answer::read(stream).await
}

#[tokio::test]
async fn an_instance_tells_of_itself_and_of_its_tasks() {
    let (_front, address) = start().await;
    let metadata = get(address, "127.0.0.1", "/v1/metadata").await.ok();
    assert_eq!((&metadata["Cluster"], &metadata["ContainerInstanceArn"]), (&json!("shop"), &json!(INSTANCE)));
    let tasks = get(address, BATCH, "/v1/tasks").await.ok();
    assert_eq!(tasks["Tasks"].as_array().unwrap().len(), 4);
    let one = get(address, BATCH, &format!("/v1/tasks?taskarn={}", arn("web"))).await.ok();
    assert_eq!((&one["Arn"], &one["Containers"][0]["Name"]), (&json!(arn("web")), &json!("app")));
    assert_eq!(get(address, BATCH, "/v1/tasks?dockerid=docker-batch").await.ok()["Arn"], arn("batch"));
    assert_eq!(get(address, BATCH, "/v1/tasks?taskarn=nope").await.status, 404);
    assert!(get(address, BATCH, "/license").await.body.contains("Apache License"));
    // Neither has what the other is for.
    assert_eq!(get(address, BATCH, "/v4/x").await.body, "404 page not found\n");
    assert!(!get(address, BATCH, "/v1/tasks").await.body.contains("ASIA"));
}

#[tokio::test]
async fn others_are_hung_up_on() {
    let (front, address) = start().await;
    let mut stream = connect(address, LONE).await.unwrap();
    let _written = stream.write_all(b"GET /v1/tasks HTTP/1.0\r\n\r\n").await;
    let mut text = String::new();
    let _ended = stream.read_to_string(&mut text).await;
    assert_eq!(text, "");
    assert_eq!(front.get(LONE, "/v1/tasks").await.body, "404 page not found\n");
}
