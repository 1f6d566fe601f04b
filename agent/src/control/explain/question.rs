//! What FROM and TO stand for: tasks, addresses, ports; and all that is known of them, as owned values. Pure, over the lens.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use netmodes::reach::path::{ECHO, Opening};
use netmodes::security::group::Ruleset;
use netmodes::vpc::eni::Eni;

use super::names;
use super::reply::{ExplainRequest, Protocol, Step};
use crate::control::api::{ErrorReply, Target};
use crate::control::target;
use crate::control::view::Lens;
use crate::plan::health::{self, HealthStatus};
use crate::project::security_groups;
use crate::spec::ids::{ServiceName, StackName, TaskId};
use crate::spec::task_definition::{TaskDefinition, TransportProtocol};
use crate::store::state::{StackRecord, Task, TaskStatus};

/// A task at one end.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) stack: StackName,
    pub(super) service: ServiceName,
    pub(super) task: TaskId,
    pub(super) status: TaskStatus,
    /// Why it stopped or stops.
    pub(super) reason: Option<String>,
    /// The ENI as the filter has it.
    pub(super) eni: Eni,
    pub(super) definition: TaskDefinition,
    /// The container that holds its namespace, and its process while it runs.
    pub(super) holder: (String, Option<i32>),
    /// Whether the ENI was seen to be linked to that namespace.
    pub(super) linked: bool,
    pub(super) health: HealthStatus,
    /// Whether the name of its service leads to it.
    pub(super) name: Option<Step>,
}

impl End {
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.eni.primary_address()
    }

    /// `users (1a2b3c4d)`
    pub(super) fn called(&self) -> String {
        format!("{} ({})", self.service, self.task.short())
    }
}

/// The sender and its VPC.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) end: End,
    pub(super) record: Arc<StackRecord>,
    /// The rules in force; none before the VPC has any.
    pub(super) ruleset: Option<Arc<Ruleset>>,
    /// The container that holds the VPC's namespace.
    pub(super) vpc: String,
}

/// Where to.
#[derive(Debug, Clone)]
pub(super) enum Destination {
    /// Tasks of the same VPC, or of another one.
    Tasks(Vec<End>),
    /// A service that has none, and why.
    NoTask(StackName, ServiceName, String),
    /// Addresses, with the tasks of the sender's VPC that have them.
    Addresses(Vec<(IpAddr, Option<End>)>),
    /// A name, to be asked of the resolver.
    Name(String),
}

/// What was asked, as far as the state tells.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) sender: Sender,
    pub(super) destination: Destination,
    pub(super) notes: Vec<String>,
}

fn wrong(message: String, hint: Option<String>) -> ErrorReply {
    ErrorReply { message, hint, exit_code: 2 }
}

/// Reads FROM and TO.
///
/// # Errors
/// When either means nothing, or more than one thing.
pub(super) fn read(lens: &Lens<'_>, request: &ExplainRequest) -> Result<Question, ErrorReply> {
    let mut notes = Vec::new();
    let found = one_service(&request.from, target::find(lens, &request.from)?)?;
    let alive = found.iter().filter(|t| t.last_status != "STOPPED").count();
    let first = found.first().ok_or_else(|| wrong(format!("`{}` names no task", request.from), None))?;
    if alive > 1 {
        notes.push(format!(
            "from task {} of `{}`, the first of its {alive}; name another task to ask for that one",
            short(&first.task_id),
            request.from
        ));
    }
    let sender = sender(lens, first).ok_or_else(|| wrong(format!("task {} is gone", first.task_id), None))?;
    let destination = destination(lens, &sender.end, &request.to)?;
    let in_force = sender.ruleset.as_deref();
    let wished = lens.state.stack(&sender.end.stack).and_then(|stack| {
        let network = lens.observed.networks.get(&sender.end.stack)?;
        Some(security_groups::filter(&sender.end.stack, stack, network, lens.observed))
    });
    if in_force != wished.as_ref() {
        notes.push("the stack is being changed: the rules in force are not yet those of its file".to_owned());
    }
    Ok(Question { sender, destination, notes })
}

fn short(task: &str) -> &str {
    task.get(..8).unwrap_or(task)
}

/// One task, or tasks of one service.
fn one_service(text: &str, found: Vec<Target>) -> Result<Vec<Target>, ErrorReply> {
    let Some(first) = found.first() else { return Ok(found) };
    let names_service = |t: &Target| text == t.service || text == format!("{}/{}", t.stack, t.service);
    if found.len() == 1
        || (names_service(first) && found.iter().all(|t| (&t.stack, &t.service) == (&first.stack, &first.service)))
    {
        return Ok(found);
    }
    let mut meant: Vec<String> = found
        .iter()
        .map(|t| if names_service(t) { format!("{}/{}", t.stack, t.service) } else { t.task_id.clone() })
        .collect();
    meant.dedup();
    Err(wrong(format!("`{text}` could mean {} things", meant.len()), Some(format!("name one of {}", meant.join(", ")))))
}

