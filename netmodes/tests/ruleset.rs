//! The table of a ruleset, and the difference of two tables: pure, no privileges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab_nft;

use lab_nft::{allow, anywhere, empty, eni, group, ruleset, rulesets, sg, tcp};
use netmodes::nft::{Change, Table, diff};
use netmodes::security::change::{eni_changes, transaction};
use netmodes::security::group::{Peer, PortRange, Rule, Ruleset, Traffic};
use netmodes::security::ruleset::table;
use proptest::prelude::*;

const SG1: &str = "sg-00000000000000001";

/// The text of group 1's only ingress rule, without verdict and comment; empty when it matches nobody.
fn ingress_text(rule: Rule) -> String {
    let table = table(&ruleset(vec![group(1, vec![rule], vec![])], vec![]));
    let chains = ["ingress", "ingress_any"].map(|chain| &table.chains[format!("{SG1}/{chain}").as_str()]);
    let rules: Vec<_> = chains.iter().flat_map(|chain| &chain.rules).collect();
    assert!(rules.iter().all(|rule| rule.comment.starts_with(SG1)));
    let text = rules.first().map(ToString::to_string).unwrap_or_default();
    text.split(" goto").next().unwrap().to_owned()
}

#[rstest::rstest]
#[case(Traffic::All, "0.0.0.0/0", "meta nfproto ipv4")]
#[case(Traffic::All, "::/0", "meta nfproto ipv6")]
#[case(Traffic::All, "10.1.0.0/16", "ip saddr 10.1.0.0/16")]
#[case(tcp(80), "10.1.2.3/32", "ip saddr 10.1.2.3 tcp dport 80")]
#[case(tcp(80), "2600:1f00::/40", "ip6 saddr 2600:1f00::/40 tcp dport 80")]
#[case(Traffic::Tcp(PortRange { first: 0, last: 1023 }), "0.0.0.0/0", "meta nfproto ipv4 tcp dport 0-1023")]
#[case(Traffic::Tcp(PortRange::ALL), "0.0.0.0/0", "meta nfproto ipv4 meta l4proto tcp")]
#[case(Traffic::Udp(PortRange { first: 53, last: 53 }), "10.0.0.0/8", "ip saddr 10.0.0.0/8 udp dport 53")]
#[case(Traffic::Icmp { kind: None, code: None }, "10.0.0.0/8", "ip saddr 10.0.0.0/8 meta l4proto icmp")]
#[case(Traffic::Icmp { kind: Some(8), code: None }, "10.0.0.0/8", "ip saddr 10.0.0.0/8 icmp type 8")]
#[case(Traffic::Icmp { kind: Some(3), code: Some(4) }, "10.0.0.0/8", "ip saddr 10.0.0.0/8 icmp type 3 icmp code 4")]
#[case(Traffic::Icmp { kind: Some(8), code: None }, "::/0", "")]
#[case(Traffic::Protocol(50), "10.0.0.0/8", "ip saddr 10.0.0.0/8 meta l4proto 50")]
fn a_rule_reads_as_what_it_allows(#[case] traffic: Traffic, #[case] peer: &str, #[case] text: &str) {
    assert_eq!(ingress_text(allow(traffic, Peer::Cidr(peer.parse().unwrap()))), text);
}

#[test]
fn a_group_reference_is_a_set_of_members_and_nobody_when_the_group_is_not_there() {
    assert_eq!(ingress_text(allow(tcp(80), Peer::Group(sg(1)))), format!("ip saddr @{SG1} tcp dport 80"));
    assert_eq!(ingress_text(allow(tcp(80), Peer::Group(sg(2)))), "");
}

#[test]
fn rules_for_any_address_stand_behind_the_narrower_ones_of_all_groups() {
    let groups = [1, 2].map(|n| group(n, vec![allow(tcp(80), anywhere()), allow(tcp(80), Peer::Group(sg(1)))], vec![]));
    let table = table(&ruleset(groups.to_vec(), vec![eni(4, &[2, 1])]));
    let chain = &table.chains["ingress/sg-00000000000000001/sg-00000000000000002"];
    let rules: Vec<_> = chain.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "jump sg-00000000000000001/ingress",
            "jump sg-00000000000000002/ingress",
            "jump sg-00000000000000001/ingress_any",
            "jump sg-00000000000000002/ingress_any",
            "goto refused_ingress",
        ]
    );
}

