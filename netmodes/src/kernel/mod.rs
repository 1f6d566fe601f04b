//! Small verbs over netlink, each idempotent: `ensure_…` creates or repairs, `remove_…` counts absent as done.
//!
//! One socket for each namespace, born inside it and used from anywhere: a socket stays where it was made. The verbs
//! speak Linux (links, addresses, routes, neighbours) and know no ENI; [`crate::network`] makes one of the other.

pub mod address;
pub mod conntrack;
pub mod error;
pub mod flows;
pub mod link;
pub mod listening;
pub mod neighbour;
pub mod netns;
pub mod nflog;
pub(crate) mod probe;
pub mod route;
pub mod socket;
pub mod sysctl;
