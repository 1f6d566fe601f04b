//! The whole way of a new flow's first packet, from a sender in any network mode to the sockets that take it. Pure.
//!
//! ```text
//! awsvpc   ENI ───────────────────────────── VPC (path) ─┬─ ENI of a task
//! bridge   container ─ instance (departure) ─ VPC (path) ─┼─ ENI of an instance ─ (arrival) ─ container, or its own sockets
//! host     instance (departure) ──────────── VPC (path) ─┘
//! ```
//!
//! A departure that stays in the sender's instance never comes to the VPC, and no security group judges it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::instance::{Entry, Hop, Inside, Instances, hop};
use super::listener::Taker;
use super::path::{Opening, Path, Route, follow};
use super::probe::PATIENCE;
use super::{Outcome, foresee_taken};
use crate::awsvpc::OWNER_LINK;
use crate::ids::EniId;
use crate::security::group::Ruleset;
use crate::vpc::eni::Eni;

/// Who sends: the one that has an ENI, in awsvpc, or the instance that has it, in host mode; or a container of that instance.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The ENI by which it is on the VPC.
    pub eni: &'a Eni,
    /// In bridge mode its address there.
    pub container: Option<Ipv4Addr>,
}

/// The whole way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Within the sender's instance, where it is on one.
    pub departure: Option<Hop>,
    /// Through the VPC; none when it stays in the sender's instance.
    pub path: Option<Path>,
    /// Within the instance that has the ENI that it comes to.
    pub arrival: Option<Hop>,
}

/// Whose sockets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The sender's own.
    Sender,
    /// Of the netns that has the ENI: a task's, or an instance's.
    Eni(EniId),
    /// Of the container at that address of the instance that has the ENI.
    Container(EniId, Ipv4Addr),
    /// The VPC's router's.
    Router,
}

/// Where the socket is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose netns.
    pub owner: Owner,
    /// The address that the packet has there, after translation.
    pub address: IpAddr,
    /// The port that it has there.
    pub port: u16,
    /// The link that it comes by.
    pub link: &'static str,
}

/// A namespace that a packet passes on its way between two others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passed {
    /// That of the instance that has the ENI.
    Instance(EniId),
    /// The VPC's.
    Vpc,
}

/// How long the last of an instance's questions who has an address of its bridge takes to have no answer: three, each a second.
const NOBODY_ANSWERS: Duration = Duration::from_secs(4);

/// Follows a new flow to where it ends.
pub fn follow_all(ruleset: &Ruleset, instances: &Instances, from: Sender<'_>, to: IpAddr, opening: Opening) -> Way {
    let entry = from.container.map_or(Entry::Own, Entry::Container);
    let departure = instances.get(&from.eni.id).map(|inside| hop(inside, entry, to, opening));
    if departure.as_ref().is_some_and(|hop| *hop != Hop::Out) {
        return Way { departure, path: None, arrival: None };
    }
    let path = follow(ruleset, from.eni, to, opening);
    let arrived_at = |id: &EniId| -> Option<&Inside> { instances.get(id) };
    let arrival = match &path.route {
        Route::Eni(id) => arrived_at(id).map(|inside| hop(inside, Entry::Eni, to, opening)),
        _ => None,
    };
    Way { departure, path: Some(path), arrival }
}

impl Way {
    /// Whether no packet leaves the netns that it is sent in.
    pub fn is_loopback(&self) -> bool {
        self.departure == Some(Hop::Loopback) || self.route() == Some(&Route::Own)
    }

    /// The namespaces that track it on its way, in turn, for [`super::probe::attempt`].
    ///
    /// From port to port of a bridge a packet passes no namespace, and one that a process of an instance sends out by its ENI
    /// has been told apart by the VPC's.
    pub fn passes(&self, from: Sender<'_>) -> Vec<Passed> {
        if self.is_loopback() {
            return Vec::new();
        }
        let own = match (&self.departure, from.container) {
            (None, _) | (Some(Hop::Out), None) | (Some(Hop::Bridge(_) | Hop::Nobody), Some(_)) => None,
            _ => Some(from.eni.id.clone()),
        };
        let vpc = self.path.as_ref().map(|_| Passed::Vpc);
        let arrival = match (self.route(), &self.arrival) {
            (Some(Route::Eni(id)), Some(_)) => Some(Passed::Instance(id.clone())),
            _ => None,
        };
        own.map(Passed::Instance).into_iter().chain(vpc).chain(arrival).collect()
    }

    /// How long an answer may well take.
    pub fn patience(&self) -> Duration {
        if self.departure == Some(Hop::Nobody) { NOBODY_ANSWERS } else { PATIENCE }
    }

    /// Where the VPC's router sends it.
    pub fn route(&self) -> Option<&Route> {
        self.path.as_ref().map(|path| &path.route)
    }

    /// The last hop in an instance's netns, where the flow ends in one, with the ENI of that instance.
    pub fn ending(&self, from: Sender<'_>) -> Option<(EniId, &Hop)> {
        match (&self.path, &self.departure, &self.arrival) {
            (None, Some(hop), _) => Some((from.eni.id.clone(), hop)),
            (Some(path), _, Some(hop)) => match &path.route {
                Route::Eni(id) => Some((id.clone(), hop)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Where to look for the socket; none for a packet that reaches nobody, and for one without a port.
    pub fn place(&self, from: Sender<'_>, to: IpAddr, opening: Opening) -> Option<Place> {
        let port = opening.port()?;
        let at = |owner, link| Some(Place { owner, address: to, port, link });
        if let Some((id, hop)) = self.ending(from) {
            return match hop {
                Hop::Loopback => at(Owner::Sender, "lo"),
                Hop::Instance { link } => at(Owner::Eni(id), link),
                Hop::Metadata { link, port } => Some(Place { owner: Owner::Eni(id), address: to, port: *port, link }),
                Hop::Published(to) => Some(Place {
                    owner: Owner::Container(id, to.container_address),
                    address: to.container_address.into(),
                    port: to.container_port,
                    link: OWNER_LINK,
                }),
                Hop::Bridge(address) => at(Owner::Container(id, *address), OWNER_LINK),
                Hop::Nobody | Hop::Dropped | Hop::Out => None,
            };
        }
        match self.route()? {
            Route::Own => at(Owner::Sender, "lo"),
            Route::Eni(id) => at(Owner::Eni(id.clone()), OWNER_LINK),
            Route::Router { serves: true } => at(Owner::Router, "lo"),
            _ => None,
        }
    }

    /// What an attempt to open the flow will come to, `taker` being what was found at its [`Way::place`]; none where that is
    /// not known.
    pub fn foresee(&self, opening: Opening, taker: Option<&Taker>) -> Option<Outcome> {
        if let Some(path) = &self.path
            && (self.arrival.is_none() || !path.is_open())
        {
            return super::foresee(path, opening, taker);
        }
        match self.arrival.as_ref().or(self.departure.as_ref())? {
            Hop::Dropped => Some(Outcome::TimedOut),
            // The instance says so after a while of asking who has the address.
            Hop::Nobody => Some(Outcome::Unreachable),
            _ => foresee_taken(opening, taker),
        }
    }
}
