//! What a user sees for each kind of bad stack file, and that good ones load.

use std::path::{Path, PathBuf};

use agent::spec::security_group::{Peer, Rule, Traffic};
use agent::spec::task_definition::TaskDefinition;

use super::*;

/// A folder of files for one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn load(&self, overrides: &Overrides) -> Loaded {
        load(&self.0.path().join("stack.yaml"), overrides)
    }

    /// What the user reads, with the folder's path left out.
    fn report(&self, overrides: &Overrides) -> String {
        let loaded = self.load(overrides);
        let text = report::render(&loaded.problems, &loaded.sources, false);
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

const WEB: &str = r#"{"family": "web", "networkMode": "awsvpc", "containerDefinitions": [
  {"name": "web", "image": "web", "memory": 64, "portMappings": [{"containerPort": 8080}]}]}"#;

/// What the user reads for a stack file beside a good task definition `web.json`.
fn report_of(stack: &str) -> String {
    Folder::with(&[("stack.yaml", stack), ("web.json", WEB)]).report(&Overrides::default())
}

/// What the user reads for a task definition that a good stack file names.
fn report_of_definition(name: &str, definition: &str) -> String {
    let stack = format!("name: shop\nservices:\n  web:\n    taskDefinition: {name}\n");
    Folder::with(&[("stack.yaml", &stack), (name, definition)]).report(&Overrides::default())
}

/// The stack of a file that has nothing wrong with it.
fn stack_of(stack: &str) -> Stack {
    let loaded = Folder::with(&[("stack.yaml", stack), ("web.json", WEB)]).load(&Overrides::default());
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    loaded.stack.unwrap()
}

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop/stack.yaml")
}

/// Groups as lines, for snapshots.
fn groups(stack: &Stack) -> String {
    let mut lines = String::new();
    for (name, group) in &stack.security_groups {
        lines.push_str(&format!("{name}: {}\n", group.description));
        for (word, rules) in [("in from", &group.ingress), ("out to", &group.egress)] {
            for Rule { traffic, peer } in rules {
                let traffic = match traffic {
                    Traffic::Tcp(range) => format!("tcp {}-{}", range.first, range.last),
                    Traffic::Udp(range) => format!("udp {}-{}", range.first, range.last),
                    other => format!("{other:?}"),
                };
                let peer = match peer {
                    Peer::Cidr(block) => block.to_string(),
                    Peer::Group(group) => group.to_string(),
                };
                lines.push_str(&format!("  {word} {peer}: {traffic}\n"));
            }
        }
    }
    lines
}

