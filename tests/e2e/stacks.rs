//! Several stacks under one agent: the same names, blocks and addresses, and nothing in common.

use e2e::lab::{Lab, idle};
use e2e::probe::{Outcome, serve_tcp, tcp};
use serde_json::Value;

#[test]
fn stacks_side_by_side_share_names_and_addresses_and_do_not_meet() {
    let lab = Lab::new();
    let stack = |name: &str| {
        format!(
            "name: {name}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders] }}
  orders: {{ taskDefinition: {} }}
",
            idle("web", &[]),
            idle("orders", &[8080])
        )
    };
    let other = format!("{}-b", lab.stack);
    for name in [lab.stack.as_str(), &other] {
        let path = lab.write(&format!("{name}.yaml"), &stack(name));
        lab.ok(&["up", path.to_str().unwrap(), "--timeout", "120s"]);
    }
    let (webs, orders) = (lab.running("web"), lab.running("orders"));
    assert_eq!((webs.len(), orders.len()), (2, 2));
    assert_eq!(orders[0].address, orders[1].address, "each VPC leases the same addresses");

    // The same address is another task in each VPC: only one of the two listens.
    let (here, there) = (&orders[0], &orders[1]);
    let of = |task: &e2e::lab::Task| {
        let tasks = lab.tasks();
        let found = tasks.iter().find(|t| t["ecsnet"]["taskId"] == task.id.as_str()).unwrap();
        found["ecsnet"]["stack"].as_str().unwrap().to_owned()
    };
    let web_of = |stack: &str| webs.iter().find(|web| of(web) == stack).unwrap();
    serve_tcp(here, 8080);
    assert_eq!(tcp(web_of(&of(here)), here, 8080), Outcome::Answered);
    assert_eq!(tcp(web_of(&of(there)), there, 8080), Outcome::Refused, "let in, and nothing listens there");

    // A service's name alone could mean two; with its stack it is one.
    let both = lab.run(&["logs", "web"]);
    assert_eq!(both.code, 2, "{both:?}");
    assert!(both.stderr.contains(&format!("{other}/web")), "{both:?}");
    lab.ok(&["logs", &format!("{other}/web")]);
    let listed: Value = serde_json::from_str(&lab.ok(&["ps", &other, "--output", "json"])).unwrap();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 2);

    // One goes, the other one stays as it is.
    lab.ok(&["down", &other]);
    let left: Vec<_> = lab.running("orders").into_iter().map(|task| task.id).collect();
    assert_eq!(left, [orders.iter().find(|task| of(task) == lab.stack).unwrap().id.clone()]);
    lab.down();
}
