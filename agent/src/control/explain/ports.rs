//! Which ports are meant, and where the packets for them are sent: in bridge mode a port of the container is reached at one of
//! its instance. Pure.

use netmodes::ids::NetworkMode;
use netmodes::reach::path::{ECHO, Opening};

use super::question::{At, End, wrong};
use super::reply::{About, ExplainRequest, Protocol, Step};
use super::wording::{list, opening as what};
use crate::control::api::ErrorReply;
use crate::spec::task_definition::{TaskDefinition, TransportProtocol};
use crate::store::task::PortBinding;

/// A packet to send, and what is to be known of its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) opening: Opening,
    pub(super) steps: Vec<Step>,
}

impl From<Opening> for Sent {
    fn from(opening: Opening) -> Self {
        Self { opening, steps: Vec::new() }
    }
}

/// What is sent to an address that is the task's own: the port that was asked for, or all that it maps.
///
/// # Errors
/// When the request names no port and none is known, or a port where there are none.
pub(super) fn openings(request: &ExplainRequest, to: Option<&TaskDefinition>) -> Result<Vec<Opening>, ErrorReply> {
    let mapped = |wanted: Option<Protocol>| {
        let all = to.into_iter().flat_map(|definition| definition.port_mappings());
        let openings = all.map(|mapping| match mapping.protocol {
            TransportProtocol::Tcp => (Protocol::Tcp, Opening::Tcp(mapping.container_port)),
            TransportProtocol::Udp => (Protocol::Udp, Opening::Udp(mapping.container_port)),
        });
        let mut chosen: Vec<Opening> =
            openings.filter(|(p, _)| wanted.is_none_or(|wanted| wanted == *p)).map(|(_, opening)| opening).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    };
    match (request.protocol, request.port) {
        (Some(Protocol::Icmp), None) => Ok(vec![ECHO]),
        (Some(Protocol::Icmp), Some(_)) => {
            Err(wrong("ICMP has no ports".to_owned(), Some("leave the port out".to_owned())))
        }
        (Some(Protocol::Tcp), Some(port)) => Ok(vec![Opening::Tcp(port)]),
        (Some(Protocol::Udp), Some(port)) => Ok(vec![Opening::Udp(port)]),
        (None, Some(port)) => {
            let as_mapped: Vec<_> = mapped(None).into_iter().filter(|o| o.port() == Some(port)).collect();
            Ok(if as_mapped.is_empty() { vec![Opening::Tcp(port)] } else { as_mapped })
        }
        (wanted, None) => {
            let all = mapped(wanted);
            if all.is_empty() {
                let message = match (to, wanted) {
                    (None, _) => "which port?".to_owned(),
                    (Some(definition), None) => {
                        format!("which port? task definition `{}` maps none", definition.family)
                    }
                    (Some(definition), Some(wanted)) => {
                        format!("which port? task definition `{}` maps none of {}", definition.family, wanted.as_str())
                    }
                };
                return Err(wrong(message, Some(format!("name it: {}:PORT", request.to))));
            }
            Ok(all)
        }
    }
}

/// What is sent to a task that was named: where its ports are reached.
///
/// # Errors
/// As [`openings`].
pub(super) fn to_task(request: &ExplainRequest, to: &End) -> Result<Vec<Sent>, ErrorReply> {
    let asked = openings(request, Some(&to.definition))?;
    if to.mode != NetworkMode::Bridge {
        return Ok(asked.into_iter().map(Sent::from).collect());
    }
    let mut sent = Vec::new();
    for opening in asked {
        let found = at_host_ports(to, opening);
        // Without a protocol in the request a port that is not mapped was taken for TCP's.
        let udp = opening.port().filter(|_| found.is_empty() && request.protocol.is_none()).map(Opening::Udp);
        let other = udp.map(|udp| at_host_ports(to, udp)).filter(|found| !found.is_empty());
        match other.unwrap_or(found) {
            found if found.is_empty() => sent.push(opening.into()),
            found => sent.extend(found),
        }
    }
    sent.dedup();
    Ok(sent)
}

