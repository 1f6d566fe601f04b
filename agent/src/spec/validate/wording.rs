//! AWS's words for input that the spec's types cannot hold, so that each text stands once for all front doors.

/// A port that is no port (1.10); `field` is `containerPort` or `hostPort`.
pub fn invalid_port(field: &str, container: &str) -> String {
    format!("Invalid '{field}' setting for container '{container}'")
}

/// `cpu` or `memory` of a task that is not a size (1.10).
pub fn invalid_task_size(field: &str) -> String {
    format!(
        "Invalid '{field}' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
    )
}

/// A rule's port beyond 65535 (4.6); `end` is `from` or `to`.
pub fn rule_port_out_of_range(end: &str, port: i64) -> String {
    format!("TCP/UDP ({end}) port ({port}) out of range")
}

/// A rule whose ports run backwards (4.6).
pub fn rule_ports_reversed(first: i64, last: i64) -> String {
    format!("Invalid TCP/UDP port range({first}:{last})")
}

/// An ICMP type or code beyond 255 (4.6).
pub fn icmp_out_of_range(what: &str, number: i64) -> String {
    format!("ICMP {what} ({number}) out of range")
}

/// A text that should be a CIDR block (4.6).
pub fn malformed_cidr(text: &str) -> String {
    format!("CIDR block {text} is malformed")
}

/// Features of a container that awsvpc has not (1.10), by the field that asks for them.
pub fn unsupported_in_awsvpc(field: &str) -> Option<&'static str> {
    Some(match field {
        "links" => "Links are not supported when networkMode=awsvpc.",
        "hostname" => "hostname is not supported on container when networkMode=awsvpc",
        "extraHosts" => "Extra hosts are not supported on container when networkMode=awsvpc",
        "dnsServers" => "DNS servers are not supported on container when networkMode=awsvpc",
        "dnsSearchDomains" => "DNS search domains are not supported on container when networkMode=awsvpc",
        "disableNetworking" => "Disable Networking is not supported on container when networkMode=awsvpc",
        _ => return None,
    })
}

/// A registry with A records for tasks that have no address of their own (1.10).
pub const A_RECORD_WITHOUT_ADDRESS: &str = "serviceRegistries value is configured to use a type 'A' DNS record, which is not supported when specifying 'host' or 'bridge' for networkMode.";

/// A registry of such tasks that does not say whose port it is (1.10).
pub const REGISTRY_WITHOUT_PORT: &str = "When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and 'containerPort' must be specified from the task definition.";

/// A registry with A records that names a port (1.10); `field` is `containerName`, `containerPort` or `port`.
pub fn registry_needs_no(field: &str, registry: &str) -> String {
    format!(
        "The values specified for serviceRegistries do not require a value for '{field}'. Remove the value and retry. Registry: {registry}"
    )
}

/// A registry or load balancer whose container is not there (1.10).
pub fn no_such_container(container: &str) -> String {
    format!("The container {container} does not exist in the task definition.")
}

/// A registry or load balancer whose container does not map that port (1.10).
pub fn no_such_container_port(container: &str, port: u16) -> String {
    format!("The container {container} did not have a container port {port} defined.")
}
