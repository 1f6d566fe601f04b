//! The table in the kernel, without packets: what was asked for is what is read back, by us and by `nft`.
//! Needs root; says so and passes without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab_nft;

use std::io::Write;
use std::process::{Command, Stdio};

use lab_nft::{allow, anywhere, empty, eni, group, ruleset, rulesets, sg, tcp};
use netmodes::kernel::netns::Netns;
use netmodes::nft::{Filter, Table, diff};
use netmodes::security::group::{Peer, PortRange, Ruleset, Traffic};
use netmodes::security::ruleset::table;
use proptest::test_runner::{Config, TestRunner};

/// `None`, with a word, when namespaces cannot be made.
fn netns() -> Option<Netns> {
    let netns = Netns::anonymous().ok();
    if netns.is_none() {
        eprintln!("skipped: needs root");
    }
    netns
}

fn nft(netns: &Netns, arguments: &[&str], input: &str) -> String {
    let run = || {
        let mut child = Command::new("nft")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nft is installed");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "nft {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    netns.run(run).unwrap()
}

/// Everything that rules can say, in two ENIs.
fn stack() -> Ruleset {
    let web = group(
        1,
        vec![
            allow(tcp(80), anywhere()),
            allow(Traffic::Tcp(PortRange { first: 8000, last: 8100 }), Peer::Cidr("10.0.0.0/24".parse().unwrap())),
            allow(Traffic::Icmp { kind: Some(8), code: Some(0) }, Peer::Cidr("10.0.0.9/32".parse().unwrap())),
            allow(Traffic::Icmp { kind: Some(8), code: None }, anywhere()),
            allow(Traffic::Icmp { kind: None, code: None }, Peer::Group(sg(1))),
        ],
        vec![allow(Traffic::All, anywhere())],
    );
    let db = group(
        2,
        vec![allow(tcp(5432), Peer::Group(sg(1))), allow(Traffic::Protocol(50), Peer::Group(sg(2)))],
        vec![allow(Traffic::Udp(PortRange::ALL), anywhere()), allow(Traffic::Tcp(PortRange::ALL), Peer::Group(sg(1)))],
    );
    let mut stack = ruleset(vec![web, db], vec![eni(4, &[1]), eni(5, &[2, 1])]);
    stack.router.internet = true;
    stack.flow_log = true;
    stack
}

#[test]
fn what_was_asked_for_is_read_back_from_the_kernel() {
    let Some(netns) = netns() else { return };
    let mut filter = Filter::open(&netns).unwrap();
    for wanted in [empty(false), stack(), empty(true)] {
        let transaction = filter.ensure(&wanted).unwrap();
        assert!(!transaction.is_empty());
        assert!(filter.ensure(&wanted).unwrap().is_empty());
        let read = Filter::open(&netns).unwrap().observe().unwrap();
        assert_eq!(read.to_string(), table(&wanted).to_string());
        assert_eq!(read, table(&wanted));
    }
    filter.remove().unwrap();
    filter.remove().unwrap();
    assert_eq!(nft(&netns, &["list", "ruleset"], ""), "");
}

/// The text and the messages mean the same, by the word of `nft`, which compiles the one and lists both.
#[test]
fn nft_makes_of_the_text_what_we_make_of_the_table() {
    let (Some(ours), Some(theirs)) = (netns(), netns()) else { return };
    Filter::open(&ours).unwrap().ensure(&stack()).unwrap();
    let text = diff(&Table::default(), &table(&stack())).to_string();
    nft(&theirs, &["-f", "-"], &text);
    let list = |netns| nft(netns, &["-s", "list", "ruleset"], "");
    let (theirs, ours) = (list(&theirs), list(&ours));
    // Line by line first: the first difference is the message.
    theirs.lines().zip(ours.lines()).for_each(|(theirs, ours)| assert_eq!(theirs, ours));
    assert_eq!(theirs, ours);
    println!("{ours}");
}

#[test]
fn any_change_of_rulesets_arrives_in_the_kernel() {
    let Some(netns) = netns() else { return };
    let mut filter = Filter::open(&netns).unwrap();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(100) });
    let filter = std::cell::RefCell::new(&mut filter);
    runner
        .run(&(rulesets(), rulesets()), |(wanted, other)| {
            let mut filter = filter.borrow_mut();
            // The second differs in ENIs alone, which has a way of its own.
            let others_enis = Ruleset { enis: other.enis, ..wanted.clone() };
            for wanted in [wanted, others_enis] {
                filter.ensure(&wanted).unwrap();
                assert_eq!(filter.observe().unwrap(), table(&wanted));
                assert!(filter.ensure(&wanted).unwrap().is_empty());
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_others_change_is_seen_and_repaired() {
    let Some(netns) = netns() else { return };
    let mut filter = Filter::open(&netns).unwrap();
    filter.ensure(&stack()).unwrap();
    for tampering in [
        "insert rule inet ecsnet forward accept",
        "add rule inet ecsnet admit meta mark 7 limit rate 1/second accept",
        "flush chain inet ecsnet input",
        "delete table inet ecsnet",
        "add chain inet ecsnet more { type filter hook input priority 5; }",
        "add set inet ecsnet more { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }",
        "add element inet ecsnet sg-00000000000000001 { 10.0.0.77 }",
        "delete element inet ecsnet resolver { 10.0.0.2 }",
        "chain inet ecsnet forward { policy accept; }",
    ] {
        nft(&netns, &["-f", "-"], tampering);
        assert_ne!(filter.observe().unwrap(), table(&stack()), "{tampering}");
        assert!(!filter.ensure(&stack()).unwrap().is_empty(), "{tampering}");
        assert_eq!(filter.observe().unwrap(), table(&stack()), "{tampering}");
    }
}

#[test]
fn a_refused_change_names_the_line_and_leaves_everything_as_it_was() {
    let Some(netns) = netns() else { return };
    let mut filter = Filter::open(&netns).unwrap();
    filter.ensure(&empty(false)).unwrap();
    nft(&netns, &["delete", "table", "inet", "ecsnet"], "");
    let error = filter.ensure(&stack()).unwrap_err().to_string();
    assert!(error.contains("add chain inet ecsnet") || error.contains("add set inet ecsnet"), "{error}");
    assert_eq!(nft(&netns, &["list", "ruleset"], ""), "");
    filter.ensure(&stack()).expect("a failure reads the kernel anew");
}
