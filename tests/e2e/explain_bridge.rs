//! `explain` of tasks in bridge, host and none mode: the instance's groups, its host ports, the container behind them; and
//! the commands that go into such a task's network: `forward`, `run`, `dig`, `exec`, `flow-log`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;

use e2e::definition::{shell, waiting, with};
use e2e::lab::{Answer, Lab, Task};
use e2e::probe::{serve_tcp, serve_udp};
use serde_json::{Value, json};

/// A definition in no mode of its own.
fn definition(family: &str, containers: &[Value]) -> String {
    json!({ "family": family, "containerDefinitions": containers }).to_string()
}

/// A container that waits, with those port mappings.
fn mapped(name: &str, mappings: Value) -> Value {
    with(waiting(name), json!({ "portMappings": mappings }))
}

/// One path's answer: exit code, codes, what the probe saw, and the text of each step by what it is about.
#[derive(Debug)]
struct Path {
    code: i32,
    codes: Vec<String>,
    seen: String,
    steps: Vec<(String, String)>,
    answer: Answer,
}

impl Path {
    fn of(lab: &Lab, words: &[&str]) -> Self {
        let answer = lab.run(&[&["explain"], words, &["--output", "json"]].concat());
        let value: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let analyses = value["NetworkInsightsAnalyses"].as_array().cloned().unwrap_or_default();
        assert_eq!(analyses.len(), 1, "{words:?}: {answer:#?}");
        let detail = &analyses[0]["ecsnet"];
        assert_eq!(detail["disagreement"], Value::Null, "{words:?}: {answer:#?}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let codes = analyses[0]["Explanations"].as_array().unwrap().iter().map(|e| text(&e["ExplanationCode"]));
        let steps = detail["steps"].as_array().unwrap().iter().map(|s| (text(&s["about"]), text(&s["text"])));
        let seen = detail["probe"]["seen"]["outcome"].as_str().unwrap_or("not tried").to_owned();
        Self { code: answer.code, codes: codes.collect(), seen, steps: steps.collect(), answer }
    }

    #[track_caller]
    fn is(&self, code: i32, codes: &[&str], seen: &str) -> &Self {
        let own: Vec<&str> = self.codes.iter().map(String::as_str).collect();
        assert_eq!((self.code, own.as_slice(), self.seen.as_str()), (code, codes, seen), "{self:#?}");
        self
    }

    /// A step about `about` says `words`.
    #[track_caller]
    fn says(&self, about: &str, words: &str) -> &Self {
        assert!(self.steps.iter().any(|(a, text)| a == about && text.contains(words)), "{about}: {words}: {self:#?}");
        self
    }

    #[track_caller]
    fn says_nothing_of(&self, about: &str) -> &Self {
        assert!(self.steps.iter().all(|(a, _)| a != about), "{about}: {self:#?}");
        self
    }
}

/// `i-…` of the instance that a task is on.
fn ec2_id(lab: &Lab, task: &Task) -> String {
    let found = lab.instances().into_iter().find(|i| i["ecsnet"]["instanceId"] == task.instance.as_str()).unwrap();
    found["ec2InstanceId"].as_str().unwrap().to_owned()
}

/// On the instance `one` of zone a: `orders` and `asks` in bridge mode, `front` in host mode; beside it `own`, `other` and
/// `alone`, and `far`, in bridge mode on another instance.
fn stack() -> String {
    format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
securityGroups:
  hosts: {{ ingress: [ {{ ports: 32768-60999, from: callers }}, {{ port: 9000, from: callers }}, {{ port: 5353, protocol: udp, from: callers }} ] }}
  callers: {{ }}
  others: {{ }}
capacity:
  - {{ name: one, cpu: 2048, memory: 4096, zones: [a], securityGroups: [hosts], attributes: {{ role: one }} }}
  - {{ name: two, cpu: 2048, memory: 4096, zones: [b], securityGroups: [callers], attributes: {{ role: two }} }}
services:
  orders: {{ taskDefinition: {orders}, {on_one} }}
  asks: {{ taskDefinition: {asks}, {on_one} }}
  front: {{ taskDefinition: {front}, networkMode: host, {on_one} }}
  far: {{ taskDefinition: {asks}, {on_two} }}
  own: {{ taskDefinition: {asks}, networkMode: awsvpc, securityGroups: [callers] }}
  other: {{ taskDefinition: {asks}, networkMode: awsvpc, securityGroups: [others] }}
  alone: {{ taskDefinition: {asks}, networkMode: none, {on_two} }}
",
        orders = definition(
            "orders",
            &[
                mapped(
                    "app",
                    json!([{ "containerPort": 8080 }, { "containerPort": 53, "hostPort": 5353, "protocol": "udp" }])
                ),
                mapped("side", json!([{ "containerPort": 7070 }])),
            ]
        ),
        asks = definition("asks", &[waiting("app")]),
        front = definition("front", &[mapped("app", json!([{ "containerPort": 9000 }]))]),
        on_one = on("one"),
        on_two = on("two"),
    )
}

