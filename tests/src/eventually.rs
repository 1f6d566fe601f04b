//! Waiting for a state, level-triggered: the last value seen is in the message when it never comes.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Means "broken", never "slow".
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Looks until `look` gives `Ok`; what it gives otherwise is what was seen last.
///
/// # Panics
/// After [`DEADLINE`].
#[allow(clippy::panic, reason = "a test's failure")]
pub fn eventually<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        match look() {
            Ok(value) => return value,
            Err(last) if started.elapsed() > DEADLINE => panic!("{what}: not within {DEADLINE:?}; last seen: {last:?}"),
            Err(_) => {
                // A state outside of this process has no event to wait for.
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(200));
            }
        }
    }
}
