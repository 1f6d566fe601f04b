//! The VPC, its subnets, security groups and what `connectsTo` opens.

use super::*;

#[test]
fn subnets_that_overlap_are_both_named_and_every_fault_is_told() {
    insta::assert_snapshot!(report_of("name: shop\nvpc:\n  cidr: 10.0.0.0/16\n  subnets:\n    - { name: one, zone: a, cidr: 10.0.0.0/23 }\n    - { name: two, zone: us-east-1b, cidr: 10.0.1.0/24 }\n    - { name: two, zone: b, cidr: 10.0.2.0/24 }\n    - { name: three, zone: a, cidr: 10.1.0.0/24 }\n    - { name: four, zone: a, cidr: 10.0.9.0/30 }\nservices: {}\n"), @r###"
error: The CIDR '10.0.1.0/24' conflicts with another subnet
 --> stack.yaml:6:44
  |
6 |     - { name: two, zone: us-east-1b, cidr: 10.0.1.0/24 }
  |                                            ^^^^^^^^^^^
  |
  = hint: `two` overlaps `one`, which has 10.0.0.0/23

error: subnet `two` is there twice
 --> stack.yaml:7:15
  |
7 |     - { name: two, zone: b, cidr: 10.0.2.0/24 }
  |               ^^^
  |
  = hint: the first one is number 2 of the list

error: The CIDR '10.1.0.0/24' is invalid.
 --> stack.yaml:8:37
  |
8 |     - { name: three, zone: a, cidr: 10.1.0.0/24 }
  |                                     ^^^^^^^^^^^
  |
  = hint: subnet `three` is not inside the VPC's 10.0.0.0/16

error: The CIDR '10.0.9.0/30' is invalid.
 --> stack.yaml:9:36
  |
9 |     - { name: four, zone: a, cidr: 10.0.9.0/30 }
  |                                    ^^^^^^^^^^^
  |
  = hint: an IPv4 block of /16 to /28
"###);
}

#[test]
fn a_vpc_has_its_own_bounds() {
    insta::assert_snapshot!(report_of("name: shop\nvpc: { cidr: 127.0.0.0/16 }\nservices: {}\n"), @r###"
error: The CIDR '127.0.0.0/16' is invalid.
 --> stack.yaml:2:14
  |
2 | vpc: { cidr: 127.0.0.0/16 }
  |              ^^^^^^^^^^^^
  |
  = hint: a VPC cannot be inside 127.0.0.0/8
"###);
    insta::assert_snapshot!(report_of("name: shop\nvpc: { cidr: 10.0.0.0/8 }\nservices: {}\n"), @r###"
error: The CIDR '10.0.0.0/8' is invalid.
 --> stack.yaml:2:14
  |
2 | vpc: { cidr: 10.0.0.0/8 }
  |              ^^^^^^^^^^
  |
  = hint: an IPv4 block of /16 to /28
"###);
    insta::assert_snapshot!(report_of("name: shop\nvpc: { cidr: 10.0.0 }\nservices: {}\n"), @r###"
error: CIDR block 10.0.0 is malformed
 --> stack.yaml:2:14
  |
2 | vpc: { cidr: 10.0.0 }
  |              ^^^^^^
  |
  = hint: for example 10.0.0.0/16
"###);
    insta::assert_snapshot!(report_of("name: shop\nvpc: { cidr: 10.0.0.0/29 }\nservices: {}\n"), @r###"
error: The CIDR '10.0.0.0/29' is invalid.
 --> stack.yaml:2:14
  |
2 | vpc: { cidr: 10.0.0.0/29 }
  |              ^^^^^^^^^^^
  |
  = hint: an IPv4 block of /16 to /28
"###);
}

#[test]
fn rules_are_checked_in_ec2s_words() {
    insta::assert_snapshot!(report_of(r#"name: shop
securityGroups:
  sg-mine: {}
  web: {}
  database:
    ingress:
      - { ports: 9000-8000, from: self }
      - { port: 65536, from: 10.0.0.0/8 }
      - { protocol: tpc, port: 1, from: self }
      - { protocol: icmp, port: 1, from: self }
      - { protocol: icmp, code: 1, from: self }
      - { from: self }
      - { port: 80 }
      - { port: 80, to: self }
      - { port: 80, from: host }
      - { port: 80, from: 10.0.0/8 }
services:
  web: { taskDefinition: web.json }
"#), @r###"
error: Group names may not be in the format sg-*
 --> stack.yaml:3:3
  |
3 |   sg-mine: {}
  |   ^^^^^^^

error: `web` is a service and a security group
 --> stack.yaml:4:3
  |
4 |   web: {}
  |   ^^^
  |
  = hint: a rule could mean either; name the group otherwise

error: Invalid TCP/UDP port range(9000:8000)
 --> stack.yaml:7:18
  |
7 |       - { ports: 9000-8000, from: self }
  |                  ^^^^^^^^^
  |
  = hint: the lower port comes first: 8000-9000

error: TCP/UDP (from) port (65536) out of range
 --> stack.yaml:8:17
  |
8 |       - { port: 65536, from: 10.0.0.0/8 }
  |                 ^^^^^
  |
  = hint: ports end at 65535

error: Invalid value 'tpc' for IP protocol. Unknown protocol.
 --> stack.yaml:9:21
  |
9 |       - { protocol: tpc, port: 1, from: self }
  |                     ^^^
  |
  = hint: did you mean `tcp`?

error: only tcp and udp have ports
  --> stack.yaml:10:33
   |
10 |       - { protocol: icmp, port: 1, from: self }
   |                                 ^

error: a `code` without a `type` means nothing
  --> stack.yaml:11:33
   |
11 |       - { protocol: icmp, code: 1, from: self }
   |                                 ^

error: a rule must say which ports
  --> stack.yaml:12:9
   |
12 |       - { from: self }
   |         ^^^^^^^^^^^^
   |
   = hint: `port: 8080`, `ports: 8000-8100`, or `protocol: all`

error: a rule must say `from` whom
  --> stack.yaml:13:9
   |
13 |       - { port: 80 }
   |         ^^^^^^^^^^
   |
   = hint: a group's name, a service's name, a CIDR, or `self`

error: an ingress rule says `from`, not `to`
  --> stack.yaml:14:25
   |
14 |       - { port: 80, to: self }
   |                         ^^^^

error: the host has no way into this VPC
  --> stack.yaml:15:27
   |
15 |       - { port: 80, from: host }
   |                           ^^^^
   |
   = hint: set `hostAccess: true` in `vpc`, or reach tasks with `ecsnet forward TARGET:PORT`

error: CIDR block 10.0.0/8 is malformed
  --> stack.yaml:16:27
   |
16 |       - { port: 80, from: 10.0.0/8 }
   |                           ^^^^^^^^
   |
   = hint: for example 10.0.0.0/16
"###);
}

#[test]
fn rules_and_groups_of_a_file_become_the_networks() {
    let stack = stack_of(
        r#"name: shop
region: eu-west-1
vpc: { cidr: 10.7.3.4/16 }
securityGroups:
  database:
    description: who may ask
    ingress:
      - { port: 6379, from: web }
      - { protocol: icmp, type: 8, from: 10.0.0.77/16 }
      - { ports: 8000-8100, protocol: udp, from: [orders, self, 10.9.0.0/16] }
      - { protocol: 47, from: default }
    egress: []
services:
  web: { taskDefinition: web.json, connectsTo: [orders] }
  orders: { taskDefinition: web.json }
  redis:
    taskDefinition: web.json
    networkConfiguration: { awsvpcConfiguration: { subnets: [private-b], securityGroups: [database] } }
"#,
    );
    assert_eq!(stack.vpc.cidr.to_string(), "10.7.0.0/16");
    insta::assert_snapshot!(groups(&stack), @r###"
database: who may ask
  in from web: tcp 6379-6379
  in from 10.0.0.0/16: Icmp { kind: Some(8), code: None }
  in from orders: udp 8000-8100
  in from database: udp 8000-8100
  in from 10.9.0.0/16: udp 8000-8100
  in from default: Protocol(47)
default: default VPC security group
  in from default: All
  out to 0.0.0.0/0: All
orders: made for service orders
  in from web: tcp 8080-8080
  out to 0.0.0.0/0: All
web: made for service web
  out to 0.0.0.0/0: All
"###);
    assert_eq!(stack.services["redis"].subnets.len(), 1);
}

#[test]
fn connects_to_says_when_it_opens_nothing() {
    insta::assert_snapshot!(report_of("name: shop\nservices:\n  web:\n    taskDefinition: web.json\n    connectsTo: [orders, users]\n  orders:\n    taskDefinition: web.json\n    securityGroups: [default]\n  users:\n    taskDefinition: { family: users, networkMode: awsvpc, containerDefinitions: [ { name: a, image: a, memory: 9 } ] }\n"), @r###"
warning: this opens nothing: `orders` has `securityGroups` of its own
 --> stack.yaml:5:18
  |
5 |     connectsTo: [orders, users]
  |                  ^^^^^^
  |
  = hint: add an ingress rule `from: web` to one of them

warning: this opens nothing: the task definition of `users` maps no port
 --> stack.yaml:5:26
  |
5 |     connectsTo: [orders, users]
  |                          ^^^^^
  |
  = hint: give it `portMappings`
"###);
}

#[test]
fn the_host_is_a_peer_of_ingress_rules_where_it_has_access() {
    let file = |vpc: &str, rule: &str| {
        format!(
            "name: shop\nvpc: {vpc}\nsecurityGroups:\n  open: {{ {rule} }}\nservices:\n  web: {{ taskDefinition: web.json, securityGroups: [open] }}\n"
        )
    };
    let stack = stack_of(&file("{ hostAccess: true }", "ingress: [ { port: 80, from: host } ]"));
    assert!(stack.vpc.host_access);
    assert!(groups(&stack).contains("in from 169.254.172.1/32: tcp 80-80"), "{}", groups(&stack));

    insta::assert_snapshot!(report_of(&file("{}", "ingress: [ { port: 80, from: host } ]")), @r"
    error: the host has no way into this VPC
     --> stack.yaml:4:40
      |
    4 |   open: { ingress: [ { port: 80, from: host } ] }
      |                                        ^^^^
      |
      = hint: set `hostAccess: true` in `vpc`, or reach tasks with `ecsnet forward TARGET:PORT`
    ");
    insta::assert_snapshot!(report_of(&file("{ hostAccess: true }", "egress: [ { port: 80, to: host } ]")), @r"
    error: nothing in the VPC opens a connection to the host
     --> stack.yaml:4:37
      |
    4 |   open: { egress: [ { port: 80, to: host } ] }
      |                                     ^^^^
      |
      = hint: the host opens them: `from: host` in an ingress rule
    ");
}
