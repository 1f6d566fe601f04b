//! Flow log records of real packets between namespaces. Needs root; says so and passes without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab_nft;

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use lab_nft::net::{Lab, Probe, flow};
use lab_nft::{address, allow, anywhere, eni, eni_id, group, ruleset, tcp};
use netmodes::flow_log::watch::{WINDOW, Watch};
use netmodes::flow_log::{Window, records};
use netmodes::ids::EniId;
use netmodes::kernel::sysctl::{Sysctl, ensure};
use netmodes::security::group::Ruleset;

/// 4 may send to port 80 and 81; 5 lets port 80 in.
fn watched(flow_log: bool) -> Ruleset {
    let groups = vec![
        group(1, vec![], vec![allow(tcp(80), anywhere()), allow(tcp(81), anywhere())]),
        group(2, vec![allow(tcp(80), anywhere())], vec![]),
    ];
    Ruleset { flow_log, ..ruleset(groups, vec![eni(4, &[1]), eni(5, &[2])]) }
}

fn lines(window: &Window) -> Vec<String> {
    let enis: BTreeMap<IpAddr, EniId> = [4, 5].map(|n| (IpAddr::from(address(n)), eni_id(n))).into();
    let short = |line: String| {
        let words: Vec<&str> = line.split(' ').collect();
        // Interface, addresses, destination port, protocol, packets, action: what is the same in each run.
        format!(
            "{} {} {} {} {} {} {}",
            words[2].trim_start_matches("eni-0000000000000000"),
            words[3],
            words[4],
            words[6],
            words[7],
            words[8],
            words[12]
        )
    };
    records(window, &enis, &[]).iter().map(|r| short(r.line("1"))).collect()
}

#[test]
fn packets_that_pass_and_packets_that_are_refused_are_seen_with_their_counts() {
    let Some(lab) = Lab::new(&watched(true)) else { return };
    ensure(&lab.vpc, &[Sysctl::new("netfilter/nf_conntrack_acct", "1")]).unwrap();
    let mut watch = Watch::open(lab.vpc.try_clone().unwrap()).unwrap();
    let refused = Watch::open(lab.vpc.try_clone().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("listen to log group 1"), "one listener a group: {refused}");
    let (stop, kept) = UnixStream::pair().unwrap();

    let mut open = flow(lab.task(4), lab.task(5), address(5), 80);
    assert!(!lab.reaches(4, 5, Probe::Tcp(81)), "not let in");
    assert!(!lab.reaches(4, 5, Probe::Udp(53)), "not let out");
    let window = watch.next(stop.as_fd()).unwrap().unwrap();
    assert!(window.end - window.start >= WINDOW.as_secs() - 1 && !window.lost);
    let seen = lines(&window);
    // A connection of 3 packets and a byte each way with its acknowledgement, in Linux's count: 4 + 3.
    let has = |line: &str| seen.iter().any(|l| l == line);
    for line in
        ["4 10.0.0.4 10.0.0.5 81 6 1 ACCEPT", "5 10.0.0.4 10.0.0.5 81 6 1 REJECT", "4 10.0.0.4 10.0.0.5 53 17 1 REJECT"]
    {
        assert!(has(line), "{line}: {seen:#?}");
    }
    for start in
        ["4 10.0.0.4 10.0.0.5 80 6 ", "5 10.0.0.4 10.0.0.5 80 6 ", "4 10.0.0.5 10.0.0.4 ", "5 10.0.0.5 10.0.0.4 "]
    {
        assert!(seen.iter().any(|l| l.starts_with(start) && l.ends_with(" ACCEPT")), "{start}: {seen:#?}");
    }
    assert_eq!(seen.iter().filter(|l| l.ends_with("REJECT")).count(), 2, "{seen:#?}");

    // Only what is new counts in the next window.
    assert!(open.there());
    let seen = lines(&watch.next(stop.as_fd()).unwrap().unwrap());
    assert!(seen.contains(&"5 10.0.0.4 10.0.0.5 80 6 1 ACCEPT".to_owned()), "{seen:#?}");
    assert!(!seen.iter().any(|l| l.ends_with("REJECT")), "{seen:#?}");

    // Told to stop, it stops at once.
    drop(kept);
    let started = Instant::now();
    assert_eq!(watch.next(stop.as_fd()).unwrap(), None);
    assert!(started.elapsed() < WINDOW / 2);
}

#[test]
fn more_than_is_listened_to_is_said_to_be_lost() {
    let Some(lab) = Lab::new(&watched(true)) else { return };
    let mut watch = Watch::open(lab.vpc.try_clone().unwrap()).unwrap();
    let (stop, _kept) = UnixStream::pair().unwrap();
    // Nobody reads before the window begins, and so much fits into no socket.
    let sender = lab.task(4).run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    for _ in 0..60_000 {
        let _ = sender.send_to(b"x", (address(5), 53));
    }
    assert!(watch.next(stop.as_fd()).unwrap().unwrap().lost);
}

#[test]
fn without_a_follower_no_rule_logs() {
    let text = |flow_log| netmodes::security::ruleset::table(&watched(flow_log)).to_string();
    assert!(!text(false).contains("log group"));
    assert_eq!(text(true).lines().filter(|l| l.contains("log group")).count(), 2);
    let all: Vec<String> = text(false).lines().map(str::to_owned).collect();
    let rest: Vec<String> = text(true).lines().filter(|l| !l.contains("log group")).map(str::to_owned).collect();
    assert_eq!(all, rest, "nothing else differs");
}
