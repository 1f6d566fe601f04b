//! What container instances make of a packet, in words: at the sender's, and at that where it ends. Pure.

use netmodes::ids::NetworkMode;
use netmodes::reach::instance::Hop;
use netmodes::reach::path::Opening;
use netmodes::reach::way::Way;

use super::instances::Site;
use super::ports;
use super::question::End;
use super::reply::{About, Code, Step};
use super::verdict::Case;
use super::wording::{list, opening as what};

/// What the sender's own instance makes of it.
pub(super) fn departure(case: &Case, way: &Way) -> Option<Step> {
    let from = &case.sender.end;
    let site = case.sender.sites.by_eni.get(&from.eni.id)?;
    let (address, instance) = (case.address, &site.called);
    let itself = match from.mode {
        NetworkMode::Bridge => "container",
        _ => "container instance",
    };
    match way.departure.as_ref()? {
        // A process of the instance has the instance's address, and nothing is to be said of it.
        Hop::Out if from.container.is_none() => None,
        Hop::Out => {
            let own = from.address().map(|a| a.to_string()).unwrap_or_default();
            let text = format!("leaves container instance {instance} as {own}: the groups of the instance judge it");
            Some(Step::passes(About::Nat, text))
        }
        Hop::Loopback => {
            let text = format!("{address} is inside the {itself} itself: over loopback, which nothing filters");
            Some(Step::passes(About::Route, text))
        }
        Hop::Metadata { .. } => {
            let text =
                format!("{address} is task metadata, at container instance {instance}: no security group shuts it");
            Some(Step::passes(About::Route, text))
        }
        Hop::Instance { .. } | Hop::Published(_) => {
            let text = format!(
                "{address} is container instance {instance}, where the sender is: it does not leave it, and no security \
                 group judges it"
            );
            Some(Step::passes(About::Route, text))
        }
        Hop::Bridge(_) => {
            let text = format!(
                "{address} is on the bridge of container instance {instance}, where the sender is: no security group judges it"
            );
            Some(Step::passes(About::Route, text))
        }
        Hop::Nobody => {
            let text = format!("no container on the bridge of container instance {instance} has {address}");
            Some(Step::fails(About::Route, Code::NoPossibleDestination, text))
        }
        Hop::Dropped => None,
    }
}

/// What the instance makes of it where it ends; none where it ends in none, or it is for the instance itself and meant so.
pub(super) fn ending(case: &Case, way: &Way) -> Option<Step> {
    let (id, hop) = way.ending(case.sender.end.as_sender())?;
    let site = case.sender.sites.by_eni.get(&id)?;
    let asked = what(case.opening);
    match hop {
        Hop::Published(port) => {
            let resident = site.residents.get(&port.container_address);
            let whose = resident.map_or("a container that is gone".to_owned(), |resident| resident.called());
            let text = format!(
                "host port {} of container instance {} leads to {}:{}, {whose}",
                port.host_port, site.called, port.container_address, port.container_port
            );
            match (&case.to, resident) {
                (Some(to), Some(resident)) if to.task != resident.task => {
                    let text = format!("{text}, which is not {}", to.called());
                    Some(with_ports(Step::fails(About::Nat, Code::NoPortMapping, text), to))
                }
                _ => Some(Step::passes(About::Nat, text)),
            }
        }
        Hop::Bridge(address) => {
            let resident = site.residents.get(address)?;
            Some(Step::note(About::To, format!("{address} is {}", resident.called())))
        }
        Hop::Dropped => {
            let text =
                format!("container instance {} takes no {asked} from outside: it is the ECS agent's own", site.called);
            Some(Step::fails(About::Nat, Code::ProtocolRestriction, text))
        }
        Hop::Instance { .. } => for_itself(case, site, &asked),
        Hop::Loopback | Hop::Metadata { .. } | Hop::Nobody | Hop::Out => None,
    }
}

/// A packet that is translated to no container.
fn for_itself(case: &Case, site: &Site, asked: &str) -> Option<Step> {
    let instance = &site.called;
    if matches!(case.opening, Opening::Icmp(..)) {
        return Some(Step::note(About::Nat, format!("container instance {instance} itself answers ICMP")));
    }
    let port = case.opening.port()?;
    let Some(to) = &case.to else {
        let inside = case.sender.sites.inside.values().find(|inside| inside.addresses.contains(&case.address));
        let ports: Vec<String> =
            inside.into_iter().flat_map(|inside| &inside.ports).map(|port| port.host_port.to_string()).collect();
        let others = if ports.is_empty() { "none".to_owned() } else { list(&ports) };
        let text = format!(
            "no container of container instance {instance} has host port {asked}: it is for the instance itself; host ports \
             that lead to containers: {others}"
        );
        return Some(Step::note(About::Nat, text));
    };
    if to.mode != NetworkMode::Bridge {
        return None;
    }
    if to.bindings.iter().any(|binding| binding.ports().any(|(_, bound)| bound == port)) {
        let text = format!("host port {asked} of container instance {instance} does not lead to {} now", to.called());
        return Some(Step::fails(About::Nat, Code::BadStateAttachment, text));
    }
    let text = format!("no container of container instance {instance} has host port {asked}");
    Some(with_ports(Step::fails(About::Nat, Code::NoPortMapping, text), to))
}

/// Where the task is reached, or what to do that it is.
fn with_ports(step: Step, to: &End) -> Step {
    let family = &to.definition.family;
    match to.bindings.is_empty() {
        true => step.with_remedy(format!("task definition `{family}` maps no port: give it `portMappings`")),
        false => step.with_remedy(format!(
            "task definition `{family}` maps {}: name one of these, or map this one",
            ports::listed(to)
        )),
    }
}
