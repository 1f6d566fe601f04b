//! The network modes: who decides, and what each refuses in AWS's words.

use agent::spec::ids::{ContainerName, GroupName};
use agent::spec::task_definition::Link;

use super::*;

/// A definition with these fields of its container `app`, and others at its top.
pub(super) fn definition(mode: &str, container: &str, top: &str) -> String {
    format!(
        "family: web\n{mode}{top}containerDefinitions:\n  - {{ name: app, image: app, memory: 64, {container} }}\n  - {{ name: side, image: side, memory: 64, essential: false }}\n"
    )
}

pub(super) fn load_with(stack: &str, definition: &str, flag: Option<NetworkMode>) -> Loaded {
    let folder = Folder::with(&[("stack.yaml", stack), ("task.yaml", definition)]);
    folder.load(&Overrides { network_mode: flag, connect: None })
}

pub(super) const STACK: &str = "name: shop\nservices: { web: { taskDefinition: task.yaml } }\n";

/// What is wrong, without notes and warnings.
fn faults(loaded: &Loaded) -> Vec<String> {
    let errors = loaded.problems.iter().filter(|p| p.severity == Severity::Error);
    errors.map(|p| format!("{}: {}", p.place.pointer, p.message)).collect()
}

/// What is said of a definition in that mode.
fn faults_in(mode: &str, container: &str) -> Vec<String> {
    faults(&load_with(STACK, &definition(&format!("networkMode: {mode}\n"), container, ""), None))
}

pub(super) fn notes(loaded: &Loaded) -> Vec<&str> {
    loaded.problems.iter().filter(|p| p.severity == Severity::Note).map(|p| p.message.as_str()).collect()
}

/// The service of a file without faults.
pub(super) fn web_of(loaded: &Loaded) -> &agent::spec::service::Service {
    assert_eq!(faults(loaded), Vec::<String>::new());
    &loaded.stack.as_ref().unwrap().services["web"]
}

#[test]
fn the_flag_comes_before_the_service_the_definition_and_the_stack() {
    let mode = |flag: Option<NetworkMode>, service: &str, definition_says: &str, stack: &str| {
        let stack = format!("name: shop\n{stack}services: {{ web: {{ taskDefinition: task.yaml{service} }} }}\n");
        let loaded = load_with(&stack, &definition(definition_says, "", ""), flag);
        let web = web_of(&loaded);
        (web.network_mode, web.launch_type)
    };
    let service = ", networkMode: none";
    let (written, stack) = ("networkMode: awsvpc\n", "networkMode: host\n");
    use LaunchType::Ec2;
    assert_eq!(mode(Some(NetworkMode::Bridge), service, written, stack), (NetworkMode::Bridge, Ec2));
    assert_eq!(mode(None, service, written, stack), (NetworkMode::None, Ec2));
    assert_eq!(mode(None, "", written, stack), (NetworkMode::Awsvpc, Ec2), "awsvpc on instances");
    assert_eq!(mode(None, "", "", stack), (NetworkMode::Host, Ec2));
    assert_eq!(mode(None, "", "", ""), (NetworkMode::Bridge, Ec2), "ECS's own rule");
    assert_eq!(mode(None, ", launchType: FARGATE", written, ""), (NetworkMode::Awsvpc, LaunchType::Fargate));
    assert_eq!(mode(None, ", launchType: EC2", written, "launchType: FARGATE\n"), (NetworkMode::Awsvpc, Ec2));
}

#[test]
fn fargate_has_awsvpc_alone_unless_a_mode_above_takes_the_task_off_it() {
    let fargate = "requiresCompatibilities: [FARGATE]\ncpu: 256\nmemory: 512\n";
    let said = |stack: &str, mode: &str, top: &str, flag| faults(&load_with(stack, &definition(mode, "", top), flag));
    let only_awsvpc = "Fargate only supports network mode 'awsvpc'.";
    assert_eq!(said(STACK, "networkMode: host\n", fargate, None), [format!("/networkMode: {only_awsvpc}")]);
    let in_stack = "name: shop\nnetworkMode: bridge\nservices: { web: { taskDefinition: task.yaml } }\n";
    assert_eq!(said(in_stack, "", fargate, None), [format!("/networkMode: {only_awsvpc}")]);
    let launch = "name: shop\nlaunchType: FARGATE\nservices: { web: { taskDefinition: task.yaml } }\n";
    assert_eq!(
        said(launch, "networkMode: bridge\n", "", None),
        ["/launchType: Task definition does not support launch_type FARGATE."]
    );
    let both =
        "name: shop\nservices: { web: { taskDefinition: task.yaml, networkMode: bridge, launchType: FARGATE } }\n";
    assert_eq!(
        said(both, "networkMode: awsvpc\n", fargate, None),
        [format!("/services/web/networkMode: {only_awsvpc}")]
    );
    let service = "name: shop\nservices: { web: { taskDefinition: task.yaml, networkMode: bridge } }\n";
    for mode in [NetworkMode::Bridge, NetworkMode::Host, NetworkMode::None] {
        for stack in [STACK, in_stack, launch, both] {
            for own in ["", "networkMode: awsvpc\n", "networkMode: bridge\n"] {
                let loaded = load_with(stack, &definition(own, "", fargate), Some(mode));
                let web = web_of(&loaded);
                assert_eq!((web.network_mode, web.launch_type), (mode, LaunchType::Ec2), "{stack}{own}");
            }
        }
    }
    let loaded = load_with(service, &definition("networkMode: awsvpc\n", "", fargate), None);
    assert_eq!(web_of(&loaded).launch_type, LaunchType::Ec2);
}

