//! DAEMON: one task on each instance that matches (reference 3.5).

use super::{Candidate, Refusal, Wish, refusal, requirements};

/// Where a DAEMON lacks a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonTargets {
    /// Instances that a task is to be started on: indexes into the candidates.
    pub free: Vec<usize>,
    /// Instances that match and have no room; each is a service event.
    pub refused: Vec<Refusal>,
}

/// The instances that are ACTIVE, match the constraints and have no task of the group yet. Strategies do not count.
/// Where a task of it is on an instance that is not [`eligible`](super::is_eligible) any more, it is the caller's to stop.
pub fn daemon_targets(wish: &Wish, candidates: &[Candidate<'_>]) -> DaemonTargets {
    let mut targets = DaemonTargets::default();
    for (at, candidate) in candidates.iter().enumerate() {
        if !requirements::is_eligible(wish, candidate) || candidate.tasks_of(&wish.group) > 0 {
            continue;
        }
        if requirements::fits(wish, candidate) {
            targets.free.push(at);
        } else {
            targets.refused.push(refusal::of(wish, &candidates[at..=at]));
        }
    }
    targets
}
