//! `bench-placement`: what it costs to place one task on fifty container instances, the more of them there are.
//!
//! Pure: no root, no Docker. Each round fills a cluster with a thousand tasks, one after the other; a mark on the way is
//! the mean of the ten placements up to it, with the list of candidates that the scheduler makes for each. A cost that
//! grew with the tasks that are there already would show as a ratio of the last mark to the first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent::plan::placement::{Candidate, HostPorts, Wish, place};
use agent::spec::capacity::{attributes_of_ecs, instance_type};
use agent::spec::placement::{Constraint, Strategy};
use e2e::bench::{Outcome, Row, Samples, publish, rounds};
use jiff::Timestamp;

/// How many instances there are, over three zones.
const INSTANCES: usize = 50;
/// Tasks at which the cost is looked at.
const MARKS: [usize; 5] = [10, 30, 100, 300, 1000];
/// How many placements a mark is the mean of.
const WINDOW: usize = 10;
/// The thousandth task may cost this many times what the tenth does.
const GOAL: f64 = 1.5;

fn main() -> Outcome<()> {
    let member_of =
        Constraint::new("memberOf", Some("attribute:ecs.instance-type =~ m5.* and runningTasksCount < 64"))?;
    let plain = Wish {
        group: "service:web".into(),
        cpu: 256,
        memory: 512,
        fixed_ports: HostPorts::new(),
        needs_eni: true,
        constraints: Vec::new(),
        strategy: Vec::new(),
        zones: None,
    };
    let zones = Strategy::new("spread", Some("attribute:ecs.availability-zone"))?;
    let bound = Wish {
        constraints: vec![member_of],
        strategy: vec![zones, Strategy::new("binpack", Some("memory"))?],
        ..plain.clone()
    };
    let mut rows = Vec::new();
    let mut sides = Vec::new();
    for (name, wish) in [("spread over zones", plain), ("memberOf, spread, binpack", bound)] {
        let curve = curve(name, &wish)?;
        println!("Placing a task on {INSTANCES} instances, {name}");
        for (mark, samples) in MARKS.iter().zip(&curve) {
            let (low, high) = samples.spread();
            println!("{mark:>6} tasks  {:>7.2} µs each  ({:.2}–{:.2})", samples.median() * 1e3, low * 1e3, high * 1e3);
        }
        let (Some(first), Some(last)) = (curve.first(), curve.last()) else { continue };
        rows.push(Row {
            name: format!("placing the 1000th task vs the 10th, {name}"),
            ours: last.clone(),
            other: first.clone(),
            goal: Some(GOAL),
        });
        sides.extend(curve);
    }
    publish("placement", "Placing a task on 50 container instances", &rows, &sides.iter().collect::<Vec<_>>())
}

/// The cost at each mark, round by round.
fn curve(name: &str, wish: &Wish) -> Outcome<Vec<Samples>> {
    let mut curve: Vec<Samples> = MARKS.iter().map(|mark| Samples::of(format!("{mark}: {name}"))).collect();
    for _ in 0..rounds(21) {
        let mut cluster = Cluster::new()?;
        let mut last = [Duration::ZERO; WINDOW];
        for task in 1..=MARKS.into_iter().max().unwrap_or_default() {
            last[task % WINDOW] = cluster.place(wish)?;
            if let Some(at) = MARKS.iter().position(|mark| *mark == task) {
                curve[at].push(last.iter().sum::<Duration>() / WINDOW as u32);
            }
        }
    }
    Ok(curve)
}

/// Fifty m5.4xlarge, with what a scheduler keeps of each.
struct Cluster(Vec<Instance>);

struct Instance {
    id: String,
    ec2_instance_id: String,
    zone: &'static str,
    attributes: BTreeMap<String, String>,
    cpu: u32,
    memory: u32,
    used_cpu: u32,
    used_memory: u32,
    ports: HostPorts,
    tasks: BTreeMap<String, u32>,
    running: u32,
}

impl Cluster {
    fn new() -> Outcome<Self> {
        let known = instance_type("m5.4xlarge").ok_or("m5.4xlarge is not known")?;
        let instance = |at: usize| {
            let zone = ["us-east-1a", "us-east-1b", "us-east-1c"][at % 3];
            Instance {
                id: format!("{at:032x}"),
                ec2_instance_id: format!("i-{at:017x}"),
                zone,
                attributes: attributes_of_ecs(zone, Some(known)),
                cpu: known.cpu(),
                memory: known.memory,
                used_cpu: 0,
                used_memory: 0,
                ports: HostPorts::new(),
                // Other services are there as well.
                tasks: (0..10).map(|other| (format!("service:{other}"), 0)).collect(),
                running: 0,
            }
        };
        Ok(Self((0..INSTANCES).map(instance).collect()))
    }

    /// Places a task; how long it took to find where.
    fn place(&mut self, wish: &Wish) -> Outcome<Duration> {
        let start = Instant::now();
        let candidates: Vec<Candidate<'_>> = self.0.iter().map(Instance::candidate).collect();
        let at = place(wish, &candidates, &mut |_| 0)?;
        let took = start.elapsed();
        let instance = &mut self.0[at];
        instance.used_cpu += wish.cpu;
        instance.used_memory += wish.memory;
        *instance.tasks.entry(wish.group.clone()).or_default() += 1;
        instance.running += 1;
        Ok(took)
    }
}

impl Instance {
    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: &self.id,
            ec2_instance_id: &self.ec2_instance_id,
            availability_zone: self.zone,
            attributes: &self.attributes,
            cpu: self.cpu,
            memory: self.memory,
            remaining_cpu: self.cpu - self.used_cpu,
            remaining_memory: self.memory - self.used_memory,
            remaining_enis: None,
            fixed_ports: &self.ports,
            tasks: &self.tasks,
            running_tasks: self.running,
            registered_at: Timestamp::UNIX_EPOCH,
            active: true,
            agent_connected: true,
        }
    }
}
