//! Create, start, stop, wait, remove, and what is seen of them.

use std::fs;
use std::time::{Duration, Instant};

use agent::runtime::cgroup::{cgroup_parent_directories, remove_cgroup_parent};
use agent::runtime::{ContainerState, EventKind, Health, HealthCheck, Network, RuntimeError};

use crate::lab::{Lab, docker_cli, event};

const FOREVER: &str = "while true; do sleep 1000 & wait; done";

#[tokio::test]
async fn a_container_ends_with_its_own_exit_code() {
    let Some(lab) = Lab::new().await else { return };
    for code in [0, 7] {
        let spec = lab.shell(&format!("exit{code}"), &format!("exit {code}"));
        lab.run(&spec).await;
        assert_eq!(lab.docker.wait(&spec.name).await.unwrap(), code);
        let seen = lab.docker.inspect(&spec.name).await.unwrap().unwrap();
        let expected = ContainerState::Exited { exit_code: code, oom_killed: false, error: String::new() };
        assert_eq!(seen.state, expected);
        assert!(seen.started_at.is_some() && seen.finished_at.is_some());
    }
}

#[tokio::test]
async fn every_verb_may_be_repeated() {
    let Some(lab) = Lab::new().await else { return };
    let spec = lab.shell("twice", FOREVER);
    let first = lab.docker.ensure_created(&spec).await.unwrap();
    assert_eq!(lab.docker.ensure_created(&spec).await.unwrap(), first);
    lab.docker.start(&spec.name).await.unwrap();
    lab.docker.start(&spec.name).await.unwrap();
    assert_eq!(lab.docker.ensure_created(&spec).await.unwrap(), first, "a running one is adopted");
    lab.docker.stop(&spec.name, Duration::from_secs(1)).await.unwrap();
    lab.docker.stop(&spec.name, Duration::from_secs(1)).await.unwrap();
    let (one, two) = tokio::join!(lab.docker.remove(&spec.name), lab.docker.remove(&spec.name));
    one.unwrap();
    two.unwrap();
    lab.docker.remove(&spec.name).await.unwrap();
    lab.docker.stop(&spec.name, Duration::from_secs(1)).await.unwrap();
    assert_eq!(lab.docker.inspect(&spec.name).await.unwrap(), None);
    assert!(lab.docker.start(&spec.name).await.unwrap_err().is_absent());
    assert!(lab.docker.wait(&spec.name).await.unwrap_err().is_absent());
}

#[tokio::test]
async fn one_with_another_spec_is_made_anew() {
    let Some(lab) = Lab::new().await else { return };
    let mut spec = lab.shell("anew", FOREVER);
    let first = lab.docker.ensure_created(&spec).await.unwrap();
    lab.docker.start(&spec.name).await.unwrap();
    spec.environment.push(("NEW".to_owned(), "1".to_owned()));
    let second = lab.docker.ensure_created(&spec).await.unwrap();
    assert_ne!(first, second);
    let owned = lab.docker.list_owned(&lab.owner).await.unwrap();
    assert_eq!(owned.iter().map(|seen| &seen.id).collect::<Vec<_>>(), [&second]);
    assert_eq!(owned[0].state, ContainerState::Created);
}

