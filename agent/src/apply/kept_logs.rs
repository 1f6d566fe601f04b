//! The last lines of a task's container, kept when it is removed: why a task ended is asked for when it has gone.
//!
//! One file a container, one JSON value a line ([`Kept`]), in the stack's directory, which goes with the stack. Read by
//! [`crate::control`] for `ecsnet logs`.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::ApplyError;
use super::published::{failed, write_synced};
use crate::runtime::{Docker, LogOptions, OutputStream};

/// How long Docker may take to read a log that is on disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many of the last lines are kept of a container.
const MOST_LINES: u64 = 1000;
/// How many bytes of text are kept of a container: the last ones.
const MOST_BYTES: usize = 256 << 10;
/// How many containers of a stack are kept: the last ones, for a task that ends again and again.
const MOST_FILES: usize = 200;
/// As long as the record of a stopped task.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// A line of a container that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whether it went to standard error.
    pub stderr: bool,
    /// When, in RFC 3339; empty when Docker did not say.
    pub time: String,
    /// Without its end of line.
    pub text: String,
}

/// Writes down what `container` wrote last; one that is not there, or has no log that Docker can read, leaves nothing.
/// Nothing waits for a log that cannot be kept: the container has to go.
pub(super) async fn keep(docker: &Docker, dir: &Path, container: &str) {
    match tokio::time::timeout(PATIENCE, write(docker, dir, container)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, container, "its last lines are not kept"),
        Err(_) => tracing::warn!(container, "its last lines are not kept: Docker does not read them"),
    }
}

async fn write(docker: &Docker, dir: &Path, container: &str) -> Result<(), ApplyError> {
    let options = LogOptions { follow: false, tail: Some(MOST_LINES), since: None };
    let lines: Vec<_> = docker.logs(container, options).filter_map(|line| async { line.ok() }).collect().await;
    if lines.is_empty() {
        return Ok(());
    }
    let mut bytes = 0;
    let last = lines.iter().rev().take_while(|line| {
        bytes += line.bytes.len();
        bytes <= MOST_BYTES
    });
    let mut text = Vec::new();
    for line in lines.iter().skip(lines.len() - last.count()) {
        let kept = Kept {
            stderr: line.stream == OutputStream::Stderr,
            time: line.time.map(|time| time.to_string()).unwrap_or_default(),
            text: String::from_utf8_lossy(&line.bytes).into_owned(),
        };
        serde_json::to_writer(&mut text, &kept).map_err(io::Error::other).map_err(failed("print", dir))?;
        text.push(b'\n');
    }
    std::fs::create_dir_all(dir).map_err(failed("make the directory", dir))?;
    let file = dir.join(container);
    let fresh = dir.join(format!("{container}.new"));
    write_synced(&fresh, &text).map_err(failed("write", &fresh))?;
    std::fs::rename(&fresh, &file).map_err(failed("replace", &file))?;
    prune(dir).map_err(failed("tidy", dir))
}

/// Removes what is older than [`KEPT_FOR`], and the oldest beyond [`MOST_FILES`]. Others do the same at the same time.
fn prune(dir: &Path) -> io::Result<()> {
    let gone = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata().and_then(|metadata| metadata.modified()) {
            Ok(modified) => files.push((modified, entry.path())),
            Err(error) => gone(error)?,
        }
    }
    files.sort();
    let surplus = files.len().saturating_sub(MOST_FILES);
    let oldest = SystemTime::now().checked_sub(KEPT_FOR);
    for (index, (modified, path)) in files.iter().enumerate() {
        if index < surplus || Some(*modified) < oldest {
            std::fs::remove_file(path).or_else(gone)?;
        }
    }
    Ok(())
}

/// What was kept of `container`, the last `tail` lines of it; nothing when nothing was.
pub fn read(dir: &Path, container: &str, tail: Option<u64>) -> Vec<Kept> {
    let text = std::fs::read_to_string(dir.join(container)).unwrap_or_default();
    let lines: Vec<Kept> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let tail = tail.and_then(|tail| usize::try_from(tail).ok()).unwrap_or(usize::MAX);
    lines[lines.len().saturating_sub(tail)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_containers_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let begin = SystemTime::now() - Duration::from_secs(600);
        for n in 0..MOST_FILES + 3 {
            let file = std::fs::File::create(dir.path().join(format!("c{n}"))).unwrap();
            file.set_modified(begin + Duration::from_millis(n as u64)).unwrap();
        }
        let old = std::fs::File::create(dir.path().join("old")).unwrap();
        old.set_modified(begin - KEPT_FOR).unwrap();
        prune(dir.path()).unwrap();
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, MOST_FILES);
        assert!(!dir.path().join("old").exists() && !dir.path().join("c2").exists());
        assert!(dir.path().join("c3").exists());
    }

    #[test]
    fn what_was_kept_is_read_from_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let line = |text: &str| Kept { stderr: true, time: String::new(), text: text.into() };
        let text: String = ["a", "b"].map(|t| serde_json::to_string(&line(t)).unwrap() + "\n").concat();
        std::fs::write(dir.path().join("c"), text).unwrap();
        assert_eq!(read(dir.path(), "c", None), [line("a"), line("b")]);
        assert_eq!(read(dir.path(), "c", Some(1)), [line("b")]);
        assert_eq!(read(dir.path(), "none", None), []);
    }
}
