//! Ends the agent at a named point, as `kill -9` would: how the tests walk every step of a plan.
//!
//! Set by the environment variable [`VARIABLE`], for example `before:LinkEni`; without it nothing happens. The end comes
//! at the first passing of the point.

use std::path::Path;
use std::sync::OnceLock;

/// `before:KIND` or `after:KIND`; KIND is one of [`Step::KINDS`](crate::plan::step::Step::KINDS), or [`COMMIT`].
///
/// With `:FILE` behind it the point counts only while that file is there: an agent that is started over a running stack
/// passes some points before anybody asks it for anything.
pub const VARIABLE: &str = "ECSNET_CRASH_AT";

/// The kind of point around a write to the store, which is no step.
pub const COMMIT: &str = "Commit";

/// Ends the process here when the variable names this point.
pub fn point(when: &str, kind: &str) {
    static POINT: OnceLock<Option<String>> = OnceLock::new();
    let Some(point) = POINT.get_or_init(|| std::env::var(VARIABLE).ok()) else { return };
    let mut parts = point.splitn(3, ':');
    let here = parts.next() == Some(when) && parts.next() == Some(kind);
    if here && parts.next().is_none_or(|file| Path::new(file).exists()) {
        let own = nix::unistd::getpid();
        // SIGKILL cannot be refused, and nothing after it runs.
        let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
    }
}
