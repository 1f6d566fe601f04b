//! The throttle of the endpoint: 40 requests a second and 60 at once for each caller, more is answered 429 (reference 9.1).
//!
//! A token bucket for each caller. Asked for each request before anything else is done with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::project::metadata::RateLimit;

/// So many buckets are kept before the full ones, which are as good as none, are forgotten.
const BUCKETS: usize = 4096;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// A task, or nobody that is known, by its address.
    Source(IpAddr),
    /// A container in host mode, which shares its address, by the id that it asks with.
    Id(String),
}

/// What each caller has left.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    // A std mutex: held for one look-up, never over an await.
    buckets: Mutex<HashMap<Caller, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Tokens at `now`.
    fn refilled(&self, limit: RateLimit, now: Instant) -> f64 {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(limit.per_second);
        (self.tokens + earned).min(f64::from(limit.burst))
    }
}

impl Throttle {
    /// Counts a request that came in `now`; false when it is above the limit.
    pub(super) fn admits(&self, caller: Caller, limit: RateLimit, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&caller) {
            buckets.retain(|_, bucket| bucket.refilled(limit, now) < f64::from(limit.burst));
        }
        let bucket = buckets.entry(caller).or_insert_with(|| Bucket { tokens: f64::from(limit.burst), at: now });
        let tokens = bucket.refilled(limit, now);
        let admitted = tokens >= 1.0;
        *bucket = Bucket { tokens: if admitted { tokens - 1.0 } else { tokens }, at: now.max(bucket.at) };
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn forty_a_second_and_sixty_at_once() {
        let (throttle, began) = (Throttle::default(), Instant::now());
        let admitted =
            |caller: &Caller, now| (0..200).filter(|_| throttle.admits(caller.clone(), RateLimit::OF_ECS, now)).count();
        let one = Caller::Source("10.0.0.4".parse().unwrap());
        assert_eq!(admitted(&one, began), 60);
        assert_eq!(admitted(&one, began + Duration::from_millis(500)), 20);
        assert_eq!(admitted(&one, began + Duration::from_secs(10)), 60);
        // Each has its own, whatever the others do.
        assert_eq!(admitted(&Caller::Id("a".into()), began), 60);
        assert_eq!(admitted(&Caller::Id("b".into()), began), 60);
    }

    #[test]
    fn what_is_full_is_forgotten() {
        let (throttle, began) = (Throttle::default(), Instant::now());
        for number in 0..BUCKETS {
            assert!(throttle.admits(Caller::Id(number.to_string()), RateLimit::OF_ECS, began));
        }
        assert!(throttle.admits(Caller::Id("new".into()), RateLimit::OF_ECS, began + Duration::from_secs(1)));
        assert_eq!(throttle.buckets.lock().unwrap().len(), 1);
    }
}
