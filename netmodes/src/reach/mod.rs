//! Would a packet get through? What the ruleset, the router and the sockets at the other end make of a new flow.
//!
//! [`path`] follows a packet through the VPC and names the rule that decides, [`instance`] through the netns of a container
//! instance, [`way`] through all of them in turn, and [`listener`] says which socket takes it; these are pure. [`probe`] opens
//! the flow in earnest, from the sender's namespace. The two must agree: [`Outcome`] is what one foresees and the other sees.

pub mod instance;
pub mod listener;
pub mod path;
pub mod probe;
pub mod way;

use serde::{Deserialize, Serialize};

use listener::Taker;
use path::{Opening, Path, Route};

/// What becomes of an attempt to open a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It stands: the connection was accepted, the echo or the datagram answered.
    Connected,
    /// It got there, and nobody has to answer: a datagram that was let through and not refused.
    Delivered,
    /// The other end said that nobody listens.
    Refused,
    /// Silence: dropped on the way, or by a full queue.
    TimedOut,
    /// A router said that there is no way.
    Unreachable,
}

impl Outcome {
    /// Whether the other end takes the flow.
    pub fn is_reachable(self) -> bool {
        matches!(self, Self::Connected | Self::Delivered)
    }

    /// Whether what was foreseen and what was seen are the same fate.
    ///
    /// A router limits the rate of its ICMP errors, so that there is no way may also be seen as silence.
    pub fn agrees_with(self, seen: Self) -> bool {
        match (self, seen) {
            (Self::Unreachable, Self::TimedOut) => true,
            (foreseen, seen) if foreseen.is_reachable() => seen.is_reachable(),
            (foreseen, seen) => foreseen == seen,
        }
    }
}

/// What an attempt to open the flow will come to; none where that is not known: beyond the uplink, or when nobody could look
/// at the sockets at the other end.
pub fn foresee(path: &Path, opening: Opening, taker: Option<&Taker>) -> Option<Outcome> {
    match path.route {
        // The router's own answer comes before any rule is looked at.
        Route::None => return Some(Outcome::Unreachable),
        Route::Nobody => return Some(Outcome::TimedOut),
        _ if !path.is_open() => return Some(Outcome::TimedOut),
        Route::Uplink => return None,
        _ => {}
    }
    foresee_taken(opening, taker)
}

/// What becomes of a packet that comes to where `taker` was found.
fn foresee_taken(opening: Opening, taker: Option<&Taker>) -> Option<Outcome> {
    match (opening, taker) {
        (Opening::Icmp(..), _) => Some(Outcome::Connected),
        (_, None) => None,
        (Opening::Tcp(_), Some(Taker::Socket(_))) => Some(Outcome::Connected),
        (Opening::Udp(_), Some(Taker::Socket(_) | Taker::Full(_))) => Some(Outcome::Delivered),
        (Opening::Tcp(_), Some(Taker::Full(_))) => Some(Outcome::TimedOut),
        (_, Some(Taker::LoopbackOnly(_) | Taker::Elsewhere(_) | Taker::Nobody(_))) => Some(Outcome::Refused),
    }
}
