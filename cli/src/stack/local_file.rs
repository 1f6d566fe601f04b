//! Files of this machine that a stack file or a task definition names: where they are, and their text.
//!
//! A relative path begins at the folder of the file that names it, and may not lead out of the stack's folder: a stack
//! that was got from somebody else reads nothing of this machine without saying so. An absolute path says so, and is taken
//! as it is. The task definitions themselves are read before, by `load`.

use std::path::{Component, Path, PathBuf};

use super::read::Node;

/// The folders that relative paths may begin at and lead into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folders<'a> {
    /// The stack file's.
    pub(super) stack: &'a Path,
    /// That of the file with the task definition; the stack file's when it stands there.
    pub(super) definition: &'a Path,
}

impl Folders<'_> {
    /// The file at a path that `node` names, seen from `base`; a path that leads out of the folders is noted.
    pub(super) fn locate(&self, node: &Node<'_>, base: &Path, text: &str) -> Option<PathBuf> {
        let path = base.join(text);
        let inside = [self.stack, self.definition].into_iter().any(|folder| plain(&path).starts_with(plain(folder)));
        if inside || Path::new(text).is_absolute() {
            return Some(path);
        }
        node.error_with_hint(
            "OutsideOfTheStack",
            format!("`{text}` leads out of the stack's folder"),
            format!("if that is meant, write the whole path: {}", plain(&path).display()),
        );
        None
    }
}

/// A path without `.` and `..`, from the root. What is a link is not looked at.
fn plain(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// The text of a file, or why there is none.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| super::reason(&error))?;
    String::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))
}
