//! `bench-bridge`: a published port of a task in bridge mode beside `docker run -p`, same image, same programs.
//!
//! Ours is asked from a task with an address of its own, at its instance's address and host port: two links and the VPC's
//! filter more than within one host. Docker's is asked from another container of its bridge, at the bridge's address, where
//! Docker's own proxy may be in the way (it is by default), and from the host, where none is, nor a link of a client.
//! Throughput is the time for a fixed number of bytes. The start is that of one more task, until its container runs and
//! until it is RUNNING, beside `docker run -d -p`. Needs root and Docker; takes away what it starts.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use e2e::bench::agent::{Agent, Progress};
use e2e::bench::docker::{COMMAND, Containers, Image, docker};
use e2e::bench::flow::{Way, serve};
use e2e::bench::{Outcome, Row, Samples, interruption, publish, rounds};
use serde_json::{Value, json};

/// Worst allowed ratio of the median time of an exchange.
const GOAL_LATENCY: f64 = 1.15;
/// Worst allowed ratio of the time for the same bytes: 0.95 of the throughput.
const GOAL_THROUGHPUT: f64 = 1.0 / 0.95;
/// Worst allowed ratio of a start.
const GOAL_START: f64 = 1.6;
/// Exchanges that are measured in a round.
const EXCHANGES: usize = 2000;
/// MiB in a round, unless `ECSNET_BENCH_MIB` says otherwise.
const MEBIBYTES: usize = 512;
/// The port that is published.
const PORT: u16 = 80;

/// One side's figures.
struct Figures {
    median: Samples,
    p99: Samples,
    bulk: Samples,
}

impl Figures {
    fn of(side: &str) -> Self {
        let of = |what: &str| Samples::of(format!("{side}{what}"));
        Self { median: of(""), p99: of(", p99"), bulk: of(", bytes") }
    }

    fn measure(&mut self, way: &Way, mebibytes: usize) -> Outcome<()> {
        let (median, p99) = way.latency(EXCHANGES)?;
        self.median.push(median);
        self.p99.push(p99);
        self.bulk.push(way.bulk(mebibytes)?);
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let interrupted = interruption()?;
    let mark = format!("{:08x}", rand::random::<u32>());
    let image = Image::import(&format!("ecsnet-bench-{mark}:latest"))?;
    let mut agent = Agent::start()?;
    let stack = format!("bench-{mark}");
    let file = agent.directory().join("stack.json");
    std::fs::write(&file, stack_file(&stack, &image.name).to_string())?;
    agent.up(&stack, &file)?;
    let mut progress = agent.progress(&stack)?;
    let mut containers = Containers::default();
    let ways = [of_ecsnet(&agent)?, of_docker(&mut containers, &mark, &image.name)?, of_host(&mark)?];
    let mut figures = ["ecsnet", "docker run -p", "docker run -p, from the host"].map(Figures::of);
    let mut starts = ["ecsnet, app runs", "ecsnet, RUNNING", "docker run -d -p"].map(Samples::of);

    let mebibytes = std::env::var("ECSNET_BENCH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(MEBIBYTES);
    let rounds = rounds(11);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        // Who comes first profits or suffers from what the last one left, so they change places.
        for turn in 0..ways.len() {
            if interrupted.load(Ordering::Relaxed) {
                return Err("interrupted; what was started is taken away".into());
            }
            let side = (round + turn) % ways.len();
            figures[side].measure(&ways[side], mebibytes)?;
        }
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                let (app, task) = start_of_task(&agent, &stack, &mut progress)?;
                starts[0].push(app);
                starts[1].push(task);
            } else {
                starts[2].push(start_of_container(&mark, &image.name)?);
            }
        }
    }
    let row = |name: &str, ours: &Samples, other: &Samples, goal| Row {
        name: name.into(),
        ours: ours.clone(),
        other: other.clone(),
        goal,
    };
    let [ours, docker, host] = &figures;
    let [app, running, run] = &starts;
    let rows = [
        row("bridge: an exchange", &ours.median, &docker.median, Some(GOAL_LATENCY)),
        row("bridge: an exchange, p99", &ours.p99, &docker.p99, None),
        row(&format!("bridge: {mebibytes} MiB"), &ours.bulk, &docker.bulk, Some(GOAL_THROUGHPUT)),
        row("bridge: an exchange, Docker's from the host", &ours.median, &host.median, None),
        row("bridge: an exchange, p99, Docker's from the host", &ours.p99, &host.p99, None),
        row(&format!("bridge: {mebibytes} MiB, Docker's from the host"), &ours.bulk, &host.bulk, None),
        row("bridge: start of a task", app, run, Some(GOAL_START)),
        row("bridge: start of a task until RUNNING", running, run, Some(GOAL_START)),
    ];
    let columns: Vec<&Samples> = figures.iter().flat_map(|f| [&f.median, &f.p99, &f.bulk]).chain(&starts).collect();
    publish("bridge", "A published port in bridge mode", &rows, &columns)
}

