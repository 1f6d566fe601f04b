//! `environmentFiles` of a container definition: `.env` files on this machine in place of objects in S3 (reference 2.2).
//!
//! An entry's `value` is a path, seen from the task definition's folder and then from the stack's; or, as in AWS,
//! `arn:aws:s3:::bucket/key`, for which `bucket/key`, `key` and the key's last part are looked for there in this order.
//! The variables become part of the definition, before its own `environment`, so that a file that changed is a change of
//! the service at the next `up`.

use std::path::PathBuf;

use agent::spec::problem::Problem;

use super::local_file::{self, Folders};
use super::read::Node;

/// The files' names as they are written, and their variables: of two files with a name the earlier one wins (2.2).
pub(super) fn read(node: &Node<'_>, folders: Folders<'_>) -> (Vec<String>, Vec<(String, String)>) {
    let (mut names, mut variables) = (Vec::new(), Vec::<(String, String)>::new());
    for n in node.items() {
        if !n.has_only(&["value", "type"]) {
            continue;
        }
        if let Some(kind) = n.get("type") {
            kind.word(&[("s3", ())]);
        }
        let Some(value) = n.get("value") else {
            if n.lacks("value", &["value", "type"]) {
                n.error("ClientException", "an environment file must have a `value`");
            }
            continue;
        };
        let Some(name) = value.text() else { continue };
        names.push(name.to_owned());
        for (variable, text) in file(&value, name, folders).unwrap_or_default() {
            if variables.iter().all(|(earlier, _)| *earlier != variable) {
                variables.push((variable, text));
            }
        }
    }
    (names, variables)
}

fn file(node: &Node<'_>, name: &str, folders: Folders<'_>) -> Option<Vec<(String, String)>> {
    let candidates = candidates(node, name, folders)?;
    let path = candidates.iter().find(|path| path.exists());
    let Some(path) = path else {
        let looked: Vec<String> = candidates.iter().map(|path| format!("`{}`", path.display())).collect();
        node.error_with_hint(
            "NoSuchFile",
            format!("the environment file `{name}` is not on this machine"),
            format!("looked for {}", looked.join(", then ")),
        );
        return None;
    };
    match local_file::text(path) {
        Ok(text) => Some(parse(&text, |line, reason| {
            let message = format!("line {line} of `{}` is not applied: {reason}", path.display());
            node.note(Problem::warning(node.place(), "NotApplied", message));
        })),
        Err(reason) => {
            node.error("Unreadable", format!("cannot read the environment file `{}`: {reason}", path.display()));
            None
        }
    }
}

/// Where a file may be, best first.
fn candidates(node: &Node<'_>, name: &str, folders: Folders<'_>) -> Option<Vec<PathBuf>> {
    let mut ways = vec![name.to_owned()];
    if name.starts_with("arn:") {
        let object = name.split_once(":s3:::").map(|(_, object)| object);
        let Some((bucket, key)) =
            object.and_then(|o| o.split_once('/')).filter(|(b, k)| !b.is_empty() && !k.is_empty())
        else {
            node.error_with_hint(
                "ClientException",
                format!("`{name}` is not the ARN of an object in S3"),
                "arn:aws:s3:::bucket/key, or the path of a local file",
            );
            return None;
        };
        let last = key.rsplit('/').next().unwrap_or(key);
        ways = vec![format!("{bucket}/{key}"), key.to_owned(), last.to_owned()];
    }
    let mut candidates: Vec<PathBuf> = Vec::new();
    for way in &ways {
        for base in [folders.definition, folders.stack] {
            let path = folders.locate(node, base, way)?;
            if !candidates.contains(&path) {
                candidates.push(path);
            }
        }
    }
    Some(candidates)
}

/// The variables of a file as ECS's agent reads it: one a line, nothing quoted, `#` only at a line's beginning; a line with
/// nothing on either side of its `=` is left out.
fn parse(text: &str, mut left_out: impl FnMut(usize, &str)) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        match line.split_once('=') {
            None => left_out(index + 1, "it has no `=`"),
            Some(("", _)) => left_out(index + 1, "there is no name before the `=`"),
            Some((_, "")) => left_out(index + 1, "there is no value after the `=`, and ECS skips such a line"),
            Some((name, value)) => {
                // Within one file the last one stands.
                variables.retain(|(earlier, _)| earlier != name);
                variables.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_ecs_s_agent_reads_it() {
        let mut left_out = Vec::new();
        let text = "# comment\n\nA=1\nB=\"quoted # kept\"\nC=x=y==\nA=2\nEMPTY=\n=x\nword\n SPACED = v \n";
        let variables = parse(text, |line, _| left_out.push(line));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            variables,
            [pair("B", "\"quoted # kept\""), pair("C", "x=y=="), pair("A", "2"), pair(" SPACED ", " v ")]
        );
        assert_eq!(left_out, [7, 8, 9]);
    }
}
