//! Placeholder for the rendering of problems.

use agent::spec::problem::Problem;

use super::Sources;

/// The problems as text.
pub(crate) fn render(problems: &[Problem], _sources: &Sources, _color: bool) -> String {
    problems.iter().map(|problem| format!("error: {}\n", problem.message)).collect()
}
