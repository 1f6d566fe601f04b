//! Clients that are slow, greedy or speak no HTTP.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DEADLINE, LONE, Running, WEB, connect};
use crate::project::metadata::example::id;

#[tokio::test]
async fn requests_follow_each_other_on_a_connection() {
    let front = Running::start().await;
    let mut stream = front.connect(WEB).await;
    let request = format!("GET /v4/{} HTTP/1.1\r\nHost: x\r\n\r\n", id::WEB_APP);
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("\"RestartCount\":1}") {
            assert_ne!(timeout(DEADLINE, stream.read_buf(&mut seen)).await.unwrap().unwrap(), 0, "hung up");
        }
    }
}

#[tokio::test]
async fn slow_clients_are_hung_up_on_and_hold_up_nobody() {
    let front = Running::start().await;
    let began = Instant::now();
    let mut silent = front.connect(WEB).await;
    let mut half = front.connect(WEB).await;
    half.write_all(b"GET /v4/x HTTP/1.1\r\nHo").await.unwrap();
    let mut body = front.connect(WEB).await;
    let head = format!(
        "PUT /api/{}/task-protection/v1/state HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{",
        id::WEB_APP
    );
    body.write_all(head.as_bytes()).await.unwrap();
    front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
    let mut rest = String::new();
    for stream in [&mut silent, &mut half] {
        // However it ends, it does.
        let _ended = timeout(DEADLINE, stream.read_to_string(&mut rest)).await.unwrap();
    }
    let _ended = timeout(DEADLINE, body.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.contains("408"), "{rest}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let front = Running::start().await;
    let mut greedy = Vec::new();
    for _ in 0..200 {
        greedy.push(front.connect(LONE).await);
    }
    front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
    // Those above the limit were hung up on before they could ask.
    let (first, last) = (greedy.remove(0), greedy.pop().unwrap());
    let ask = async |mut stream: TcpStream| {
        let mut text = String::new();
        // Either may find that the other side has gone.
        let _written = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
        let _ended = timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap();
        text
    };
    assert!(ask(first).await.contains("404"));
    assert_eq!(ask(last).await, "");
    drop(greedy);
    super::eventually(async || {
        let stream = connect(front.address, LONE).await.ok()?;
        ask(stream).await.contains("404").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_takes_no_answers_is_hung_up_on() {
    let front = Running::start().await;
    let mut stream = front.connect(WEB).await;
    let request = format!("GET /v4/{}/task HTTP/1.1\r\nHost: x\r\n\r\n", id::WEB_APP).repeat(100);
    let began = Instant::now();
    let asking = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(DEADLINE, asking).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
}

#[tokio::test]
async fn large_requests_are_refused() {
    let front = Running::start().await;
    let long = front.get(WEB, &format!("/v4/{}", "x".repeat(60_000))).await;
    assert!([414, 431].contains(&long.status), "{}", long.status);
    let path = format!("/api/{}/task-protection/v1/state", id::WEB_APP);
    let body = format!("{{\"ProtectionEnabled\":{}true}}", " ".repeat(20_000));
    assert_eq!(front.ask(WEB, "PUT", &path, &body).await.status, 413);
    front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
}

#[test]
fn garbage_is_answered_or_hung_up_on_and_the_next_is_served() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let front = runtime.block_on(Running::start());
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        "(GET|PUT|CONNECT|\\*|[A-Z]{1,8}) [/a-z0-9%?*:.]{0,40} HTTP/1\\.[01]\r\n(Host: x\r\n)?(Content-Length: [-0-9a-z]{1,20}\r\n)?(Transfer-Encoding: chunked\r\n)?\r\n"
            .prop_map(String::into_bytes),
        Just(format!("PUT /api/{}/task-protection/v1/state HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\u{1}", id::WEB_APP).into_bytes()),
    ];
    proptest!(config, |(pieces in proptest::collection::vec(piece, 1..4))| {
        runtime.block_on(async {
            let mut stream = front.connect(WEB).await;
            // It may hang up in between.
            let _written = stream.write_all(&pieces.concat()).await;
            let _closed = stream.shutdown().await;
            let mut rest = Vec::new();
            let _ended = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap();
            front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
        });
    });
}
