//! `flow-log`: what passed and what was refused, and nothing in force when nobody looks.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use e2e::definition::waiter;
use e2e::eventually::eventually;
use e2e::lab::{Lab, Task};
use e2e::probe::{Outcome, command, serve_tcp, tcp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The VPC's namespace, for `command`.
fn vpc(lab: &Lab, like: &Task) -> Task {
    let stack: Value = serde_json::from_str(&lab.ok(&["inspect", "stack", &lab.stack, "--output", "json"])).unwrap();
    Task { netns: stack["ecsnet"]["netns"].as_str().unwrap().to_owned(), ..like.clone() }
}

/// Log rules in the filter, and whether flows are counted.
fn in_force(vpc: &Task) -> (usize, String) {
    let (code, rules) = command(vpc, "nft", &["list", "table", "inet", "ecsnet"]);
    assert_eq!(code, 0);
    let (_, counted) = command(vpc, "cat", &["/proc/sys/net/netfilter/nf_conntrack_acct"]);
    (rules.matches("log group").count(), counted.trim().to_owned())
}

fn nothing() -> (usize, String) {
    (0, "0".to_owned())
}

fn becomes(vpc: &Task, wanted: &(usize, String)) {
    eventually("the filter's log", || {
        let now = in_force(vpc);
        if now == *wanted { Ok(()) } else { Err(now) }
    });
}

/// A `flow-log -f`, and what it printed so far.
struct Follower {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Follower {
    /// One that has begun to log.
    fn of(lab: &Lab, target: &str) -> Self {
        let mut command = lab.command();
        command.args(["flow-log", "--follow", target]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("logging"), "{said}; the agent: {}", lab.agent_log());
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a record of this interface and flow (`source destination`), with this destination port.
    fn expect(&mut self, eni: &str, flow: &str, port: u16, action: &str) {
        eventually(&format!("{eni} {flow} {port} {action}"), || {
            self.seen.extend(self.lines.try_iter());
            let start = format!("2 000000000000 {eni} {flow} ");
            let is_it = |line: &String| {
                let words: Vec<&str> = line.split(' ').collect();
                line.starts_with(&start) && words[6] == port.to_string() && words[12] == action && words[13] == "OK"
            };
            if self.seen.iter().any(is_it) { Ok(()) } else { Err(self.seen.clone()) }
        });
    }
}

fn stack() -> String {
    format!(
        "name: {{name}}
vpc: {{ internet: false, subnets: [ {{ name: s, zone: a, cidr: 10.0.0.0/24 }} ] }}
securityGroups: {{ door: {{ ingress: [ {{ port: 6000, from: client }} ] }} }}
services:
  client: {{ taskDefinition: {} }}
  server: {{ taskDefinition: {}, securityGroups: [door] }}
",
        waiter("client"),
        waiter("server")
    )
}

fn eni(lab: &Lab, service: &str) -> String {
    let task = lab.tasks().into_iter().find(|t| t["ecsnet"]["service"] == service).unwrap();
    let details = task["attachments"][0]["details"].as_array().unwrap().clone();
    let id = details.iter().find(|d| d["name"] == "networkInterfaceId").unwrap();
    id["value"].as_str().unwrap().to_owned()
}

#[test]
fn flow_log_shows_what_passed_and_what_was_refused_and_leaves_nothing_in_force() {
    let lab = Lab::new();
    lab.up(&stack());
    let (client, server) = (lab.one("client"), lab.one("server"));
    let vpc = vpc(&lab, &client);
    serve_tcp(&server, 6000);
    assert_eq!(in_force(&vpc), nothing());

    let (mut all, mut one) = (Follower::of(&lab, &lab.stack), Follower::of(&lab, "server"));
    becomes(&vpc, &(2, "1".to_owned()));
    assert_eq!(tcp(&client, &server, 6000), Outcome::Answered);
    assert_eq!(tcp(&client, &server, 6001), Outcome::Dropped);
    let (at_client, at_server) = (eni(&lab, "client"), eni(&lab, "server"));
    let flow = format!("{} {}", client.address, server.address);
    all.expect(&at_client, &flow, 6000, "ACCEPT");
    all.expect(&at_client, &flow, 6001, "ACCEPT");
    all.expect(&at_server, &flow, 6001, "REJECT");
    // One TARGET: what is seen at its own interface.
    one.expect(&at_server, &flow, 6000, "ACCEPT");
    one.expect(&at_server, &flow, 6001, "REJECT");
    assert!(one.seen.iter().all(|line| line.contains(&at_server)), "{:#?}", one.seen);

    // One follower is killed, the other one is interrupted: only then the rules go.
    one.child.kill().unwrap();
    one.child.wait().unwrap();
    assert_eq!(tcp(&client, &server, 6002), Outcome::Dropped);
    all.expect(&at_server, &flow, 6002, "REJECT");
    kill(Pid::from_raw(all.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    all.child.wait().unwrap();
    becomes(&vpc, &nothing());

    // One window, and it ends by itself.
    lab.ok(&["flow-log"]);
    becomes(&vpc, &nothing());
    assert_eq!(lab.run(&["flow-log", "nobody"]).code, 2);
    lab.down();
}

#[test]
fn flow_log_of_an_agent_that_died_is_taken_away_by_the_next_and_one_of_a_stack_that_goes_ends() {
    let mut lab = Lab::new();
    lab.up(&stack());
    let client = lab.one("client");
    let vpc = vpc(&lab, &client);
    let mut follower = Follower::of(&lab, "client");
    becomes(&vpc, &(2, "1".to_owned()));
    lab.kill_agent();
    follower.child.wait().unwrap();
    assert_eq!(in_force(&vpc).0, 2, "nobody is there to take it away");
    lab.start_agent();
    becomes(&vpc, &nothing());

    let mut follower = Follower::of(&lab, "client");
    lab.down();
    let status = eventually("the follower ends with the stack", || follower.child.try_wait().unwrap().ok_or("it runs"));
    assert_eq!(status.code(), Some(0));
}
