//! `containerPortRange` of a port mapping (reference 1.7, 1.10): its form, where it may stand, and what it must not overlap.

use std::ops::RangeInclusive;

use super::super::ids::NetworkMode;
use super::super::problem::Problem;
use super::task_definition::Context;
use super::wire::Field;

const CODE: &str = "ClientException";
const MOST_IN_A_CONTAINER: usize = 100;

/// What a mapping takes: one port or a range of them.
struct Taken<'a> {
    /// The field that says so.
    field: Field<'a>,
    protocol: &'a str,
    container: &'a str,
    ports: RangeInclusive<u16>,
    is_range: bool,
}

/// Everything that is wrong with the ranges of a request; single ports are checked as the spec keeps them.
pub(super) fn port_ranges(request: &Field<'_>, context: Context) -> Vec<Problem> {
    let mode = context.network_mode;
    let mut problems = Vec::new();
    let mut taken: Vec<Taken<'_>> = Vec::new();
    for container in request.items("containerDefinitions") {
        let name = container.text("name").unwrap_or_default();
        let mut ranges = 0;
        for mapping in container.items("portMappings") {
            let protocol = mapping.text("protocol").unwrap_or("tcp");
            let range = mapping.get("containerPortRange");
            let ports = match &range {
                Some(range) => range_of(range, name, &mut problems),
                None => {
                    mapping.number("containerPort").and_then(|port| u16::try_from(port).ok()).map(|port| port..=port)
                }
            };
            let is_range = range.is_some();
            let Some(field) = range.or_else(|| mapping.get("containerPort")) else { continue };
            if is_range {
                ranges += 1;
                if mapping.get("containerPort").is_none() && mapping.get("hostPort").is_some() {
                    let message = format!(
                        "Invalid port mapping for container '{name}', cannot specify both host port and port range."
                    );
                    problems.push(mapping.error_at("hostPort", CODE, message));
                }
                if matches!(mode, NetworkMode::Host | NetworkMode::None) && !context.overridden {
                    let message = format!("Container port range is not supported when networkMode={mode}.");
                    problems.push(field.error(CODE, message));
                }
                if ranges == MOST_IN_A_CONTAINER + 1 {
                    let message =
                        format!("Container '{name}' has more than {MOST_IN_A_CONTAINER} container port ranges.");
                    problems.push(field.error(CODE, message));
                }
            }
            let Some(ports) = ports else { continue };
            let next = Taken { field, protocol, container: name, ports, is_range };
            problems.extend(taken.iter().find_map(|earlier| overlap(earlier, &next, mode)));
            taken.push(next);
        }
    }
    problems
}

/// `8000-8010`.
fn range_of(field: &Field<'_>, container: &str, problems: &mut Vec<Problem>) -> Option<RangeInclusive<u16>> {
    let bounds = field.as_text().and_then(|text| text.split_once('-'));
    let ports = bounds.and_then(|(first, last)| Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?)));
    match ports.filter(|(first, last)| *first > 0 && first <= last) {
        Some((first, last)) => Some(first..=last),
        None => {
            let message = format!("Invalid 'containerPortRange' setting for container '{container}'.");
            problems.push(field.error(CODE, message).with_hint("for example 8000-8010"));
            None
        }
    }
}

/// What is wrong with two mappings of one port; two single ports are told where the spec keeps them. In bridge mode each
/// container has ports of its own.
fn overlap(earlier: &Taken<'_>, later: &Taken<'_>, mode: NetworkMode) -> Option<Problem> {
    let shares_ports = mode != NetworkMode::Bridge || earlier.container == later.container;
    let common = *earlier.ports.start().max(later.ports.start());
    let is_common = earlier.ports.contains(&common) && later.ports.contains(&common);
    if !(earlier.is_range || later.is_range) || !shares_ports || !is_common || earlier.protocol != later.protocol {
        return None;
    }
    let protocol = later.protocol.to_uppercase();
    let message =
        format!("{protocol} container port '{common}' is used multiple times in task when networkMode={mode}.");
    Some(later.field.error(CODE, message))
}
