//! The analysis of one path: each step with what decides it, and what a probe will see. Pure.
//!
//! `netmodes::reach` decides about packets; here is added what only a stack has (tasks, their states, two VPCs), and words.

use std::net::IpAddr;
use std::time::Duration;

use netmodes::ids::{EniId, NetworkMode};
use netmodes::reach::Outcome;
use netmodes::reach::listener::Taker;
use netmodes::reach::path::{Judgement, Opening, Route};
use netmodes::reach::probe::PATIENCE;
use netmodes::reach::way::{self, Owner, Passed, Place};
use netmodes::vpc::eni::Eni;

use super::nat;
use super::question::{End, Sender};
use super::reply::{About, Code, Component, Step};
use super::wording::{self, Way, group_name, list, opening as what};
use crate::spec::task_definition::TransportProtocol;
use crate::store::state::StackRecord;
use crate::store::task::TaskStatus;

/// One path to judge.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) sender: Sender,
    pub(super) to: Option<End>,
    pub(super) address: IpAddr,
    pub(super) opening: Opening,
    /// What was found out about its name and port.
    pub(super) name: Vec<Step>,
}

/// Where the sockets are that take the packet: the container that holds their namespace, and what of them.
pub(super) type Sockets = (String, Place);

/// What the analysis comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) steps: Vec<Step>,
    /// What a probe will see; none where that is not known.
    pub(super) foreseen: Option<Outcome>,
    /// Why no probe makes sense.
    pub(super) no_probe: Option<String>,
}

impl Case {
    /// The receiver's stack, when it is another one than the sender's.
    fn is_foreign(&self) -> bool {
        self.to.as_ref().is_some_and(|to| to.stack != self.sender.end.stack)
    }

    fn from(&self) -> way::Sender<'_> {
        self.sender.end.as_sender()
    }

    /// The way of its packets; none before the VPC has rules, and to another VPC.
    pub(super) fn way(&self) -> Option<way::Way> {
        let ruleset = self.sender.ruleset.as_ref().filter(|_| !self.is_foreign())?;
        Some(way::follow_all(ruleset, &self.sender.sites.inside, self.from(), self.address, self.opening))
    }

    /// Where to look for the socket; none for a packet that reaches nobody here, or ICMP, which the kernel answers.
    pub(super) fn sockets(&self) -> Option<Sockets> {
        let place = self.way()?.place(self.from(), self.address, self.opening)?;
        let site = |id: &EniId| self.sender.sites.by_eni.get(id);
        let holder = match &place.owner {
            Owner::Sender => self.sender.end.holder.0.clone(),
            Owner::Router => self.sender.vpc.clone(),
            Owner::Container(id, address) => site(id)?.residents.get(address)?.holder.clone(),
            Owner::Eni(id) => match site(id) {
                Some(site) => Some(site.holder.clone()).filter(|_| site.linked)?,
                None => self.to.as_ref().filter(|to| to.linked).map(|to| to.holder.0.clone())?,
            },
        };
        Some((holder, place))
    }

    /// The containers that hold the namespaces which its packets pass, in turn, and how long an answer may take.
    pub(super) fn passes(&self) -> (Vec<String>, Duration) {
        let Some(way) = self.way() else { return (vec![self.sender.vpc.clone()], PATIENCE) };
        let holder = |passed: Passed| match passed {
            Passed::Vpc => Some(self.sender.vpc.clone()),
            Passed::Instance(id) => self.sender.sites.by_eni.get(&id).map(|site| site.holder.clone()),
        };
        (way.passes(self.from()).into_iter().filter_map(holder).collect(), way.patience())
    }
}

