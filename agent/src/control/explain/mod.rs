//! `ecsnet explain`: would this connection get through? An analysis that names what decides, and a probe that must agree.
//!
//! ```text
//! question   what FROM and TO stand for, as owned values     (pure, in the loop)
//! names      what the zone says of a name                    (pure, in the loop)
//! here       asks the resolver, reads the sockets at the other end
//! verdict    the steps, and what will be seen                (pure)
//! here       opens the connection from the sender's namespace, and compares
//! ```
//!
//! The probe is the agent's: whoever asks needs no privilege to enter a namespace.

mod names;
mod question;
pub mod reply;
#[cfg(test)]
mod tests;
mod verdict;
mod wording;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use netmodes::kernel::listening::{link_index, listeners};
use netmodes::kernel::netns::Netns;
use netmodes::nft::Transport;
use netmodes::reach::Outcome;
use netmodes::reach::listener::{Taker, taker};
use netmodes::reach::path::Opening;
use netmodes::reach::probe::{self, PATIENCE};
use netmodes::vpc::router::Router;

use self::names::Record;
use self::question::{Destination, End, Question, Sender};
use self::reply::{About, Analysis, Code, Detail, EndView, ExplainRequest, Explanation, Explanations, Probe, Protocol};
use self::reply::{Step, Summary};
use self::verdict::{Case, Place, Verdict, decide};
use super::dig;
use super::failure::{Failure, failure};
use super::server::Server;
use crate::apply::Applier;
use crate::project::security_groups::router;
use crate::reconcile::chain;

/// More paths than these are not looked at in one question.
const MOST_PATHS: usize = 64;

/// Answers the question; what disagrees is looked at once more, since the stack may have changed between the looks.
pub(super) async fn explain(
    Shared(server): Shared<Server>,
    Json(request): Json<ExplainRequest>,
) -> Result<Json<Explanations>, Failure> {
    let first = once(&server, &request).await?;
    if first.analyses.iter().any(|a| a.detail.disagreement.is_some()) {
        return Ok(Json(once(&server, &request).await?));
    }
    Ok(Json(first))
}

async fn once(server: &Server, request: &ExplainRequest) -> Result<Explanations, Failure> {
    let applier = server.applier().await?;
    let asked = request.clone();
    let (question, record) = server
        .look(move |lens| {
            let question = question::read(lens, &asked)?;
            let record = match &question.destination {
                Destination::Name(name) => Some(names::record(lens, &question.sender.end.stack, name)),
                _ => None,
            };
            Ok::<_, Failure>((question, record))
        })
        .await??;
    let Question { sender, destination, mut notes } = question;
    let case = |to: Option<End>, address, opening, name: Vec<Step>| {
        let name = if name.is_empty() { to.iter().flat_map(|to| to.name.clone()).collect() } else { name };
        Case { sender: sender.clone(), to, address, opening, name }
    };
    let mut cases = Vec::new();
    let mut disagreement = None;
    match destination {
        Destination::NoTask(stack, service, why) => {
            let steps = vec![Step::fails(About::To, Code::BadState, why)];
            return Ok(nowhere(&sender, request, format!("{stack}/{service}"), steps, None, notes));
        }
        Destination::Tasks(ends) => {
            for end in ends {
                let Some(address) = end.address() else { continue };
                for opening in question::openings(request, Some(&end.definition))? {
                    cases.push(case(Some(end.clone()), address, opening, Vec::new()));
                }
            }
        }
        Destination::Addresses(found) => {
            for (address, end) in found {
                for opening in question::openings(request, end.as_ref().map(|e| &e.definition))? {
                    cases.push(case(end.clone(), address, opening, Vec::new()));
                }
            }
        }
        Destination::Name(name) => {
            let (step, addresses, differs) =
                resolve(&applier, &sender, &name, record.unwrap_or(Record::Elsewhere)).await;
            if addresses.is_empty() {
                return Ok(nowhere(&sender, request, name, vec![step], differs, notes));
            }
            disagreement = differs;
            let stack = sender.end.stack.clone();
            let found = server.look(move |lens| question::addresses(lens, &stack, &addresses)).await?;
            let Destination::Addresses(found) = found else { return Err(failure("addresses are no addresses", 1)) };
            for (address, end) in found {
                for opening in question::openings(request, end.as_ref().map(|e| &e.definition))? {
                    cases.push(case(end.clone(), address, opening, vec![step.clone()]));
                }
            }
        }
    }
    if cases.len() > MOST_PATHS {
        notes.push(format!("of {} paths, {MOST_PATHS} were looked at: name a task or a port", cases.len()));
        cases.truncate(MOST_PATHS);
    }
    let running: Vec<_> =
        cases.into_iter().map(|case| tokio::spawn(analyse(Arc::clone(&applier), case, disagreement.clone()))).collect();
    let mut analyses = Vec::new();
    for analysis in running {
        analyses.push(analysis.await.map_err(|error| failure(error.to_string(), 1))?);
    }
    Ok(finish(analyses, notes))
}

