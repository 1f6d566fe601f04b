//! `bench-start`: the start of one task beside `docker run -d` on Docker's bridge, same image, same process.
//!
//! Ours goes through the whole agent: from `ecsnet scale` until the app's container runs, and until the task is RUNNING.
//! The floor is what a task cannot do without in Docker: a container that holds the namespace, and one that joins it.
//! No warm pauses yet. Needs root and Docker; takes away what it starts.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use e2e::bench::agent::{Agent, Progress};
use e2e::bench::docker::{COMMAND, Containers, Image};
use e2e::bench::{Outcome, Row, Samples, interruption, publish, rounds};
use serde_json::{Value, json};

/// Worst allowed ratio to `docker run -d`.
const GOAL: f64 = 1.6;

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

    let mut started = Samples::of("ecsnet, app runs");
    let mut running = Samples::of("ecsnet, RUNNING");
    let mut bridge = Samples::of("docker run, bridge");
    let mut none = Samples::of("docker run, none");
    let mut floor = Samples::of("pause + joined app");
    let rounds = rounds(11);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        // Who comes first profits or suffers from what the last one left, so they change places.
        for turn in 0..4 {
            if interrupted.load(Ordering::Relaxed) {
                return Err("interrupted; what was started is taken away".into());
            }
            match (round + turn) % 4 {
                0 => {
                    let (app, task) = ours(&agent, &stack, &mut progress)?;
                    started.push(app);
                    running.push(task);
                }
                1 => bridge.push(alone(&mark, &image.name, "bridge")?),
                2 => none.push(alone(&mark, &image.name, "none")?),
                _ => floor.push(joined(&mark, &image.name)?),
            }
        }
    }
    let row = |name: &str, ours: &Samples, other: &Samples, goal| Row {
        name: name.into(),
        ours: ours.clone(),
        other: other.clone(),
        goal,
    };
    let rows = [
        row("start of a task vs docker run", &started, &bridge, Some(GOAL)),
        row("start of a task until RUNNING vs docker run", &running, &bridge, Some(GOAL)),
        row("start of a task vs pause + joined app", &started, &floor, None),
        row("start of a task vs docker run without a network", &started, &none, None),
    ];
    publish("start", "Start of one task", &rows, &[&started, &running, &bridge, &none, &floor])
}

/// One service that has no task yet; without a health check, so that nothing but the start is waited for.
fn stack_file(name: &str, image: &str) -> Value {
    json!({
        "name": name,
        "vpc": { "internet": false },
        "services": { "app": { "desiredCount": 0, "taskDefinition": {
            "family": "bench", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
            "containerDefinitions": [{ "name": "app", "image": image, "entryPoint": COMMAND, "essential": true }],
        }}},
    })
}

/// From `ecsnet scale` until the agent says that the app's container runs, and that the task does.
fn ours(agent: &Agent, stack: &str, progress: &mut Progress) -> Outcome<(Duration, Duration)> {
    let service = |count: u32| format!("{stack}/app={count}");
    let start = Instant::now();
    agent.command(&["scale", &service(1)])?;
    progress.until(|seen| tasks(seen).any(|task| task["containers"][0]["lastStatus"] == "RUNNING"))?;
    let app = start.elapsed();
    progress.until(|seen| tasks(seen).any(|task| task["lastStatus"] == "RUNNING"))?;
    let task = start.elapsed();
    agent.command(&["scale", &service(0)])?;
    progress.until(|seen| tasks(seen).all(|task| task["lastStatus"] == "STOPPED"))?;
    Ok((app, task))
}

fn tasks(progress: &Value) -> impl Iterator<Item = &Value> {
    progress["tasks"].as_array().into_iter().flatten()
}

fn alone(mark: &str, image: &str, network: &str) -> Outcome<Duration> {
    let mut containers = Containers::default();
    let start = Instant::now();
    containers
        .run(&format!("ecsnet-bench-{mark}"), &["--network", network, "--entrypoint", COMMAND[0], image, COMMAND[1]])?;
    Ok(start.elapsed())
}

fn joined(mark: &str, image: &str) -> Outcome<Duration> {
    let mut containers = Containers::default();
    let (pause, app) = (format!("ecsnet-bench-{mark}-pause"), format!("ecsnet-bench-{mark}-app"));
    let start = Instant::now();
    containers.run(&pause, &["--network", "none", "--entrypoint", COMMAND[0], image, COMMAND[1]])?;
    let network = format!("container:{pause}");
    containers.run(&app, &["--network", &network, "--entrypoint", COMMAND[0], image, COMMAND[1]])?;
    Ok(start.elapsed())
}