#[test]
fn what_fargate_asks_for_is_not_asked_off_it() {
    let fargate = "requiresCompatibilities: [FARGATE]\ncpu: 300\nephemeralStorage: { sizeInGiB: 30 }\n";
    let definition = definition("networkMode: awsvpc\n", "privileged: true", fargate);
    let stack = "name: shop\nlaunchType: FARGATE\nservices:\n  web:\n    taskDefinition: task.yaml\n    platformVersion: LATEST\n    networkConfiguration: { awsvpcConfiguration: { assignPublicIp: ENABLED, securityGroups: [default] } }\n";
    let loaded = load_with(stack, &definition, Some(NetworkMode::Bridge));
    let web = web_of(&loaded);
    assert_eq!(
        web.security_groups.iter().map(|g| g.as_str()).collect::<Vec<_>>(),
        ["default"],
        "they are the instance's"
    );
    assert_eq!(
        faults(&load_with(stack, &definition, None)),
        [
            "/memory: Fargate requires that 'memory' be defined at the task level",
            "/containerDefinitions/0/privileged: Tasks using the Fargate launch type do not support privileged containers.",
        ]
    );
}

#[test]
fn each_mode_refuses_what_it_has_not() {
    const APP: &str = "/containerDefinitions/0";
    let mapped = "portMappings: [ { containerPort: 80 } ]";
    let other_port = "portMappings: [ { containerPort: 80, hostPort: 8080 } ]";
    let range = "portMappings: [ { containerPortRange: 80-81 } ]";
    let net = "systemControls: [ { namespace: net.core.somaxconn, value: \"1\" } ]";
    let none: &[&str] = &[];
    for (mode, container, said) in [
        ("bridge", "links: [side]", none),
        ("host", "links: [side]", &["/links: Links are not supported when networkMode=host."]),
        ("none", "links: [side]", &["/links: Links are not supported when networkMode=none."]),
        ("awsvpc", "links: [side]", &["/links: Links are not supported when networkMode=awsvpc."]),
        ("bridge", mapped, none),
        ("host", mapped, none),
        ("none", mapped, &["/portMappings: Port mappings are not supported when networkMode=none."]),
        ("bridge", other_port, none),
        (
            "host",
            other_port,
            &[
                "/portMappings/0/hostPort: When networkMode=host, the host ports and container ports in port mappings must match.",
            ],
        ),
        ("bridge", range, none),
        ("awsvpc", range, none),
        (
            "host",
            range,
            &["/portMappings/0/containerPortRange: Container port range is not supported when networkMode=host."],
        ),
        (
            "bridge",
            "portMappings: [ { containerPortRange: 81-80 } ]",
            &["/portMappings/0/containerPortRange: Invalid 'containerPortRange' setting for container 'app'."],
        ),
        (
            "bridge",
            "portMappings: [ { containerPortRange: 80-81, hostPort: 80 } ]",
            &[
                "/portMappings/0/hostPort: Invalid port mapping for container 'app', cannot specify both host port and port range.",
            ],
        ),
        (
            "bridge",
            "portMappings: [ { containerPort: 80, containerPortRange: 80-81 } ]",
            &[
                "/portMappings/0/containerPortRange: Invalid port mapping for container 'app', cannot specify both single port and port range.",
            ],
        ),
        ("bridge", net, none),
        (
            "host",
            net,
            &["/systemControls/0/namespace: System controls of net.* are not supported when networkMode=host."],
        ),
        ("bridge", "hostname: h, dnsServers: [10.0.0.2], dnsSearchDomains: [x]", none),
        ("host", "hostname: h, disableNetworking: true", none),
        ("none", "extraHosts: [ { hostname: h, ipAddress: 10.0.0.1 } ]", none),
        ("bridge", "dnsServers: [dns]", &["/dnsServers/0: `dns` is no IP address"]),
        (
            "bridge",
            "extraHosts: [ { hostname: h, ipAddress: h }, { hostname: h } ]",
            &[
                "/extraHosts/0/ipAddress: `h` is no IP address",
                "/extraHosts/1: an entry of `extraHosts` must have a `ipAddress`",
            ],
        ),
        (
            "bridge",
            "portMappings: [ { containerPort: 80, hostPort: 80 }, { containerPort: 81, hostPort: 80 } ]",
            &["/portMappings/1/hostPort: TCP host port '80' is used multiple times in task when networkMode=bridge."],
        ),
        (
            "host",
            "portMappings: [ { containerPort: 80 }, { containerPort: 80, hostPort: 80 } ]",
            &[
                "/portMappings/1/containerPort: TCP container port '80' is used multiple times in task when networkMode=host.",
            ],
        ),
        ("bridge", "portMappings: [ { containerPort: 80 }, { containerPort: 80 } ]", none),
    ] {
        let wanted: Vec<String> = said.iter().map(|said| format!("{APP}{said}")).collect();
        assert_eq!(faults_in(mode, container), wanted, "{mode}: {container}");
    }
}