fn finish(analyses: Vec<Analysis>, notes: Vec<String>) -> Explanations {
    let reachable = analyses.iter().all(|a| a.detail.reachable);
    Explanations { analyses, ecsnet: Summary { reachable, notes } }
}

/// The answer when there is no address to go to.
fn nowhere(
    sender: &Sender,
    request: &ExplainRequest,
    to: String,
    steps: Vec<Step>,
    disagreement: Option<String>,
    notes: Vec<String>,
) -> Explanations {
    let to = EndView { service: Some(to), task_id: None, address: None };
    let protocol = request.protocol.unwrap_or(Protocol::Tcp);
    let probe = Probe::NotTried { why: "there is no address to try".to_owned() };
    let detail = Detail {
        from: view(&sender.end),
        to,
        protocol,
        port: request.port,
        steps,
        foreseen: None,
        probe,
        disagreement,
        reachable: false,
    };
    finish(vec![analysis(detail)], notes)
}

/// Asks the resolver for a name as the sender would, and compares with what the zone has.
async fn resolve(
    applier: &Applier,
    sender: &Sender,
    name: &str,
    record: Record,
) -> (Step, Vec<IpAddr>, Option<String>) {
    let of_vpc: Router = router(&sender.record);
    let asked = match (sender.end.holder.1, of_vpc.resolver_addresses().first()) {
        (Some(_), Some(server)) => match applier.networks().netns_of(&sender.end.holder.0).await {
            Ok((_, netns)) => dig::addresses_from(netns, *server, name).await.map_err(|error| error.message),
            Err(error) => Err(chain(&error)),
        },
        _ => Err(format!("{} has no network to ask from", sender.end.called())),
    };
    match (asked, record) {
        (Ok(answer), record) if answer.addresses.is_empty() => {
            let (why, near, differs) = match record {
                Record::Missing { why, near } => (format!(": {why}"), near, None),
                Record::Elsewhere => (format!(": {}", answer.status), None, None),
                Record::Addresses(known) => {
                    let known: Vec<_> = known.into_iter().collect();
                    let differs =
                        format!("the zone has `{name}` as {}, the resolver has no record", wording::list(&known));
                    (format!(": {}", answer.status), None, Some(differs))
                }
            };
            let step = Step::fails(About::Name, Code::NameNotFound, format!("`{name}` has no record{why}"));
            let step = match near {
                Some(near) => step.with_remedy(format!("did you mean `{near}`?")),
                None => step,
            };
            (step, Vec::new(), differs)
        }
        (Ok(answer), record) => {
            let addresses = answer.addresses;
            let said = format!("the resolver says {}", wording::list(&addresses));
            let differs = match record {
                Record::Addresses(known) if addresses.iter().all(|a| known.contains(a)) => None,
                Record::Addresses(known) => {
                    let known: Vec<_> = known.into_iter().collect();
                    Some(format!("the zone has `{name}` as {}, {said}", wording::list(&known)))
                }
                Record::Missing { why, .. } => Some(format!("the zone has no `{name}` ({why}), {said}")),
                Record::Elsewhere => None,
            };
            let text = format!("`{name}` is {}", wording::list(&addresses));
            (Step::passes(About::Name, text), addresses, differs)
        }
        (Err(error), _) => {
            (Step::fails(About::Name, Code::NameNotAnswered, format!("`{name}`: {error}")), Vec::new(), None)
        }
    }
}

