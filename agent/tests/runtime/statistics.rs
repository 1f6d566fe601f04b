//! What Docker measures, against Docker's own answer, and the network's counters against the kernel's.

use std::collections::BTreeSet;
use std::time::Instant;

use agent::observe::statistics::Statistics;
use agent::runtime::statistics::{has_previous, is_of_running};
use agent::runtime::{Network, RuntimeError};
use serde_json::Value;

use crate::lab::Lab;

/// What Docker itself says, past everything of ours.
fn raw(id: &str) -> Value {
    let url = format!("http://docker/containers/{id}/stats?stream=false");
    let socket = "/var/run/docker.sock";
    let output = std::process::Command::new("curl").args(["-s", "--unix-socket", socket, &url]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every key, with its path; of a map by interface or by name too.
fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            let path = format!("{path}/{name}");
            keys(value, &path, into);
            into.insert(path);
        }
    }
}

#[tokio::test]
async fn statistics_are_docker_s_own_with_rates_beside_them() {
    let Some(lab) = Lab::new().await else { return };
    let spec = lab.shell("measured", "while true; do sleep 0.05; done");
    lab.run(&spec).await;
    let id = lab.docker.inspect(&spec.name).await.unwrap().unwrap().id.0;

    let statistics = Statistics::default();
    let measured = statistics.of(&lab.docker, &id, Some(&id)).await.unwrap().unwrap();
    assert!(is_of_running(&measured) && has_previous(&measured), "{measured}");
    let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    keys(&measured, "", &mut ours);
    keys(&raw(&id), "", &mut theirs);
    let more: Vec<&String> = ours.difference(&theirs).collect();
    let rates = ["", "/rx_bytes_per_sec", "/tx_bytes_per_sec"].map(|rate| format!("/network_rate_stats{rate}"));
    let mut expected: Vec<&String> = rates.iter().collect();
    let without_network: BTreeSet<String> = theirs.iter().filter(|key| key.starts_with("/networks")).cloned().collect();
    if without_network.is_empty() {
        expected.extend(ours.iter().filter(|key| key.starts_with("/networks")));
        expected.sort();
    }
    assert_eq!(more, expected);
    assert_eq!(theirs.difference(&ours).count(), 0, "{theirs:?} {ours:?}");

    // Who asks again does not wait, and whoever asks of another network gets another.
    let began = Instant::now();
    statistics.of(&lab.docker, &id, Some(&id)).await.unwrap().unwrap();
    assert!(began.elapsed().as_millis() < 500, "{:?}", began.elapsed());

    lab.docker.stop(&spec.name, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(eventually_none(&statistics, &lab, &id).await, None);
    lab.docker.remove(&spec.name).await.unwrap();
    assert_eq!(statistics.of(&lab.docker, &id, None).await.unwrap(), None);
    let absent = lab.docker.sample("no/name").await.unwrap_err();
    assert!(matches!(absent, RuntimeError::Absent { .. }), "{absent}");
}

/// Docker tells at its next tick that a container has ended.
async fn eventually_none(statistics: &Statistics, lab: &Lab, id: &str) -> Option<Value> {
    let began = Instant::now();
    loop {
        let measured = statistics.of(&lab.docker, id, Some(id)).await.unwrap();
        if measured.is_none() || began.elapsed() > crate::lab::DEADLINE {
            return measured;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_network_is_that_of_its_holder() {
    let Some(lab) = Lab::new().await else { return };
    let mut holder = lab.shell("holder", "while true; do sleep 1; done");
    holder.network = Network::DockerBridge;
    lab.run(&holder).await;
    let holder_id = lab.docker.inspect(&holder.name).await.unwrap().unwrap().id.0;
    let mut joined = lab.shell("joined", "while true; do sleep 1; done");
    joined.network = Network::JoinContainer(holder_id.clone());
    lab.run(&joined).await;
    let joined_id = lab.docker.inspect(&joined.name).await.unwrap().unwrap().id.0;

    let statistics = Statistics::default();
    let with_network = statistics.of(&lab.docker, &joined_id, Some(&holder_id)).await.unwrap().unwrap();
    // Docker made this network, so it knows the counters too.
    let (ours, theirs) = (&with_network["networks"]["eth0"], &raw(&holder_id)["networks"]["eth0"]);
    let (mut our_keys, mut their_keys) = (BTreeSet::new(), BTreeSet::new());
    keys(ours, "", &mut our_keys);
    keys(theirs, "", &mut their_keys);
    assert_eq!(our_keys, their_keys);
    assert!(ours["rx_bytes"].as_u64().unwrap() <= theirs["rx_bytes"].as_u64().unwrap(), "{ours} {theirs}");
    assert!(with_network["network_rate_stats"]["rx_bytes_per_sec"].is_f64(), "{with_network}");
    assert_eq!(with_network["id"], joined_id);
}
