//! The store on disk: SQLite in one file, WAL, every commit synced, one JSON value a row.
//!
//! The lock against a second agent is a lock on the file beside it, held for as long as the agent lives. "None yet" and
//! "unreadable" are told apart: what cannot be read is never taken for an empty store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::migrate;
use super::state::{Key, StackState, State};
use crate::spec::ids::{InstanceId, ServiceName, StackName, TaskId};

/// The format of the rows; a store with a higher one was written by a newer ecsnet.
const FORMAT: i64 = 2;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it cannot be made or opened.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another agent holds the store.
    #[error("another agent is using {path}")]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// SQLite says no: no space, damaged, no permission.
    #[error("cannot {what} the store {path}: {source}")]
    Sqlite {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// In SQLite's words.
        source: rusqlite::Error,
    },
    /// A row that is not what it should be.
    #[error("the store {path} has a row that cannot be read ({row}): {source}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Which row.
        row: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Written by a newer version.
    #[error("the store {path} has format {format}, this ecsnet reads {FORMAT}: use the newer ecsnet that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i64,
    },
}

/// The two parts of a row's key, and its value.
type Row = ((String, String), String);

/// The open store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens the store of a data directory, made when there is none.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another agent holds it; the others when it cannot be made or read.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let file_error = |what, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { what, path, source }
        };
        std::fs::create_dir_all(data_dir).map_err(file_error("make the directory", data_dir))?;
        let lock_path = data_dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(file_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::Locked { path: data_dir.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => {
                return Err(StoreError::File { what: "lock", path: lock_path, source });
            }
        }
        let path = data_dir.join("state.db");
        let connection = Connection::open(&path).map_err(|source| StoreError::Sqlite {
            what: "open",
            path: path.clone(),
            source,
        })?;
        let store = Self { connection, path, _lock: lock };
        store.prepare()?;
        Ok(store)
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let format: i64 =
            self.connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(self.sqlite("read"))?;
        if format > FORMAT {
            return Err(StoreError::Newer { path: self.path.clone(), format });
        }
        self.connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 BEGIN IMMEDIATE;
                 CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
                 CREATE TABLE IF NOT EXISTS stack (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
                 CREATE TABLE IF NOT EXISTS service (stack TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (stack, name)) STRICT;
                 CREATE TABLE IF NOT EXISTS task (stack TEXT, id TEXT, value TEXT NOT NULL, PRIMARY KEY (stack, id)) STRICT;
                 CREATE TABLE IF NOT EXISTS instance (stack TEXT, id TEXT, value TEXT NOT NULL, PRIMARY KEY (stack, id)) STRICT;
                 {}
                 PRAGMA user_version = {FORMAT};
                 COMMIT;",
                migrate::from(format)
            ))
            .map_err(self.sqlite("prepare"))
    }

    fn sqlite(&self, what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::Sqlite { what, path, source }
    }

    /// The mark on everything that this agent owns in Docker; `fresh` becomes it the first time.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn owner(&self, fresh: &str) -> Result<String, StoreError> {
        self.connection
            .execute("INSERT OR IGNORE INTO meta VALUES ('owner', ?1)", [fresh])
            .map_err(self.sqlite("write"))?;
        self.connection
            .query_row("SELECT value FROM meta WHERE name = 'owner'", [], |row| row.get(0))
            .map_err(self.sqlite("read"))
    }

    /// Everything, as it was last written.
    ///
    /// # Errors
    /// When a row cannot be read; nothing is taken for absent.
    pub fn load(&self) -> Result<State, StoreError> {
        let mut stacks = BTreeMap::new();
        for (name, value) in self.rows("SELECT name, '', value FROM stack")? {
            let record = self.parse(&name.0, &value)?;
            let stack =
                StackState { record, services: BTreeMap::new(), tasks: BTreeMap::new(), instances: BTreeMap::new() };
            stacks.insert(StackName::new(name.0), stack);
        }
        for ((stack, name), value) in self.rows("SELECT stack, name, value FROM service")? {
            if let Some(in_stack) = stacks.get_mut(stack.as_str()) {
                in_stack.services.insert(ServiceName::new(&name), self.parse(&name, &value)?);
            }
        }
        for ((stack, id), value) in self.rows("SELECT stack, id, value FROM task")? {
            if let Some(in_stack) = stacks.get_mut(stack.as_str()) {
                in_stack.tasks.insert(TaskId::new(&id), self.parse(&id, &value)?);
            }
        }
        for ((stack, id), value) in self.rows("SELECT stack, id, value FROM instance")? {
            if let Some(in_stack) = stacks.get_mut(stack.as_str()) {
                in_stack.instances.insert(InstanceId::new(&id), self.parse(&id, &value)?);
            }
        }
        Ok(State::loaded(stacks))
    }

    fn rows(&self, query: &str) -> Result<Vec<Row>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
            rows.collect()
        };
        read().map_err(self.sqlite("read"))
    }

    fn parse<T: DeserializeOwned>(&self, row: &str, value: &str) -> Result<T, StoreError> {
        serde_json::from_str(value).map_err(|source| StoreError::Row {
            path: self.path.clone(),
            row: row.to_owned(),
            source,
        })
    }

    /// Writes those rows of `state` in one transaction; a key that `state` no longer has is deleted.
    ///
    /// # Errors
    /// When the disk is full or the store damaged; nothing of it is written then.
    pub fn commit(&mut self, state: &State, keys: &BTreeSet<Key>) -> Result<(), StoreError> {
        let path = self.path.clone();
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for key in keys {
                match key {
                    Key::Stack(name) => match state.stack(name) {
                        Some(stack) => transaction.execute(
                            "INSERT OR REPLACE INTO stack VALUES (?1, ?2)",
                            params![name.as_str(), json(&stack.record)?],
                        )?,
                        None => transaction.execute("DELETE FROM stack WHERE name = ?1", [name.as_str()])?,
                    },
                    Key::Service(stack, name) => match state.stack(stack).and_then(|s| s.services.get(name)) {
                        Some(service) => transaction.execute(
                            "INSERT OR REPLACE INTO service VALUES (?1, ?2, ?3)",
                            params![stack.as_str(), name.as_str(), json(service)?],
                        )?,
                        None => transaction.execute(
                            "DELETE FROM service WHERE stack = ?1 AND name = ?2",
                            [stack.as_str(), name.as_str()],
                        )?,
                    },
                    Key::Instance(stack, id) => match state.stack(stack).and_then(|s| s.instances.get(id)) {
                        Some(instance) => transaction.execute(
                            "INSERT OR REPLACE INTO instance VALUES (?1, ?2, ?3)",
                            params![stack.as_str(), id.as_str(), json(instance)?],
                        )?,
                        None => transaction.execute(
                            "DELETE FROM instance WHERE stack = ?1 AND id = ?2",
                            [stack.as_str(), id.as_str()],
                        )?,
                    },
                    Key::Task(stack, id) => match state.stack(stack).and_then(|s| s.tasks.get(id)) {
                        Some(task) => transaction.execute(
                            "INSERT OR REPLACE INTO task VALUES (?1, ?2, ?3)",
                            params![stack.as_str(), id.as_str(), json(task)?],
                        )?,
                        None => transaction
                            .execute("DELETE FROM task WHERE stack = ?1 AND id = ?2", [stack.as_str(), id.as_str()])?,
                    },
                };
            }
            transaction.commit()
        };
        write(&mut self.connection).map_err(|source| StoreError::Sqlite { what: "write", path, source })
    }

    /// Whether the store has been used: the CLI asks before it starts an agent only to hear that nothing runs.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        self.connection
            .query_row("SELECT 1 FROM stack LIMIT 1", [], |_| Ok(()))
            .optional()
            .map(|row| row.is_none())
            .map_err(self.sqlite("read"))
    }
}

fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
