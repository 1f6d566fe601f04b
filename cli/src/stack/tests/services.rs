//! Services and deployments.

use super::*;

#[test]
fn what_is_not_emulated_is_refused_or_said_to_have_no_effect() {
    insta::assert_snapshot!(report_of(r#"name: shop
networkMode: bridge
connect: app-mesh
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
error: connect `app-mesh` is not emulated yet
 --> stack.yaml:3:10
  |
3 | connect: app-mesh
  |          ^^^^^^^^
  |
  = hint: connect: discovery

warning: there is no container instance: no task of orders, web finds a place
 --> stack.yaml:4:1
  |
4 | capacity: []
  | ^^^^^^^^
  |
  = hint: leave `capacity` out to get as many as the tasks need

error: `loadBalancers` is not emulated yet
 --> stack.yaml:5:1
  |
5 | loadBalancers: {}
  | ^^^^^^^^^^^^^
  |
  = hint: `connect: discovery` needs none

error: `targetGroups` is not emulated yet
 --> stack.yaml:6:1
  |
6 | targetGroups: {}
  | ^^^^^^^^^^^^
  |
  = hint: `connect: discovery` needs none

note: security groups are those of the container instance: what one of these services is let in to, or lets in, holds for all of them that have a task there (orders, web) (stack.yaml:7:1)
note: host: security groups move from each task to its container instance (web) (stack.yaml:11:18)
note: host: names have SRV records in place of A: a client asks for the port too, which is the instance's (web) (stack.yaml:11:18)
note: host: a container's port is its instance's: two tasks with one port are never on one instance (web) (stack.yaml:11:18)
"###);
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