fn on(role: &str) -> String {
    format!("placement: {{ constraints: [ {{ type: memberOf, expression: \"attribute:role == {role}\" }} ] }}")
}

#[test]
fn explain_follows_host_ports_into_containers_and_its_probe_agrees() {
    let lab = Lab::new();
    lab.up(&stack());
    let (orders, asks, front, own) = (lab.one("orders"), lab.one("asks"), lab.one("front"), lab.one("own"));
    let id = ec2_id(&lab, &orders);
    let [app, _, side] = orders.host_ports[..] else { panic!("{orders:?}") };
    serve_tcp(&orders, 8080);
    serve_udp(&orders, 53);
    serve_tcp(&front, 9000);
    serve_tcp(&own, 80);

    // By container port and by host port, over TCP and UDP; the record is an SRV record.
    let path = Path::of(&lab, &["own", "orders:8080"]);
    path.is(0, &[], "connected").says("port", &format!("tcp/8080 of container `app` is host port {app}"));
    path.says("name", &format!("has no A record; its SRV 1 1 {app} {}.orders.{}.local", orders.id, lab.stack));
    path.says("ingress", "`hosts` (")
        .says("nat", &format!("host port {app} of container instance {id} leads to 172.17."));
    path.says("listener", "0.0.0.0:8080");
    Path::of(&lab, &["own", &format!("orders:{app}")]).is(0, &[], "connected").says("port", "tcp/8080");
    Path::of(&lab, &["own", &format!("{}:{app}", orders.address)])
        .is(0, &[], "connected")
        .says("nat", "`app` of orders");
    let name = format!("orders.{}.local", lab.stack);
    Path::of(&lab, &["own", &name]).is(0, &[], "connected").says("name", &format!("no A record; SRV 1 1 {app}"));
    Path::of(&lab, &["own", "orders:53"])
        .is(0, &[], "connected")
        .says("port", "udp/53 of container `app` is host port 5353");
    Path::of(&lab, &["own", "orders", "--protocol", "icmp"]).is(1, &["ENI_SG_RULES_MISMATCH"], "timedOut");

    // A group that does not let it in, a port that is not mapped, nobody who listens, no port like that at all.
    Path::of(&lab, &["other", "orders:8080"])
        .is(1, &["ENI_SG_RULES_MISMATCH"], "timedOut")
        .says("ingress", &format!("no ingress rule of `hosts` lets in tcp/{app}"));
    let path = Path::of(&lab, &["own", "orders:8081"]);
    path.is(1, &["ENI_SG_RULES_MISMATCH", "NO_PORT_MAPPING"], "timedOut");
    path.says("nat", &format!("no container of container instance {id} has host port tcp/8081"));
    assert!(path.answer.stdout.contains(&format!("maps 8080 at {app}, udp/53 at 5353, 7070 at {side}")), "{path:#?}");
    let path = Path::of(&lab, &["own", "orders:7070"]);
    path.is(1, &["NO_LISTENER"], "refused").says("nat", "container `side` of orders").says("listener", "tcp/7070");
    let path = Path::of(&lab, &["own", "orders:40000"]);
    path.is(1, &["NO_PORT_MAPPING"], "refused").says_nothing_of("listener");
    // A socket of the instance's own in the place of the container that was meant.
    Path::of(&lab, &["own", "orders:9000"]).is(1, &["NO_PORT_MAPPING"], "connected").says("listener", "not the one");

    // The same instance: no group judges, by its address and over the bridge; and a host-mode process by 127.0.0.1.
    for from in ["asks", "orders", "front"] {
        let path = Path::of(&lab, &[from, "orders:8080"]);
        path.is(0, &[], "connected").says("route", "no security group judges it");
        path.says_nothing_of("ingress").says_nothing_of("egress");
    }
    Path::of(&lab, &["asks", "orders:8081"]).is(1, &["NO_PORT_MAPPING"], "refused");
    Path::of(&lab, &["front", &format!("127.0.0.1:{app}")]).is(0, &[], "connected").says("nat", "`app` of orders");
    Path::of(&lab, &["asks", "orders:53"]).is(0, &[], "connected");
    let inner = lab.ok(&["exec", "orders", "-c", "app", "--", "/bin/ip", "-4", "-o", "address", "show", "eth0"]);
    let inner = inner.split_whitespace().find_map(|w| w.strip_suffix("/16")).unwrap().to_owned();
    Path::of(&lab, &["asks", &format!("{inner}:8080")]).is(0, &[], "connected").says("route", "on the bridge");
    Path::of(&lab, &["asks", "172.17.9.9:8080"]).is(1, &["NO_POSSIBLE_DESTINATION"], "unreachable");
    Path::of(&lab, &["asks", "localhost:8080"]).is(1, &["NO_LISTENER"], "refused");

    // Host mode, from another instance: the groups are those of the sender's instance, and of the receiver's.
    Path::of(&lab, &["own", "front:9000"]).is(0, &[], "connected").says_nothing_of("nat");
    Path::of(&lab, &["own", "front"]).is(0, &[], "connected");
    Path::of(&lab, &["asks", "front:9000"]).is(0, &[], "connected").says("route", "no security group judges it");
    let far = lab.one("far");
    let path = Path::of(&lab, &["far", "orders:8080"]);
    path.is(0, &[], "connected").says("egress", "`callers` (");
    path.says("nat", &format!("leaves container instance {} as {}", ec2_id(&lab, &far), far.address));
    Path::of(&lab, &["far", "orders:53"]).is(0, &[], "connected");
    // From a bridge to a task in awsvpc: `own` lets nobody in.
    let path = Path::of(&lab, &["asks", "own:80"]);
    path.is(1, &["SG_HAS_NO_RULES"], "timedOut")
        .says("nat", &format!("leaves container instance {id} as {}", asks.address));
    Path::of(&lab, &["far", "own:53", "--protocol", "udp"]).is(1, &["SG_HAS_NO_RULES", "NO_LISTENER"], "timedOut");
    Path::of(&lab, &["asks", "10.0.0.2:53", "--protocol", "udp"]).is(0, &[], "delivered");

    // None: nobody, in words.
    let answer = lab.run(&["explain", "own", "alone:80"]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stdout.contains("is in network mode none, which has loopback alone"), "{answer:#?}");
    let answer = lab.run(&["explain", "alone", "own:80"]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stderr.contains("is in network mode none, which has loopback alone"), "{answer:#?}");
    lab.down();
}