/// Judges one path; `taker` is what was found at its [`Case::sockets`].
pub(super) fn decide(case: &Case, taker: Option<&Taker>) -> Verdict {
    let mut steps = case.name.clone();
    let mut no_probe = None;
    let mut foreseen = None;
    let from = &case.sender.end;
    if let Some(step) = sender_step(from) {
        no_probe = Some("the sender has no network to probe from".to_owned());
        steps.push(step);
    }
    if let Some(to) = &case.to {
        steps.extend(to_step(to));
        if to.status == TaskStatus::Stopped {
            let no_probe = Some("its address is given back, and may be another task's".to_owned());
            return Verdict { steps, foreseen: None, no_probe };
        }
    }
    if case.is_foreign() {
        let (step, foreseen, why) = foreign(case);
        steps.push(step);
        return Verdict { steps, foreseen, no_probe: no_probe.or(why) };
    }
    let (Some(way), Some(ruleset)) = (case.way(), &case.sender.ruleset) else {
        steps.push(Step::fails(About::Route, Code::BadState, "the VPC is being made: its filter is not in force yet"));
        return Verdict { steps, foreseen, no_probe: Some("there is no VPC yet".to_owned()) };
    };
    let port = way.place(case.from(), case.address, case.opening).map(|place| place.port);
    steps.extend(nat::departure(case, &way));
    let translation = nat::ending(case, &way);
    let receives = translation.as_ref().is_none_or(|step| step.passes != Some(false));
    if let Some(path) = &way.path {
        steps.push(route_step(case, &path.route));
        if let Some(judgement) = &path.egress {
            steps.push(rules_step(case, Way::Egress, (&from.eni, Some(from)), judgement));
        }
        let receiver = match &path.route {
            Route::Eni(id) => ruleset.enis.get(id),
            _ => None,
        };
        if let (Some(judgement), Some(eni)) = (&path.ingress, receiver) {
            let step = rules_step(case, Way::Ingress, (eni, case.to.as_ref()), judgement);
            // A rule for a port on which nobody listens would only make the next step fail.
            let port_is_right = receives && port.is_none_or(|port| port_meant(case, taker, port).is_none());
            steps.push(if port_is_right { step } else { step.only_if("the port is right") });
        }
    }
    steps.extend(translation);
    match (taker, port) {
        (Some(taker), Some(port)) if receives => steps.push(listener_step(case, taker, port)),
        // Who answers instead.
        (Some(Taker::Socket(bound)), Some(_)) => {
            let text = format!("a program listens on {bound} there, which is not the one that was asked for");
            steps.push(Step::note(About::Listener, text));
        }
        _ => {}
    }
    if no_probe.is_none() {
        // No route leads to an ENI that is not linked: its address is as nobody's.
        let unlinked = way.route().is_some_and(|route| is_unlinked(case, route));
        foreseen = if unlinked { Some(Outcome::TimedOut) } else { way.foresee(case.opening, taker) };
    }
    Verdict { steps, foreseen, no_probe }
}

fn is_unlinked(case: &Case, route: &Route) -> bool {
    let Route::Eni(id) = route else { return false };
    match case.sender.sites.by_eni.get(id) {
        Some(site) => !site.linked,
        None => case.to.as_ref().is_some_and(|to| !to.linked),
    }
}

/// What is wrong with the sender, if anything is.
fn sender_step(from: &End) -> Option<Step> {
    if from.holder.1.is_some() && from.linked && from.attached {
        return None;
    }
    Some(not_attached(About::From, from))
}

fn not_attached(about: About, end: &End) -> Step {
    let why = end.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let status = end.status.as_str();
    match end.holder.1 {
        Some(_) if end.linked => {
            let text = format!("{} is {status}, and not all its containers are on their bridge yet{why}", end.called());
            Step::fails(about, Code::BadStateAttachment, text)
        }
        Some(_) => {
            let text = format!(
                "{} is {status}, and its network interface {} is not linked yet{why}",
                end.called(),
                end.eni.id
            );
            Step::fails(about, Code::BadStateAttachment, text)
        }
        None => Step::fails(about, Code::BadState, format!("{} is {status}{why}", end.called())),
    }
}

fn to_step(to: &End) -> Option<Step> {
    if to.status == TaskStatus::Stopped || !to.linked || !to.attached {
        return Some(not_attached(About::To, to));
    }
    let health = match to.health.as_str() {
        "UNKNOWN" => String::new(),
        health => format!(" and {health}"),
    };
    let text = format!("{} is {}{health}", to.called(), to.status.as_str());
    Some(if to.status == TaskStatus::Running && health != " and UNHEALTHY" {
        Step::passes(About::To, text)
    } else {
        Step::note(About::To, text)
    })
}

