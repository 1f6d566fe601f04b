//! Ends the agent at a named point, as `kill -9` would: how the tests walk every step of a plan.
//!
//! Set by the environment variable [`VARIABLE`], for example `before:LinkEni`; without it nothing happens. The end comes
//! at the first passing of the point.

use std::sync::OnceLock;

/// `before:KIND` or `after:KIND`; KIND is one of [`crate::plan::step::Step::KINDS`], or `Commit` for the store.
pub const VARIABLE: &str = "ECSNET_CRASH_AT";

/// Ends the process here when the variable names this point.
pub fn point(when: &str, kind: &str) {
    static POINT: OnceLock<Option<String>> = OnceLock::new();
    let point = POINT.get_or_init(|| std::env::var(VARIABLE).ok());
    if point.as_deref().and_then(|p| p.split_once(':')) == Some((when, kind)) {
        let own = nix::unistd::getpid();
        // SIGKILL cannot be refused, and nothing after it runs.
        let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
    }
}
