//! How services are found in each mode: A or SRV records, and whose port (reference 6.5, 1.10).

use agent::spec::service::RecordType;

use super::*;

const PORTS: &str = "family: web\ncontainerDefinitions:\n  - { name: log, image: log, memory: 9, essential: false, portMappings: [ { containerPort: 24224 } ] }\n  - { name: app, image: app, memory: 9, portMappings: [ { containerPort: 80 }, { containerPort: 81 }, { containerPortRange: 90-99 } ] }\n";
const NONE: &str = "family: web\ncontainerDefinitions: [ { name: app, image: app, memory: 9 } ]\n";

fn load_service(mode: &str, definition: &str, fields: &str, flag: Option<NetworkMode>) -> Loaded {
    let stack =
        format!("name: shop\nnetworkMode: {mode}\nservices: {{ web: {{ taskDefinition: task.yaml, {fields} }} }}\n");
    let folder = Folder::with(&[("stack.yaml", &stack), ("task.yaml", definition)]);
    folder.load(&Overrides { network_mode: flag, connect: None })
}

/// The record of a service, or what is wrong with it.
fn record(mode: &str, fields: &str) -> Result<String, Vec<String>> {
    shown(load_service(mode, PORTS, fields, None))
}

fn shown(loaded: Loaded) -> Result<String, Vec<String>> {
    let errors = loaded.problems.iter().filter(|p| p.severity == Severity::Error);
    let errors: Vec<String> =
        errors.map(|p| format!("{}: {}", p.place.pointer.replace("/services/web", ""), p.message)).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let stack = loaded.stack.unwrap();
    Ok(match stack.services["web"].discovery.as_ref().map(|d| (&d.name, &d.record)) {
        None => "none".to_owned(),
        Some((name, RecordType::A)) => format!("A {name}"),
        Some((name, RecordType::Srv { container_name, container_port })) => {
            format!("SRV {name} {container_name}:{container_port}")
        }
    })
}

#[test]
fn a_mode_has_its_record() {
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(record("awsvpc", ""), ok("A web"));
    for mode in ["bridge", "host"] {
        let fields = if mode == "host" { "desiredCount: 1" } else { "" };
        // Ranges are for bridge and awsvpc.
        let definition =
            if mode == "host" { PORTS.replace(", { containerPortRange: 90-99 }", "") } else { PORTS.to_owned() };
        assert_eq!(
            shown(load_service(mode, &definition, fields, None)),
            ok("SRV web app:80"),
            "the first of an essential one"
        );
        assert_eq!(shown(load_service(mode, NONE, fields, None)), ok("none"));
    }
    assert_eq!(shown(load_service("none", NONE, "", None)), ok("none"));
    let only_other = "family: web\ncontainerDefinitions:\n  - { name: app, image: app, memory: 9 }\n  - { name: side, image: side, memory: 9, essential: false, portMappings: [ { containerPort: 9 } ] }\n";
    assert_eq!(shown(load_service("bridge", only_other, "", None)), ok("SRV web side:9"));
}

#[test]
fn a_choice_among_several_ports_is_said() {
    let loaded = load_service("bridge", PORTS, "desiredCount: 1", None);
    let text = report::render(&loaded.problems, &loaded.sources, false);
    assert!(text.starts_with("note: the SRV records of `web` name port 80 of container `app`; `discovery: { containerName, containerPort }` names another ("), "{text}");
    let one = "family: web\ncontainerDefinitions: [ { name: app, image: app, memory: 9, portMappings: [ { containerPort: 9 } ] } ]\n";
    assert!(load_service("bridge", one, "desiredCount: 1", None).problems.is_empty());
    let loaded = load_service("bridge", NONE, "discovery: { ttl: 1 }", None);
    assert_eq!(loaded.problems[0].message, "`web` has no SRV record: its task definition maps no port");
}

#[test]
fn discovery_names_a_port() {
    let srv = |fields: &str| record("bridge", &format!("discovery: {{ {fields} }}"));
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(srv("type: SRV, name: shop-web, containerName: app, containerPort: 81"), ok("SRV shop-web app:81"));
    assert_eq!(srv("containerName: log"), ok("SRV web log:24224"));
    assert_eq!(srv("containerPort: 81"), ok("SRV web app:81"));
    assert_eq!(srv("containerPort: 95"), ok("SRV web app:95"), "one of a range");
    let err = |text: &str| Err(vec![text.to_owned()]);
    assert_eq!(
        srv("containerName: ap, containerPort: 80"),
        err("/discovery/containerName: The container ap does not exist in the task definition.")
    );
    assert_eq!(
        srv("containerName: app, containerPort: 82"),
        err("/discovery/containerPort: The container app did not have a container port 82 defined.")
    );
    assert_eq!(
        srv("containerPort: 82"),
        err("/discovery/containerPort: no container of the task definition maps port 82")
    );
    assert_eq!(srv("type: AAAA"), err("/discovery/type: IPv6 is not emulated yet"));
    assert_eq!(record("awsvpc", "discovery: { type: SRV, containerPort: 80 }"), ok("SRV web app:80"));
    assert_eq!(record("awsvpc", "discovery: { containerName: log, containerPort: 24224 }"), ok("SRV web log:24224"));
}

