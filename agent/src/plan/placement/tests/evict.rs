//! Scale in.

use rstest::rstest;

use super::*;

/// A task on the instance at that index, as old as its place in the list; the first letter of its id is the instance's.
struct At(&'static str, usize);

fn order(cluster: &Cluster, at: &[At], entries: &[(&str, &str)], count: usize) -> String {
    let candidates = cluster.candidates();
    let placed: Vec<Placed<'_>> = at
        .iter()
        .enumerate()
        .map(|(age, At(id, node))| Placed {
            id,
            worth: 2,
            created_at: Timestamp::from_second(age as i64).unwrap(),
            availability_zone: candidates[*node].availability_zone,
            instance: Some(&candidates[*node]),
            cpu: 128,
            memory: 256,
        })
        .collect();
    let mut last = 0;
    let mut chance = |below: usize| {
        last += 2;
        last % below
    };
    let gone = evict_order(&placed, &strategies(entries), count, &mut chance);
    gone.into_iter().map(|index| placed[index].id).collect::<Vec<_>>().join(" ")
}

/// 3.5-05: five tasks on two zones go to 4, 3, 2.
#[test]
fn scale_in_keeps_the_spread_even() {
    let cluster = Cluster::in_zones(&["us-east-1a", "us-east-1b"]);
    let tasks = [At("a1", 0), At("b1", 1), At("a2", 0), At("b2", 1), At("a3", 0)];
    assert_eq!(order(&cluster, &tasks, &[], 1), "a1");
    assert_eq!(order(&cluster, &tasks, &[], 2), "a1 b1", "two and two: the oldest goes");
    assert_eq!(order(&cluster, &tasks, &[], 3), "a1 b1 a2");
    assert_eq!(order(&cluster, &tasks, &[], 9), "a1 b1 a2 b2 a3", "no more than there are");
}

#[rstest]
// In the fullest zone, the instance that has the most of them.
#[case(&[], "b2 b3 c1 a1")]
#[case(&[("spread", "attribute:ecs.availability-zone"), ("spread", "instanceId")], "b2 b3 c1 a1")]
#[case(&[("spread", "instanceId")], "b2 c1 b3 a1")]
// Binpack takes from the instance that has the most left: `c`, then `a`, and fills `b`.
#[case(&[("binpack", "memory")], "c1 c2 a1 b2")]
#[case(&[("binpack", "cpu")], "b2 b3 b4 c1")]
#[case(&[("spread", "attribute:ecs.availability-zone"), ("binpack", "memory")], "a1 b2 c1 b3")]
fn scale_in_does_the_opposite_of_the_strategies(#[case] entries: &[(&str, &str)], #[case] gone: &str) {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1a", "us-east-1b"]);
    let used = [(512, 6000), (0, 7000), (256, 1000)];
    for (node, (cpu, memory)) in cluster.nodes.iter_mut().zip(used) {
        (node.used_cpu, node.used_memory) = (cpu, memory);
    }
    let tasks = [At("c1", 2), At("b2", 1), At("a1", 0), At("b3", 1), At("c2", 2), At("b4", 1)];
    assert_eq!(order(&cluster, &tasks, entries, 4), gone);
}

#[test]
fn scale_in_at_random_takes_any() {
    let cluster = Cluster::in_zones(&["us-east-1a"]);
    let tasks = [At("a1", 0), At("a2", 0), At("a3", 0)];
    assert_eq!(order(&cluster, &tasks, &[("random", "")], 2), "a3 a1");
}

#[test]
fn what_is_not_up_goes_first_and_fargate_has_zones_alone() {
    let task = |id, worth, zone| Placed {
        id,
        worth,
        created_at: Timestamp::UNIX_EPOCH,
        availability_zone: zone,
        instance: None,
        cpu: 256,
        memory: 512,
    };
    let tasks = [
        task("1", 2, "us-east-1a"),
        task("2", 2, "us-east-1a"),
        task("3", 1, "us-east-1b"),
        task("4", 0, "us-east-1b"),
        task("5", 2, "us-east-1a"),
    ];
    let gone = evict_order(&tasks, &[], 4, &mut |_| 0);
    assert_eq!(gone, [3, 2, 0, 1]);
}

#[test]
fn binpack_looks_at_what_is_left_once_the_task_is_gone() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1a"]);
    (cluster.nodes[0].used_memory, cluster.nodes[1].used_memory) = (7000, 8192);
    let candidates = cluster.candidates();
    let task = |id, instance, memory| Placed {
        id,
        worth: 2,
        created_at: Timestamp::UNIX_EPOCH,
        availability_zone: "us-east-1a",
        instance: Some(instance),
        cpu: 128,
        memory,
    };
    let tasks = [task("1", &candidates[0], 256), task("2", &candidates[1], 2048)];
    assert_eq!(evict_order(&tasks, &strategies(&[("binpack", "memory")]), 1, &mut |_| 0), [1]);
}
