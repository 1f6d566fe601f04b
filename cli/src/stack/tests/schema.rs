//! The schema and the reader know the same keys and words, and files that the reader takes fit the schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::read::Asked;
use super::super::schema::schema;
use super::definitions::{corpus, files_of};
use super::*;

/// Every mapping and every choice of words that the reader has questions about; each once is enough.
const EVERYTHING: &str = include_str!("everything.yaml");
const DESCRIBED: &str = "taskDefinition: { family: web, containerDefinitions: [] }\ntags: []\n";

#[test]
fn the_schema_knows_what_the_reader_knows_and_no_more() {
    let schema = schema();
    let mut met = BTreeSet::new();
    let mut faults = Vec::new();
    for (place, asked) in asked() {
        let Some((at, known)) = at(&schema, &place) else {
            faults.push(format!("the schema has nothing at {place:?}, where the reader asks {asked:?}"));
            continue;
        };
        let (kind, read, written) = match &asked {
            Asked::Keys(keys) => {
                if known["additionalProperties"] != Value::Bool(false) {
                    faults.push(format!("{at} is open in the schema, and the reader refuses unknown keys"));
                }
                let properties = known["properties"].as_object();
                ("key", set(keys), properties.map(|p| p.keys().cloned().collect()))
            }
            Asked::Words(words) => {
                let words_of = |list: &Vec<Value>| list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                ("word", set(words), known["enum"].as_array().map(words_of))
            }
        };
        met.insert(at.clone());
        let written: BTreeSet<String> = written.unwrap_or_default();
        faults.extend(read.difference(&written).map(|name| format!("the schema lacks the {kind} `{name}` at {at}")));
        faults.extend(written.difference(&read).map(|name| format!("the reader lacks the {kind} `{name}` at {at}")));
    }
    let mut closed = BTreeSet::new();
    closed_objects(&schema, "", &mut closed);
    for at in closed.difference(&met) {
        faults.push(format!("{at} is closed, and the reader never asked for its keys: is it in everything.yaml?"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every question that the reader has about the file with everything.
fn asked() -> Vec<(Place, Asked)> {
    let folder = Folder::with(&[("stack.yaml", EVERYTHING), ("described.yaml", DESCRIBED)]);
    let path = folder.0.path().join("stack.yaml");
    let (findings, mut sources) = (Findings::default(), Sources::default());
    read_document(&mut sources, &findings, &path, "", None);
    read_task_definitions(&mut sources, &findings, &path);
    let root = Node::root("", &sources.document("").unwrap().value, &findings);
    to_spec::stack(&root, &sources, &findings, &Overrides::default());
    let asked = findings.asked.take();
    let mut problems = findings.into_problems();
    problems.retain(|p| {
        ["UnknownField", "UnknownValue", "WrongType", "Malformed", "Unreadable"].contains(&p.code.as_str())
    });
    assert!(problems.is_empty(), "{problems:?}");
    asked
}

fn set(names: &[String]) -> BTreeSet<String> {
    names.iter().cloned().collect()
}

/// The part of the schema that speaks of a value, and its place in the schema.
fn at<'s>(schema: &'s Value, place: &Place) -> Option<(String, &'s Value)> {
    let start = if place.document.is_empty() { "" } else { "/definitions/describedTaskDefinition" };
    let mut here = vec![(start.to_owned(), schema.pointer(start)?)];
    for token in place.pointer.split('/').skip(1) {
        here = here.into_iter().flat_map(|(at, part)| below(schema, &at, part, token)).collect();
    }
    let ends = here.into_iter().flat_map(|(at, part)| resolved(schema, &at, part));
    // Of a choice (a path, or a definition) the one with keys or words is meant.
    ends.into_iter().find(|(_, part)| part.get("properties").is_some() || part.get("enum").is_some())
}

fn below<'s>(schema: &'s Value, at: &str, part: &'s Value, token: &str) -> Vec<(String, &'s Value)> {
    resolved(schema, at, part)
        .into_iter()
        .filter_map(|(at, part)| {
            if let Some(property) = part["properties"].get(token) {
                return Some((format!("{at}/properties/{token}"), property));
            }
            if token.bytes().all(|b| b.is_ascii_digit()) && part.get("items").is_some() {
                return Some((format!("{at}/items"), &part["items"]));
            }
            part.get("additionalProperties")
                .filter(|p| p.is_object())
                .map(|p| (format!("{at}/additionalProperties"), p))
        })
        .collect()
}

/// A part with its references followed, and each of its choices.
fn resolved<'s>(schema: &'s Value, at: &str, part: &'s Value) -> Vec<(String, &'s Value)> {
    if let Some(reference) = part["$ref"].as_str() {
        let at = reference.trim_start_matches('#');
        return resolved(schema, at, schema.pointer(at).unwrap());
    }
    match part["anyOf"].as_array() {
        Some(choices) => choices
            .iter()
            .enumerate()
            // The stack file with everything has definitions as they are; the other form is read from a file.
            .filter(|(_, choice)| choice["$ref"] != "#/definitions/describedTaskDefinition")
            .flat_map(|(index, choice)| resolved(schema, &format!("{at}/anyOf/{index}"), choice))
            .collect(),
        None => vec![(at.to_owned(), part)],
    }
}

/// Every mapping of the schema that takes no other keys than its own.
fn closed_objects(part: &Value, at: &str, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
                found.insert(at.to_owned());
            }
            for (key, value) in fields {
                closed_objects(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                closed_objects(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_says_what_it_is() {
    fn walk(part: &Value, at: &str, faults: &mut Vec<String>) {
        for (key, property) in part["properties"].as_object().into_iter().flatten() {
            let description = property["description"].as_str().unwrap_or_default();
            if property.get("$ref").is_none() && description.is_empty() {
                faults.push(format!("{at}/{key}"));
            }
            walk(property, &format!("{at}/{key}"), faults);
        }
        for (name, definition) in part["definitions"].as_object().into_iter().flatten() {
            walk(definition, name, faults);
        }
        for below in ["items", "additionalProperties"].iter().filter_map(|key| part.get(key)) {
            walk(below, at, faults);
        }
    }
    let mut faults = Vec::new();
    walk(&schema(), "", &mut faults);
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn defaults_of_the_schema_are_the_readers() {
    let stack = stack_of("name: shop\nservices:\n  web: { taskDefinition: web.json, deployment: {}, discovery: {} }\n");
    let schema = schema();
    let default = |pointer: &str| schema.pointer(&format!("{pointer}/default")).cloned().unwrap();
    let service = |key: &str| default(&format!("/definitions/service/properties/{key}"));
    let web = &stack.services["web"];
    assert_eq!(default("/properties/region"), stack.region);
    assert_eq!(default("/properties/vpc/properties/cidr"), stack.vpc.cidr.to_string());
    assert_eq!(default("/properties/vpc/properties/internet"), stack.vpc.internet);
    assert_eq!(service("desiredCount"), web.desired_count);
    assert_eq!(service("healthCheckGracePeriodSeconds"), web.health_check_grace_period_seconds);
    assert_eq!(service("discovery/properties/ttl"), web.discovery.as_ref().unwrap().ttl);
    assert_eq!(
        service("deployment/properties/minimumHealthyPercent"),
        web.deployment_configuration.minimum_healthy_percent
    );
    assert_eq!(service("deployment/properties/maximumPercent"), web.deployment_configuration.maximum_percent);
    let definition = definition_of(
        r#"{"family": "web", "networkMode": "awsvpc", "containerDefinitions": [
            {"name": "a", "image": "a", "memory": 64, "portMappings": [{"containerPort": 80}], "healthCheck": {"command": ["CMD", "x"]}}]}"#,
    );
    let container = &definition.container_definitions[0];
    let check = container.health_check.as_ref().unwrap();
    let of_check = |key: &str| default(&format!("/definitions/healthCheck/properties/{key}"));
    assert_eq!(of_check("interval"), check.interval.as_secs());
    assert_eq!(of_check("timeout"), check.timeout.as_secs());
    assert_eq!(of_check("retries"), check.retries);
    assert_eq!(of_check("startPeriod"), check.start_period.as_secs());
    assert_eq!(default("/definitions/containerDefinition/properties/essential"), container.essential);
    assert_eq!(default("/definitions/containerDefinition/properties/cpu"), container.cpu);
    assert_eq!(default("/definitions/portMapping/properties/protocol"), "tcp");
}

/// What the schema says against a document; the reader takes null for "left out", and an editor may well mark it.
fn faults_of(schema: &Value, mut document: Value) -> Vec<String> {
    fn without_nulls(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|_, value| !value.is_null());
                fields.values_mut().for_each(without_nulls);
            }
            Value::Array(items) => items.iter_mut().for_each(without_nulls),
            _ => {}
        }
    }
    without_nulls(&mut document);
    let validator = jsonschema::draft7::new(schema).unwrap();
    validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn value_of(text: &str, file: &str) -> Value {
    yaml::parse(text, yaml::is_json(file)).unwrap().value
}

#[test]
fn stack_files_that_load_fit_the_schema() {
    let schema = schema();
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    for text in [
        std::fs::read_to_string(shop()).unwrap(),
        EVERYTHING.to_owned(),
        "name: shop\nservices: { web: { taskDefinition: web.json, connectsTo: [] } }\n".to_owned(),
        "name: shop\nsecurityGroups: { db: { ingress: [ { ports: 1-2, from: [self, 10.0.0.0/8] }, { protocol: 47, from: self } ], egress: [] } }\nservices: {}\n".to_owned(),
    ] {
        assert_eq!(faults_of(&schema, value_of(&text, "stack.yaml")), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn what_the_reader_refuses_by_its_form_does_not_fit_the_schema() {
    let schema = schema();
    for text in [
        "services: {}",
        "name: Shop\nservices: {}",
        "name: shop\nregoin: x\nservices: {}",
        "name: shop\nconnect: mesh\nservices: {}",
        "name: shop\nservices: { web: {} }",
        "name: shop\nservices: { web: { taskDefinition: web.json, desiredCount: two } }",
        "name: shop\nservices: { web: { taskDefinition: { family: web, containerDefinitions: [ { name: a } ] } } }",
        "name: shop\nvpc: { subnets: [ { name: a } ] }\nservices: {}",
        "name: shop\nsecurityGroups: { db: { ingress: [ { port: 80, to: self } ] } }\nservices: {}",
        "name: shop\nsecrets: { db: { file: a, env: B } }\nservices: {}",
        "name: shop\nsecrets: { db: {} }\nservices: {}",
        "name: shop\nservices: { web: { taskDefinition: web.json, containers: { a: { stub: maybe } } } }",
        "name: shop\nservices: { web: { taskDefinition: { family: web, containerDefinitions: [ { name: a, image: a, mountPoints: [ { sourceVolume: v, containerPath: data } ] } ] } } }",
    ] {
        assert!(!faults_of(&schema, value_of(text, "stack.yaml")).is_empty(), "{text}");
    }
}

#[test]
fn published_task_definitions_fit_the_schema() {
    let Some(corpus) = corpus() else { return };
    let mut schema = schema();
    schema["$ref"] = Value::String("#/definitions/taskDefinition".to_owned());
    for file in files_of(&corpus.join("task-definitions")) {
        let value = value_of(&std::fs::read_to_string(&file).unwrap(), "task.json");
        let faults = faults_of(&schema, value);
        // A mode that ECS has not either.
        let expected = usize::from(file.to_string_lossy().ends_with("aws-prometheus__ecs-ec2-task-def.json"));
        assert_eq!(faults.len(), expected, "{}: {faults:?}", file.display());
    }
}
