//! Docker goes away: seen through a relay to the real socket that can be cut, as the shared Docker is not ours to stop.

use agent::runtime::{Docker, PullError};
use futures_util::StreamExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::lab::{DEADLINE, Lab};

/// Relays connections until it is dropped, which cuts all of them and leaves a socket that nobody listens on.
async fn relay(listener: UnixListener) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut far = UnixStream::connect("/var/run/docker.sock").await?;
            tokio::io::copy_bidirectional(&mut near, &mut far).await
        });
    }
}

#[tokio::test]
async fn events_end_when_docker_goes_and_tasks_do_not_fail() {
    let Some(lab) = Lab::new().await else { return };
    if lab.docker.address() != "unix:///var/run/docker.sock" {
        return eprintln!("skipped: DOCKER_HOST is set");
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let relay = tokio::spawn(relay(UnixListener::bind(&socket).unwrap()));
    let docker = Docker::connect_to(&format!("unix://{}", socket.display())).await.unwrap();
    let mut events = docker.events(&lab.owner).await.unwrap();
    let spec = lab.shell("away", "exec sleep 1000");
    lab.run(&spec).await;
    assert!(events.next().await.is_some());
    let waiting = {
        let (docker, name) = (docker.clone(), spec.name.clone());
        tokio::spawn(async move { docker.wait(&name).await })
    };
    docker.inspect(&spec.name).await.unwrap().unwrap();

    relay.abort();
    let _ = relay.await;
    tokio::time::timeout(DEADLINE, async { while events.next().await.is_some() {} }).await.unwrap();
    assert!(waiting.await.unwrap().unwrap_err().is_unreachable());
    let start = docker.start(&spec.name).await.unwrap_err();
    assert!(start.is_unreachable() && start.ecs_reason().is_none(), "{start}");
    assert!(docker.ensure_created(&spec).await.unwrap_err().is_unreachable());
    assert!(docker.remove(&spec.name).await.unwrap_err().is_unreachable());
    assert!(docker.list_owned(&lab.owner).await.unwrap_err().is_unreachable());
    let pull = docker.pull("127.0.0.1:1/a:1", None, |_| ()).await.unwrap_err();
    assert!(matches!(pull, PullError::Unreachable { .. }), "{pull}");
}
