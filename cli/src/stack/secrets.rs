//! The stack file's `secrets`: where on this machine the values are that task definitions take from AWS.
//!
//! ```yaml
//! secrets:
//!   shop/db: { file: secrets/db.json }       # a secret of Secrets Manager
//!   /shop/token: { env: SHOP_TOKEN }         # a parameter of SSM
//! ```
//!
//! A key is what `valueFrom` says, or the name in it: of `arn:aws:secretsmanager:…:secret:shop/db-AbCdEf:user::` that is
//! `shop/db` (or with its six random characters), and `user` is then looked for in the JSON of the file; of
//! `arn:aws:ssm:…:parameter/shop/token` it is `/shop/token`. A file's path is seen from the stack file; the line feed at
//! its end is no part of the value. An `env` is a variable of the command that reads the stack file. Only what a task
//! definition asks for is read. A value leaves here as a [`SecretValue`] beside the stack, never in it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use agent::secret::SecretValue;
use agent::spec::problem::Problem;
use agent::spec::task_definition::Secret;
use serde_json::Value;

use super::local_file::{self, Folders};
use super::read::Node;

/// The `secrets` of a stack file, and what was read of them.
pub(super) struct SecretSources<'a> {
    entries: BTreeMap<&'a str, Node<'a>>,
    folders: Folders<'a>,
    contents: RefCell<BTreeMap<&'a str, Option<SecretValue>>>,
    values: RefCell<BTreeMap<String, SecretValue>>,
}

impl<'a> SecretSources<'a> {
    /// Takes the `secrets` of a stack file.
    pub(super) fn new(node: Option<Node<'a>>, folders: Folders<'a>) -> Self {
        let entries = node.map(|n| n.entries()).unwrap_or_default();
        for (name, n) in &entries {
            if n.has_only(&["file", "env"]) && n.get("file").is_some() == n.get("env").is_some() {
                n.error_with_hint(
                    "InvalidSecret",
                    format!("the secret `{name}` must say where its value is, once"),
                    "{ file: PATH } or { env: VARIABLE }",
                );
            }
        }
        Self {
            entries: entries.into_iter().collect(),
            folders,
            contents: RefCell::default(),
            values: RefCell::default(),
        }
    }

    /// Every value that was asked for, by `valueFrom`.
    pub(super) fn into_values(self) -> BTreeMap<String, SecretValue> {
        self.values.into_inner()
    }

    /// Reads the `secrets` of a container definition, with their values.
    pub(super) fn read(&self, node: &Node<'_>, stub: bool) -> Vec<Secret> {
        let known = ["name", "valueFrom"];
        let mut secrets = Vec::new();
        for n in node.items() {
            if !n.has_only(&known) {
                continue;
            }
            for key in known.into_iter().filter(|key| n.lacks(key, &known)) {
                n.error("ClientException", format!("a secret must have a `{key}`"));
            }
            let name = n.get("name").and_then(|n| n.text());
            let source = n.get("valueFrom").and_then(|n| Some((n.text()?, n)));
            let (Some(name), Some((value_from, from))) = (name, source) else { continue };
            // Docker would take such a name for part of the value, and complain about both in one line.
            if name.is_empty() || name.contains(['=', '\0']) {
                let at = n.get("name").unwrap_or_else(|| n.clone());
                let message = "the name of a secret is that of a variable: not empty, without `=` and NUL";
                at.error_with_hint("ClientException", message, "for example DB_PASSWORD");
                continue;
            }
            // A stub has no environment.
            if !stub && let Some(value) = self.resolve(&from, name, value_from) {
                self.values.borrow_mut().insert(value_from.to_owned(), value);
            }
            secrets.push(Secret { name: name.to_owned(), value_from: value_from.to_owned() });
        }
        secrets
    }

    fn resolve(&self, node: &Node<'_>, variable: &str, value_from: &str) -> Option<SecretValue> {
        let asked = Asked::of(value_from);
        let found = asked.keys.iter().find_map(|(key, whole)| {
            self.entries.get_key_value(key.as_str()).map(|(key, entry)| (*key, entry, *whole))
        });
        let Some((key, entry, whole)) = found else {
            let short = asked.keys.last().map_or(value_from, |(key, _)| key.as_str());
            let problem = Problem::error(
                node.place(),
                "NoSecret",
                format!("nothing says where the value of the secret `{variable}` is"),
            );
            node.note(problem.with_hint(format!(
                "in the stack file: secrets: {{ \"{short}\": {{ file: PATH }} }}, or {{ env: VARIABLE }}"
            )));
            return None;
        };
        let content = self.content(key, entry)?;
        match asked.json_key.filter(|_| !whole) {
            None => Some(content),
            Some(json_key) => json_value(node, key, &content, json_key),
        }
    }

    /// What an entry's file or variable holds; told once when there is nothing.
    fn content(&self, key: &'a str, entry: &Node<'a>) -> Option<SecretValue> {
        if let Some(known) = self.contents.borrow().get(key) {
            return known.clone();
        }
        let content = self.fetch(key, entry);
        self.contents.borrow_mut().insert(key, content.clone());
        content
    }