fn foreign(case: &Case) -> (Step, Option<Outcome>, Option<String>) {
    let to_stack = case.to.as_ref().map(|to| to.stack.as_str()).unwrap_or_default();
    let from_stack = &case.sender.end.stack;
    let text = format!(
        "{} is in the VPC of stack `{to_stack}`, and no route leads there from that of `{from_stack}`: a stack is a VPC of its own",
        case.address
    );
    let step = Step::fails(About::Route, Code::NoRouteToDestination, text)
        .with_remedy(format!("bring both services up in one stack, `{from_stack}` or `{to_stack}`"));
    let vpc = &case.sender.record.spec.vpc;
    if vpc.internet || vpc.cidr.contains(case.address) {
        let why = format!("in the VPC of `{from_stack}`, {} means something else", case.address);
        return (step, None, Some(why));
    }
    (step, Some(Outcome::Unreachable), None)
}

fn route_step(case: &Case, route: &Route) -> Step {
    let (address, vpc) = (case.address, &case.sender.record.spec.vpc);
    match route {
        Route::Own => Step::passes(
            About::Route,
            format!("{address} is inside the task itself: over loopback, which nothing filters"),
        ),
        Route::Eni(eni) => {
            let whose = case.sender.sites.by_eni.get(eni);
            let whose = whose.map(|site| format!(" of container instance {}", site.called)).unwrap_or_default();
            Step::passes(About::Route, format!("{address} is {eni}{whose}, local to the VPC {}", vpc.cidr))
        }
        Route::Router { serves: true } => {
            Step::passes(About::Route, format!("{address} is the VPC's own, which no security group shuts"))
        }
        Route::Router { serves: false } => {
            let text = format!("{address} is the VPC's router, which serves DNS and task metadata and nothing else");
            Step::fails(About::Route, Code::ProtocolRestriction, text)
        }
        Route::Nobody => {
            let text = format!("no network interface of the VPC {} has {address}", vpc.cidr);
            Step::fails(About::Route, Code::NoPossibleDestination, text)
        }
        Route::Uplink => {
            Step::passes(About::Route, format!("{address} is outside of the VPC: out as through a NAT gateway"))
        }
        Route::None => {
            let text = format!("{address} is outside of the VPC {}, and the stack has no internet", vpc.cidr);
            Step::fails(About::Route, Code::NoRouteToDestination, text).with_remedy("set `vpc: { internet: true }`")
        }
    }
}

fn rules_step(case: &Case, way: Way, (own, end): (&Eni, Option<&End>), judgement: &Judgement) -> Step {
    let record: &StackRecord = &case.sender.record;
    let about = match way {
        Way::Egress => About::Egress,
        Way::Ingress => About::Ingress,
    };
    let verb = match way {
        Way::Egress => "lets out",
        Way::Ingress => "lets in",
    };
    match judgement {
        Judgement::Allowed { group, rule } => {
            let text = format!(
                "`{}` ({group}) {verb} `{}`",
                group_name(record, group),
                wording::rule(record, group, rule, way)
            );
            Step::passes(about, text)
        }
        Judgement::Refused { near } => {
            let names: Vec<String> = own.groups.iter().map(|id| format!("`{}`", group_name(record, id))).collect();
            let peer = match (way, &case.to) {
                (Way::Egress, Some(to)) => format!("to {} ({})", case.address, groups_of(record, to)),
                (Way::Egress, None) => format!("to {}", case.address),
                (Way::Ingress, _) => {
                    let from = &case.sender.end;
                    let address = from.address().map(|a| a.to_string()).unwrap_or_default();
                    format!("from {address} ({})", groups_of(record, from))
                }
            };
            let rules = case.sender.ruleset.as_ref().map(|ruleset| {
                let groups = own.groups.iter().filter_map(|id| ruleset.groups.get(id));
                groups.map(|g| if way == Way::Egress { g.egress.len() } else { g.ingress.len() }).sum::<usize>()
            });
            let (code, mut text) = match rules {
                Some(0) => (Code::SgHasNoRules, format!("{} has no {} rules", list(&names), way.word())),
                _ => {
                    let what = what(case.opening);
                    (
                        Code::EniSgRulesMismatch,
                        format!("no {} rule of {} {verb} {what} {peer}", way.word(), list(&names)),
                    )
                }
            };
            if !near.is_empty() {
                let near: Vec<String> =
                    near.iter().map(|(group, rule)| format!("`{}`", wording::rule(record, group, rule, way))).collect();
                text.push_str(&format!("; it {verb} {}", list(&near)));
            }
            let peer = match (way, &case.to) {
                (Way::Ingress, _) => first_group(record, &case.sender.end),
                (Way::Egress, Some(to)) => first_group(record, to),
                (Way::Egress, None) => None,
            };
            let peer = peer.unwrap_or_else(|| format!("{}/32", case.address));
            let remedy = wording::remedy(record, way, (own, end), &peer, case.opening, &case.sender.end);
            let components =
                own.groups.iter().map(|id| Component { id: id.to_string(), name: group_name(record, id).to_owned() });
            Step { security_groups: components.collect(), ..Step::fails(about, code, text).with_remedy(remedy) }
        }
    }
}

