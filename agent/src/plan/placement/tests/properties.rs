//! What holds in every cluster.

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_assert_ne, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;

const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

fn node() -> impl Generator<Value = Node> {
    let size = (0u32..4096, 0u32..8192);
    (0usize..3, size, prop::option::of(0u32..4), prop::bool::weighted(0.9), prop::bool::weighted(0.9), 0u8..3).prop_map(
        |(zone, (cpu, memory), enis, active, agent_connected, stack)| {
            let node = Node::new("", ZONES[zone]).size(cpu, memory).with("stack", &stack.to_string());
            Node { enis, active, agent_connected, ..node }
        },
    )
}

fn cluster() -> impl Generator<Value = Cluster> {
    prop::collection::vec(node(), 0..8).prop_map(|mut nodes| {
        for (at, node) in nodes.iter_mut().enumerate() {
            (node.id, node.ec2_instance_id) = (format!("{at}"), format!("i-{at}"));
        }
        Cluster::of(nodes)
    })
}

fn any_strategy() -> impl Generator<Value = Strategy> {
    prop::sample::select(strategies(&[
        ("random", ""),
        ("spread", "instanceId"),
        ("spread", "attribute:ecs.availability-zone"),
        ("spread", "attribute:stack"),
        ("spread", "attribute:gpu"),
        ("binpack", "cpu"),
        ("binpack", "memory"),
    ]))
}

fn any_wish() -> impl Generator<Value = Wish> {
    let constraint = prop::sample::select(vec![
        Constraint::DistinctInstance,
        member_of("attribute:stack != 1"),
        member_of("runningTasksCount < 3"),
        member_of("not(task:group == service:1)"),
    ]);
    let port = prop::sample::select(vec![80u16, 443, 22]).prop_map(|port| (TransportProtocol::Tcp, port));
    (
        0u8..3,
        (0u32..600, 0u32..1200),
        prop::collection::btree_set(port, 0..2),
        any::<bool>(),
        prop::collection::vec(constraint, 0..3),
        prop::collection::vec(any_strategy(), 0..4),
        prop::option::weighted(
            0.3,
            prop::collection::btree_set(prop::sample::select(ZONES.map(str::to_owned).to_vec()), 1..3),
        ),
    )
        .prop_map(|(group, (cpu, memory), fixed_ports, needs_eni, constraints, strategy, zones)| Wish {
            group: format!("service:{group}"),
            cpu,
            memory,
            fixed_ports,
            needs_eni,
            constraints,
            strategy,
            zones,
        })
}