#[test]
fn a_records_need_an_address_of_the_tasks_own() {
    for fields in ["discovery: { type: A }", "discovery: { type: A }, serviceRegistries: [ { registryArn: web } ]"] {
        assert_eq!(
            record("bridge", fields),
            Err(vec![
                "/discovery/type: serviceRegistries value is configured to use a type 'A' DNS record, which is not supported when specifying 'host' or 'bridge' for networkMode.".to_owned()
            ])
        );
    }
    let loaded = load_service("awsvpc", PORTS, "discovery: { type: A }", Some(NetworkMode::Bridge));
    assert_eq!(shown(loaded), Ok("SRV web app:80".to_owned()), "the flag says what it changes, and it works");
}

#[test]
fn an_a_registry_takes_no_port() {
    for (field, value) in [("containerPort", "80"), ("containerName", "app"), ("port", "80")] {
        assert_eq!(
            record(
                "awsvpc",
                &format!("discovery: {{ type: A }}, serviceRegistries: [ {{ registryArn: front, {field}: {value} }} ]")
            ),
            Err(vec![format!(
                "/serviceRegistries/0/{field}: The values specified for serviceRegistries do not require a value for '{field}'. Remove the value and retry. Registry: front"
            )])
        );
    }
}

#[test]
fn a_registry_names_container_and_port_in_bridge_and_host_mode() {
    let registry =
        |mode: &str, fields: &str| record(mode, &format!("serviceRegistries: [ {{ registryArn: front{fields} }} ]"));
    assert_eq!(registry("bridge", ", containerName: app, containerPort: 81"), Ok("SRV front app:81".to_owned()));
    for fields in ["", ", containerName: app", ", containerPort: 80"] {
        assert_eq!(
            registry("bridge", fields),
            Err(vec![
                "/serviceRegistries/0: When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and 'containerPort' must be specified from the task definition.".to_owned()
            ])
        );
    }
    assert_eq!(
        registry("bridge", ", port: 80"),
        Err(vec!["/serviceRegistries/0/port: `port` is for tasks with an address of their own".to_owned()])
    );
    assert_eq!(registry("awsvpc", ""), Ok("A front".to_owned()));
    assert_eq!(registry("awsvpc", ", port: 81"), Ok("SRV front app:81".to_owned()));
    assert_eq!(registry("awsvpc", ", containerName: log, containerPort: 24224"), Ok("SRV front log:24224".to_owned()));
    assert_eq!(
        registry("awsvpc", ", port: 80, containerName: app, containerPort: 80"),
        Err(vec![
            "/serviceRegistries/0/containerName: a registry has either a `port`, or a `containerName` and a `containerPort`".to_owned()
        ])
    );
    let loaded = load_service("none", NONE, "serviceRegistries: [ { registryArn: front } ]", None);
    assert_eq!(
        shown(loaded),
        Err(vec!["/serviceRegistries/0: Service registries are not supported when networkMode=none.".to_owned()])
    );
}

#[test]
fn a_registry_has_one_name() {
    let loaded =
        load_service("awsvpc", PORTS, "discovery: { name: a }, serviceRegistries: [ { registryArn: b } ]", None);
    assert_eq!(
        shown(loaded),
        Err(vec!["/serviceRegistries/0/registryArn: `discovery` gives the service another name than `b`".to_owned()])
    );
    let arn = "serviceRegistries: [ { registryArn: \"arn:aws:servicediscovery:us-east-1:1:service/srv-1\" } ]";
    let loaded = load_service("awsvpc", PORTS, arn, None);
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].severity, Severity::Warning);
    assert_eq!(shown(loaded), Ok("A web".to_owned()));
}

#[test]
fn without_a_registry_there_is_nothing_to_name() {
    let folder = Folder::with(&[
        (
            "stack.yaml",
            "name: shop\nnetworkMode: bridge\nservices: { web: { taskDefinition: task.yaml, discovery: { ttl: 3 } } }\n",
        ),
        ("task.yaml", PORTS),
    ]);
    let loaded = folder.load(&Overrides { network_mode: None, connect: Some(Connect::None) });
    assert_eq!(loaded.problems[0].message, "`discovery` has no effect yet");
    assert!(loaded.stack.unwrap().services["web"].discovery.is_none());
}