#[test]
fn a_proxy_is_for_awsvpc() {
    let proxy = "proxyConfiguration: { containerName: side, properties: [ { name: ProxyIngressPort, value: \"1\" }, { name: ProxyEgressPort, value: \"2\" }, { name: AppPorts, value: \"3\" }, { name: IgnoredUID, value: \"4\" } ] }\n";
    for mode in ["bridge", "host", "none"] {
        let loaded = load_with(STACK, &definition(&format!("networkMode: {mode}\n"), "", proxy), None);
        assert_eq!(
            faults(&loaded),
            ["/proxyConfiguration: APPMESH proxy configuration is only supported in networkMode=awsvpc"]
        );
    }
    let loaded = load_with(STACK, &definition("networkMode: awsvpc\n", "", proxy), Some(NetworkMode::Bridge));
    assert!(notes(&loaded).contains(&"`proxyConfiguration` is dropped: bridge has no such thing"));
    web_of(&loaded);
}

#[test]
fn a_link_is_a_name_or_a_name_and_an_alias_of_another_container() {
    let links = |links: &str| faults_in("bridge", &format!("links: [{links}]"));
    let at = "/containerDefinitions/0/links";
    assert_eq!(links("side"), Vec::<String>::new());
    assert_eq!(links("\"side:s\""), Vec::<String>::new());
    for malformed in ["\"side:a:b\"", "\"side:\"", "\":s\"", "\"\""] {
        assert_eq!(links(malformed), [format!("{at}/0: Invalid 'links' setting for container 'app'")], "{malformed}");
    }
    assert_eq!(links("side, sidee"), [format!("{at}/1: Invalid 'links' setting. Unknown container: 'sidee'.")]);
    assert_eq!(
        links("app"),
        ["/containerDefinitions/0/dependsOn: Container dependencies cannot form a cycle"],
        "a link waits for its container"
    );
    let loaded = load_with(STACK, &definition("networkMode: bridge\n", "links: [side, \"side:s\"]", ""), None);
    let link =
        |alias: Option<&str>| Link { container_name: ContainerName::new("side"), alias: alias.map(str::to_owned) };
    assert_eq!(web_of(&loaded).task_definition.container_definitions[0].links, [link(None), link(Some("s"))]);
}

#[test]
fn a_container_keeps_what_it_says_of_its_network_in_modes_that_have_it() {
    let fields = "hostname: h, extraHosts: [ { hostname: db, ipAddress: 10.0.0.9 } ], dnsServers: [10.0.0.2], dnsSearchDomains: [corp], disableNetworking: true";
    for mode in ["bridge", "host", "none"] {
        let loaded = load_with(STACK, &definition(&format!("networkMode: {mode}\n"), fields, ""), None);
        let app = &web_of(&loaded).task_definition.container_definitions[0];
        assert_eq!(app.hostname.as_deref(), Some("h"));
        assert_eq!(app.extra_hosts, [("db".to_owned(), "10.0.0.9".to_owned())]);
        assert_eq!(
            (&app.dns_servers[..], &app.dns_search_domains[..]),
            (&["10.0.0.2".to_owned()][..], &["corp".to_owned()][..])
        );
        assert!(app.disable_networking);
    }
    // By the flag they are dropped, with a word for each.
    let loaded = load_with(STACK, &definition("networkMode: bridge\n", fields, ""), Some(NetworkMode::Awsvpc));
    let app = &web_of(&loaded).task_definition.container_definitions[0];
    assert_eq!(
        (&app.hostname, app.extra_hosts.len(), app.dns_servers.len(), app.disable_networking),
        (&None, 0, 0, false)
    );
    assert_eq!(notes(&loaded).iter().filter(|note| note.ends_with("is dropped: awsvpc has no such thing")).count(), 5);
}

