//! From a host and a port to the one address that a request goes to.
//!
//! A records first. A name that exists without one (Cloud Map's SRV services, which is all that bridge and host mode have:
//! reference 6.2) is asked for SRV records, and then the record's port counts, not the URL's. A name without a dot is another
//! container of the same task, of which DNS knows nothing. The resolver of hickory is used
//! since a static binary must not resolve through glibc. `/etc/resolv.conf` and `/etc/hosts` are read anew for every lookup
//! and no answer is kept, so none can outlive its TTL; the first record of the answer is taken, in the server's order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};

/// Where a name led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records<T> {
    /// Records of the type asked for, in the answer's order.
    Found(Vec<T>),
    /// The name exists, but has none of that type.
    NoData,
    /// NXDOMAIN.
    NoSuchName,
}

/// What of an SRV record matters here. Cloud Map's have equal priority and weight (`1 1`), so weights are not drawn by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower goes first.
    pub priority: u16,
    /// The port to connect to.
    pub port: u16,
    /// A name that has an address.
    pub target: String,
}

/// What to do once the answer to the A query is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Connect there, to the URL's port.
    Connect(IpAddr),
    /// Ask for SRV records at the same name.
    AskSrv,
    /// Give up: there is no such name.
    GiveUp,
}

/// Why a name led nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// `/etc/resolv.conf` is missing or names no server.
    #[error("/etc/resolv.conf names no usable DNS server")]
    NoServer(#[source] NetError),
    /// NXDOMAIN.
    #[error("there is no name `{0}`")]
    NoSuchName(String),
    /// Neither A nor SRV records.
    #[error("the name `{0}` exists, but has neither A nor SRV records")]
    NoRecords(String),
    /// The server did not answer, or not with an answer.
    #[error("the lookup of {kind} records of `{name}` failed")]
    Lookup {
        /// The name asked for.
        name: String,
        /// `A` or `SRV`.
        kind: RecordType,
        /// What happened.
        #[source]
        source: NetError,
    },
}

impl ResolveError {
    /// The cause in a word or two.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoServer(_) => "no resolver",
            Self::NoSuchName(_) => "no such name",
            Self::NoRecords(_) => "no records",
            Self::Lookup { source: NetError::Timeout, .. } => "lookup timeout",
            Self::Lookup { .. } => "lookup failed",
        }
    }
}

/// Decides what follows from the answer to the A query.
pub fn after_a(answer: &Records<IpAddr>) -> Next {
    match answer {
        Records::Found(addresses) => addresses.first().map_or(Next::AskSrv, |first| Next::Connect(*first)),
        Records::NoData => Next::AskSrv,
        Records::NoSuchName => Next::GiveUp,
    }
}

/// The address of another container of this task, by its bare name: where `hosts`, the text of `/etc/hosts`, has it as `links`
/// in bridge mode do, that address; in the other modes the containers of a task have one loopback.
pub fn beside(hosts: &str, name: &str) -> IpAddr {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    // A link has one address of each family at most; what serves it here is IPv4.
    found.min_by_key(IpAddr::is_ipv6).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The SRV record to use: the first one of those with the lowest priority.
pub fn choose_srv(records: &[Srv]) -> Option<&Srv> {
    records.iter().min_by_key(|record| record.priority)
}

/// A resolver over `/etc/resolv.conf` and `/etc/hosts` as they are now, which waits `timeout` for an answer.
pub fn system_resolver(timeout: Duration) -> Result<TokioResolver, ResolveError> {
    let mut builder = Resolver::builder_tokio().map_err(ResolveError::NoServer)?;
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = timeout;
    options.attempts = 1;
    builder.build().map_err(ResolveError::NoServer)
}

/// The address that `host:port` means now.
pub async fn resolve(resolver: &TokioResolver, host: &str, port: u16) -> Result<SocketAddr, ResolveError> {
    let answer = lookup_a(resolver, host).await?;
    match after_a(&answer) {
        Next::Connect(address) => Ok(SocketAddr::new(address, port)),
        Next::GiveUp => Err(ResolveError::NoSuchName(host.into())),
        Next::AskSrv => {
            let Records::Found(records) = lookup_srv(resolver, host).await? else {
                return Err(ResolveError::NoRecords(host.into()));
            };
            let Some(chosen) = choose_srv(&records) else { return Err(ResolveError::NoRecords(host.into())) };
            match after_a(&lookup_a(resolver, &chosen.target).await?) {
                Next::Connect(address) => Ok(SocketAddr::new(address, chosen.port)),
                Next::GiveUp => Err(ResolveError::NoSuchName(chosen.target.clone())),
                Next::AskSrv => Err(ResolveError::NoRecords(chosen.target.clone())),
            }
        }
    }
}

async fn lookup_a(resolver: &TokioResolver, host: &str) -> Result<Records<IpAddr>, ResolveError> {
    lookup(resolver, host, RecordType::A, |data| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        _ => None,
    })
    .await
}

