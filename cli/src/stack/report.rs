//! [`Problem`]s as text: the line of the file with a caret, what is wrong, and a hint.
//!
//! The last stage: what `stack::load` found, for a person. Prints nothing itself.

use agent::spec::problem::{Problem, Severity};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::sources::Sources;

/// All problems as text, one after the other with an empty line between them; ends with a line feed.
pub(crate) fn render(problems: &[Problem], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for problem in problems {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = annotate_snippets::Group::with_title(level.primary_title(problem.message.as_str()));
        if let Some(location) = sources.locate(&problem.place) {
            let path = location.document.path.as_str();
            group = match location.range {
                Some(range) => group.element(
                    Snippet::source(location.document.text.as_str())
                        .path(path)
                        .annotation(AnnotationKind::Primary.span(range)),
                ),
                None => group.element(Origin::path(path)),
            };
        }
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&renderer.render(&[group]));
        text.push('\n');
    }
    text
}
