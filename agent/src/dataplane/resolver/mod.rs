//! The `resolver` role: the Amazon-provided DNS server of one VPC, on VPC base + 2 and 169.254.169.253 (reference 5.2).
//!
//! It runs as `ecsnet resolver --dir DIR` in a container that has joined the VPC's network namespace, and goes on when the
//! agent is dead. `DIR` is a mounted directory: the agent puts `zone.json` ([`crate::project::zone::Zone`]) there by rename
//! and says `load` on `resolver.sock`, which the resolver makes in it. In `front`, in the same process, is the VPC's
//! [metadata front](crate::dataplane::metadata).
//!
//! ```text
//! zone.json ─ index ─► ArcSwap<Index> ─► answer (pure) ─► handler ─► sockets (UDP and TCP for each address)
//!                                           └ not ours ─► forward ─► upstream servers
//! resolver.sock ─ control ─► serve: load, status, query            client: the other end, for agent and CLI
//! ```
//!
//! What it does for a name:
//! - below one of the zone's origins: records, or NODATA or NXDOMAIN with the origin's SOA;
//! - any other: forwarded, or, with no server to forward to (`internet: false`), SERVFAIL with an extended error that says so;
//!   the Amazon resolver would still resolve public names, but here nothing leaves the VPC;
//! - before there is any zone: REFUSED.
//!
//! It never caches, never recurses by itself, never listens on an unspecified address and never writes to its directory
//! but for the socket and the front's folder. `hickory_server` logs two lines for each query at `info`: filter that target to `warn`.

pub mod client;
pub mod control;

mod answer;
mod forward;
mod handler;
mod index;
mod limit;
mod private_names;
mod serve;
mod sockets;
#[cfg(test)]
mod tests;

pub use index::ZoneError;
pub use serve::{DNS_PORT, ResolverError, run, run_on};

/// The zone's file in the resolver's directory.
pub const ZONE_FILE: &str = "zone.json";
/// The control socket in the resolver's directory, mode 0600.
pub const CONTROL_SOCKET: &str = "resolver.sock";
