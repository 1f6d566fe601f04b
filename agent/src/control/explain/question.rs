//! What FROM and TO stand for: tasks, addresses, ports; and all that is known of them, as owned values. Pure, over the lens.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use netmodes::bridge::BRIDGE_BLOCK;
use netmodes::ids::{EniId, NetworkMode};
use netmodes::reach::way;
use netmodes::security::group::Ruleset;
use netmodes::vpc::eni::Eni;

use super::instances::{self, Sites};
use super::names;
use super::reply::{Code, ExplainRequest, Step};
use crate::control::api::{ErrorReply, Target};
use crate::control::target;
use crate::control::view::Lens;
use crate::plan::health::{self, HealthStatus};
use crate::project::security_groups;
use crate::spec::ids::{ServiceName, StackName, TaskId};
use crate::spec::task_definition::TaskDefinition;
use crate::store::state::{EniOwner, StackRecord};
use crate::store::task::{PortBinding, Task, TaskStatus};

/// A task at one end.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) stack: StackName,
    pub(super) service: ServiceName,
    pub(super) task: TaskId,
    pub(super) status: TaskStatus,
    /// Why it stopped or stops.
    pub(super) reason: Option<String>,
    pub(super) mode: NetworkMode,
    /// The ENI by which it is on the VPC, as the filter has it: its own, or its instance's in bridge and host mode.
    pub(super) eni: Eni,
    pub(super) definition: TaskDefinition,
    /// The ports of its instance that lead to it.
    pub(super) bindings: Vec<PortBinding>,
    /// In bridge mode the address of the container that is looked at from inside.
    pub(super) container: Option<Ipv4Addr>,
    /// The container that holds the namespace that it is looked at from, and its process while it runs.
    pub(super) holder: (String, Option<i32>),
    /// Whether the ENI was seen to be linked to its owner's namespace.
    pub(super) linked: bool,
    /// Whether its containers were seen to be on their instance's bridge; true in another mode.
    pub(super) attached: bool,
    pub(super) health: HealthStatus,
    /// Whether the name of its service leads to it.
    pub(super) name: Option<Step>,
}

impl End {
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.eni.primary_address()
    }

    /// As the sender of packets.
    pub(super) fn as_sender(&self) -> way::Sender<'_> {
        way::Sender { eni: &self.eni, container: self.container }
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
    /// The container instances of its stack.
    pub(super) sites: Arc<Sites>,
}

/// Who has an address, as the sender sees it.
#[derive(Debug, Clone)]
pub(super) enum At {
    /// A task, or one of its containers.
    Task(Box<End>),
    /// A container instance, whose ports lead to these tasks.
    Instance(Vec<End>),
    /// Nobody that is known.
    Nobody,
}

