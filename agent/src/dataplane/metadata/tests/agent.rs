//! What needs the agent, with one that answers, one that is dead and one that says nothing.

use std::collections::BTreeMap;
use std::future::ready;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BATCH, HOST, LONE, Running, WEB};
use crate::dataplane::metadata::question::{FrontQuestion, FrontReply};
use crate::project::metadata::example::id;

/// Statistics of whatever it is asked, but for those of `log`, which does not run.
fn stats(question: FrontQuestion) -> std::future::Ready<FrontReply> {
    let FrontQuestion::Stats { containers } = question else { panic!("{question:?}") };
    let of = |(id, holder): (String, Option<String>)| {
        let rates = json!({"rx_bytes_per_sec": 1.5, "tx_bytes_per_sec": 2.0});
        let stats = json!({"id": id, "read": "2026-08-01T12:00:00Z", "null": null, "networks": holder, "network_rate_stats": rates});
        let stats = if id.ends_with("-log") { Value::Null } else { stats };
        (id, stats)
    };
    ready(FrontReply::Stats(containers.into_iter().map(of).collect::<BTreeMap<_, _>>()))
}

#[tokio::test]
async fn statistics_come_from_the_agent_unchanged() {
    let front = Running::start().await;
    let _agent = front.agent(stats);
    let app = front.get(WEB, &format!("/v4/{}/stats", id::WEB_APP)).await.ok();
    let rates = json!({"rx_bytes_per_sec": 1.5, "tx_bytes_per_sec": 2.0});
    let expected = json!({"id": "docker-web-app", "read": "2026-08-01T12:00:00Z", "null": null, "networks": "pause-web",
        "network_rate_stats": rates});
    assert_eq!(app, expected);
    let task = front.get(WEB, &format!("/v4/{}/task/stats", id::WEB_APP)).await.ok();
    assert_eq!(task, json!({"docker-web-app": expected, "docker-web-log": null}));
    // In bridge mode a container has a network of its own, in host mode the instance's, which is nobody's.
    let networks = async |source, id| front.get(source, &format!("/v4/{id}/stats")).await.ok()["networks"].clone();
    assert_eq!(networks(BATCH, id::BATCH).await, "docker-batch-main");
    assert_eq!(networks(HOST, id::DAEMON).await, Value::Null);
}

#[tokio::test]
async fn versions_2_and_3_have_statistics_without_rates() {
    let front = Running::start().await;
    let _agent = front.agent(stats);
    let paths = [
        format!("/v3/{}/stats", id::WEB_APP),
        "/v2/stats/docker-web-app".to_owned(),
        format!("/v3/{}/task/stats", id::WEB_APP),
        "/v2/stats".to_owned(),
    ];
    for path in paths {
        let answer = front.get(WEB, &path).await.ok();
        let stats = answer.get("docker-web-app").unwrap_or(&answer);
        assert!(stats["read"].is_string() && stats.get("network_rate_stats").is_none(), "{path}: {answer}");
    }
    let foreign = front.get(LONE, "/v2/stats/docker-web-app").await.error();
    assert_eq!(foreign, (404, "Unable to get container stats for: docker-web-app".to_owned()));
    assert_eq!(front.get(BATCH, "/v2/stats").await.status, 400);
}

#[tokio::test]
async fn a_container_that_does_not_run_has_no_statistics() {
    let front = Running::start().await;
    let _agent = front.agent(stats);
    let answer = front.get(WEB, &format!("/v4/{}/stats", id::WEB_LOG)).await.error();
    assert_eq!(answer, (500, "Unable to get container stats for: docker-web-log".to_owned()));
}

#[tokio::test]
async fn while_the_agent_is_dead_what_needs_it_is_503_and_all_else_goes_on() {
    let front = Running::start().await;
    let protection = format!("/api/{}/task-protection/v1/state", id::WEB_APP);
    let dead = async || {
        for path in [format!("/v4/{}/stats", id::WEB_APP), "/v2/stats".to_owned()] {
            let (status, words) = front.get(WEB, &path).await.error();
            assert!(status == 503 && words.contains("the agent of ecsnet does not answer"), "{words}");
        }
        let answer = front.get(WEB, &protection).await;
        assert_eq!((answer.status, &answer.json()["error"]["Code"]), (503, &json!("ServerException")));
        front.get(WEB, &format!("/v4/{}/task", id::WEB_APP)).await.ok();
        front.get(WEB, &format!("/v2/credentials/{}", id::WEB_CREDENTIALS)).await.ok();
    };
    // Before it was ever there, and after it was killed, which leaves its socket behind.
    dead().await;
    let agent = front.agent(stats);
    front.get(WEB, &format!("/v4/{}/stats", id::WEB_APP)).await.ok();
    agent.0.abort();
    super::eventually(async || agent.0.is_finished().then_some(())).await;
    dead().await;
    // Another is found at once.
    let _agent = front.agent(stats);
    front.get(WEB, &format!("/v4/{}/stats", id::WEB_APP)).await.ok();
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_not_waited_for_without_end() {
    let front = Running::start().await;
    let _agent = front.agent(|_| std::future::pending());
    let began = Instant::now();
    let (stats, protection) =
        (format!("/v4/{}/stats", id::WEB_APP), format!("/api/{}/task-protection/v1/state", id::WEB_APP));
    let (stats, protection) = tokio::join!(front.get(WEB, &stats), front.get(WEB, &protection));
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(stats.status, 503);
    assert_eq!((protection.status, &protection.json()["error"]["Code"]), (504, &json!("RequestCanceled")));
}