fn groups_of(record: &StackRecord, end: &End) -> String {
    let names: Vec<String> = end.eni.groups.iter().map(|id| format!("`{}`", group_name(record, id))).collect();
    if names.is_empty() { "no group".to_owned() } else { list(&names) }
}

fn first_group(record: &StackRecord, end: &End) -> Option<String> {
    wording::group_for(record, &end.eni, Some(&end.service)).map(str::to_owned)
}

fn listener_step(case: &Case, taker: &Taker, port: u16) -> Step {
    let protocol = if matches!(case.opening, Opening::Udp(_)) { "udp" } else { "tcp" };
    let definition = case.to.as_ref().map(|to| &to.definition);
    match taker {
        Taker::Socket(bound) => Step::passes(About::Listener, format!("a program listens on {protocol} {bound}")),
        Taker::Full(bound) => {
            let text = format!("a program listens on {protocol} {bound} and accepts nothing: its queue is full");
            Step::fails(About::Listener, Code::ListenerQueueFull, text)
        }
        Taker::LoopbackOnly(bound) => {
            let itself = match case.to.as_ref().map(|to| to.mode) {
                Some(NetworkMode::Bridge) => "container",
                Some(NetworkMode::Host) => "container instance",
                _ => "task",
            };
            let text = format!("a program listens on {} alone, which only the {itself} itself reaches", list(bound));
            Step::fails(About::Listener, Code::ListenerOnLoopbackOnly, text)
                .with_remedy(format!("let it listen on 0.0.0.0:{port}"))
        }
        Taker::Elsewhere(bound) => {
            let address = case.sockets().map_or(case.address, |(_, place)| place.address);
            let text = format!("a program listens on {}, which is not {address}:{port}", list(bound));
            Step::fails(About::Listener, Code::ListenerOnOtherAddress, text)
                .with_remedy(format!("let it listen on 0.0.0.0:{port}"))
        }
        Taker::Nobody(ports) => {
            let others = match ports.as_slice() {
                [] => format!("nothing at all listens on {protocol} there"),
                ports => {
                    format!("there is {}", list(&ports.iter().map(|p| format!("{protocol}/{p}")).collect::<Vec<_>>()))
                }
            };
            let mut mapped: Vec<u16> =
                definition.into_iter().flat_map(|d| d.port_mappings()).map(|m| m.container_port).collect();
            mapped.sort_unstable();
            mapped.dedup();
            let mapped = match mapped.as_slice() {
                [] => String::new(),
                ports if ports.contains(&port) => "; its task definition maps this port".to_owned(),
                ports => format!("; its task definition maps {}", list(ports)),
            };
            let text = format!("nothing listens on {protocol}/{port}: {others}{mapped}");
            let step = Step::fails(About::Listener, Code::NoListener, text);
            match port_meant(case, Some(taker), port) {
                Some(meant) => step.with_remedy(format!("did you mean port {meant}?")),
                None => step,
            }
        }
    }
}

/// Where nobody listens on a port that is not mapped: the one that is mapped and listened to.
fn port_meant(case: &Case, taker: Option<&Taker>, port: u16) -> Option<u16> {
    let (Some(Taker::Nobody(listening)), Some(to)) = (taker, &case.to) else { return None };
    let protocol = match case.opening {
        Opening::Udp(_) => TransportProtocol::Udp,
        _ => TransportProtocol::Tcp,
    };
    let mapped = to.definition.port_mappings().filter(|m| m.protocol == protocol).map(|m| m.container_port);
    let mapped: Vec<u16> = mapped.collect();
    if mapped.contains(&port) { None } else { mapped.into_iter().find(|p| listening.contains(p)) }
}