/// Where to.
#[derive(Debug, Clone)]
pub(super) enum Destination {
    /// Tasks of the same VPC, or of another one.
    Tasks(Vec<End>),
    /// A service that has none on the network, and why.
    NoTask(StackName, ServiceName, Code, String),
    /// Addresses, with who has them.
    Addresses(Vec<(IpAddr, At)>),
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

pub(super) fn wrong(message: String, hint: Option<String>) -> ErrorReply {
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
    if let Some(why) = without_network(lens, first) {
        return Err(ErrorReply { message: format!("{why}: it opens no connection"), hint: None, exit_code: 1 });
    }
    let sender = sender(lens, first).ok_or_else(|| wrong(format!("task {} is gone", first.task_id), None))?;
    let destination = destination(lens, &sender, &request.to)?;
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
    let sites = Arc::new(Sites::of(lens, &end.stack, stack));
    Some(Sender { end, record: Arc::new(stack.record.clone()), ruleset, vpc, sites })
}

/// That a task is in network mode none, in words.
fn without_network(lens: &Lens<'_>, target: &Target) -> Option<String> {
    let task = lens.state.stack(&StackName::new(&target.stack))?.tasks.get(target.task_id.as_str())?;
    let called = format!("{} ({})", task.service, task.id.short());
    (task.mode() == NetworkMode::None).then(|| format!("{called} is in network mode none, which has loopback alone"))
}

fn end(lens: &Lens<'_>, stack: &StackName, task: &str) -> Option<End> {
    let record = lens.state.stack(stack)?.tasks.get(task)?;
    end_of(lens, stack, record)
}

/// None for a task in network mode none: it has no end.
fn end_of(lens: &Lens<'_>, stack: &StackName, task: &Task) -> Option<End> {
    let in_stack = lens.state.stack(stack)?;
    let eni = in_stack.eni_of(task)?;
    let instance = task.instance.as_ref().filter(|_| task.eni().is_none());
    let owner = match instance {
        Some(instance) => lens.setting.instance_name(stack, instance),
        None => lens.setting.pause_name(stack, &task.id),
    };
    let holder = lens.setting.netns_of(stack, task).unwrap_or_else(|| owner.clone());
    let running = lens.observed.running(&owner);
    let network = lens.observed.network(stack, &lens.setting.vpc_name(stack));
    let in_force = network.and_then(|n| n.filter.as_ref()).and_then(|f| f.enis.get(&eni.id));
    let link = network.and_then(|n| n.links.get(&eni.id)).and_then(Option::as_ref);
    let pid = lens.observed.running(&holder).map(|(_, pid)| pid);
    Some(End {
        stack: stack.clone(),
        service: task.service.clone(),
        task: task.id.clone(),
        status: task.status,
        reason: task.stop.as_ref().map(|s| s.reason.clone()),
        mode: task.mode(),
        eni: in_force.unwrap_or(eni).clone(),
        definition: task.definition.clone(),
        bindings: task.bindings().to_vec(),
        container: instances::bridge_address(task),
        attached: instances::is_attached(lens, stack, task),
        linked: running.as_ref().is_some_and(|(id, _)| link == Some(id)),
        holder: (holder, pid),
        health: health::of_task(task, stack, lens.observed, lens.setting),
        name: names::of_task(lens, stack, task),
    })
}

fn destination(lens: &Lens<'_>, sender: &Sender, to: &str) -> Result<Destination, ErrorReply> {
    let from = &sender.end;
    let address = if to == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { to.parse::<IpAddr>().ok() };
    if let Some(address) = address {
        if address.is_ipv6() {
            return Err(wrong(format!("`{to}`: IPv6 is not emulated"), None));
        }
        return Ok(Destination::Addresses(vec![(address, at(lens, sender, address))]));
    }
    // In the sender's own stack first: its file names its services without their stack.
    let (stack, name) = to.split_once('/').unwrap_or((from.stack.as_str(), to));
    let here = target::find(lens, &format!("{stack}/{name}"));
    match here.or_else(|_| target::find(lens, to)) {
        Ok(found) => {
            let found = one_service(to, found)?;
            let ends = found.iter().filter_map(|t| end(lens, &StackName::new(&t.stack), &t.task_id));
            let ends: Vec<End> = ends.collect();
            match found.first().filter(|_| ends.is_empty()) {
                Some(first) => {
                    let why = without_network(lens, first).map(|why| (Code::NoRouteToDestination, why));
                    let (code, why) = why.unwrap_or_else(|| {
                        (Code::BadState, format!("the container instance of task {} is gone", first.task_id))
                    });
                    Ok(Destination::NoTask(StackName::new(&first.stack), ServiceName::new(&first.service), code, why))
                }
                None => Ok(Destination::Tasks(ends)),
            }
        }
        Err(_) if to.contains('.') => Ok(Destination::Name(to.trim_end_matches('.').to_ascii_lowercase())),
        Err(unknown) => {
            let stack = StackName::new(stack);
            let state = lens.state.stack(&stack);
            if let Some((state, (service, of_service))) =
                state.and_then(|state| Some((state, state.services.get_key_value(name)?)))
            {
                let why = names::no_task(state, service, of_service);
                return Ok(Destination::NoTask(stack, service.clone(), Code::BadState, why));
            }
            let known = state.into_iter().flat_map(|s| s.services.keys()).map(ServiceName::as_str);
            let near = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            let message = format!("`{to}` names no task and no service, and is no DNS name or address");
            Err(wrong(message, near.or(unknown.hint)))
        }
    }
}

/// Who has an address, as the sender sees it: a bridge and loopback are its own.
pub(super) fn at(lens: &Lens<'_>, sender: &Sender, address: IpAddr) -> At {
    let from = &sender.end;
    let Some(stack) = lens.state.stack(&from.stack) else { return At::Nobody };
    let own = sender.sites.inside.get(&from.eni.id);
    let is_own = own.is_some_and(|inside| instances::is_own(inside, address));
    if is_own || (address.is_loopback() && from.mode == NetworkMode::Host) {
        return At::Instance(on_instance(lens, &from.stack, &from.eni.id));
    }
    // Its name leads to the task's address, and is of no use here.
    if address.is_loopback() || from.container.is_some_and(|own| address == own) {
        return At::Task(Box::new(End { name: None, ..from.clone() }));
    }
    if let (Some(_), IpAddr::V4(v4)) = (own, address)
        && BRIDGE_BLOCK.contains(v4)
    {
        let resident = sender.sites.by_eni.get(&from.eni.id).and_then(|site| site.residents.get(&v4));
        let end = resident.and_then(|resident| end(lens, &from.stack, resident.task.as_str()));
        return end.map_or(At::Nobody, |end| At::Task(Box::new(End { name: None, ..end })));
    }
    let has_it = |eni: &Eni| eni.addresses.iter().any(|a| a.address == address);
    match stack.leased().find(|(attached, _)| has_it(&attached.eni)) {
        Some((_, EniOwner::Task(task))) => {
            end_of(lens, &from.stack, task).map_or(At::Nobody, |end| At::Task(Box::new(end)))
        }
        Some((attached, EniOwner::Instance(_))) => At::Instance(on_instance(lens, &from.stack, &attached.eni.id)),
        None => At::Nobody,
    }
}

/// The tasks that ports of an instance lead to.
fn on_instance(lens: &Lens<'_>, name: &StackName, eni: &EniId) -> Vec<End> {
    let Some(stack) = lens.state.stack(name) else { return Vec::new() };
    let tasks = stack.instances.values().filter(|i| i.network.eni.id == *eni).flat_map(|i| stack.tasks_on(&i.id));
    tasks.filter(|task| !task.bindings().is_empty()).filter_map(|task| end_of(lens, name, task)).collect()
}

/// The closest of `known`, if one is close.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|other| (strsim::damerau_levenshtein(name, other), other));
    near.min().filter(|(distance, _)| *distance <= 2.max(name.len() / 6)).map(|(_, other)| other)
}