#[tokio::test]
async fn another_owner_s_container_is_left_alone() {
    let (Some(mine), Some(other)) = (Lab::new().await, Lab::new().await) else { return };
    let spec = mine.shell("taken", FOREVER);
    let id = mine.docker.ensure_created(&spec).await.unwrap();
    let mut same_name = other.shell("taken", FOREVER);
    same_name.name = spec.name.clone();
    let error = other.docker.ensure_created(&same_name).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NameTaken { .. }), "{error}");
    assert_eq!(mine.docker.inspect(&spec.name).await.unwrap().unwrap().id, id);
    assert!(other.docker.list_owned(&other.owner).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_ignores_the_stop_signal_is_killed_after_the_grace() {
    let Some(lab) = Lab::new().await else { return };
    let stubborn = lab.shell("stubborn", "trap '' TERM; echo up; while true; do sleep 1; done");
    lab.run(&stubborn).await;
    let begun = Instant::now();
    lab.docker.stop(&stubborn.name, Duration::from_secs(2)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2), "killed too early");
    let seen = lab.docker.inspect(&stubborn.name).await.unwrap().unwrap();
    assert!(matches!(seen.state, ContainerState::Exited { exit_code: 137, .. }), "{:?}", seen.state);
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_in_ecs_s_words() {
    let Some(lab) = Lab::new().await else { return };
    let mut spec = lab.shell("nocommand", "");
    spec.entry_point = Some(vec!["/nope".to_owned()]);
    lab.docker.ensure_created(&spec).await.unwrap();
    let reason = lab.docker.start(&spec.name).await.unwrap_err().ecs_reason().unwrap();
    assert!(reason.starts_with("CannotStartContainerError: Error response from daemon: "), "{reason}");
    assert!(reason.contains("/nope") && reason.contains("no such file or directory"), "{reason}");
    let seen = lab.docker.inspect(&spec.name).await.unwrap().unwrap();
    assert!(matches!(&seen.state, ContainerState::Exited { exit_code: 127, .. }), "{:?}", seen.state);
}

#[tokio::test]
async fn what_docker_will_not_create_is_told_in_ecs_s_words() {
    let Some(lab) = Lab::new().await else { return };
    let absent_image = lab.spec("noimage", "ecsnet-test/nowhere:1");
    let reason = lab.docker.ensure_created(&absent_image).await.unwrap_err().ecs_reason().unwrap();
    assert_eq!(reason, "CannotCreateContainerError: Error response from daemon: No such image: ecsnet-test/nowhere:1");
    let mut conflicting = lab.shell("conflicting", FOREVER);
    conflicting.network = Network::JoinContainer("x".to_owned());
    conflicting.hostname = Some("h".to_owned());
    let reason = lab.docker.ensure_created(&conflicting).await.unwrap_err().ecs_reason().unwrap();
    assert!(reason.contains("conflicting options"), "{reason}");
}

#[tokio::test]
async fn joined_containers_share_namespace_and_hosts() {
    let Some(lab) = Lab::new().await else { return };
    let mut pause = lab.shell("pause", FOREVER);
    pause.hostname = Some("ip-10-0-0-5".to_owned());
    pause.dns = vec!["10.0.0.2".parse().unwrap()];
    pause.extra_hosts = vec![("db.local".to_owned(), "10.0.0.9".parse().unwrap())];
    lab.run(&pause).await;
    let mut app = lab.shell("app", "cat /etc/hosts /etc/resolv.conf; exec sleep 1000");
    app.network = Network::JoinContainer(pause.name.clone());
    lab.run(&app).await;
    let (pause_seen, app_seen) = (
        lab.docker.inspect(&pause.name).await.unwrap().unwrap(),
        lab.docker.inspect(&app.name).await.unwrap().unwrap(),
    );
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let held = namespace(pause_seen.state.pid().unwrap());
    assert_eq!(held, namespace(app_seen.state.pid().unwrap()));
    assert_ne!(held, fs::read_link("/proc/self/ns/net").unwrap());
    assert_eq!(pause_seen.hosts_path, app_seen.hosts_path);
    let hosts = fs::read_to_string(pause_seen.hosts_path.unwrap()).unwrap();
    assert!(hosts.contains("10.0.0.9\tdb.local"), "{hosts}");
    let resolv_conf = fs::read_to_string(pause_seen.resolv_conf_path.unwrap()).unwrap();
    assert!(resolv_conf.contains("nameserver 10.0.0.2"), "{resolv_conf}");
}

#[tokio::test]
async fn a_join_of_nothing_is_a_failed_start_and_not_absence() {
    let Some(lab) = Lab::new().await else { return };
    let pause = lab.shell("gone", "exit 0");
    lab.run(&pause).await;
    lab.docker.wait(&pause.name).await.unwrap();
    let mut app = lab.shell("orphan", FOREVER);
    app.network = Network::JoinContainer(pause.name.clone());
    lab.docker.ensure_created(&app).await.unwrap();
    let stopped = lab.docker.start(&app.name).await.unwrap_err();
    assert!(matches!(stopped, RuntimeError::CannotStart { .. }), "{stopped}");
    lab.docker.remove(&pause.name).await.unwrap();
    let absent = lab.docker.start(&app.name).await.unwrap_err();
    assert!(matches!(absent, RuntimeError::CannotStart { .. }), "{absent}");
}

#[tokio::test]
async fn events_and_health_follow_a_container_s_life() {
    let Some(lab) = Lab::new().await else { return };
    let mut spec = lab.shell("healthy", "touch /ok; exec sleep 1000");
    spec.health_check = Some(HealthCheck {
        command: vec!["CMD-SHELL".to_owned(), "echo looked; test -e /ok".to_owned()],
        interval: Duration::from_millis(200),
        timeout: Duration::from_secs(5),
        retries: 1,
        start_period: Duration::ZERO,
    });
    let mut events = lab.docker.events(&lab.owner).await.unwrap();
    lab.run(&spec).await;
    let created = event(&mut events, |kind| *kind == EventKind::Created).await;
    assert_eq!(created.name, spec.name);
    event(&mut events, |kind| *kind == EventKind::Started).await;
    event(&mut events, |kind| *kind == EventKind::Health(Health::Healthy)).await;
    let seen = lab.docker.inspect(&spec.name).await.unwrap().unwrap();
    assert_eq!((seen.health, seen.last_health_output.as_deref()), (Some(Health::Healthy), Some("looked\n")));
    docker_cli(&["exec", &spec.name, "rm", "/ok"]);
    event(&mut events, |kind| *kind == EventKind::Health(Health::Unhealthy)).await;
    docker_cli(&["kill", &spec.name]);
    let died = event(&mut events, |kind| matches!(kind, EventKind::Died { .. })).await;
    assert_eq!(died.kind, EventKind::Died { exit_code: Some(137) });
    lab.docker.remove(&spec.name).await.unwrap();
    let gone = event(&mut events, |kind| *kind == EventKind::Destroyed).await;
    assert_eq!(gone.id, created.id);
}

#[tokio::test]
async fn the_spec_reaches_the_container() {
    let Some(lab) = Lab::new().await else { return };
    let mut spec = lab.shell("full", FOREVER);
    spec.memory_mib = Some(64);
    spec.cpu_shares = Some(512);
    spec.user = Some("1000:1000".to_owned());
    spec.cap_drop = vec!["ALL".to_owned()];
    spec.read_only = true;
    spec.sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    spec.ulimits = vec![agent::runtime::Ulimit { name: "nofile".to_owned(), soft: 100, hard: 200 }];
    lab.run(&spec).await;
    let seen = docker_cli(&[
        "inspect",
        "-f",
        "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.Config.User}} {{.HostConfig.CapDrop}} \
         {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Sysctls}} {{.HostConfig.RestartPolicy.Name}} \
         {{.HostConfig.LogConfig}}",
        &spec.name,
    ]);
    assert_eq!(
        seen.trim(),
        "67108864 512 1000:1000 [ALL] true map[net.ipv4.ip_unprivileged_port_start:0] no \
         map[Config:map[max-file:3 max-size:10m] Type:json-file]"
    );
}

#[tokio::test]
async fn a_task_s_cgroup_goes_when_its_containers_are_gone() {
    let Some(lab) = Lab::new().await else { return };
    let Some(cgroups) = lab.docker.cgroups().await.unwrap() else { return };
    let mut spec = lab.shell("cgroup", FOREVER);
    let parent = cgroups.parent_of_task(&format!("{:032x}", rand::random::<u128>()));
    spec.cgroup_parent = Some(parent.clone());
    lab.run(&spec).await;
    assert!(!cgroup_parent_directories(&parent).unwrap().is_empty());
    assert!(remove_cgroup_parent(&parent).is_err(), "a cgroup in use is not removed");
    lab.docker.remove(&spec.name).await.unwrap();
    remove_cgroup_parent(&parent).unwrap();
    assert_eq!(cgroup_parent_directories(&parent).unwrap(), Vec::<std::path::PathBuf>::new());
}