#[test]
fn the_shop_loads_without_a_word() {
    let loaded = load(&shop(), &Overrides::default());
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    let stack = loaded.stack.unwrap();
    assert_eq!(stack.services.len(), 3);
    assert_eq!(stack.dns_namespace, "shop.local");
    assert!(!stack.vpc.internet);
    let subnets: Vec<_> =
        stack.vpc.subnets.iter().map(|s| format!("{} {} {}", s.name, s.availability_zone, s.cidr)).collect();
    assert_eq!(subnets, ["private-a us-east-1a 10.0.0.0/24", "private-b us-east-1b 10.0.1.0/24"]);
    insta::assert_snapshot!(groups(&stack), @r###"
default: default VPC security group
  in from default: All
  out to 0.0.0.0/0: All
orders: made for service orders
  in from web: tcp 8080-8080
  out to 0.0.0.0/0: All
users: made for service users
  in from orders: tcp 8080-8080
  out to 0.0.0.0/0: All
web: made for service web
  out to 0.0.0.0/0: All
"###);
}

#[test]
fn yaml_that_is_no_yaml_is_one_message() {
    insta::assert_snapshot!(report_of("name: shop\nservices: {web: [\n"), @r###"
error: not valid YAML: while parsing a node, did not find expected node content
 --> stack.yaml:2:19
  |
2 | services: {web: [
  |                  ^
"###);
}

#[test]
fn a_key_that_is_there_twice_is_told_at_the_second() {
    insta::assert_snapshot!(report_of("name: shop\nservices:\n  web: {taskDefinition: web.json}\n  web: {taskDefinition: web.json}\n"), @r###"
error: the key `web` is there twice
 --> stack.yaml:4:3
  |
4 |   web: {taskDefinition: web.json}
  |   ^^^
  |
  = hint: keep one of the two
"###);
}

#[test]
fn an_empty_file_is_said_to_be_empty() {
    insta::assert_snapshot!(report_of(""), @r###"
error: the file is empty
--> stack.yaml
"###);
}

#[test]
fn a_file_that_is_not_there_names_the_one_beside_it() {
    let folder = Folder::with(&[("stack.yml", "name: shop")]);
    insta::assert_snapshot!(folder.report(&Overrides::default()), @r###"
error: cannot read the stack file `stack.yaml`: there is no such file
--> stack.yaml
 = hint: did you mean `stack.yml`?
"###);
}

#[test]
fn a_task_definition_that_is_not_there_is_told_where_it_is_named() {
    insta::assert_snapshot!(report_of("name: shop\nservices:\n  web:\n    taskDefinition: wbe.json\n"), @r###"
error: cannot read the task definition `wbe.json`: there is no such file
 --> stack.yaml:4:21
  |
4 |     taskDefinition: wbe.json
  |                     ^^^^^^^^
  |
  = hint: did you mean `web.json`?
"###);
}

#[test]
fn json_with_a_trailing_comma_is_no_json() {
    insta::assert_snapshot!(report_of_definition("task.json", "{\n  \"family\": \"web\",\n}\n"), @r###"
error: not valid JSON: trailing comma
 --> task.json:3:1
  |
3 | }
  | ^
  |
  = hint: remove the comma before it
"###);
}

#[test]
fn json_may_have_tabs_and_escapes_that_yaml_has_not() {
    let definition = definition_of(
        "{\n\t\"family\": \"web\",\n\t\"networkMode\": \"awsvpc\",\n\t\"containerDefinitions\": [\n\t\t{\"name\": \"a\", \"image\": \"a\\/b\", \"memory\": 64,\n\t\t\"command\": [\"\\ud83d\\ude00\"]}\n\t]\n}\n",
    );
    let container = &definition.container_definitions[0];
    assert_eq!((container.image.as_str(), &container.command), ("a/b", &Some(vec!["😀".to_owned()])));
}

#[test]
fn unknown_fields_name_the_nearest_known_one() {
    insta::assert_snapshot!(report_of("name: shop\nregoin: us-east-1\nservices:\n  web:\n    taskDefintion: web.json\n    colour: blue\n"), @r###"
error: unknown field `regoin`
 --> stack.yaml:2:1
  |
2 | regoin: us-east-1
  | ^^^^^^
  |
  = hint: did you mean `region`?

error: unknown field `taskDefintion`
 --> stack.yaml:5:5
  |
5 |     taskDefintion: web.json
  |     ^^^^^^^^^^^^^
  |
  = hint: did you mean `taskDefinition`?

error: unknown field `colour`
 --> stack.yaml:6:5
  |
6 |     colour: blue
  |     ^^^^^^
  |
  = hint: known here: `taskDefinition`, `desiredCount`, `protocol`, `connectsTo`, `securityGroups`, `subnets`, `discovery`, `deployment`, `healthCheckGracePeriodSeconds`, `networkMode`, `launchType`, `networkConfiguration`, …
"###);
}

#[test]
fn values_of_another_type_say_what_was_expected() {
    insta::assert_snapshot!(report_of("name: 12\nvpc: [10.0.0.0/16]\nservices:\n  web:\n    taskDefinition: web.json\n    desiredCount: two\n    connectsTo: web\n"), @r###"
error: expected a text, found the number 12
 --> stack.yaml:1:7
  |
1 | name: 12
  |       ^^
  |
  = hint: put it in quotes: "12"

error: expected a mapping, found a list
 --> stack.yaml:2:6
  |
2 | vpc: [10.0.0.0/16]
  |      ^^^^^^^^^^^^

error: expected a whole number, found the text `two`
 --> stack.yaml:6:19
  |
6 |     desiredCount: two
  |                   ^^^

error: expected a list, found the text `web`
 --> stack.yaml:7:17
  |
7 |     connectsTo: web
  |                 ^^^
"###);
}

#[test]
fn names_of_nothing_are_told_with_the_nearest_name() {
    insta::assert_snapshot!(report_of("name: shop\nsecurityGroups:\n  database:\n    ingress:\n      - { port: 6379, from: wbe }\nservices:\n  web:\n    taskDefinition: web.json\n    connectsTo: [oders, web]\n    subnets: [private-c]\n  orders:\n    taskDefinition: web.json\n    securityGroups: [databse]\n"), @r###"
error: The security group 'wbe' does not exist
 --> stack.yaml:5:29
  |
5 |       - { port: 6379, from: wbe }
  |                             ^^^
  |
  = hint: did you mean `web`?

error: there is no service `oders`
 --> stack.yaml:9:18
  |
9 |     connectsTo: [oders, web]
  |                  ^^^^^
  |
  = hint: did you mean `orders`?

error: service `web` cannot connect to itself
 --> stack.yaml:9:25
  |
9 |     connectsTo: [oders, web]
  |                         ^^^

error: Error retrieving subnet information for [private-c]: The subnet ID 'private-c' does not exist (ErrorCode: InvalidSubnetID.NotFound)
  --> stack.yaml:10:15
   |
10 |     subnets: [private-c]
   |               ^^^^^^^^^
   |
   = hint: did you mean `private-b`?

error: Error retrieving security group information for [databse]: The security group 'databse' does not exist (ErrorCode: InvalidGroup.NotFound)
  --> stack.yaml:13:22
   |
13 |     securityGroups: [databse]
   |                      ^^^^^^^
   |
   = hint: did you mean `database`?
"###);
}

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

error: `host` as a rule's peer is not emulated yet
  --> stack.yaml:15:21
   |
15 |       - { port: 80, from: host }
   |                     ^^^^

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
fn columns_are_right_after_text_that_is_not_ascii() {
    insta::assert_snapshot!(report_of("# größer, 大きい\nname: shop\nservices: { web: { taskDefinition: web.json, discovery: { name: \"größe-大\", tll: 5 } } }\n"), @r###"
error: `größe-大` cannot be a Cloud Map service's name
 --> stack.yaml:3:65
  |
3 | services: { web: { taskDefinition: web.json, discovery: { name: "größe-大", tll: 5 } } }
  |                                                                 ^^^^^^^^^^
  |
  = hint: up to 127 letters, digits, `-` and `_` in labels of up to 63

error: unknown field `tll`
 --> stack.yaml:3:76
  |
3 | services: { web: { taskDefinition: web.json, discovery: { name: "größe-大", tll: 5 } } }
  |                                                                             ^^^
  |
  = hint: did you mean `ttl`?
"###);
}

#[test]
fn what_is_not_emulated_is_refused_or_said_to_have_no_effect() {
    insta::assert_snapshot!(report_of(r#"name: shop
networkMode: bridge
connect: app-mesh
vpc: { hostAccess: true }
capacity: []
loadBalancers: {}
targetGroups: {}
services:
  web:
    taskDefinition: web.json
    placement: {}
    networkMode: host
  orders:
    taskDefinition: { family: orders, containerDefinitions: [ { name: a, image: a, memory: 9 } ] }
"#), @r###"
error: network mode `bridge` is not emulated yet
 --> stack.yaml:2:14
  |
2 | networkMode: bridge
  |              ^^^^^^
  |
  = hint: networkMode: awsvpc

error: connect `app-mesh` is not emulated yet
 --> stack.yaml:3:10
  |
3 | connect: app-mesh
  |          ^^^^^^^^
  |
  = hint: connect: discovery

error: `hostAccess: true` is not emulated yet
 --> stack.yaml:4:8
  |
4 | vpc: { hostAccess: true }
  |        ^^^^^^^^^^
  |
  = hint: leave it out, and reach tasks with `ecsnet run --from TASK -- CMD`

warning: `capacity` has no effect yet
 --> stack.yaml:5:1
  |
5 | capacity: []
  | ^^^^^^^^

error: `loadBalancers` is not emulated yet
 --> stack.yaml:6:1
  |
6 | loadBalancers: {}
  | ^^^^^^^^^^^^^
  |
  = hint: `connect: discovery` needs none

error: `targetGroups` is not emulated yet
 --> stack.yaml:7:1
  |
7 | targetGroups: {}
  | ^^^^^^^^^^^^
  |
  = hint: `connect: discovery` needs none

warning: `placement` has no effect yet
  --> stack.yaml:11:5
   |
11 |     placement: {}
   |     ^^^^^^^^^

error: network mode `host` is not emulated yet
  --> stack.yaml:12:18
   |
12 |     networkMode: host
   |                  ^^^^
   |
   = hint: --network-mode awsvpc, or `networkMode: awsvpc` in the service
"###);
}

#[test]
fn a_definition_that_says_nothing_of_networks_is_bridge_as_in_ecs() {
    insta::assert_snapshot!(report_of("name: shop\nservices:\n  web:\n    taskDefinition: { family: web, containerDefinitions: [ { name: a, image: a, memory: 9 } ] }\n"), @r###"
error: network mode `bridge` is not emulated yet
 --> stack.yaml:3:3
  |
3 |   web:
  |   ^^^
  |
  = hint: --network-mode awsvpc, or `networkMode: awsvpc` in the stack file; without either ECS runs it in bridge mode
"###);
    stack_of(
        "name: shop\nlaunchType: FARGATE\nservices:\n  web:\n    taskDefinition: { family: web, containerDefinitions: [ { name: a, image: a, memory: 9 } ] }\n",
    );
}

#[test]
fn deployments_that_could_never_go_on_are_refused() {
    insta::assert_snapshot!(report_of("name: shop\nservices:\n  web:\n    taskDefinition: web.json\n    deployment: { maximumPercent: 100 }\n  orders:\n    taskDefinition: web.json\n    deploymentConfiguration: { minimumHealthyPercent: 101 }\n"), @r###"
error: Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.
 --> stack.yaml:5:17
  |
5 |     deployment: { maximumPercent: 100 }
  |                 ^^^^^^^^^^^^^^^^^^^^^

error: minimumHealthyPercent must be at most 100
 --> stack.yaml:8:55
  |
8 |     deploymentConfiguration: { minimumHealthyPercent: 101 }
  |                                                       ^^^
"###);
}

#[test]
fn names_of_stacks_and_services_have_their_rules() {
    insta::assert_snapshot!(report_of("name: shop-envoy\nnamespace: shop..local\nservices:\n  we b: { taskDefinition: web.json }\n"), @r###"
error: a stack's name cannot end in `-envoy`
 --> stack.yaml:1:7
  |
1 | name: shop-envoy
  |       ^^^^^^^^^^
  |
  = hint: containers of ecsnet's own have such names

error: `shop..local` cannot be a DNS namespace
 --> stack.yaml:2:12
  |
2 | namespace: shop..local
  |            ^^^^^^^^^^^
  |
  = hint: labels of up to 63 letters, digits and `-`, joined by dots, for example `shop.local`

error: ServiceName must match ^[a-zA-Z0-9\-_]{1,255}$, but was we b
 --> stack.yaml:4:3
  |
4 |   we b: { taskDefinition: web.json }
  |   ^^^^

error: `we b` cannot be a Cloud Map service's name
 --> stack.yaml:4:3
  |
4 |   we b: { taskDefinition: web.json }
  |   ^^^^
  |
  = hint: up to 127 letters, digits, `-` and `_` in labels of up to 63
"###);
    insta::assert_snapshot!(report_of("name: Shop\nservices: {}\n"), @r###"
error: `Shop` cannot be a stack's name
 --> stack.yaml:1:7
  |
1 | name: Shop
  |       ^^^^
  |
  = hint: a lower-case letter, then up to 30 lower-case letters, digits and `-`
"###);
}

#[test]
fn containers_are_checked_in_ecs_words() {
    insta::assert_snapshot!(report_of_definition("task.yaml", r#"family: we b
networkMode: awsvpc
cpu: 64
memory: 2 GB
containerDefinitions:
  - name: a
    image: a
    memory: 4096
    memoryReservation: 5000
    essential: false
    portMappings:
      - { containerPort: 80, hostPort: 8080 }
      - { containerPort: 70000 }
    dependsOn:
      - { containerName: b, condition: HEALTHY }
      - { containerName: sidecar, condition: START }
    healthCheck: { command: [CMD, x], interval: 301, retries: 0 }
  - name: b
    essential: false
    portMappings: [ { containerPort: "80" } ]
    dependsOn: [ { containerName: a, condition: START } ]
    hostname: b
    links: [a]
    ulimits: [ { name: nofile, softLimit: 9, hardLimit: 8 } ]
  - { name: b, image: b, essential: false, dependsOn: [ { containerName: a, condition: DONE } ] }
"#), @r###"
error: Family contains invalid characters.
 --> task.yaml:1:9
  |
1 | family: we b
  |         ^^^^
  |
  = hint: letters, digits, `-` and `_`, at most 255

error: Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.
 --> task.yaml:3:6
  |
3 | cpu: 64
  |      ^^
  |
  = hint: 128 to 196608 units; 1024 units are one vCPU

error: Task definition doesn't have any essential container
 --> task.yaml:5:1
  |
5 | containerDefinitions:
  | ^^^^^^^^^^^^^^^^^^^^

error: Invalid setting for container 'a'. The 'memory' setting for container 'a' is greater than for the task
 --> task.yaml:8:13
  |
8 |     memory: 4096
  |             ^^^^

error: Invalid setting for container 'a'. 'memory' must be greater than or equal to 'memoryReservation'
 --> task.yaml:9:24
  |
9 |     memoryReservation: 5000
  |                        ^^^^

error: When networkMode=awsvpc, the host ports and container ports in port mappings must match.
  --> task.yaml:12:40
   |
12 |       - { containerPort: 80, hostPort: 8080 }
   |                                        ^^^^

error: Invalid 'containerPort' setting for container 'a'
  --> task.yaml:13:26
   |
13 |       - { containerPort: 70000 }
   |                          ^^^^^
   |
   = hint: a port is from 1 to 65535

error: Container dependencies cannot form a cycle
  --> task.yaml:14:5
   |
14 |     dependsOn:
   |     ^^^^^^^^^
   |
   = hint: a → b → a

error: A dependency container with HEALTHY condition must have health check configured
  --> task.yaml:15:40
   |
15 |       - { containerName: b, condition: HEALTHY }
   |                                        ^^^^^^^

error: Cannot depend on container + 'sidecar' because it does not exist
  --> task.yaml:16:26
   |
16 |       - { containerName: sidecar, condition: START }
   |                          ^^^^^^^

error: Health check interval must be less than or equal to the maximum allowed value 300 for container 'a'
  --> task.yaml:17:49
   |
17 |     healthCheck: { command: [CMD, x], interval: 301, retries: 0 }
   |                                                 ^^^

error: Health check retries must be greater than or equal to the minimum allowed value 1 for container 'a'
  --> task.yaml:17:63
   |
17 |     healthCheck: { command: [CMD, x], interval: 301, retries: 0 }
   |                                                               ^

error: Container.image should not be null or empty.
  --> task.yaml:18:5
   |
18 |   - name: b
   |     ^^^^^^^

error: TCP container port '80' is used multiple times in task when networkMode=awsvpc.
  --> task.yaml:20:38
   |
20 |     portMappings: [ { containerPort: "80" } ]
   |                                      ^^^^

error: hostname is not supported on container when networkMode=awsvpc
  --> task.yaml:22:15
   |
22 |     hostname: b
   |               ^

error: Links are not supported when networkMode=awsvpc.
  --> task.yaml:23:12
   |
23 |     links: [a]
   |            ^^

error: Soft limit exceeds hard limit for ulimit nofile
  --> task.yaml:24:43
   |
24 |     ulimits: [ { name: nofile, softLimit: 9, hardLimit: 8 } ]
   |                                           ^

error: Container names must be unique within a task definition
  --> task.yaml:25:13
   |
25 |   - { name: b, image: b, essential: false, dependsOn: [ { containerName: a, condition: DONE } ] }
   |             ^

error: expected `START` or `COMPLETE` or `SUCCESS` or `HEALTHY`, found `DONE`
  --> task.yaml:25:88
   |
25 |   - { name: b, image: b, essential: false, dependsOn: [ { containerName: a, condition: DONE } ] }
   |                                                                                        ^^^^
"###);
}

#[test]
fn fargate_has_sizes() {
    insta::assert_snapshot!(report_of_definition("task.yaml", "family: web\nrequiresCompatibilities: [FARGATE]\nmemory: 3GB\ncontainerDefinitions: [ { name: a, image: a } ]\n"), @r###"
error: Fargate requires that 'cpu' be defined at the task level
 --> task.yaml:1:1
  |
1 | family: web
  | ^^^^^^^^^^^
"###);
    insta::assert_snapshot!(report_of_definition("task.yaml", "family: web\nrequiresCompatibilities: [FARGATE]\ncpu: .25 vCPU\nmemory: 3GB\nnetworkMode: bridge\ncontainerDefinitions: [ { name: a, image: a } ]\n"), @r###"
error: No Fargate configuration exists for given values.
 --> task.yaml:4:9
  |
4 | memory: 3GB
  |         ^^^
  |
  = hint: with 256 units, memory is one of 512, 1024, 2048

error: Fargate only supports network mode 'awsvpc'.
 --> task.yaml:5:14
  |
5 | networkMode: bridge
  |              ^^^^^^
"###);
}

#[test]
fn fields_of_ecs_that_do_nothing_here_are_named() {
    insta::assert_snapshot!(report_of_definition("task.yaml", r#"taskDefinition:
  family: web
  revision: 3
  status: ACTIVE
  networkMode: awsvpc
  taskRoleArn: arn:aws:iam::1:role/x
  volumes: []
  containerDefinitions:
    - name: a
      image: a
      memory: 64
      privileged: false
      mountPoints: []
      linuxParameters: { swappiness: 1, initProcessEnabled: true }
      logConfiguration: { logDriver: awslogs }
      healthCheck: { command: [/healthcheck] }
"#), @r###"
warning: `taskRoleArn` has no effect yet
 --> task.yaml:6:3
  |
6 |   taskRoleArn: arn:aws:iam::1:role/x
  |   ^^^^^^^^^^^

warning: `swappiness` has no effect yet
  --> task.yaml:14:26
   |
14 |       linuxParameters: { swappiness: 1, initProcessEnabled: true }
   |                          ^^^^^^^^^^

warning: `logConfiguration` has no effect yet
  --> task.yaml:15:7
   |
15 |       logConfiguration: { logDriver: awslogs }
   |       ^^^^^^^^^^^^^^^^

warning: this health check is never run: its command begins with `/healthcheck`, not with `CMD` or `CMD-SHELL`
  --> task.yaml:16:31
   |
16 |       healthCheck: { command: [/healthcheck] }
   |                               ^^^^^^^^^^^^^
   |
   = hint: ["CMD", "/healthcheck", …]
"###);
}

#[test]
fn describes_output_is_taken_as_it_is() {
    let definition = definition_of(
        "{\"taskDefinition\": {\"taskDefinitionArn\": \"x\", \"revision\": 1, \"family\": \"web\", \"networkMode\": \"awsvpc\", \"cpu\": \"1 vCPU\", \"memory\": \"2GB\", \"registeredBy\": \"x\", \"containerDefinitions\": [{\"name\": \"a\", \"image\": \"a\", \"memory\": \"64\", \"environment\": []}]}, \"tags\": []}",
    );
    assert_eq!((definition.cpu, definition.memory), (Some(1024), Some(2048)));
    assert_eq!(definition.container_definitions[0].memory, Some(64));
}

fn definition_of(definition: &str) -> TaskDefinition {
    let stack = "name: shop\nservices:\n  web:\n    taskDefinition: task.json\n";
    let loaded = Folder::with(&[("stack.yaml", stack), ("task.json", definition)]).load(&Overrides::default());
    assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
    loaded.stack.unwrap().services["web"].task_definition.clone()
}

#[test]
fn a_flag_that_overrides_a_definition_says_what_it_drops() {
    let stack = "name: shop\nservices:\n  web:\n    taskDefinition: task.yaml\n";
    let definition = "family: web\nnetworkMode: bridge\ncontainerDefinitions:\n  - { name: a, image: a, memory: 64, links: [b], portMappings: [ { containerPort: 80, hostPort: 8080 } ] }\n";
    let folder = Folder::with(&[("stack.yaml", stack), ("task.yaml", definition)]);
    let overrides = Overrides { network_mode: Some(NetworkMode::Awsvpc), connect: None };
    insta::assert_snapshot!(folder.report(&overrides), @r###"
warning: `links` is dropped: awsvpc has no such thing
 --> task.yaml:4:38
  |
4 |   - { name: a, image: a, memory: 64, links: [b], portMappings: [ { containerPort: 80, hostPort: 8080 } ] }
  |                                      ^^^^^

warning: host port 8080 is dropped: in awsvpc the task is reached at its own address, port 80
 --> task.yaml:4:97
  |
4 |   - { name: a, image: a, memory: 64, links: [b], portMappings: [ { containerPort: 80, hostPort: 8080 } ] }
  |                                                                                                 ^^^^
"###);
    let stack = folder.load(&overrides).stack.unwrap();
    assert_eq!(stack.services["web"].task_definition.container_definitions[0].port_mappings[0].host_port, None);
    insta::assert_snapshot!(folder.report(&Overrides { network_mode: Some(NetworkMode::Host), connect: Some(Connect::AppMesh) }), @r###"
error: When networkMode=host, the host ports and container ports in port mappings must match.
 --> task.yaml:4:97
  |
4 |   - { name: a, image: a, memory: 64, links: [b], portMappings: [ { containerPort: 80, hostPort: 8080 } ] }
  |                                                                                                 ^^^^

error: connect `app-mesh` is not emulated yet
 |
 = hint: --connect discovery

error: network mode `host` is not emulated yet
 |
 = hint: leave the flag out, or --network-mode awsvpc
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

/// Files that other people published: no panic, and every word about them can be justified.
#[test]
fn published_task_definitions_get_justified_messages() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let corpus = std::env::var_os("ECSNET_CORPUS").map_or(corpus, PathBuf::from);
    if !corpus.is_dir() {
        eprintln!("skipped: no corpus at {}", corpus.display());
        return;
    }
    for kind in ["task-definitions", "malformed"] {
        let mut files: Vec<_> = std::fs::read_dir(corpus.join(kind)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty());
        for file in files {
            let stack =
                format!("name: shop\nnetworkMode: awsvpc\nservices:\n  web:\n    taskDefinition: {}\n", file.display());
            let folder = Folder::with(&[("stack.yaml", &stack)]);
            let overrides = Overrides { network_mode: Some(NetworkMode::Awsvpc), connect: None };
            let loaded = folder.load(&overrides);
            println!("{}", report::render(&loaded.problems, &loaded.sources, false));
            let errors: Vec<_> = loaded.problems.iter().filter(|p| p.severity == Severity::Error).collect();
            if kind == "malformed" {
                assert_eq!(errors.len(), 1, "{}: {errors:?}", file.display());
                assert!(errors[0].message.starts_with("not valid JSON: "));
            }
        }
    }
}