/// What a service that sends its name says at the end of `ecsnet forward`.
fn heard_by_forward(lab: &Lab, destination: &str) -> String {
    let mut command = lab.command();
    command.args(["forward", destination, "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    errors.read_line(&mut said).unwrap();
    let local = said.split(' ').next().unwrap_or_default().to_owned();
    let port: u16 = local.rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"));
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut text = String::new();
    let _ = stream.write_all(b"\n");
    let _ = stream.read_to_string(&mut text);
    if text.is_empty() {
        errors.read_line(&mut text).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    text.trim().to_owned()
}

/// A container that says `words` to whoever connects to `port`.
fn speaking(name: &str, port: u16, words: &str) -> Value {
    let script = format!("echo {words} starts; while true; do echo {words} | nc -l -p {port}; done");
    with(shell(name, &script), json!({ "portMappings": [{ "containerPort": port }] }))
}

#[test]
fn forward_run_dig_and_exec_go_into_the_network_of_a_task_in_every_mode() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false }}
services:
  orders: {{ taskDefinition: {} }}
  front: {{ taskDefinition: {}, networkMode: host }}
  alone: {{ taskDefinition: {}, networkMode: none }}
",
        definition(
            "orders",
            &[
                with(speaking("app", 8080, "app"), json!({ "links": ["side:store"] })),
                with(
                    speaking("side", 7070, "side"),
                    json!({ "extraHosts": [{ "hostname": "far", "ipAddress": "192.0.2.7" }] })
                ),
            ]
        ),
        definition("front", &[speaking("app", 9000, "front")]),
        definition("alone", &[shell("app", "echo alone starts; trap 'exit 0' TERM; sleep 100000 & wait")]),
    ));
    let (orders, front) = (lab.one("orders"), lab.one("front"));

    // To the container that maps the port; one that none maps is that of the first.
    assert_eq!(heard_by_forward(&lab, "orders:8080"), "app");
    assert_eq!(heard_by_forward(&lab, "orders:7070"), "side");
    assert_eq!(heard_by_forward(&lab, "front:9000"), "front");
    let refused = heard_by_forward(&lab, "orders:8081");
    assert!(refused.contains("no connection to port 8081"), "{refused}");

    // What each container wrote.
    let logs = ["orders", "front", "alone"].map(|service| lab.ok(&["logs", service])).concat();
    for words in ["app starts", "side starts", "front starts", "alone starts"] {
        assert!(logs.contains(words), "{words}: {logs}");
    }

    // The network, hosts and resolver of each.
    let address = |words: &[&str]| {
        let text = lab.ok(&[words, &["--", "ip", "-4", "-o", "address"]].concat());
        let mut found: Vec<String> =
            text.lines().filter_map(|l| Some(l.split_whitespace().nth(3)?.split('/').next()?.to_owned())).collect();
        found.retain(|a| a != "127.0.0.1" && a != "169.254.170.2");
        found
    };
    let app = address(&["run", "--from", "orders"]);
    let side = address(&["run", "--from", "orders", "-c", "side"]);
    assert!(app.len() == 1 && app[0].starts_with("172.17.0.") && side.len() == 1 && app != side, "{app:?} {side:?}");
    assert_eq!(address(&["exec", "orders", "-c", "side"]), side);
    assert_eq!(address(&["exec", "orders"]), app);
    assert!(address(&["run", "--from", "front"]).contains(&front.address));
    assert_eq!(address(&["run", "--from", "alone"]), Vec::<String>::new());
    assert_eq!(address(&["exec", "alone"]), Vec::<String>::new());
    let hosts = |words: &[&str]| lab.ok(&[words, &["--", "cat", "/etc/hosts"]].concat());
    assert!(hosts(&["run", "--from", "orders"]).contains("store"));
    assert!(hosts(&["run", "--from", "orders", "-c", "side"]).contains("192.0.2.7"));
    for from in ["orders", "front"] {
        let resolver = lab.ok(&["run", "--from", from, "--", "cat", "/etc/resolv.conf"]);
        assert!(resolver.contains("nameserver 10.0.0.2"), "{from}: {resolver}");
    }
    let answer = lab.run(&["run", "--from", "orders", "-c", "db", "--", "true"]);
    assert_eq!(answer.code, 2, "{answer:#?}");
    assert!(answer.stderr.contains("has no container `db`"), "{answer:#?}");

    // Names, as the task asks for them.
    let name = format!("orders.{}.local", lab.stack);
    for from in ["orders", "front"] {
        let answer = lab.ok(&["dig", &name, "SRV", "--from", from]);
        assert!(answer.contains(&format!("1 1 {} {}", orders.host_ports[0], orders.id)), "{answer}");
    }
    let answer = lab.run(&["dig", &name, "--from", "alone"]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert!(answer.stderr.contains("network mode none"), "{answer:#?}");
    lab.down();
}

