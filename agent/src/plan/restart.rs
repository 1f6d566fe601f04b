//! Whether a container that ended is started again in place, before its end counts as one (reference 2.9). Pure.

use std::time::Duration;

use crate::spec::task_definition::RestartPolicy;

/// How a run of a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Absent when nobody knows.
    pub exit_code: Option<i64>,
    /// From its start to its end, as Docker has them.
    pub lasted: Option<Duration>,
}

/// Whether the policy has it started again; `wanted` is whether the task should go on.
pub fn is_due(policy: Option<&RestartPolicy>, wanted: bool, run: Run) -> bool {
    let Some(policy) = policy.filter(|policy| policy.enabled) else { return false };
    let Run { exit_code: Some(code), lasted: Some(lasted) } = run else { return false };
    wanted && !policy.ignored_exit_codes.contains(&code) && lasted >= policy.restart_attempt_period
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::due(true, true, Some(1), Some(300), true)]
    #[case::also_after_success(true, true, Some(0), Some(301), true)]
    #[case::off(false, true, Some(1), Some(300), false)]
    #[case::task_stops(true, false, Some(1), Some(300), false)]
    #[case::ignored(true, true, Some(42), Some(300), false)]
    #[case::code_unknown(true, true, None, Some(300), false)]
    #[case::too_short(true, true, Some(1), Some(299), false)]
    #[case::never_started(true, true, Some(1), None, false)]
    fn when(
        #[case] enabled: bool,
        #[case] wanted: bool,
        #[case] exit_code: Option<i64>,
        #[case] lasted: Option<u64>,
        #[case] due: bool,
    ) {
        let restart_attempt_period = Duration::from_secs(300);
        let policy = RestartPolicy { enabled, ignored_exit_codes: vec![42], restart_attempt_period };
        let run = Run { exit_code, lasted: lasted.map(Duration::from_secs) };
        assert_eq!(is_due(Some(&policy), wanted, run), due);
        assert!(!is_due(None, wanted, run));
    }
}
