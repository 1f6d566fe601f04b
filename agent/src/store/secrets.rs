//! Values of a stack's secrets on disk: a file beside the store, for root alone, gone with the stack.
//!
//! Why a file. ECS asks for a secret each time a task starts, and a task that is replaced must get it also after
//! `kill -9` of the agent and after a reboot, when nobody is there to say it again. So the agent has to keep it. It is not
//! kept in SQLite, which people dump, copy and attach to reports, nor as a path to read later, since the file and the
//! environment that it came from are those of the caller of `up` and may be out of the agent's reach. Encrypting it would
//! only move the question to the key. Docker keeps the same values in clear in its own files, root's too.
//!
//! The last `up` wins; a task that runs keeps what it was started with, as in ECS.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::sqlite::StoreError;
use crate::secret::SecretValue;
use crate::spec::ids::StackName;

/// Values by `valueFrom`.
pub type Secrets = BTreeMap<String, SecretValue>;

fn path(data_dir: &Path, stack: &StackName) -> PathBuf {
    data_dir.join("stacks").join(stack.as_str()).join("secrets.json")
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { what, path, source }
}

/// The values of a stack; none when there is no file.
///
/// # Errors
/// When the file is there and cannot be read: it is never taken for absent.
pub fn read(data_dir: &Path, stack: &StackName) -> Result<Secrets, StoreError> {
    let path = path(data_dir, stack);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Secrets::new()),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    // serde's words quote the text that they do not like.
    serde_json::from_slice(&text).map_err(|_| failed("read", &path)(std::io::Error::other("it is damaged")))
}

/// Adds `fresh` to the values of a stack, over those that are there, and drops what is not in `wanted`. Which of those that
/// were there have another value now is the answer.
///
/// # Errors
/// When the file cannot be read or written; it is then as it was.
pub fn renew(
    data_dir: &Path,
    stack: &StackName,
    fresh: &Secrets,
    wanted: &BTreeSet<String>,
) -> Result<Vec<String>, StoreError> {
    let before = read(data_dir, stack)?;
    let mut secrets = before.clone();
    secrets.extend(fresh.clone());
    secrets.retain(|value_from, _| wanted.contains(value_from));
    let differs = |(name, value): &(&String, &SecretValue)| before.get(*name).is_some_and(|old| old != *value);
    let changed: Vec<String> = secrets.iter().filter(differs).map(|(name, _)| name.clone()).collect();
    if secrets == before {
        return Ok(changed);
    }
    let path = path(data_dir, stack);
    let dir = path.parent().unwrap_or(data_dir);
    std::fs::create_dir_all(dir).map_err(failed("make the directory", dir))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(failed("close", dir))?;
    let beside = path.with_extension("new");
    let text = serde_json::to_vec(&secrets).map_err(std::io::Error::other).map_err(failed("print", &path))?;
    let write = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_data()?;
        std::fs::rename(&beside, &path)
    };
    write().map_err(failed("write", &path))?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn the_last_value_wins_and_what_nobody_wants_goes() {
        let dir = tempfile::tempdir().unwrap();
        let stack = StackName::new("shop");
        assert_eq!(read(dir.path(), &stack).unwrap(), Secrets::new());
        let first = Secrets::from([("a".into(), SecretValue::new("1")), ("b".into(), SecretValue::new("2"))]);
        assert!(renew(dir.path(), &stack, &first, &names(&["a", "b"])).unwrap().is_empty());
        let second = Secrets::from([("a".into(), SecretValue::new("3"))]);
        assert_eq!(renew(dir.path(), &stack, &second, &names(&["a", "b"])).unwrap(), ["a"]);
        let seen = read(dir.path(), &stack).unwrap();
        assert_eq!(seen["a"].reveal(), "3");
        assert_eq!(seen["b"].reveal(), "2", "an older deployment may still start tasks");
        renew(dir.path(), &stack, &second, &names(&["a"])).unwrap();
        assert!(!read(dir.path(), &stack).unwrap().contains_key("b"));
    }

    #[test]
    fn it_is_for_its_owner_alone_and_damage_does_not_quote_it() {
        let dir = tempfile::tempdir().unwrap();
        let stack = StackName::new("shop");
        let secrets = Secrets::from([("a".into(), SecretValue::new("hunter2"))]);
        renew(dir.path(), &stack, &secrets, &names(&["a"])).unwrap();
        let file = path(dir.path(), &stack);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(&file, "{\"a\": hunter2").unwrap();
        let error = crate::reconcile::chain(&read(dir.path(), &stack).unwrap_err());
        assert!(error.contains("damaged") && !error.contains("hunter2"), "{error}");
    }
}