#[test]
fn the_flow_log_of_a_task_in_bridge_mode_is_that_of_its_instance() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
networkMode: bridge
vpc: {{ internet: false, subnets: [ {{ name: s, zone: a, cidr: 10.0.0.0/24 }} ] }}
services:
  orders: {{ taskDefinition: {} }}
  own: {{ taskDefinition: {}, networkMode: awsvpc, connectsTo: [orders] }}
",
        definition("orders", &[mapped("app", json!([{ "containerPort": 8080 }]))]),
        definition("own", &[waiting("app")]),
    ));
    let (orders, own) = (lab.one("orders"), lab.one("own"));
    let instance = lab.instances().into_iter().find(|i| i["ecsnet"]["instanceId"] == orders.instance.as_str()).unwrap();
    let eni = instance["ecsnet"]["networkInterfaceId"].as_str().unwrap().to_owned();
    serve_tcp(&orders, 8080);
    // By its service, and by the instance.
    for target in ["orders", instance["ec2InstanceId"].as_str().unwrap()] {
        let mut command = lab.command();
        command.args(["flow-log", "--follow", target]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("logging"), "{said}");
        let port = orders.host_ports[0];
        assert_eq!(e2e::probe::tcp(&own, &orders, port), e2e::probe::Outcome::Answered);
        assert_eq!(e2e::probe::tcp(&own, &orders, 81), e2e::probe::Outcome::Dropped);
        let (mut accepted, mut rejected) = (false, false);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[2], eni, "{line}");
            let towards = words[3] == own.address && words[4] == orders.address;
            accepted |= towards && words[6] == port.to_string() && words[12] == "ACCEPT";
            rejected |= towards && words[6] == "81" && words[12] == "REJECT";
            if accepted && rejected {
                break;
            }
        }
        assert!(accepted && rejected, "the log ended");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    lab.down();
}