fn sender(lens: &Lens<'_>, target: &Target) -> Option<Sender> {
    let end = end(lens, &StackName::new(&target.stack), &target.task_id)?;
    let stack = lens.state.stack(&end.stack)?;
    let vpc = lens.setting.vpc_name(&end.stack);
    let ruleset = lens.observed.network(&end.stack, &vpc).and_then(|n| n.filter.clone()).map(Arc::new);
    Some(Sender { end, record: Arc::new(stack.record.clone()), ruleset, vpc })
}

fn end(lens: &Lens<'_>, stack: &StackName, task: &str) -> Option<End> {
    let record = lens.state.stack(stack)?.tasks.get(task)?;
    Some(end_of(lens, stack, record))
}

fn end_of(lens: &Lens<'_>, stack: &StackName, task: &Task) -> End {
    let holder = lens.setting.pause_name(stack, &task.id);
    let running = lens.observed.running(&holder);
    let network = lens.observed.network(stack, &lens.setting.vpc_name(stack));
    let in_force = network.and_then(|n| n.filter.as_ref()).and_then(|f| f.enis.get(&task.eni.id));
    let link = network.and_then(|n| n.links.get(&task.eni.id)).and_then(Option::as_ref);
    End {
        stack: stack.clone(),
        service: task.service.clone(),
        task: task.id.clone(),
        status: task.status,
        reason: task.stop.as_ref().map(|s| s.reason.clone()),
        eni: in_force.unwrap_or(&task.eni).clone(),
        definition: task.definition.clone(),
        linked: running.as_ref().is_some_and(|(id, _)| link == Some(id)),
        holder: (holder, running.map(|(_, pid)| pid)),
        health: health::of_task(task, stack, lens.observed, lens.setting),
        name: names::of_task(lens, stack, task),
    }
}

fn destination(lens: &Lens<'_>, from: &End, to: &str) -> Result<Destination, ErrorReply> {
    // Its name leads to the task's address, and is of no use here.
    let inside = |address| Ok(Destination::Addresses(vec![(address, Some(End { name: None, ..from.clone() }))]));
    if to == "localhost" {
        return inside(Ipv4Addr::LOCALHOST.into());
    }
    if let Ok(address) = to.parse::<IpAddr>() {
        if address.is_ipv6() {
            return Err(wrong(format!("`{to}`: IPv6 is not emulated"), None));
        }
        if address.is_loopback() {
            return inside(address);
        }
        return Ok(addresses(lens, &from.stack, &[address]));
    }
    // In the sender's own stack first: its file names its services without their stack.
    let (stack, name) = to.split_once('/').unwrap_or((from.stack.as_str(), to));
    let here = target::find(lens, &format!("{stack}/{name}"));
    match here.or_else(|_| target::find(lens, to)) {
        Ok(found) => {
            let found = one_service(to, found)?;
            let ends = found.iter().filter_map(|t| end(lens, &StackName::new(&t.stack), &t.task_id));
            Ok(Destination::Tasks(ends.collect()))
        }
        Err(_) if to.contains('.') => Ok(Destination::Name(to.trim_end_matches('.').to_ascii_lowercase())),
        Err(unknown) => {
            let stack = StackName::new(stack);
            let state = lens.state.stack(&stack);
            if let Some((state, (service, of_service))) =
                state.and_then(|state| Some((state, state.services.get_key_value(name)?)))
            {
                let why = names::no_task(state, service, of_service);
                return Ok(Destination::NoTask(stack, service.clone(), why));
            }
            let known = state.into_iter().flat_map(|s| s.services.keys()).map(ServiceName::as_str);
            let near = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            let message = format!("`{to}` names no task and no service, and is no DNS name or address");
            Err(wrong(message, near.or(unknown.hint)))
        }
    }
}

/// Addresses, with whose they are in that stack.
pub(super) fn addresses(lens: &Lens<'_>, stack: &StackName, addresses: &[IpAddr]) -> Destination {
    let tasks = lens.state.stack(stack).into_iter().flat_map(|s| s.tasks.values()).filter(|t| t.holds_lease());
    let tasks: Vec<&Task> = tasks.collect();
    let owner = |address: &IpAddr| {
        let task = tasks.iter().find(|t| t.eni.addresses.iter().any(|a| a.address == *address))?;
        Some(end_of(lens, stack, task))
    };
    Destination::Addresses(addresses.iter().map(|address| (*address, owner(address))).collect())
}

/// What is sent to that end: the port that was asked for, or all that it maps.
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

/// The closest of `known`, if one is close.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|other| (strsim::damerau_levenshtein(name, other), other));
    near.min().filter(|(distance, _)| *distance <= 2.max(name.len() / 6)).map(|(_, other)| other)
}
