//! Loading, keeping the last good document, and the directory.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::{LONE, Running, WEB, anywhere, eventually, write_file, write_front};
use crate::dataplane::metadata::client::{self, ClientError};
use crate::dataplane::metadata::{CONTROL_SOCKET, DIRECTORY_OF_VPC, serve_front};
use crate::dataplane::resolver;
use crate::project::metadata::Front;
use crate::project::metadata::example::{self, id};

#[tokio::test]
async fn a_new_document_is_served_on_load_and_a_bad_one_is_not() {
    let front = Running::start().await;
    let dir = front.dir.path();
    let path = format!("/v4/{}", id::LONE);
    let mut next = example::front(anywhere());
    next.generation = 2;
    next.tasks.remove(1);
    write_front(dir, &next);
    // Not before it is told.
    front.get(LONE, &path).await.ok();
    assert_eq!(client::load(dir, 2).await.unwrap(), 2);
    assert_eq!(front.get(LONE, &path).await.status, 404);

    write_file(dir, b"{");
    let refused = client::load(dir, 3).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(words) if words.contains("is not a front")), "{refused}");
    next.tasks.push(next.tasks[0].clone());
    write_front(dir, &next);
    let refused = client::load(dir, 2).await.unwrap_err().to_string();
    assert!(refused.contains("stands twice"), "{refused}");
    let status = client::status(dir).await.unwrap();
    assert_eq!(status.generation, Some(2));
    assert!(status.problem.is_some_and(|problem| problem.contains("stands twice")));
    front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();

    let mut older = example::front(anywhere());
    older.generation = 1;
    write_front(dir, &older);
    let refused = client::load(dir, 3).await.unwrap_err().to_string();
    assert!(refused.contains("holds generation 1, asked for was 3"), "{refused}");
}

#[tokio::test]
async fn a_container_that_asks_before_it_is_seen_is_answered_with_its_id() {
    let unseen = |front: &mut Front| front.tasks[1].document.containers[0].docker_id.clear();
    let front = Running::with(unseen).await;
    let path = format!("/v4/{}", id::LONE);
    let early = front.get(LONE, &path);
    let loaded = async {
        // Another change that does not tell of it either.
        for (generation, seen) in [(2, false), (3, true)] {
            let mut next = Front { generation, ..example::front(anywhere()) };
            if !seen {
                unseen(&mut next);
            }
            write_front(front.dir.path(), &next);
            client::load(front.dir.path(), generation).await.unwrap();
        }
    };
    let (answered, ()) = tokio::join!(early, loaded);
    let seen = example::front(anywhere()).tasks[1].document.containers[0].docker_id.clone();
    assert_eq!(answered.ok()["DockerId"], seen.as_str());
}

#[tokio::test]
async fn nobody_waits_for_ever_to_be_seen() {
    let front = Running::with(|front| front.tasks[1].document.containers[0].docker_id.clear()).await;
    assert_eq!(front.get(LONE, &format!("/v4/{}", id::LONE)).await.ok()["DockerId"], "");
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_keeps_none_from_being_served() {
    let front = Running::start().await;
    let mut next = example::front(anywhere());
    next.generation = 2;
    next.listen.push("192.0.2.1:80".parse().unwrap());
    write_front(front.dir.path(), &next);
    let refused = client::load(front.dir.path(), 2).await.unwrap_err().to_string();
    assert!(refused.contains("generation 2 is served, but cannot listen on 192.0.2.1:80"), "{refused}");
    front.get(WEB, &format!("/v4/{}", id::WEB_APP)).await.ok();
}

#[tokio::test]
async fn it_ends_when_it_is_told() {
    let mut front = Running::start().await;
    front.stop.take().unwrap().send(()).unwrap();
    let ended = tokio::time::timeout(super::DEADLINE, &mut front.running).await.unwrap().unwrap();
    assert!(ended.is_ok());
    eventually(async || super::connect(front.address, WEB).await.is_err().then_some(())).await;
}

#[tokio::test]
async fn the_directory_and_the_socket_are_closed_to_others() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("front");
    let running = tokio::spawn({
        let dir = dir.clone();
        async move { serve_front(&dir, std::future::pending()).await }
    });
    let status = eventually(async || client::status(&dir).await.ok()).await;
    assert_eq!((status.generation, status.listening), (None, Vec::new()));
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(dir.clone()), mode(dir.join(CONTROL_SOCKET))), (0o700, 0o600));
    running.abort();
}

#[tokio::test]
async fn the_resolver_serves_its_vpc_s_front() {
    let dir = TempDir::new().unwrap();
    let running = tokio::spawn({
        let dir = dir.path().to_owned();
        async move { resolver::run_on(&dir, 0, std::future::pending()).await }
    });
    let front = dir.path().join(DIRECTORY_OF_VPC);
    eventually(async || client::status(&front).await.ok()).await;
    // It appears later, and is there.
    write_front(&front, &example::front(anywhere()));
    client::load(&front, 1).await.unwrap();
    let address = client::status(&front).await.unwrap().listening[0];
    super::connect(address, WEB).await.unwrap();
    running.abort();
}