async fn lookup_srv(resolver: &TokioResolver, host: &str) -> Result<Records<Srv>, ResolveError> {
    lookup(resolver, host, RecordType::SRV, |data| match data {
        RData::SRV(srv) => Some(Srv { priority: srv.priority, port: srv.port, target: srv.target.to_string() }),
        _ => None,
    })
    .await
}

async fn lookup<T>(
    resolver: &TokioResolver,
    host: &str,
    kind: RecordType,
    pick: fn(&RData) -> Option<T>,
) -> Result<Records<T>, ResolveError> {
    // A name with a dot in it is whole: without the closing dot, every NXDOMAIN would be asked again in each search domain.
    let name = if host.contains('.') && !host.ends_with('.') { format!("{host}.") } else { host.to_string() };
    match resolver.lookup(name, kind).await {
        Ok(answer) => {
            let records: Vec<T> = answer.answers().iter().filter_map(|record| pick(&record.data)).collect();
            Ok(if records.is_empty() { Records::NoData } else { Records::Found(records) })
        }
        Err(error) if error.is_nx_domain() => Ok(Records::NoSuchName),
        Err(error) if error.is_no_records_found() => Ok(Records::NoData),
        Err(source) => Err(ResolveError::Lookup { name: host.into(), kind, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::the_first_address(Records::Found(vec!["10.0.0.9".parse().unwrap(), "10.0.0.4".parse().unwrap()]), Next::Connect("10.0.0.9".parse().unwrap()))]
    #[case::srv_when_there_is_no_a(Records::NoData, Next::AskSrv)]
    #[case::an_empty_answer_is_no_data(Records::Found(vec![]), Next::AskSrv)]
    #[case::nothing_for_a_name_that_is_not_there(Records::NoSuchName, Next::GiveUp)]
    fn after_the_a_query(#[case] answer: Records<IpAddr>, #[case] next: Next) {
        assert_eq!(after_a(&answer), next);
    }

    #[rstest::rstest]
    #[case::a_link("stock", "172.17.0.3")]
    #[case::an_alias_of_a_link("store", "172.17.0.3")]
    #[case::in_any_case("STOCK", "172.17.0.3")]
    #[case::ipv4_first("localhost", "127.0.0.1")]
    #[case::no_link("orders", "127.0.0.1")]
    #[case::a_comment("gone", "127.0.0.1")]
    fn a_container_beside_is_its_link_or_on_the_same_loopback(#[case] name: &str, #[case] address: &str) {
        let hosts =
            "::1 localhost ip6-localhost\n127.0.0.1\tlocalhost\n172.17.0.3 stock store # gone\n# 10.0.0.1 gone\n";
        assert_eq!(beside(hosts, name), address.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_first_srv_of_the_lowest_priority_is_chosen() {
        let srv = |priority, port| Srv { priority, port, target: "i.orders.shop.local.".into() };
        assert_eq!(choose_srv(&[srv(2, 1), srv(1, 32769), srv(1, 32768)]), Some(&srv(1, 32769)));
        assert_eq!(choose_srv(&[]), None);
    }
}