#[test]
fn a_reserved_port_of_every_instance_finds_no_place() {
    let loaded = load_with(
        STACK,
        &definition("networkMode: bridge\n", "portMappings: [ { containerPort: 2222, hostPort: 22 } ]", ""),
        None,
    );
    web_of(&loaded);
    let text = report::render(&loaded.problems, &loaded.sources, false);
    assert!(text.contains("warning: port 22 is in use on every container instance: the task finds no place"), "{text}");
    assert!(text.contains("hint: an instance itself has 22, 2375, 2376, 51678, 51679, 51680"), "{text}");
    let udp = "portMappings: [ { containerPort: 53, hostPort: 22, protocol: udp } ]";
    assert!(load_with(STACK, &definition("networkMode: bridge\n", udp, ""), None).problems.is_empty());
    let loaded =
        load_with(STACK, &definition("networkMode: host\n", "portMappings: [ { containerPort: 22 } ]", ""), None);
    assert_eq!(loaded.problems.len(), 1);
}

#[test]
fn a_service_lets_its_clients_in_at_the_ports_of_the_instance() {
    let own_group = |mode: &str, mappings: &str| {
        let stack = "name: shop\nservices:\n  web: { taskDefinition: task.yaml }\n  client: { taskDefinition: client.yaml, connectsTo: [web] }\n";
        let folder = Folder::with(&[
            ("stack.yaml", stack),
            ("task.yaml", &definition(&format!("networkMode: {mode}\n"), &format!("portMappings: [ {mappings} ]"), "")),
            (
                "client.yaml",
                "family: client\nnetworkMode: awsvpc\ncontainerDefinitions: [ { name: a, image: a, memory: 9 } ]\n",
            ),
        ]);
        let loaded = folder.load(&Overrides::default());
        assert_eq!(faults(&loaded), Vec::<String>::new());
        let group = loaded.stack.unwrap().security_groups["web"].clone();
        let rules = group.ingress.into_iter().map(|Rule { traffic, peer }| {
            assert_eq!(peer, Peer::Group(GroupName::new("client")));
            match traffic {
                Traffic::Tcp(range) => format!("tcp {}-{}", range.first, range.last),
                Traffic::Udp(range) => format!("udp {}-{}", range.first, range.last),
                other => format!("{other:?}"),
            }
        });
        rules.collect::<Vec<_>>()
    };
    let mappings = "{ containerPort: 80 }, { containerPort: 81 }, { containerPort: 53, hostPort: 5353, protocol: udp }";
    assert_eq!(own_group("awsvpc", "{ containerPort: 80 }"), ["tcp 80-80"]);
    assert_eq!(own_group("awsvpc", "{ containerPortRange: 80-90 }"), ["tcp 80-90"]);
    assert_eq!(own_group("bridge", mappings), ["tcp 32768-60999", "udp 5353-5353"], "each once");
    assert_eq!(own_group("bridge", "{ containerPortRange: 80-90, protocol: udp }"), ["udp 32768-60999"]);
    assert_eq!(
        own_group("host", "{ containerPort: 80 }, { containerPort: 53, protocol: udp }"),
        ["tcp 80-80", "udp 53-53"]
    );
}

#[test]
fn a_container_without_ports_or_network_just_works() {
    for mode in ["bridge", "host", "none"] {
        let loaded = load_with(STACK, &definition(&format!("networkMode: {mode}\n"), "", ""), None);
        assert_eq!(report::render(&loaded.problems, &loaded.sources, false), "");
        let web = web_of(&loaded);
        assert_eq!((web.discovery.is_none(), web.launch_type), (true, LaunchType::Ec2));
    }
}

#[test]
fn groups_and_subnets_of_a_service_off_awsvpc() {
    let stack = "name: shop\nsecurityGroups: { database: {} }\nservices:\n  web: { taskDefinition: task.yaml, securityGroups: [database], subnets: [private-a] }\n";
    let loaded = load_with(stack, &definition("networkMode: bridge\n", "", ""), None);
    assert_eq!(web_of(&loaded).security_groups, [GroupName::new("database")]);
    assert_eq!(notes(&loaded), ["`subnets` has no effect: with networkMode=bridge a task is where its instance is"]);
    let long = "name: shop\nservices:\n  web: { taskDefinition: task.yaml, networkConfiguration: { awsvpcConfiguration: { subnets: [private-a] } } }\n";
    let loaded = load_with(long, &definition("networkMode: bridge\n", "", ""), None);
    assert_eq!(
        faults(&loaded),
        [
            "/services/web/networkConfiguration: Network Configuration is not valid for the given networkMode of this task definition."
        ]
    );
}
