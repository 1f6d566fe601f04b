//! Asks the resolver for a name as the sender would, and compares with what the zone has.

use std::net::IpAddr;

use netmodes::kernel::netns::Netns;
use netmodes::vpc::router::Router;

use super::names::{self, Record};
use super::question::Sender;
use super::reply::{About, Code, Step};
use super::wording::list;
use crate::apply::Applier;
use crate::control::dig;
use crate::project::security_groups::router;
use crate::project::zone::Srv;
use crate::reconcile::chain;

/// Where a name leads.
pub(super) struct Found {
    pub(super) step: Step,
    /// Addresses, and the port where a record names one.
    pub(super) places: Vec<(IpAddr, Option<u16>)>,
    /// That resolver and zone say different things.
    pub(super) differs: Option<String>,
}

impl Found {
    fn nowhere(step: Step, differs: Option<String>) -> Self {
        Self { step, places: Vec::new(), differs }
    }
}

/// Asks for a name's addresses, or for its services where the zone has these.
pub(super) async fn resolve(applier: &Applier, sender: &Sender, name: &str, record: Record) -> Found {
    let of_vpc: Router = router(&sender.record);
    let asked = async {
        let server = of_vpc.resolver_addresses().first().copied().filter(|_| sender.end.holder.1.is_some());
        let server = server.ok_or_else(|| format!("{} has no network to ask from", sender.end.called()))?;
        let entered = applier.networks().netns_of(&sender.end.holder.0).await;
        let (_, netns) = entered.map_err(|error| chain(&error))?;
        if let Record::Services(known) = &record {
            return services(&netns, server, name, known).await;
        }
        let answer = dig::addresses_from(netns, server, name).await.map_err(|error| error.message)?;
        Ok(addresses(name, answer, record))
    };
    match asked.await {
        Ok(found) => found,
        Err(error) => {
            Found::nowhere(Step::fails(About::Name, Code::NameNotAnswered, format!("`{name}`: {error}")), None)
        }
    }
}

async fn services(netns: &Netns, server: IpAddr, name: &str, known: &[Srv]) -> Result<Found, String> {
    let found = dig::services_from(netns, server, name).await.map_err(|error| error.message)?;
    let zone = || list(&known.iter().map(names::in_words).collect::<Vec<_>>());
    if found.is_empty() {
        let step = Step::fails(About::Name, Code::NameNotFound, format!("`{name}` has no SRV record"));
        return Ok(Found::nowhere(step, Some(format!("the zone has `{name}` as {}, the resolver has none", zone()))));
    }
    let is_known =
        |service: &dig::Service| known.iter().any(|srv| names::in_words(srv) == format!("SRV {}", service.data));
    let differs = found.iter().find(|service| !is_known(service));
    let differs =
        differs.map(|other| format!("the zone has `{name}` as {}, the resolver says SRV {}", zone(), other.data));
    let told: Vec<String> =
        found.iter().map(|service| format!("{} ({})", service.data, list(&service.addresses))).collect();
    let places = found.iter().flat_map(|service| service.addresses.iter().map(|a| (*a, Some(service.port))));
    let step = Step::passes(About::Name, format!("`{name}` has no A record; SRV {}", list(&told)));
    Ok(Found { step, places: places.collect(), differs })
}

fn addresses(name: &str, answer: dig::Addresses, record: Record) -> Found {
    let list_of = |known: std::collections::BTreeSet<IpAddr>| list(&known.into_iter().collect::<Vec<_>>());
    if answer.addresses.is_empty() {
        let (why, near, differs) = match record {
            Record::Missing { why, near } => (format!(": {why}"), near, None),
            Record::Elsewhere | Record::Services(_) => (format!(": {}", answer.status), None, None),
            Record::Addresses(known) => {
                let differs = format!("the zone has `{name}` as {}, the resolver has no record", list_of(known));
                (format!(": {}", answer.status), None, Some(differs))
            }
        };
        let step = Step::fails(About::Name, Code::NameNotFound, format!("`{name}` has no record{why}"));
        let step = match near {
            Some(near) => step.with_remedy(format!("did you mean `{near}`?")),
            None => step,
        };
        return Found::nowhere(step, differs);
    }
    let said = format!("the resolver says {}", list(&answer.addresses));
    let differs = match record {
        Record::Addresses(known) if answer.addresses.iter().all(|a| known.contains(a)) => None,
        Record::Addresses(known) => Some(format!("the zone has `{name}` as {}, {said}", list_of(known))),
        Record::Missing { why, .. } => Some(format!("the zone has no `{name}` ({why}), {said}")),
        Record::Elsewhere | Record::Services(_) => None,
    };
    let step = Step::passes(About::Name, format!("`{name}` is {}", list(&answer.addresses)));
    Found { step, places: answer.addresses.into_iter().map(|address| (address, None)).collect(), differs }
}
