//! Each bound that AWS sets, at it and beyond it, and each of its refusals on its own: what is said, as `pointer: message`.
//! How it looks in a terminal is shown by the snapshots of the other files.

mod definitions;
mod network;
mod services;

use super::*;

/// What is said of a stack file beside the task definition `web.json`.
fn said(stack: &str) -> Vec<String> {
    lines(Folder::with(&[("stack.yaml", stack), ("web.json", WEB)]).load(&Overrides::default()))
}

fn lines(loaded: Loaded) -> Vec<String> {
    for problem in &loaded.problems {
        assert_has_a_place(problem, &loaded);
    }
    loaded.problems.iter().map(|p| format!("{}: {}", p.place.pointer, p.message)).collect()
}