proptest! {
    /// Whatever is asked for in whatever order, what binds is kept, and a refusal means that nothing would do.
    #[test]
    fn what_binds_is_never_broken(mut cluster in cluster(), wishes in prop::collection::vec(any_wish(), 1..40)) {
        for wish in wishes {
            let before = cluster.clone();
            match cluster.place(&wish) {
                Ok(name) => {
                    let at: usize = name.parse().unwrap();
                    let (was, is) = (&before.nodes[at], &cluster.nodes[at]);
                    prop_assert!(was.active && was.agent_connected);
                    prop_assert!(is.used_cpu <= is.cpu && is.used_memory <= is.memory);
                    prop_assert!(was.ports.is_disjoint(&wish.fixed_ports));
                    prop_assert!(!wish.fixed_ports.contains(&(TransportProtocol::Tcp, 22)));
                    prop_assert!(!wish.needs_eni || was.enis != Some(0));
                    prop_assert!(wish.zones.is_none_or(|zones| zones.contains(&is.zone)));
                    if wish.constraints.contains(&Constraint::DistinctInstance) {
                        prop_assert_eq!(is.tasks[&wish.group], 1);
                    }
                    if wish.constraints.contains(&member_of("attribute:stack != 1")) {
                        prop_assert_ne!(&is.attributes["stack"], "1");
                    }
                    if wish.constraints.contains(&member_of("runningTasksCount < 3")) {
                        prop_assert!(was.candidate().running_tasks < 3);
                    }
                }
                Err(words) => {
                    let none = words.contains("No Container Instances were found");
                    prop_assert_eq!(none, cluster.nodes.iter().all(|node| !node.active));
                    for candidate in cluster.candidates().iter().filter(|candidate| candidate.active) {
                        prop_assert!(!requirements::shortages(&wish, candidate).is_empty());
                    }
                }
            }
        }
    }

    /// Looking for a place and looking for what is missing never disagree.
    #[test]
    fn an_instance_fits_when_it_lacks_nothing(cluster in cluster(), wish in any_wish()) {
        for candidate in cluster.candidates() {
            let lacks_nothing = requirements::shortages(&wish, &candidate).is_empty();
            prop_assert_eq!(requirements::fits(&wish, &candidate), candidate.active && lacks_nothing);
        }
    }

    /// On instances that are alike, zones and the instances of each zone never differ by more than one task, also when
    /// tasks have gone again.
    #[test]
    fn the_spread_stays_even_where_instances_are_alike(
        zones in 1usize..4,
        each in 1usize..4,
        up in 1usize..40,
        down in 0usize..40,
        named in any::<bool>(),
    ) {
        let nodes = (0..zones * each).map(|at| Node::new(&format!("{at:02}"), ZONES[at % zones]).size(8192, 16_384));
        let mut cluster = Cluster::of(nodes.collect());
        let strategy = [("spread", "attribute:ecs.availability-zone"), ("spread", "instanceId")];
        let wish = Wish { strategy: if named { strategies(&strategy) } else { Vec::new() }, ..wish() };
        let mut on: Vec<String> = Vec::new();
        for _ in 0..up {
            on.push(cluster.place(&wish).unwrap());
            prop_assert!(is_even(&cluster, &on));
        }
        let candidates = cluster.candidates();
        let ids: Vec<String> = (0..up).map(|at| format!("{at:02}")).collect();
        let placed: Vec<Placed<'_>> = on
            .iter()
            .zip(&ids)
            .map(|(node, id)| {
                let candidate = &candidates[node.parse::<usize>().unwrap()];
                Placed {
                    id,
                    worth: 2,
                    created_at: Timestamp::UNIX_EPOCH,
                    availability_zone: candidate.availability_zone,
                    instance: Some(candidate),
                    cpu: wish.cpu,
                    memory: wish.memory,
                }
            })
            .collect();
        let mut left: Vec<Option<String>> = on.iter().cloned().map(Some).collect();
        for gone in evict_order(&placed, &wish.strategy, down, &mut |_| 0) {
            left[gone] = None;
            prop_assert!(is_even(&cluster, &left.iter().flatten().cloned().collect::<Vec<_>>()));
        }
    }

    /// The same question has the same answer in whatever order the instances are told, chance apart.
    #[test]
    fn the_order_of_the_candidates_does_not_matter(mut cluster in cluster(), mut wish in any_wish()) {
        wish.strategy.retain(|strategy| *strategy != Strategy::Random);
        let first = cluster.clone().place(&wish);
        cluster.nodes.reverse();
        prop_assert_eq!(cluster.place(&wish), first);
    }
}

/// Whether the zones, and the instances of each zone, differ by at most one task.
fn is_even(cluster: &Cluster, on: &[String]) -> bool {
    let differ_by_one =
        |counts: &[usize]| counts.iter().max().zip(counts.iter().min()).is_none_or(|(most, least)| most - least <= 1);
    let count = |node: &Node| on.iter().filter(|id| **id == node.id).count();
    let zones: BTreeSet<&str> = cluster.nodes.iter().map(|node| node.zone.as_str()).collect();
    let by_zone: Vec<Vec<usize>> =
        zones.iter().map(|zone| cluster.nodes.iter().filter(|node| node.zone == *zone).map(count).collect()).collect();
    let sums: Vec<usize> = by_zone.iter().map(|counts| counts.iter().sum()).collect();
    differ_by_one(&sums) && by_zone.iter().all(|counts| differ_by_one(counts))
}
