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

/// What [`renew`] did.
#[derive(Debug)]
pub struct Renewed {
    /// Which of the values that were there have another value now.
    pub changed: Vec<String>,
    /// All that was there, for [`put_back`].
    pub before: Secrets,
}

/// Adds `fresh` to the values of a stack, over those that are there, and drops what is not in `wanted`.
///
/// # Errors
/// When the file cannot be read or written; it is then as it was.
pub fn renew(
    data_dir: &Path,
    stack: &StackName,
    fresh: &Secrets,
    wanted: &BTreeSet<String>,
) -> Result<Renewed, StoreError> {
    let before = read(data_dir, stack)?;
    let mut secrets = before.clone();
    secrets.extend(fresh.clone());
    secrets.retain(|value_from, _| wanted.contains(value_from));
    let differs = |(name, value): &(&String, &SecretValue)| before.get(*name).is_some_and(|old| old != *value);
    let changed: Vec<String> = secrets.iter().filter(differs).map(|(name, _)| name.clone()).collect();
    if secrets != before {
        write(data_dir, stack, &secrets)?;
    }
    Ok(Renewed { changed, before })
}

/// Makes the values of a stack what they were: the wish that they were renewed for is not in the store.
///
/// # Errors
/// When the file cannot be written or removed.
pub fn put_back(data_dir: &Path, stack: &StackName, before: &Secrets) -> Result<(), StoreError> {
    if !before.is_empty() {
        return write(data_dir, stack, before);
    }
    let path = path(data_dir, stack);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
        _ => {}
    }
    // Only an empty one goes, which was made for the file.
    let _ = path.parent().map(std::fs::remove_dir);
    Ok(())
}

/// Removes the directories of stacks that are not `known`: an agent that is killed between the values and the wish that
/// they are for leaves one.
///
/// # Errors
/// When one cannot be removed; the others are.
pub fn remove_unknown(data_dir: &Path, known: impl Fn(&StackName) -> bool) -> Result<(), StoreError> {
    let stacks = data_dir.join("stacks");
    let entries = match std::fs::read_dir(&stacks) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", &stacks)(error)),
    };
    let mut outcome = Ok(());
    for entry in entries.flatten() {
        let is_known = entry.file_name().to_str().is_some_and(|name| known(&StackName::new(name)));
        if is_known || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => outcome = Err(failed("remove", &path)(error)),
            _ => tracing::info!(path = %path.display(), "removed what was left of a stack that nobody wishes for"),
        }
    }
    outcome
}

fn write(data_dir: &Path, stack: &StackName, secrets: &Secrets) -> Result<(), StoreError> {
    let path = path(data_dir, stack);
    let dir = path.parent().unwrap_or(data_dir);
    std::fs::create_dir_all(dir).map_err(failed("make the directory", dir))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(failed("close", dir))?;
    let beside = path.with_extension("new");
    let text = serde_json::to_vec(secrets).map_err(std::io::Error::other).map_err(failed("print", &path))?;
    let write = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_data()?;
        std::fs::rename(&beside, &path)?;
        // Until then the rename may be undone by a loss of power.
        std::fs::File::open(dir)?.sync_all()
    };
    write().map_err(failed("write", &path))
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
        assert!(renew(dir.path(), &stack, &first, &names(&["a", "b"])).unwrap().changed.is_empty());
        let second = Secrets::from([("a".into(), SecretValue::new("3"))]);
        assert_eq!(renew(dir.path(), &stack, &second, &names(&["a", "b"])).unwrap().changed, ["a"]);
        let seen = read(dir.path(), &stack).unwrap();
        assert_eq!(seen["a"].reveal(), "3");
        assert_eq!(seen["b"].reveal(), "2", "an older deployment may still start tasks");
        renew(dir.path(), &stack, &second, &names(&["a"])).unwrap();
        assert!(!read(dir.path(), &stack).unwrap().contains_key("b"));
    }

    #[test]
    fn what_was_there_is_put_back_and_what_nobody_knows_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (shop, other) = (StackName::new("shop"), StackName::new("other"));
        let first = Secrets::from([("a".into(), SecretValue::new("1"))]);
        let none = renew(dir.path(), &shop, &first, &names(&["a"])).unwrap().before;
        let second = Secrets::from([("a".into(), SecretValue::new("2"))]);
        let before = renew(dir.path(), &shop, &second, &names(&["a"])).unwrap().before;
        put_back(dir.path(), &shop, &before).unwrap();
        assert_eq!(read(dir.path(), &shop).unwrap(), first);
        put_back(dir.path(), &shop, &none).unwrap();
        assert!(!dir.path().join("stacks/shop").exists());
        remove_unknown(&dir.path().join("absent"), |_| false).unwrap();
        for stack in [&shop, &other] {
            renew(dir.path(), stack, &first, &names(&["a"])).unwrap();
        }
        remove_unknown(dir.path(), |stack| *stack == shop).unwrap();
        assert!(dir.path().join("stacks/shop/secrets.json").exists() && !dir.path().join("stacks/other").exists());
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