#[test]
fn an_eni_with_groups_that_another_has_changes_elements_alone() {
    let all = vec![allow(Traffic::All, anywhere())];
    let groups = vec![group(1, all.clone(), all)];
    let before = table(&ruleset(groups.clone(), vec![eni(4, &[1])]));
    let after = table(&ruleset(groups, vec![eni(4, &[1]), eni(5, &[1])]));
    let there = diff(&before, &after);
    assert!(there.changes.iter().all(|c| matches!(c, Change::AddElements(_, e) if !e.is_empty())), "{there}");
    assert!(
        there.to_string().contains("add element inet ecsnet sources { \"eni000000000005\" . 10.0.0.5 }"),
        "{there}"
    );
    let back = diff(&after, &before);
    assert!(back.changes.iter().all(|c| matches!(c, Change::DeleteElements(..))), "{back}");
}

#[test]
fn a_changed_rule_fills_its_own_chain_anew_and_no_other() {
    let with = |port| table(&ruleset(vec![group(1, vec![allow(tcp(port), anywhere())], vec![])], vec![eni(4, &[1])]));
    let text = diff(&with(80), &with(81)).to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "flush chain inet ecsnet sg-00000000000000001/ingress_any",
            "add rule inet ecsnet sg-00000000000000001/ingress_any meta nfproto ipv4 tcp dport 81 goto admit_by_any \
             comment \"sg-00000000000000001 group-1\"",
        ]
    );
}

#[test]
fn a_name_that_nft_cannot_quote_is_no_way_out_of_the_comment() {
    let mut odd = group(1, vec![allow(tcp(80), anywhere())], vec![]);
    odd.name = format!("a\"; flush ruleset\n\\é{}", "x".repeat(300));
    let table = table(&ruleset(vec![odd], vec![]));
    let comment = &table.chains[format!("{SG1}/ingress_any").as_str()].rules[0].comment;
    assert!(comment.starts_with("sg-00000000000000001 a; flush rulesetxxx") && comment.len() == 127, "{comment}");
}

#[test]
fn sixteen_groups_on_an_eni_make_names_that_fit() {
    let groups: Vec<_> = (0..16).collect();
    let table = table(&ruleset(groups.iter().map(|n| group(*n, vec![], vec![])).collect(), vec![eni(4, &groups)]));
    assert!(table.chains.keys().chain(table.sets.keys()).all(|name| name.len() <= 255));
    assert!(table.chains.contains_key("egress/eni-00000000000000004"));
}

#[test]
fn an_empty_ruleset_is_the_closed_base() {
    let text = table(&empty(false)).to_string();
    for hook in ["prerouting priority -300", "input priority 0", "forward priority 0", "output priority 0"] {
        assert!(text.contains(&format!("hook {hook}; policy drop;")), "{text}");
    }
    assert!(!text.contains("masquerade"));
}

proptest! {
    #[test]
    fn the_difference_makes_the_one_of_the_other(a in rulesets(), b in rulesets()) {
        let (a, b) = (table(&a), table(&b));
        for (have, want) in [(&Table::default(), &a), (&a, &b), (&b, &Table::default())] {
            let mut made = have.clone();
            diff(have, want).apply_to(&mut made);
            prop_assert_eq!(&made, want);
        }
        prop_assert!(diff(&a, &a).is_empty());
    }

    #[test]
    fn a_change_of_enis_alone_comes_out_as_comparing_whole_tables_does(a in rulesets(), b in rulesets()) {
        let b = Ruleset { enis: b.enis, ..a.clone() };
        let mut made = table(&a);
        let changes = eni_changes(&a, &b).unwrap();
        let transaction = transaction(&made, &b, &changes);
        transaction.apply_to(&mut made);
        prop_assert_eq!(&made, &table(&b));
        prop_assert_eq!(transaction, diff(&table(&a), &table(&b)));
        prop_assert!(eni_changes(&a, &a).unwrap().is_empty());
    }

    #[test]
    fn nothing_is_referred_to_that_is_not_there(a in rulesets()) {
        let table = table(&a);
        let text = table.to_string();
        for word in text.split_whitespace().zip(text.split_whitespace().skip(1)) {
            match word {
                ("goto" | "jump", chain) => prop_assert!(table.chains.contains_key(chain.trim_end_matches(',')), "{chain}"),
                (_, set) if set.starts_with('@') => prop_assert!(table.sets.contains_key(&set[1..]), "{set}"),
                _ => {}
            }
        }
    }
}
