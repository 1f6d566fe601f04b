//! The agent in its container: reached, killed, removed, replaced; what it looks after never notices.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use e2e::eventually::eventually;
use e2e::lab::{Answer, Lab};
use e2e::user::{User, docker};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Docker's ids and starts of what belongs to the stack: the same means that it was left alone.
fn lives(lab: &Lab) -> BTreeSet<String> {
    let names = lab.containers();
    names.iter().map(|name| docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", name])).collect()
}

fn steady(lab: &Lab) {
    eventually("the agent has adopted what it found", || {
        let answer = lab.run(&["inspect", "stack", &lab.stack, "--output", "json"]);
        if answer.stdout.contains("host_routes") { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn an_agent_that_dies_comes_back_and_adopts() {
    let user = User::new(true);
    user.up();
    let before = lives(&user.lab);
    let container = user.lab.agent_container().unwrap();

    // A crash: Docker starts it again by itself.
    let pid = user.lab.agent_pid().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    eventually("Docker starts the agent again", || match user.lab.agent_pid() {
        Some(now) if now != pid => Ok(()),
        other => Err(other),
    });
    steady(&user.lab);
    assert_eq!(user.lab.agent_container().as_ref(), Some(&container));
    assert_eq!(lives(&user.lab), before);

    // Ended by hand, which Docker takes for a wish: the next command starts it.
    docker(&["kill", &container]);
    assert_eq!(user.lab.agent_pid(), None);
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    steady(&user.lab);
    assert_eq!(lives(&user.lab), before);

    // Crashing so often that Docker waits between two starts: a command does not wait with it.
    eventually("Docker waits before it starts the agent again", || {
        if let Some(pid) = user.lab.agent_pid() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        match docker(&["inspect", "--format", "{{.State.Status}} {{.RestartCount}}", &container]) {
            state if state.starts_with("restarting") && !state.ends_with(" 0") => Ok(()),
            state => Err(state),
        }
    });
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    steady(&user.lab);
    assert_eq!(lives(&user.lab), before);

    // Removed by hand.
    docker(&["rm", "-f", &user.lab.agent_container().unwrap()]);
    assert!(user.ok(&["ps"]).contains("RUNNING"), "its container is gone, its state is not");
    steady(&user.lab);
    assert_eq!(lives(&user.lab), before);
    user.ok(&["down", "--all"]);
    user.lab.assert_no_leak();
}

#[test]
fn a_newer_binary_replaces_the_agent_and_nothing_that_runs_notices() {
    let mut user = User::new(true);
    user.up();
    let (before, agent) = (lives(&user.lab), user.lab.agent_container().unwrap());
    let old = std::mem::replace(&mut user.binary, user.lab.dir().join("newer"));
    std::fs::copy(&old, &user.binary).unwrap();
    std::fs::File::options().append(true).open(&user.binary).unwrap().write_all(b"newer").unwrap();
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    let replaced = user.lab.agent_container().unwrap();
    assert_ne!(replaced, agent);
    let image = docker(&["inspect", "--format", "{{.Config.Image}}", &replaced]);
    assert_eq!(lives(&user.lab), before);
    user.ok(&["inspect", "stack", &user.lab.stack]);
    assert_eq!(lives(&user.lab), before, "also after it has looked at everything");
    user.ok(&["down", "--all"]);
    user.lab.assert_no_leak();
    docker(&["rm", "-f", &replaced]);
    docker(&["rmi", &image]);
}

#[test]
fn an_agent_that_is_a_process_of_the_host_is_replaced_by_one_in_a_container() {
    let mut user = User::new(true);
    user.lab.agent_in_foreground();
    user.lab.start_agent();
    user.up();
    let before = lives(&user.lab);
    assert_eq!(user.lab.agent_container(), None);
    std::fs::File::options().append(true).open(&user.binary).unwrap().write_all(b"newer").unwrap();
    assert!(user.ok(&["ps"]).contains("RUNNING"));
    let container = user.lab.agent_container().unwrap();
    user.ok(&["inspect", "stack", &user.lab.stack]);
    assert_eq!(lives(&user.lab), before);
    user.ok(&["down", "--all"]);
    user.lab.assert_no_leak();
    let image = docker(&["inspect", "--format", "{{.Config.Image}}", &container]);
    docker(&["rm", "-f", &container]);
    docker(&["rmi", &image]);
}

#[test]
fn a_socket_that_cannot_be_reached_is_reached_through_docker() {
    let user = User::new(true);
    user.up();
    let hidden = user.lab.dir().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o700)).unwrap();
    let as_hidden = |arguments: &[&str]| {
        let mut command = user.command(arguments);
        Answer::from(command.env("ECSNET_SOCKET", hidden.join("agent.sock")).output().unwrap())
    };
    // The agent that runs has another socket, so one is started that has this one.
    user.lab.ok(&["agent", "--stop"]);
    let seen = as_hidden(&["ps"]);
    assert!(seen.code == 0 && seen.stdout.contains("RUNNING"), "{seen:?}");
    let seen = as_hidden(&["logs", "web"]);
    assert!(seen.code == 0 && seen.stdout.contains("ready"), "{seen:?}");
    // Docker over TCP, as one on another machine is reached: the caller needs no right to any file here.
    let address = docker_over_tcp();
    let mut command = user.command(&["ps"]);
    command.env("ECSNET_SOCKET", hidden.join("other.sock")).env("DOCKER_HOST", format!("tcp://{address}"));
    user.lab.ok(&["agent", "--stop"]);
    let seen = Answer::from(command.output().unwrap());
    assert!(seen.code == 0 && seen.stdout.contains("RUNNING"), "{seen:?}");
    user.lab.ok(&["agent", "--stop"]);

    let seen = as_hidden(&["down", "--all"]);
    assert_eq!(seen.code, 0, "{seen:?}");
    user.lab.assert_no_leak();
}

/// A way to Docker's socket over TCP, for as long as the test runs.
fn docker_over_tcp() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let engine = std::os::unix::net::UnixStream::connect("/var/run/docker.sock").unwrap();
            let (mut from_client, mut to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_engine);
                let _ = to_engine.shutdown(std::net::Shutdown::Write);
            });
            let (mut from_engine, mut to_client) = (engine, client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_engine, &mut to_client);
                let _ = to_client.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}
