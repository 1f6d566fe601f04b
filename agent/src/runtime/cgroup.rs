//! The parent cgroup of a task: its name for Docker, and its removal, which Docker leaves to us (pitfall 14).
//!
//! Called by `apply` when a task has STOPPED. Only directories are removed, and only empty ones: a cgroup with a
//! process in it answers EBUSY, which is told and not forced.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bollard::errors::Error as BollardError;
use bollard::models::{SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum};

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::lifecycle::within;

/// Where the kernel shows cgroups.
const ROOT: &str = "/sys/fs/cgroup";

/// Who makes cgroups for Docker; it decides how a parent is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// runc itself: a parent is a path.
    Cgroupfs,
    /// systemd: a parent is a slice.
    Systemd,
}

/// How cgroups are laid out on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// Who makes them.
    pub driver: Driver,
    /// One tree for all controllers (v2), or one for each (v1).
    pub unified: bool,
}

impl Docker {
    /// How Docker lays out cgroups. `None` if Docker does without.
    pub async fn cgroups(&self) -> Result<Option<Cgroups>, RuntimeError> {
        let info = within(ANSWER_TIME, self.client.info())
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map_err(|error| RuntimeError::judge("ask Docker for its cgroup driver", error))?;
        let driver = match info.cgroup_driver {
            Some(SystemInfoCgroupDriverEnum::CGROUPFS) => Driver::Cgroupfs,
            Some(SystemInfoCgroupDriverEnum::SYSTEMD) => Driver::Systemd,
            _ => return Ok(None),
        };
        Ok(Some(Cgroups { driver, unified: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2) }))
    }
}

impl Cgroups {
    /// The parent of a task's containers, as `ContainerSpec::cgroup_parent` takes it (reference 1.9).
    pub fn parent_of_task(&self, task_id: &str) -> String {
        match self.driver {
            Driver::Cgroupfs => format!("/ecs/{task_id}"),
            Driver::Systemd => format!("ecstasks-{task_id}.slice"),
        }
    }
}

/// Removes the directories of a parent, in every tree of the machine. Absent is fine.
pub fn remove_cgroup_parent(parent: &str) -> Result<(), RuntimeError> {
    remove_below(Path::new(ROOT), parent)
}

/// The directories of a parent that are there, for the check that nothing is left.
pub fn cgroup_parent_directories(parent: &str) -> Result<Vec<PathBuf>, RuntimeError> {
    directories(Path::new(ROOT), parent)
}

fn remove_below(root: &Path, parent: &str) -> Result<(), RuntimeError> {
    // All trees are tried; the first refusal is told.
    let results: Vec<_> = directories(root, parent)?.iter().map(|directory| remove_tree(directory)).collect();
    results.into_iter().collect()
}

fn directories(root: &Path, parent: &str) -> Result<Vec<PathBuf>, RuntimeError> {
    let relative = relative_path(parent).ok_or_else(|| RuntimeError::Refused {
        what: format!("find cgroup {parent}"),
        message: "not a parent that ecsnet makes".to_owned(),
    })?;
    let failed = |source| RuntimeError::Io { what: format!("read {}", root.display()), source };
    // In v2 the tree begins at the root, in v1 at each controller below it; looking in both needs no version. v1's
    // `cpu` is a link to `cpu,cpuacct`: links are passed over, so that nothing is met twice.
    let mut trees = vec![root.to_owned()];
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            trees.push(entry.path());
        }
    }
    Ok(trees.into_iter().map(|tree| tree.join(&relative)).filter(|path| path.is_dir()).collect())
}

/// `/ecs/<id>` as it is; `ecstasks-<id>.slice` below the slice that its dashes name (`systemd.slice(5)`).
fn relative_path(parent: &str) -> Option<PathBuf> {
    let id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if let Some(task) = parent.strip_prefix("/ecs/") {
        return id(task).then(|| Path::new("ecs").join(task));
    }
    let task = parent.strip_prefix("ecstasks-")?.strip_suffix(".slice")?;
    id(task).then(|| Path::new("ecstasks.slice").join(parent))
}

/// Removes a cgroup and those in it, deepest first. The files in it are the kernel's and go with it.
fn remove_tree(directory: &Path) -> Result<(), RuntimeError> {
    let failed = |source| RuntimeError::Io { what: format!("remove cgroup {}", directory.display()), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_goes_from_every_tree() {
        let root = tempfile::tempdir().unwrap();
        for path in ["cpu/ecs/0a/leaf", "memory/ecs/0a", "memory/ecs/0b"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        remove_below(root.path(), "/ecs/0a").unwrap();
        remove_below(root.path(), "/ecs/0a").unwrap();
        assert!(!root.path().join("cpu/ecs/0a").exists());
        assert!(!root.path().join("memory/ecs/0a").exists());
        assert!(root.path().join("memory/ecs/0b").exists());
    }

    #[test]
    fn a_slice_lies_below_the_slice_of_its_prefix() {
        let path = relative_path("ecstasks-0a.slice").unwrap();
        assert_eq!(path, Path::new("ecstasks.slice/ecstasks-0a.slice"));
        let cgroups = Cgroups { driver: Driver::Systemd, unified: true };
        assert_eq!(cgroups.parent_of_task("0a"), "ecstasks-0a.slice");
    }

    #[rstest::rstest]
    #[case("/")]
    #[case("/ecs/")]
    #[case("/ecs/../system.slice")]
    #[case("system.slice")]
    #[case("ecstasks-.slice")]
    fn nothing_else_is_touched(#[case] parent: &str) {
        let root = tempfile::tempdir().unwrap();
        assert!(remove_below(root.path(), parent).is_err());
    }
}