/// Judges one path and tries it.
async fn analyse(applier: Arc<Applier>, case: Case, disagreement: Option<String>) -> Analysis {
    let found = match case.place() {
        Some(place) => find_taker(&applier, &case, place).await,
        None => Ok(None),
    };
    let Verdict { mut steps, foreseen, no_probe } = decide(&case, found.as_ref().ok().and_then(Option::as_ref));
    if let Err(why) = found {
        steps.push(Step::note(About::Listener, format!("the sockets there cannot be looked at: {why}")));
    }
    let probe = match no_probe {
        Some(why) => Probe::NotTried { why },
        None => match try_it(&applier, &case).await {
            Ok(seen) => Probe::Seen {
                outcome: seen.outcome,
                microseconds: u64::try_from(seen.took.as_micros()).unwrap_or(u64::MAX),
            },
            Err(why) => Probe::NotTried { why },
        },
    };
    let seen = match &probe {
        Probe::Seen { outcome, .. } => Some(*outcome),
        Probe::NotTried { .. } => None,
    };
    let disagreement = disagreement.or_else(|| differs(foreseen?, seen?));
    let blocked = steps.iter().any(|step| step.passes == Some(false));
    let reachable = disagreement.is_none() && seen.or(foreseen).is_some_and(Outcome::is_reachable) && !blocked;
    let (protocol, port) = match case.opening {
        Opening::Tcp(port) => (Protocol::Tcp, Some(port)),
        Opening::Udp(port) => (Protocol::Udp, Some(port)),
        Opening::Icmp(..) => (Protocol::Icmp, None),
    };
    let to = match &case.to {
        Some(end) => EndView { address: Some(case.address), ..view(end) },
        None => EndView { service: None, task_id: None, address: Some(case.address) },
    };
    let from = view(&case.sender.end);
    analysis(Detail { from, to, protocol, port, steps, foreseen, probe, disagreement, reachable })
}

fn differs(foreseen: Outcome, seen: Outcome) -> Option<String> {
    let word = |outcome| match outcome {
        Outcome::Connected => "answered",
        Outcome::Delivered => "delivered",
        Outcome::Refused => "refused",
        Outcome::TimedOut => "dropped",
        Outcome::Unreachable => "turned back for want of a route",
    };
    (!foreseen.agrees_with(seen))
        .then(|| format!("by the analysis it is {}, but the probe was {}", word(foreseen), word(seen)))
}

fn analysis(detail: Detail) -> Analysis {
    let failing = detail.steps.iter().filter(|step| step.passes == Some(false));
    let explanations = failing.filter_map(|step| {
        Some(Explanation {
            explanation_code: step.code?,
            direction: matches!(step.about, About::Egress | About::Ingress).then(|| step.about.as_str().to_owned()),
            security_groups: step.security_groups.clone(),
        })
    });
    Analysis { network_path_found: detail.reachable, explanations: explanations.collect(), detail }
}

fn view(end: &End) -> EndView {
    EndView {
        service: Some(format!("{}/{}", end.stack, end.service)),
        task_id: Some(end.task.to_string()),
        address: end.address(),
    }
}

async fn find_taker(applier: &Applier, case: &Case, place: Place) -> Result<Option<Taker>, String> {
    let (transport, port) = match case.opening {
        Opening::Tcp(port) => (Transport::Tcp, port),
        Opening::Udp(port) => (Transport::Udp, port),
        Opening::Icmp(..) => return Ok(None),
    };
    let address = case.address;
    let look = move |netns: &Netns, link: &'static str| -> Result<Option<Taker>, String> {
        let link = link_index(netns, link).map_err(|error| chain(&error))?;
        let sockets = listeners(netns, transport).map_err(|error| chain(&error))?;
        Ok(Some(taker(&sockets, address, port, link)))
    };
    let looking = match place {
        Place::Holder(holder, by_loopback) => {
            let (_, netns) = applier.networks().netns_of(&holder).await.map_err(|error| chain(&error))?;
            let link = if by_loopback { "lo" } else { netmodes::awsvpc::OWNER_LINK };
            tokio::task::spawn_blocking(move || look(&netns, link))
        }
        Place::Vpc => {
            let vpc = applier.networks().open(&case.sender.vpc).await.map_err(|error| chain(&error))?;
            tokio::task::spawn_blocking(move || look(vpc.links.netns(), "lo"))
        }
    };
    looking.await.map_err(|error| error.to_string())?
}

async fn try_it(applier: &Applier, case: &Case) -> Result<probe::Seen, String> {
    let (_, from) = applier.networks().netns_of(&case.sender.end.holder.0).await.map_err(|error| chain(&error))?;
    let vpc = applier.networks().open(&case.sender.vpc).await.map_err(|error| chain(&error))?;
    let (address, opening, inside) = (case.address, case.opening, case.stays_inside());
    let trying = tokio::task::spawn_blocking(move || {
        let vpc = (!inside).then(|| vpc.links.netns());
        probe::attempt(&from, vpc, address, opening, PATIENCE)
    });
    trying.await.map_err(|error| error.to_string())?.map_err(|error| chain(&error))
}
