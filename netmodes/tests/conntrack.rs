//! Tracked flows are forgotten with their address (pitfall 1), and when idle as in EC2 (reference 4.4). Needs root, `nft`
//! and `conntrack`; skips, and says so, without root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;
mod lab_nft;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use lab::{Lab, packets};
use lab_nft::net::{Probe, answers, flow, raw};
use netmodes::kernel::netns::Netns;

/// Connection tracking runs in a namespace only while a rule there asks for it.
fn track(netns: &Netns) {
    let rules = "table inet t { chain f { type filter hook forward priority 0; ct state new accept; }; }";
    let nft = netns.run(|| Command::new("nft").arg(rules).output()).unwrap().expect("nft is installed");
    assert!(nft.status.success(), "{}", String::from_utf8_lossy(&nft.stderr));
}

/// The table of flows, as an independent reader shows it.
fn table(netns: &Netns) -> String {
    let list = netns.run(|| Command::new("conntrack").arg("-L").output()).unwrap().expect("conntrack is installed");
    String::from_utf8(list.stdout).unwrap()
}

/// How many seconds the one flow whose line has this word is kept yet.
fn kept(netns: &Netns, word: &str) -> u32 {
    let text = table(netns);
    let lines: Vec<&str> = text.lines().filter(|line| line.split_whitespace().any(|w| w == word)).collect();
    let [line] = lines[..] else { panic!("{word}: {text}") };
    // The protocol's name and number come first.
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Every address in the table of flows.
fn tracked(netns: &Netns) -> BTreeSet<String> {
    table(netns)
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter(|(key, _)| ["src", "dst"].contains(key))
        .map(|(_, address)| address.to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_an_address_deletes_its_flows_either_way_and_no_others() {
    let Some(lab) = Lab::open().await else { return };
    track(lab.vpc.netns());
    let [a, b, c] = [lab.task(1, "10.0.0.10").await, lab.task(2, "10.0.0.11").await, lab.task(3, "10.0.1.10").await];
    let address = |task: &lab::Task| task.eni.primary_address().unwrap();
    packets::exchange_tcp(&a.netns, &b.netns, address(&b));
    packets::exchange_tcp(&b.netns, &a.netns, address(&a));
    packets::exchange_tcp(&b.netns, &c.netns, address(&c));
    let from = packets::udp(&c.netns, "0.0.0.0:0");
    packets::send_udp(&from, &packets::udp(&a.netns, "10.0.0.10:0"), "x");
    assert_eq!(tracked(lab.vpc.netns()), ["10.0.0.10", "10.0.0.11", "10.0.1.10"].map(str::to_owned).into());

    assert_eq!(lab.vpc.forget_flows(address(&a)).await.unwrap(), 3);
    assert_eq!(tracked(lab.vpc.netns()), ["10.0.0.11", "10.0.1.10"].map(str::to_owned).into());
    assert_eq!(lab.vpc.forget_flows(address(&a)).await.unwrap(), 0, "none is fine");
    assert_eq!(lab.vpc.forget_flows("2600:1f00::10".parse().unwrap()).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_that_was_translated_is_found_by_the_address_behind() {
    let Some(lab) = Lab::open().await else { return };
    let (client, target) = (lab.task(1, "10.0.0.10").await, lab.task(2, "10.0.1.10").await);
    let rules =
        "table ip t { chain p { type nat hook prerouting priority -100; ip daddr 10.0.0.99 dnat to 10.0.1.10; }; }";
    let nft = lab.vpc.netns().run(|| Command::new("nft").arg(rules).output()).unwrap().unwrap();
    assert!(nft.status.success(), "{}", String::from_utf8_lossy(&nft.stderr));
    let server = packets::udp(&target.netns, "10.0.1.10:4000");
    let sender = packets::udp(&client.netns, "0.0.0.0:0");
    sender.send_to(b"x", "10.0.0.99:4000".parse::<SocketAddr>().unwrap()).unwrap();
    packets::received(&server);
    assert_eq!(lab.vpc.forget_flows("10.0.1.10".parse().unwrap()).await.unwrap(), 1);
    assert!(tracked(lab.vpc.netns()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_flows_are_forgotten_too() {
    let Some(lab) = Lab::open_dual_stack().await else { return };
    track(lab.vpc.netns());
    let tasks = [(1, "2600:1f00::10"), (2, "2600:1f00::11")]
        .map(|(n, address)| (lab::eni(n, &[address]), Netns::anonymous().unwrap()));
    for (eni, owner) in &tasks {
        lab.vpc.ensure_eni(eni, owner).await.unwrap();
    }
    packets::exchange_tcp(&tasks[0].1, &tasks[1].1, "2600:1f00::11".parse().unwrap());
    assert_eq!(lab.vpc.forget_flows("2600:1f00::11".parse().unwrap()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_flow_is_kept_as_long_as_in_ec2() {
    let Some(lab) = Lab::open().await else { return };
    let (vpc, address) = (lab.vpc.netns(), Ipv4Addr::new(10, 0, 0, 11));
    track(vpc);
    let [a, b] = [lab.task(1, "10.0.0.10").await, lab.task(2, "10.0.0.11").await];
    // What a slow machine may need from a packet to the look at its flow.
    let about = |seconds: u32| seconds - 15..=seconds;

    let _open = flow(&a.netns, &b.netns, address, 4001);
    assert!(about(432_000).contains(&kept(vpc, "dport=4001")), "TCP");

    let nft = "table ip t { chain i { type filter hook input priority 0; tcp dport 4002 drop; }; }";
    assert!(b.netns.run(|| Command::new("nft").arg(nft).status()).unwrap().unwrap().success());
    assert!(!answers(&a.netns, address, Probe::Tcp(4002)));
    assert!(about(120).contains(&kept(vpc, "dport=4002")), "half open");

    let (client, server) = (packets::udp(&a.netns, "0.0.0.0:0"), packets::udp(&b.netns, "10.0.0.11:4003"));
    let (_, peer) = packets::send_udp(&client, &server, "question");
    assert!(about(30).contains(&kept(vpc, "dport=4003")), "UDP one way");
    server.send_to(b"answer", peer).unwrap();
    packets::received(&client);
    assert!(about(30).contains(&kept(vpc, "dport=4003")), "UDP, one exchange");
    // It is a stream once both have sent for two seconds, which no event tells.
    let stream = async || {
        packets::send_udp(&client, &server, "more");
        server.send_to(b"more", peer).unwrap();
        packets::received(&client);
        kept(vpc, "dport=4003")
    };
    let seconds = lab::eventually(stream, |seconds| *seconds > 30).await;
    assert!(about(180).contains(&seconds), "UDP, many exchanges: {seconds}");

    assert!(raw(&a.netns, &b.netns, address, 50, &[0; 20], |_| true));
    assert!(about(600).contains(&kept(vpc, "50")), "another protocol");
    // Version 0, nothing within.
    assert!(raw(&a.netns, &b.netns, address, 47, &[0, 0, 8, 0], |_| true));
    assert!(about(600).contains(&kept(vpc, "47")), "GRE");
}
