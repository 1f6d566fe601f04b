//! Docker that cannot be used, and Docker that goes away: the latter through a relay to the real socket that can be
//! cut, as the shared Docker is not ours to stop.

use std::os::unix::fs::PermissionsExt;

use agent::runtime::{Docker, PullError, RuntimeError};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

#[test]
fn a_socket_that_one_may_not_use_is_a_matter_of_permission() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, mode) in [(directory.path(), 0o755), (&socket, 0o600)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    // To connect one must be able to write. The thread, and only it, becomes somebody else to the file system.
    let as_nobody = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Docker::connect_to(&format!("unix://{}", socket.display())))
    });
    let error = as_nobody.join().unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::Permission { .. }), "{error}");
    assert!(error.is_requirement());
}

#[tokio::test]
async fn an_old_docker_is_refused_with_its_version() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await?;
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).await?;
        let body = r#"{"Version":"19.03.15","ApiVersion":"1.40","MinAPIVersion":"1.12"}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.write_all((head + body).as_bytes()).await
    });
    let error = Docker::connect_to(&format!("unix://{}", socket.display())).await.unwrap_err();
    assert!(error.to_string().contains("too old: it speaks API 1.40, ecsnet needs 1.41"), "{error}");
}
