//! Credentials, and their errors.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{BATCH, LONE, Running, WEB};
use crate::project::metadata::example::id;

fn error(version: u8, status: u16, code: &str, words: &str) -> (u16, Value) {
    let message = format!("CredentialsV{version}Request: {words}");
    (status, json!({"code": code, "message": message, "HTTPErrorCode": status}))
}

#[tokio::test]
async fn both_versions_answer_the_same_credentials() {
    let front = Running::start().await;
    let v2 = front.get(WEB, &format!("/v2/credentials/{}", id::WEB_CREDENTIALS)).await.ok();
    let v1 = front.get(WEB, &format!("/v1/credentials?id={}", id::WEB_CREDENTIALS)).await.ok();
    assert_eq!(v1, v2);
    let fields: Vec<&String> = v2.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"]);
    assert_eq!(v2["RoleArn"], "arn:aws:iam::000000000000:role/web");
}

#[tokio::test]
async fn credentials_end_some_hours_ahead_in_utc() {
    let front = Running::start().await;
    let answer = front.get(WEB, &format!("/v2/credentials/{}", id::WEB_CREDENTIALS)).await.ok();
    let text = answer["Expiration"].as_str().unwrap();
    assert!(text.ends_with('Z'), "{text}");
    let left = text.parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
    assert!(left > SignedDuration::from_hours(4) && left <= SignedDuration::from_hours(6), "{text}");
}

#[tokio::test]
async fn no_id_an_unknown_one_and_missing_keys_are_errors_in_ecs_s_words() {
    let front = Running::start().await;
    let said = async |source: &str, path: &str| {
        let answer = front.get(source, path).await;
        (answer.status, answer.json())
    };
    let no_id = "No Credential ID in the request";
    assert_eq!(said(WEB, "/v2/credentials/").await, error(2, 400, "NoIdInRequest", no_id));
    assert_eq!(said(WEB, "/v1/credentials").await, error(1, 400, "NoIdInRequest", no_id));
    let unknown = |version| error(version, 400, "InvalidIdInRequest", "Credentials not found");
    assert_eq!(said(WEB, "/v2/credentials/nope").await, unknown(2));
    assert_eq!(said(WEB, "/v1/credentials?id=nope").await, unknown(1));
    // An endpoint's id is no credentials' id.
    assert_eq!(said(WEB, &format!("/v2/credentials/{}", id::WEB_APP)).await, unknown(2));
    let missing = error(2, 503, "CredentialsUninitialized", "Credentials uninitialized for ID");
    assert_eq!(said(BATCH, &format!("/v2/credentials/{}", id::BATCH_CREDENTIALS)).await, missing);
}

#[tokio::test]
async fn another_task_s_credentials_are_not_found() {
    let front = Running::start().await;
    for source in [LONE, BATCH, "127.0.0.1"] {
        let answer = front.get(source, &format!("/v2/credentials/{}", id::WEB_CREDENTIALS)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("InvalidIdInRequest")), "from {source}");
    }
}

#[tokio::test]
async fn given_keys_keep_their_end_and_new_ones_are_served_at_once() {
    let end: Timestamp = "2026-08-01T18:00:00Z".parse().unwrap();
    let give = |front: &mut crate::project::metadata::Front, end| {
        let keys = front.tasks[0].credentials.as_mut().unwrap().keys.as_mut().unwrap();
        keys.expiration = Some(end);
    };
    let front = Running::with(|front| give(front, end)).await;
    let path = format!("/v2/credentials/{}", id::WEB_CREDENTIALS);
    assert_eq!(front.get(WEB, &path).await.ok()["Expiration"], "2026-08-01T18:00:00Z");
    let mut renewed = crate::project::metadata::example::front(super::anywhere());
    give(&mut renewed, end + SignedDuration::from_hours(6));
    renewed.generation = 2;
    super::write_front(front.dir.path(), &renewed);
    super::client::load(front.dir.path(), 2).await.unwrap();
    assert_eq!(front.get(WEB, &path).await.ok()["Expiration"], "2026-08-02T00:00:00Z");
}
