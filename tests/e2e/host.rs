//! The way from this machine into a stack: `forward` and what is watched from a terminal.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use e2e::definition::{shell, task, waiter};
use e2e::eventually::eventually;
use e2e::lab::Lab;

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

/// Says `word` and reads to the end.
fn talk(local: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(local).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    // What is closed before it answered may come as a reset.
    let _ = stream.read_to_string(&mut answer);
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
    lab.down();
}
