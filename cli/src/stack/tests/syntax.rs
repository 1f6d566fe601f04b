//! The file itself: what is no YAML or JSON, keys and types, names of nothing, and where a fault is shown.

use super::*;

#[test]
fn the_other_examples_load_without_a_word() {
    for file in ["stack.yaml", "broken.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/debian").join(file);
        let loaded = load(&path, &Overrides::default());
        assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "", "{file}");
        assert!(loaded.stack.is_some());
    }
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
