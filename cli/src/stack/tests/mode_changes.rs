//! What a network mode changes that a flag or the service puts in place of a definition's own.

use agent::spec::task_definition::PortMapping;

use super::modes::{STACK, definition, load_with, notes, web_of};
use super::*;

/// The mappings of the container `app` after a flag, and what was said.
fn moved(own: &str, flag: NetworkMode, mappings: &str) -> (Vec<PortMapping>, Vec<String>) {
    let own = definition(&format!("networkMode: {own}\n"), &format!("portMappings: [ {mappings} ]"), "");
    let loaded = load_with(STACK, &own, Some(flag));
    let mappings = web_of(&loaded).task_definition.container_definitions[0].port_mappings.clone();
    let said = notes(&loaded).into_iter().filter(|note| note.contains("host port")).map(str::to_owned).collect();
    (mappings, said)
}

#[test]
fn another_mode_drops_host_ports_that_mean_nothing_in_it() {
    let host_port = |own: &str, flag, mapping: &str| {
        let (mappings, said) = moved(own, flag, mapping);
        (mappings[0].host_port, said)
    };
    let fixed = "{ containerPort: 80, hostPort: 8080 }";
    let same = "{ containerPort: 80, hostPort: 80 }";
    let (awsvpc, bridge, host) = (NetworkMode::Awsvpc, NetworkMode::Bridge, NetworkMode::Host);
    let said = |text: &str| vec![text.to_owned()];
    assert_eq!(
        host_port("bridge", awsvpc, fixed),
        (None, said("host port 8080 is dropped: in awsvpc the task is reached at its own address, port 80"))
    );
    assert_eq!(
        host_port("bridge", host, fixed),
        (None, said("host port 8080 is dropped: in host mode port 80 is the instance's own"))
    );
    assert_eq!(
        host_port("awsvpc", bridge, same),
        (None, said("host port 80 is dropped: in awsvpc it says nothing; bridge mode chooses a free one"))
    );
    assert_eq!(host_port("host", bridge, same), (Some(80), vec![]), "in host mode it is a port of the instance");
    assert_eq!(host_port("bridge", bridge, fixed), (Some(8080), vec![]));
    assert_eq!(host_port("bridge", bridge, "{ containerPort: 80, hostPort: 0 }"), (None, vec![]));
    assert_eq!(moved("awsvpc", NetworkMode::None, same), (vec![], vec![]));
}

#[test]
fn a_range_of_ports_is_kept_as_one_mapping() {
    let (mappings, _) = moved("bridge", NetworkMode::Bridge, "{ containerPortRange: 8000-8010, protocol: udp }");
    assert_eq!(
        (mappings[0].container_port, mappings[0].last_container_port, mappings[0].count()),
        (8000, Some(8010), 11)
    );
    let (mappings, _) = moved("awsvpc", NetworkMode::Host, "{ containerPortRange: 8000-8010 }");
    assert_eq!(mappings[0].last_container_port, Some(8010));
}

#[test]
fn containers_that_shared_a_localhost_are_linked_where_one_waits_for_the_other() {
    let waits = |condition: &str| {
        let container = format!("dependsOn: [ {{ containerName: side, condition: {condition} }} ]");
        let loaded = load_with(STACK, &definition("networkMode: awsvpc\n", &container, ""), Some(NetworkMode::Bridge));
        web_of(&loaded).task_definition.container_definitions[0].links.len()
    };
    assert_eq!((waits("START"), waits("COMPLETE"), waits("SUCCESS")), (1, 0, 0));
    let own = definition("networkMode: bridge\n", "dependsOn: [ { containerName: side, condition: START } ]", "");
    let loaded = load_with(STACK, &own, Some(NetworkMode::Bridge));
    assert!(web_of(&loaded).task_definition.container_definitions[0].links.is_empty(), "as the definition has it");
}

#[test]
fn the_shop_runs_in_each_mode_and_what_changes_is_said_in_lines() {
    let said = |mode| {
        let loaded = load(&shop(), &Overrides { network_mode: Some(mode), connect: None });
        assert!(loaded.stack.is_some(), "{mode}");
        let text = report::render(&loaded.problems, &loaded.sources, false);
        text.replace(&format!("{}/", shop().parent().unwrap().display()), "")
    };
    assert_eq!(said(NetworkMode::Awsvpc), "");
    insta::assert_snapshot!(said(NetworkMode::Bridge), @r"
    note: security groups are those of the container instance: what one of these services is let in to, or lets in, holds for all of them that have a task there (orders, users, web) (stack.yaml:8:1)
    note: bridge: launchType is EC2 in place of FARGATE: tasks are placed on container instances (web, orders, users)
    note: bridge: security groups move from each task to its container instance (web, orders, users)
    note: bridge: names have SRV records in place of A: a client asks for the port too, which is the instance's (web, orders, users)
    note: bridge: containers of a task share no localhost: as if by `links`, each knows by name those in its `dependsOn` (orders)
    ");
    insta::assert_snapshot!(said(NetworkMode::Host), @r"
    note: security groups are those of the container instance: what one of these services is let in to, or lets in, holds for all of them that have a task there (orders, users, web) (stack.yaml:8:1)
    note: host: launchType is EC2 in place of FARGATE: tasks are placed on container instances (web, orders, users)
    note: host: security groups move from each task to its container instance (web, orders, users)
    note: host: names have SRV records in place of A: a client asks for the port too, which is the instance's (web, orders, users)
    note: host: a container's port is its instance's: two tasks with one port are never on one instance (web, orders, users)
    ");
    insta::assert_snapshot!(said(NetworkMode::None), @r"
    note: this opens nothing: `orders` has networkMode=none (stack.yaml:12:18)
    note: this opens nothing: `users` has networkMode=none (stack.yaml:16:18)
    note: `portMappings` is dropped: networkMode=none serves no port (task-definitions/web.json:17:7)
    note: `portMappings` is dropped: networkMode=none serves no port (task-definitions/orders.json:17:7)
    note: `portMappings` is dropped: networkMode=none serves no port (task-definitions/users.json:17:7)
    note: none: launchType is EC2 in place of FARGATE: tasks are placed on container instances (web, orders, users)
    note: none: tasks have no network: no address, no port, no name (web, orders, users)
    ");
}