/// One task that is asked, one that asks, and a service whose tasks are started.
fn stack_file(name: &str, image: &str) -> Value {
    let service = |mode: &str, count: u32, connects: &[&str]| {
        let container = json!({
            "name": "app", "image": image, "entryPoint": COMMAND, "essential": true, "memory": 64,
            "portMappings": [{ "containerPort": PORT }],
        });
        json!({
            "desiredCount": count, "networkMode": mode, "connectsTo": connects,
            "taskDefinition": { "family": "bench", "containerDefinitions": [container] },
        })
    };
    json!({
        "name": name,
        "vpc": { "internet": false },
        "services": {
            "asked": service("bridge", 1, &[]),
            "asks": service("awsvpc", 1, &["asked"]),
            "started": service("bridge", 0, &[]),
        },
    })
}

fn of_ecsnet(agent: &Agent) -> Outcome<Way> {
    let tasks = agent.tasks()?;
    let field = |service: &str, name: &str| {
        let task = tasks.iter().map(|task| &task["ecsnet"]).find(|task| task["service"] == service);
        task.map(|task| task[name].clone()).ok_or(format!("no task of {service}"))
    };
    let text =
        |service: &str, name: &str| Ok::<_, String>(field(service, name)?.as_str().unwrap_or_default().to_owned());
    serve(&text("asked", "netns")?, PORT)?;
    let port = u16::try_from(field("asked", "hostPorts")?[0].as_u64().unwrap_or_default())?;
    let address: IpAddr = text("asked", "address")?.parse()?;
    Ok(Way { netns: text("asks", "netns")?, to: SocketAddr::new(address, port) })
}

fn of_docker(containers: &mut Containers, mark: &str, image: &str) -> Outcome<Way> {
    let (asked, asks) = (asked(mark), format!("ecsnet-bench-{mark}-asks"));
    let command = ["--entrypoint", COMMAND[0], image, COMMAND[1]];
    let publish = format!("0:{PORT}");
    containers.run(&asked, &[&["-p", &publish], &command[..]].concat())?;
    containers.run(&asks, &command)?;
    serve(&netns(&asked)?, PORT)?;
    Ok(Way { netns: netns(&asks)?, to: published(mark)? })
}

fn of_host(mark: &str) -> Outcome<Way> {
    Ok(Way { netns: "/proc/self/ns/net".to_owned(), to: published(mark)? })
}

fn asked(mark: &str) -> String {
    format!("ecsnet-bench-{mark}-asked")
}

/// The address of Docker's bridge, and the port that leads to the container.
fn published(mark: &str) -> Outcome<SocketAddr> {
    let gateway = docker(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"])?;
    let ports = docker(&["port", &asked(mark), &PORT.to_string()])?;
    let port = ports.lines().next().and_then(|line| line.rsplit_once(':')).ok_or("Docker has published no port")?.1;
    Ok(SocketAddr::new(gateway.parse()?, port.parse()?))
}

fn netns(container: &str) -> Outcome<String> {
    Ok(format!("/proc/{}/ns/net", docker(&["inspect", "--format", "{{.State.Pid}}", container])?))
}

/// From `ecsnet scale` until the agent says that the app's container runs, and that the task does.
fn start_of_task(agent: &Agent, stack: &str, progress: &mut Progress) -> Outcome<(Duration, Duration)> {
    let scale = |count: u32| agent.command(&["scale", &format!("{stack}/started={count}")]);
    let start = Instant::now();
    scale(1)?;
    progress.until(|seen| started(seen).any(|task| task["containers"][0]["lastStatus"] == "RUNNING"))?;
    let app = start.elapsed();
    progress.until(|seen| started(seen).any(|task| task["lastStatus"] == "RUNNING"))?;
    let task = start.elapsed();
    scale(0)?;
    progress.until(|seen| started(seen).all(|task| task["lastStatus"] == "STOPPED"))?;
    Ok((app, task))
}

fn started(progress: &Value) -> impl Iterator<Item = &Value> {
    let tasks = progress["tasks"].as_array().into_iter().flatten();
    tasks.filter(|task| task["ecsnet"]["service"] == "started")
}

fn start_of_container(mark: &str, image: &str) -> Outcome<Duration> {
    let mut containers = Containers::default();
    let publish = format!("0:{PORT}");
    let start = Instant::now();
    let arguments = ["-p", &publish, "--entrypoint", COMMAND[0], image, COMMAND[1]];
    containers.run(&format!("ecsnet-bench-{mark}-run"), &arguments)?;
    Ok(start.elapsed())
}
