//! `ecsnet explain`: would this connection get through? An analysis that names what decides, and a probe that must agree.
//!
//! ```text
//! question   what FROM and TO stand for, as owned values     (pure, in the loop)
//! instances  the container instances and who is on them      (pure, in the loop)
//! names      what the zone says of a name                    (pure, in the loop)
//! ports      what is sent, and to which port                 (pure)
//! resolve    asks the resolver
//! here       reads the sockets at the other end
//! verdict    the steps, and what will be seen; nat those of container instances   (pure)
//! here       opens the connection from the sender's namespace, and compares
//! ```
//!
//! The probe is the agent's: whoever asks needs no privilege to enter a namespace.

mod instances;
mod names;
mod nat;
mod ports;
mod question;
pub mod reply;
mod resolve;
#[cfg(test)]
mod tests;
mod verdict;
mod wording;

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use netmodes::kernel::listening::{link_index, listeners};
use netmodes::nft::Transport;
use netmodes::reach::Outcome;
use netmodes::reach::listener::{Taker, taker};
use netmodes::reach::path::Opening;
use netmodes::reach::probe;

use self::names::Record;
use self::ports::Sent;
use self::question::{Destination, End, Question, Sender};
use self::reply::{About, Analysis, Detail, EndView, ExplainRequest, Explanation, Explanations, Probe, Protocol};
use self::reply::{Step, Summary};
use self::verdict::{Case, Sockets, Verdict, decide};
use super::failure::{Failure, failure};
use super::server::Server;
use super::view::Lens;
use crate::apply::Applier;
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
    let case = |to: Option<End>, address, sent: Sent, name: &[Step]| {
        let name = if name.is_empty() { to.iter().flat_map(|to| to.name.clone()).collect() } else { name.to_vec() };
        let name = name.into_iter().chain(sent.steps).collect();
        Case { sender: sender.clone(), to, address, opening: sent.opening, name }
    };
    let mut cases = Vec::new();
    let mut disagreement = None;
    match destination {
        Destination::NoTask(stack, service, code, why) => {
            let steps = vec![Step::fails(About::To, code, why)];
            return Ok(nowhere(&sender, request, format!("{stack}/{service}"), steps, None, notes));
        }
        Destination::Tasks(ends) => {
            for end in ends {
                let Some(address) = end.address() else { continue };
                for sent in ports::to_task(request, &end)? {
                    cases.push(case(Some(end.clone()), address, sent, &[]));
                }
            }
        }
        Destination::Addresses(found) => {
            for (address, at) in found {
                for (sent, end) in ports::to_address(request, at)? {
                    cases.push(case(end, address, sent, &[]));
                }
            }
        }
        Destination::Name(name) => {
            let found = resolve::resolve(&applier, &sender, &name, record.unwrap_or(Record::Elsewhere)).await;
            if found.places.is_empty() {
                return Ok(nowhere(&sender, request, name, vec![found.step], found.differs, notes));
            }
            disagreement = found.differs;
            if let Some(asked) =
                request.port.filter(|asked| found.places.iter().any(|(_, p)| p.is_some_and(|p| p != *asked)))
            {
                notes.push(format!(
                    "port {asked} was set aside: `{name}` has SRV records, which name the port themselves"
                ));
            }
            let (from, places) = (sender.clone(), found.places);
            let look = move |lens: &Lens<'_>| {
                let each =
                    places.into_iter().map(|(address, port)| (address, port, question::at(lens, &from, address)));
                each.collect::<Vec<_>>()
            };
            for (address, port, at) in server.look(look).await? {
                // Whoever follows an SRV record takes its port.
                let request = ExplainRequest { port: port.or(request.port), ..request.clone() };
                for (sent, end) in ports::to_address(&request, at)? {
                    cases.push(case(end, address, sent, std::slice::from_ref(&found.step)));
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

/// Judges one path and tries it.
async fn analyse(applier: Arc<Applier>, case: Case, disagreement: Option<String>) -> Analysis {
    let found = match case.sockets() {
        Some(sockets) => find_taker(&applier, &case, sockets).await,
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

async fn find_taker(applier: &Applier, case: &Case, (holder, at): Sockets) -> Result<Option<Taker>, String> {
    let transport = match case.opening {
        Opening::Tcp(_) => Transport::Tcp,
        Opening::Udp(_) => Transport::Udp,
        Opening::Icmp(..) => return Ok(None),
    };
    let (_, netns) = applier.networks().netns_of(&holder).await.map_err(|error| chain(&error))?;
    let look = move || -> Result<Option<Taker>, String> {
        let link = link_index(&netns, at.link).map_err(|error| chain(&error))?;
        let sockets = listeners(&netns, transport).map_err(|error| chain(&error))?;
        Ok(Some(taker(&sockets, at.address, at.port, link)))
    };
    tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())?
}

async fn try_it(applier: &Applier, case: &Case) -> Result<probe::Seen, String> {
    let enter = async |holder: &str| {
        let entered = applier.networks().netns_of(holder).await;
        entered.map(|(_, netns)| netns).map_err(|error| chain(&error))
    };
    let from = enter(&case.sender.end.holder.0).await?;
    let (holders, patience) = case.passes();
    let mut passes = Vec::new();
    for holder in &holders {
        passes.push(enter(holder).await?);
    }
    let (address, opening) = (case.address, case.opening);
    let trying = tokio::task::spawn_blocking(move || {
        probe::attempt(&from, &passes.iter().collect::<Vec<_>>(), address, opening, patience)
    });
    trying.await.map_err(|error| error.to_string())?.map_err(|error| chain(&error))
}
