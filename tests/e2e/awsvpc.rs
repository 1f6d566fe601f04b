//! Tasks in awsvpc mode.

use e2e::lab::{Lab, idle};
use e2e::probe::{Outcome, serve_tcp, tcp};

#[test]
fn a_service_lets_in_those_that_connect_to_it_and_nobody_else() {
    let lab = Lab::new();
    lab.up(&format!(
        "name: {{name}}
vpc: {{ internet: false }}
services:
  web: {{ taskDefinition: {}, connectsTo: [orders] }}
  orders: {{ taskDefinition: {} }}
  other: {{ taskDefinition: {} }}
",
        idle("web", &[]),
        idle("orders", &[8080]),
        idle("other", &[])
    ));
    let (web, orders, other) = (lab.one("web"), lab.one("orders"), lab.one("other"));
    serve_tcp(&orders, 8080);
    serve_tcp(&orders, 8081);
    assert_eq!(tcp(&web, &orders, 8080), Outcome::Answered);
    assert_eq!(tcp(&web, &orders, 8081), Outcome::Dropped);
    assert_eq!(tcp(&other, &orders, 8080), Outcome::Dropped);
    lab.down();
}