/// Where a port of a task in bridge mode is reached; the port of its container is meant first, then that of its instance.
fn at_host_ports(to: &End, opening: Opening) -> Vec<Sent> {
    let bound = |wanted: fn(&PortBinding) -> u16| {
        to.bindings.iter().filter_map(move |binding| {
            let offset = offset(binding, wanted(binding), opening)?;
            Some((binding, binding.container_port + offset, binding.host_port + offset))
        })
    };
    let by_host_port = bound(|binding| binding.host_port).next();
    let also = |host_port: u16| match by_host_port {
        Some((other, port, here)) if here != host_port => format!(
            "; {} is also the host port of container port {port} of `{}`: name that one, or {}:{here}",
            what(opening),
            other.container,
            to.address().map(|a| a.to_string()).unwrap_or_default()
        ),
        _ => String::new(),
    };
    let sent = |binding: &PortBinding, port: u16, host_port: u16, more: String| {
        let protocol = binding.protocol.as_str();
        let text = format!(
            "{protocol}/{port} of container `{}` is host port {host_port} of its container instance{more}",
            binding.container
        );
        let opening = match binding.protocol {
            TransportProtocol::Tcp => Opening::Tcp(host_port),
            TransportProtocol::Udp => Opening::Udp(host_port),
        };
        Sent { opening, steps: vec![Step::note(About::Port, text)] }
    };
    let by_container_port: Vec<Sent> =
        bound(|binding| binding.container_port).map(|(b, port, host)| sent(b, port, host, also(host))).collect();
    if !by_container_port.is_empty() {
        return by_container_port;
    }
    by_host_port.map(|(b, port, host)| sent(b, port, host, String::new())).into_iter().collect()
}

/// How far a port lies within those of a binding that begin with `first`.
fn offset(binding: &PortBinding, first: u16, opening: Opening) -> Option<u16> {
    let port = match (opening, binding.protocol) {
        (Opening::Tcp(port), TransportProtocol::Tcp) | (Opening::Udp(port), TransportProtocol::Udp) => port,
        _ => return None,
    };
    port.checked_sub(first).filter(|offset| *offset < binding.count)
}

/// What is sent to an address, and the task that is meant by it.
///
/// # Errors
/// As [`openings`].
pub(super) fn to_address(request: &ExplainRequest, at: At) -> Result<Vec<(Sent, Option<End>)>, ErrorReply> {
    let ends = match at {
        At::Task(end) => {
            let all = openings(request, Some(&end.definition))?.into_iter();
            return Ok(all.map(|opening| (opening.into(), Some(End::clone(&end)))).collect());
        }
        At::Nobody => {
            return Ok(openings(request, None)?.into_iter().map(|opening| (opening.into(), None)).collect());
        }
        At::Instance(ends) => ends,
    };
    let of = |opening: Opening| {
        let has_it = |end: &&End| end.bindings.iter().any(|b| offset(b, b.host_port, opening).is_some());
        ends.iter().find(has_it).cloned()
    };
    if let (None, wanted @ (None | Some(Protocol::Tcp | Protocol::Udp))) = (request.port, request.protocol) {
        let mut all: Vec<Opening> = ends.iter().flat_map(|end| &end.bindings).flat_map(host_openings).collect();
        all.retain(|opening| match wanted {
            Some(Protocol::Udp) => matches!(opening, Opening::Udp(_)),
            Some(_) => matches!(opening, Opening::Tcp(_)),
            None => true,
        });
        if !all.is_empty() {
            return Ok(all.into_iter().map(|opening| (opening.into(), of(opening))).collect());
        }
    }
    let asked = openings(request, None)?.into_iter().map(|opening| {
        // As the port is bound, else TCP.
        let udp = opening.port().filter(|_| request.protocol.is_none() && of(opening).is_none()).map(Opening::Udp);
        match udp.and_then(|udp| Some((udp, of(udp)?))) {
            Some((udp, end)) => (udp.into(), Some(end)),
            None => (opening.into(), of(opening)),
        }
    });
    Ok(asked.collect())
}

fn host_openings(binding: &PortBinding) -> impl Iterator<Item = Opening> + use<> {
    binding.ports().map(|(protocol, port)| match protocol {
        TransportProtocol::Tcp => Opening::Tcp(port),
        TransportProtocol::Udp => Opening::Udp(port),
    })
}

/// `8080 at 32768, udp/53 at 5353`: where the ports of a task are reached.
pub(super) fn listed(to: &End) -> String {
    let each = to.bindings.iter().map(|binding| {
        let protocol = if binding.protocol == TransportProtocol::Udp { "udp/" } else { "" };
        let ports = |first: u16| match binding.count {
            0 | 1 => first.to_string(),
            count => format!("{first}-{}", first.saturating_add(count - 1)),
        };
        format!("{protocol}{} at {}", ports(binding.container_port), ports(binding.host_port))
    });
    list(&each.collect::<Vec<_>>())
}