    fn fetch(&self, key: &str, entry: &Node<'a>) -> Option<SecretValue> {
        if let Some(n) = entry.get("env") {
            let name = n.text()?;
            return match std::env::var(name) {
                Ok(value) => Some(SecretValue::new(value)),
                Err(error) => {
                    let what = match error {
                        std::env::VarError::NotPresent => "is not set",
                        std::env::VarError::NotUnicode(_) => "is not UTF-8",
                    };
                    let message = format!("the environment variable `{name}`, for the secret `{key}`, {what}");
                    n.error("NoSecret", message);
                    None
                }
            };
        }
        let n = entry.get("file")?;
        let path = self.folders.locate(&n, self.folders.stack, n.text()?)?;
        match local_file::text(&path) {
            Ok(text) if text.contains('\0') => {
                let message =
                    format!("the secret `{key}`, `{}`, has a NUL byte, which no variable can hold", path.display());
                n.error("NoSecret", message);
                None
            }
            Ok(text) => {
                let value = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
                Some(SecretValue::new(value))
            }
            Err(reason) => {
                n.error("NoSecret", format!("cannot read the secret `{key}`, `{}`: {reason}", path.display()));
                None
            }
        }
    }
}

/// One key of a secret that is a JSON object. No message says anything of its values.
fn json_value(node: &Node<'_>, secret: &str, content: &SecretValue, key: &str) -> Option<SecretValue> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(content.reveal()) else {
        let message = format!("`valueFrom` asks for the key `{key}`, and the secret `{secret}` is not a JSON object");
        node.error("NoSecret", message);
        return None;
    };
    match fields.get(key) {
        Some(Value::String(text)) if text.contains('\0') => {
            let message =
                format!("the key `{key}` of the secret `{secret}` has a NUL byte, which no variable can hold");
            node.error("NoSecret", message);
            None
        }
        Some(Value::String(text)) => Some(SecretValue::new(text.clone())),
        Some(other) => Some(SecretValue::new(other.to_string())),
        None => {
            let message = format!("the secret `{secret}` has no key `{key}`");
            node.unknown("NoSecret", message, key, fields.keys().map(String::as_str));
            None
        }
    }
}

/// What a `valueFrom` asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'v> {
    /// Keys of the stack file that it may mean, best first; whether the key names the JSON key already.
    keys: Vec<(String, bool)>,
    /// The key in the secret's JSON.
    json_key: Option<&'v str>,
}

impl<'v> Asked<'v> {
    fn of(value_from: &'v str) -> Self {
        let mut keys = vec![(value_from.to_owned(), true)];
        let mut add = |key: String| {
            if keys.iter().all(|(k, _)| *k != key) {
                keys.push((key, false));
            }
        };
        let parts: Vec<&str> = value_from.splitn(6, ':').collect();
        let mut json_key = None;
        match parts.as_slice() {
            ["arn", _, "secretsmanager", _, _, rest] => {
                let mut rest = rest.split(':');
                let (kind, name) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
                json_key = rest.next().filter(|key| !key.is_empty());
                let arn_length = value_from.len() - value_from.splitn(8, ':').nth(7).map_or(0, |tail| tail.len() + 1);
                add(value_from.get(..arn_length).unwrap_or(value_from).to_owned());
                if kind == "secret" {
                    add(name.to_owned());
                    add(without_random(name).to_owned());
                }
            }
            ["arn", _, "ssm", _, _, rest] => {
                if let Some(name) = rest.strip_prefix("parameter") {
                    add(name.trim_start_matches('/').to_owned());
                    add(name.to_owned());
                }
            }
            _ => {
                let bare = value_from.trim_start_matches('/');
                add(bare.to_owned());
                add(format!("/{bare}"));
            }
        }
        Self { keys, json_key }
    }
}

/// A secret's name without the six characters that Secrets Manager adds in its ARN.
fn without_random(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((plain, random)) if random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric()) => plain,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/db-AbCdEf";

    #[track_caller]
    fn asks(value_from: &str, keys: &[&str], json_key: Option<&str>) {
        let asked = Asked::of(value_from);
        let seen: Vec<&str> = asked.keys.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!((seen.as_slice(), asked.json_key), (keys, json_key), "{value_from}");
    }

    #[test]
    fn a_value_from_is_known_by_its_arn_and_by_its_name() {
        asks(ARN, &[ARN, "shop/db-AbCdEf", "shop/db"], None);
        let with_key = format!("{ARN}:user::");
        asks(&with_key, &[&with_key, ARN, "shop/db-AbCdEf", "shop/db"], Some("user"));
        let staged = format!("{ARN}::AWSCURRENT:");
        asks(&staged, &[&staged, ARN, "shop/db-AbCdEf", "shop/db"], None);
        let parameter = "arn:aws:ssm:us-east-1:111122223333:parameter/shop/token";
        asks(parameter, &[parameter, "shop/token", "/shop/token"], None);
        asks("/shop/token", &["/shop/token", "shop/token"], None);
        asks("token", &["token", "/token"], None);
        asks("arn:aws:secretsmanager", &["arn:aws:secretsmanager", "/arn:aws:secretsmanager"], None);
    }
}
