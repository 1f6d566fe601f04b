//! The way from this machine into a stack: `forward` and what is watched from a terminal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::definition::{busybox, shell, task, waiter};
use e2e::eventually::eventually;
use e2e::lab::{Lab, idle};
use e2e::probe::serve_tcp;

/// A command that runs until the test ends.
struct Running(Child);

impl Running {
    fn start(lab: &Lab, arguments: &[&str], output: Stdio, error: Stdio) -> Self {
        Self(lab.command().args(arguments).stdin(Stdio::null()).stdout(output).stderr(error).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn forward(lab: &Lab, destination: &str) -> (Running, SocketAddr, impl Iterator<Item = String> + use<>) {
    let mut running = Running::start(lab, &["forward", destination, "0"], Stdio::null(), Stdio::piped());
    let mut said = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = said.next().expect("a line that says where it listens");
    let local = first.split_whitespace().next().unwrap().parse().unwrap_or_else(|_| panic!("{first}"));
    (running, local, said)
}

/// Says `word` and reads a line, or to the end.
fn talk(local: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(local).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    // What is closed before it answered may come as a reset.
    let _ = BufReader::new(stream).read_line(&mut answer);
    answer
}

#[test]
fn forward_leads_from_the_host_s_loopback_to_a_port_of_a_task() {
    let lab = Lab::new();
    // Its security group lets nobody in.
    let listens = "nc -ll -p 9000 -e /bin/sh -c 'read word; echo heard $word'";
    lab.up(&format!(
        "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n  web: {{ taskDefinition: {} }}\n",
        task("web", &[shell("app", listens)])
    ));
    let (_web, local, _) = forward(&lab, "web:9000");
    assert!(local.ip().is_loopback());
    for word in ["one", "two"] {
        eventually("it hears and answers", || {
            let answer = talk(local, &format!("{word}\n"));
            if answer == format!("heard {word}\n") { Ok(()) } else { Err(answer) }
        });
    }

    let (_nobody, silent, mut said) = forward(&lab, "web:9001");
    assert_eq!(talk(silent, "hello\n"), "", "nothing listens there");
    let why = said.next().unwrap();
    assert!(why.contains("no connection to port 9001 of web") && why.contains("refused"), "{why}");

    let taken = lab.run(&["forward", "web:9000", &local.port().to_string()]);
    assert_eq!(taken.code, 2, "{taken:?}");
    assert!(taken.stderr.contains("name another LOCAL port"), "{taken:?}");
    let unknown = lab.run(&["forward", "wbe:9000"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    lab.down();
}

/// What a process has used of the processors so far (`utime` and `stime`, in hundredths of a second).
fn cpu_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn watched_tasks_are_shown_again_after_each_change() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}\nvpc: {{ internet: false }}\nservices:\n  web: {{ taskDefinition: {} }}\n",
        waiter("web")
    ));
    let mut watch = Running::start(&lab, &["ps", "--watch"], Stdio::piped(), Stdio::null());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next_listing = || -> Vec<String> { lines.by_ref().take_while(|line| !line.is_empty()).collect() };
    let first = next_listing();
    assert!(first.len() == 2 && first[1].contains("RUNNING"), "{first:?}");
    lab.ok(&["scale", "web=2"]);
    // A status may be passed through faster than it is shown; the end is not.
    let last = std::iter::from_fn(|| Some(next_listing()))
        .find(|listing| listing.iter().filter(|line| line.contains("RUNNING")).count() == 2);
    assert!(last.is_some());

    // Nothing changes, so a follower costs the agent nothing; questions beside it are the clock.
    let agent = lab.agent_pid().unwrap();
    let (begin, spent) = (Instant::now(), cpu_time(agent));
    for _ in 0..10 {
        lab.ok(&["ps"]);
    }
    let (passed, spent) = (begin.elapsed(), cpu_time(agent) - spent);
    assert!(spent < passed / 2, "{spent:?} of {passed:?}");
    lab.down();
}

/// A block that no other test's host route is in.
fn own_block() -> String {
    let number = rand::random::<u16>();
    format!("10.{}.{}.0/24", 128 + number % 100, number >> 8)
}

#[test]
fn with_host_access_the_host_gets_where_a_rule_names_it_and_its_route_goes_with_the_stack() {
    let lab = Lab::new();
    let block = own_block();
    let stack = |host_access: bool| {
        let from = if host_access { ", host" } else { "" };
        format!(
            "name: {{name}}
vpc: {{ internet: false, hostAccess: {host_access}, cidr: {block} }}
securityGroups:
  open: {{ ingress: [ {{ port: 8080, from: [self{from}] }} ] }}
services:
  web: {{ taskDefinition: {}, securityGroups: [open] }}
",
            idle("web", &[8080])
        )
    };
    lab.up(&stack(true));
    let web = lab.one("web");
    serve_tcp(&web, 8080);
    serve_tcp(&web, 8081);
    let connect = |port: u16| {
        let address = SocketAddr::from((web.address.parse::<std::net::Ipv4Addr>().unwrap(), port));
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(connect(8080), Ok(()));
    assert_eq!(connect(8081), Err(std::io::ErrorKind::TimedOut), "no rule names this port");
    let shown: serde_json::Value =
        serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    assert_eq!(shown["ecsnet"]["hostAddress"], "169.254.172.1");
    let link = shown["ecsnet"]["hostLink"].as_str().unwrap().to_owned();
    let there = |link: &str| std::path::Path::new("/sys/class/net").join(link).exists();
    assert!(there(&link));

    // A container on Docker's bridge comes with the host's address, which Docker gives it on the way; it is not the host.
    let name = format!("{}-outside", lab.stack);
    let script = format!("nc -w 2 {} 8080 < /dev/null || exit 5", web.address);
    let outside = Command::new("docker")
        .args(["run", "--rm", "--name", &name, busybox(), "/bin/sh", "-c", &script])
        .output()
        .unwrap();
    assert_eq!(outside.status.code(), Some(5), "{outside:?}");

    // Another stack cannot have the same way: it is told which route is there, and the first one's stays.
    let other = Lab::new();
    let path = other.write("stack.yaml", &stack(true).replace("{name}", &other.stack));
    let refused = other.run(&["up", path.to_str().unwrap(), "--timeout", "5s"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("it has one to {block} over {link} already")), "{refused:?}");
    other.down();
    assert_eq!(connect(8080), Ok(()));

    // Taken away from the running stack, and given back.
    lab.up(&stack(false));
    eventually("the link is gone", || if there(&link) { Err(()) } else { Ok(()) });
    assert!(lab.one("web").id == web.id, "the task goes on");
    lab.up(&stack(true));
    eventually("the link is back", || connect(8080));
    lab.down();
    eventually("the link goes with the stack", || if there(&link) { Err(()) } else { Ok(()) });
}
