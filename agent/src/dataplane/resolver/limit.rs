//! The packet limit of the Amazon resolver: 1024 a second for each ENI, more is dropped without a word (reference 5.2).
//!
//! An ENI is known by its source address, which the source check of the VPC namespace makes true. Called by
//! [`super::handler`] for each message before anything else is done with it. It never delays a packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts packets in windows of one second that begin for all addresses at once, so that forgetting is one `clear`.
#[derive(Debug)]
pub(super) struct PacketLimit {
    // A std mutex: held for one look-up, never over an await.
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    packets: HashMap<IpAddr, u32>,
}

impl PacketLimit {
    pub(super) fn new(now: Instant) -> Self {
        Self { window: Mutex::new(Window { began: now, packets: HashMap::new() }) }
    }

    /// Counts a packet that came in `now`; false when it is above `limit` in this second.
    pub(super) fn admits(&self, source: IpAddr, limit: u32, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.began) >= Duration::from_secs(1) {
            window.began = now;
            window.packets.clear();
        }
        let packets = window.packets.entry(source).or_insert(0);
        *packets = packets.saturating_add(1);
        *packets <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_second() {
        let began = Instant::now();
        let limit = PacketLimit::new(began);
        let (one, other) = ("10.0.0.4".parse().unwrap(), "10.0.0.5".parse().unwrap());
        for _ in 0..1024 {
            assert!(limit.admits(one, 1024, began));
        }
        assert!(!limit.admits(one, 1024, began));
        assert!(limit.admits(other, 1024, began));
        assert!(!limit.admits(one, 1024, began + Duration::from_millis(999)));
        assert!(limit.admits(one, 1024, began + Duration::from_secs(1)));
    }
}
