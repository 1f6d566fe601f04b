//! The agent's ears in the directories of fronts: one listener for each, opened when its front is published.

use std::collections::HashMap;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::ApplyError;
use crate::control::front;
use crate::dataplane::metadata::question::{FrontReply, ProtectionChange};
use crate::observe::statistics::Statistics;
use crate::runtime::Docker;

/// Asks the loop for a task's protection, by the task's ARN, after a change if there is one.
pub type OnProtection =
    Arc<dyn Fn(String, Option<ProtectionChange>) -> Pin<Box<dyn Future<Output = FrontReply> + Send>> + Send + Sync>;

/// Open listeners by directory.
pub struct Ears {
    statistics: Arc<Statistics>,
    protection: OnProtection,
    open: Mutex<HashMap<PathBuf, JoinHandle<()>>>,
}

impl Ears {
    /// None open yet.
    pub fn new(protection: OnProtection) -> Self {
        Self { statistics: Arc::default(), protection, open: Mutex::default() }
    }

    /// Listens in a front's directory; one that listens there already goes on.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open(&self, docker: &Docker, dir: &Path) -> Result<(), ApplyError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(dir).is_some_and(|ear| !ear.is_finished()) {
            return Ok(());
        }
        super::front::prepare(dir)?;
        let failed = |source| ApplyError::File { what: "listen in", path: dir.to_owned(), source };
        let listener = front::listen(dir).map_err(failed)?;
        let (docker, protection) = (docker.clone(), Arc::clone(&self.protection));
        let docker = move || ready(Some(docker.clone()));
        let serving =
            front::serve(listener, Arc::clone(&self.statistics), docker, move |arn, change| protection(arn, change));
        let path = dir.to_owned();
        let ear = tokio::spawn(async move {
            let error = serving.await;
            tracing::warn!(dir = %path.display(), %error, "nobody hears the front any more");
        });
        open.insert(dir.to_owned(), ear);
        Ok(())
    }

    /// Stops to listen in a directory.
    pub fn close(&self, dir: &Path) {
        if let Some(ear) = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(dir) {
            ear.abort();
        }
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        for ear in self.open.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            ear.abort();
        }
    }
}
