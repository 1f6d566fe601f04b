//! [`Problem`]s as text: the line of the file with a caret, what is wrong, and a hint; a note is one line.
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
    let mut is_after_note = false;
    for problem in problems {
        let is_note = problem.severity == Severity::Note;
        let follows_on = is_note && is_after_note;
        if !text.is_empty() && !follows_on {
            text.push('\n');
        }
        is_after_note = is_note;
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => {
                let line = note(problem, sources);
                text.push_str(
                    &renderer.render(&[annotate_snippets::Group::with_title(Level::NOTE.primary_title(&line))]),
                );
                text.push('\n');
                continue;
            }
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
        text.push_str(&renderer.render(&[group]));
        text.push('\n');
    }
    text
}

/// What follows, why one could want it otherwise, and where it is from.
fn note(problem: &Problem, sources: &Sources) -> String {
    let mut line = problem.message.clone();
    if let Some(hint) = &problem.hint {
        line = format!("{line}; {hint}");
    }
    let location = sources.locate(&problem.place).and_then(|l| Some((l.document, l.range?.start)));
    let Some((document, start)) = location else { return line };
    let before = document.text.get(..start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{line} ({}:{number}:{column})", document.path)
}
