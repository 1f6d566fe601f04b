//! Task protection, with an agent that answers.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{LONE, Running, WEB};
use crate::dataplane::metadata::question::{FrontQuestion, FrontReply, ProtectionChange, ProtectionState};
use crate::project::metadata::example::{arn, id};
use crate::project::metadata::{FrontCredentials, local_keys};

fn path(id: &str) -> String {
    format!("/api/{id}/task-protection/v1/state")
}

fn end() -> Timestamp {
    "2026-08-01T14:00:00Z".parse().unwrap()
}

/// Keeps what it is asked, and protects.
fn protects(
    asked: &Arc<Mutex<Vec<FrontQuestion>>>,
) -> impl Fn(FrontQuestion) -> std::future::Ready<FrontReply> + Clone + use<> {
    let asked = asked.clone();
    move |question| {
        let enabled = !matches!(&question, FrontQuestion::Protection { change: Some(change), .. } if !change.enabled);
        asked.lock().unwrap().push(question);
        std::future::ready(FrontReply::Protection(ProtectionState { enabled, expiration: enabled.then(end) }))
    }
}

#[tokio::test]
async fn a_task_reads_and_changes_its_protection() {
    let front = Running::start().await;
    let asked = Arc::default();
    let _agent = front.agent(protects(&asked));
    let on = json!({"protection": {"ExpirationDate": "2026-08-01T14:00:00Z", "ProtectionEnabled": true, "TaskArn": arn("web")}});
    assert_eq!(front.get(WEB, &path(id::WEB_APP)).await.ok(), on);
    assert_eq!(front.ask(WEB, "PUT", &path(id::WEB_LOG), r#"{"ProtectionEnabled":true}"#).await.ok(), on);
    let body = r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#;
    assert_eq!(front.ask(WEB, "PUT", &path(id::WEB_APP), body).await.ok(), on);
    let off = json!({"protection": {"ExpirationDate": null, "ProtectionEnabled": false, "TaskArn": arn("web")}});
    assert_eq!(front.ask(WEB, "PUT", &path(id::WEB_APP), r#"{"ProtectionEnabled":false}"#).await.ok(), off);
    let question = |change| FrontQuestion::Protection { task_arn: arn("web"), change };
    let change = |enabled, expires_in_minutes| question(Some(ProtectionChange { enabled, expires_in_minutes }));
    let expected = [question(None), change(true, 120), change(true, 60), change(false, 120)];
    assert_eq!(*asked.lock().unwrap(), expected);
}

fn error(code: &str, arn: Option<String>, message: &str) -> Value {
    let mut error = json!({"Code": code, "Message": message});
    if let Some(arn) = arn {
        error["Arn"] = json!(arn);
    }
    json!({ "error": error })
}

#[tokio::test]
async fn bad_bodies_are_400() {
    let front = Running::start().await;
    let asked = Arc::default();
    let _agent = front.agent(protects(&asked));
    let said = async |body: &str| {
        let answer = front.ask(WEB, "PUT", &path(id::WEB_APP), body).await;
        (answer.status, answer.json())
    };
    let undecodable = error("InvalidParameterException", None, "UpdateTaskProtection: failed to decode request");
    for body in ["", "{", "[]", r#"{"ProtectionEnabled":1}"#, r#"{"ProtectionEnabled":true,"Unknown":1}"#] {
        assert_eq!(said(body).await, (400, undecodable.clone()), "{body}");
    }
    let web = || Some(arn("web"));
    let missing =
        error("InvalidParameterException", web(), "Invalid request: does not contain 'ProtectionEnabled' field");
    assert_eq!(said(r#"{"ExpiresInMinutes":5}"#).await, (400, missing));
    let outside =
        error("InvalidParameterException", web(), "Invalid request: 'ExpiresInMinutes' must be between 1 and 2880");
    for minutes in [0, 2881, -1] {
        let body = format!(r#"{{"ProtectionEnabled":true,"ExpiresInMinutes":{minutes}}}"#);
        assert_eq!(said(&body).await, (400, outside.clone()), "{minutes}");
    }
    assert_eq!(front.ask(WEB, "DELETE", &path(id::WEB_APP), "").await.status, 405);
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_role_and_for_unknown_tasks_it_is_refused() {
    let front = Running::start().await;
    let _agent = front.agent(protects(&Arc::default()));
    let said = async |source: &str, id: &str| {
        let answer = front.ask(source, "PUT", &path(id), r#"{"ProtectionEnabled":true}"#).await;
        (answer.status, answer.json())
    };
    let no_role = "Invalid Request: no task IAM role credentials available for task";
    assert_eq!(said(LONE, id::LONE).await, (403, error("AccessDeniedException", Some(arn("lone")), no_role)));
    let unknown = error("ResourceNotFoundException", None, "Failed to find a task for the request");
    assert_eq!(said(WEB, "nope").await, (404, unknown.clone()));
    // Another task's is as unknown.
    assert_eq!(said(LONE, id::WEB_APP).await, (404, unknown));
}

#[tokio::test]
async fn what_ecs_refuses_is_a_failure_with_status_200() {
    let front = Running::with(|front| {
        let keys = Some(local_keys());
        front.tasks[1].credentials =
            Some(FrontCredentials { id: "c2".to_owned(), role_arn: "arn:aws:iam::0:role/x".to_owned(), keys });
    })
    .await;
    let failure = || FrontReply::Failure { reason: "TASK_NOT_VALID".to_owned(), detail: "not a service's".to_owned() };
    let _agent = front.agent(move |_| std::future::ready(failure()));
    let answer = front.ask(LONE, "PUT", &path(id::LONE), r#"{"ProtectionEnabled":true}"#).await.ok();
    let expected = json!({"failure": {"Arn": arn("lone"), "Detail": "not a service's", "Reason": "TASK_NOT_VALID"}});
    assert_eq!(answer, expected);
}
