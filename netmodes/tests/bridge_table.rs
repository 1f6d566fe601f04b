//! The table of an instance: its text, and that `nft` makes of the text what we make of the table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::collections::BTreeSet;

use lab::bridge::{both, instance_network, tool};
use netmodes::bridge::{PublishedPort, nat};
use netmodes::kernel::netns::Netns;
use netmodes::nft::{Table, Transport, diff};
use proptest::prelude::*;

#[test]
fn the_table_reads_as_what_it_does() {
    let text = nat::table(&both(32768, 2, 80).into(), Some(51679)).to_string();
    assert_eq!(text, TEXT);
}

const TEXT: &str = r#"table inet ecsnet {
	map metadata {
		type inet_proto . inet_service : ipv4_addr . inet_service;
		elements = { tcp . 80 : 169.254.170.2 . 51679 }
	}
	map ports {
		type inet_proto . inet_service : ipv4_addr . inet_service;
		elements = { tcp . 32768 : 172.17.0.2 . 80, udp . 32768 : 172.17.0.2 . 80 }
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state invalid counter drop comment "would leave untranslated"
		ct state established,related accept comment "flows that were let through below"
		oifname "docker0" ct status dnat accept comment "to a host port"
		iifname "docker0" oifname "eth0" accept comment "out, as the instance"
		counter drop comment "nothing else is forwarded"
	}
	chain input {
		type filter hook input priority 0; policy accept;
		ct state established,related accept comment "51678 is a dynamic port too"
		iifname "lo" accept comment "this namespace itself"
		iifname "docker0" accept comment "a container"
		tcp dport 51678 counter drop comment "the ECS agent's introspection port"
	}
	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		oifname "docker0" ip saddr 127.0.0.0/8 masquerade comment "127.0.0.1 and a host port"
		oifname "docker0" ip saddr 172.17.0.0/16 ct status dnat masquerade comment "a container to its own instance: the answer must come back here"
		oifname "eth0" ip saddr 172.17.0.0/16 masquerade comment "out, as the instance"
	}
	chain prerouting {
		type filter hook prerouting priority -300; policy accept;
		iifname "lo" accept comment "this namespace itself"
		ip daddr 127.0.0.0/8 counter drop comment "the hole of route_localnet"
		ip saddr 127.0.0.0/8 counter drop comment "nobody's loopback but our own"
		iifname "docker0" ip saddr 172.17.0.0/16 accept comment "a container"
		iifname "docker0" counter drop comment "a container with another's address"
		ip daddr 172.17.0.0/16 counter drop comment "containers are reached by host ports alone"
		ip saddr 172.17.0.0/16 counter drop comment "another instance's bridge is not ours"
		ip daddr 169.254.170.2 counter drop comment "task metadata is for this instance's containers"
	}
	chain published {
		type nat hook prerouting priority -100; policy accept;
		ip daddr 169.254.170.2 dnat ip to meta l4proto . th dport map @metadata comment "task metadata, where it listens"
		ip daddr 169.254.170.2 accept comment "never a host port"
		fib daddr type local dnat ip to meta l4proto . th dport map @ports comment "host ports"
	}
	chain published_here {
		type nat hook output priority -100; policy accept;
		ip daddr 169.254.170.2 dnat ip to meta l4proto . th dport map @metadata comment "task metadata, where it listens"
		ip daddr 169.254.170.2 accept comment "never a host port"
		fib daddr type local dnat ip to meta l4proto . th dport map @ports comment "host ports"
	}
}
"#;

fn ports() -> impl Strategy<Value = BTreeSet<PublishedPort>> {
    let one = (any::<bool>(), any::<u16>(), 0u16..5, any::<u16>());
    proptest::collection::btree_map((any::<bool>(), any::<u16>()), one, 0..20).prop_map(|ports| {
        let port =
            |((udp, host_port), (_, _, last, container_port)): ((bool, u16), (bool, u16, u16, u16))| PublishedPort {
                protocol: if udp { Transport::Udp } else { Transport::Tcp },
                host_port,
                container_address: std::net::Ipv4Addr::new(172, 17, 0, last as u8),
                container_port,
            };
        ports.into_iter().map(port).collect()
    })
}

proptest! {
    #[test]
    fn the_ports_are_read_back_from_the_table(ports in ports(), metadata in proptest::option::of(any::<u16>())) {
        let table = nat::table(&ports, metadata);
        prop_assert_eq!(nat::ports_in(&table), ports);
        prop_assert_eq!(nat::metadata_port_in(&table), metadata);
    }

    #[test]
    fn a_change_of_ports_is_one_of_elements_alone(was in ports(), want in ports()) {
        let (was, want) = (nat::table(&was, Some(51679)), nat::table(&want, Some(51679)));
        let transaction = diff(&was, &want);
        for line in transaction.to_string().lines() {
            prop_assert!(line.contains(" element inet ecsnet ports "), "{}", line);
        }
        let mut after = was;
        transaction.apply_to(&mut after);
        prop_assert_eq!(after, want);
    }
}

#[tokio::test]
async fn nft_makes_of_the_text_what_we_make_of_the_table() {
    if lab::namespace().is_none() {
        return;
    }
    let ours = instance_network().await;
    ours.ensure_instance().await.unwrap();
    let ports = [both(32768, 2, 80), both(80, 3, 8080)].concat().into_iter().collect();
    ours.ensure_ports(&ports).unwrap();
    ours.ensure_metadata_port(Some(51679)).unwrap();
    let text = diff(&Table::default(), &nat::table(&ports, Some(51679))).to_string();
    let theirs = Netns::anonymous().unwrap();
    let file = std::env::temp_dir().join(format!("ecsnet-bridge-{}.nft", std::process::id()));
    std::fs::write(&file, &text).unwrap();
    tool(&theirs, &format!("nft -f {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    let list = |netns: &Netns| tool(netns, "nft -s list ruleset");
    let (theirs, ours) = (list(&theirs), list(ours.netns()));
    theirs.lines().zip(ours.lines()).for_each(|(theirs, ours)| assert_eq!(theirs, ours));
    assert_eq!(theirs, ours);
}
