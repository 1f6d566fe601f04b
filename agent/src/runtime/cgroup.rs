//! The parent cgroup of a task: its name for Docker, its limits, and its removal, which Docker leaves to us (pitfall 14).
//!
//! Called by `apply` before a task's first container and when its last one is gone. Only directories are removed, and
//! only empty ones: a cgroup with a process in it answers EBUSY, which is told and not forced.

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

/// How the parent of no task begins that an agent makes to see whether it can; its process id follows.
const PROBE: &str = "probe";

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

/// The parent cgroup of a task: what all its containers together may take (reference 2.1, 2.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCgroup {
    /// Its name for Docker.
    pub parent: String,
    /// CPU units of the task; 1024 are one processor.
    pub cpu_units: Option<u32>,
    /// Memory of the task.
    pub memory_mib: Option<u32>,
}

/// The period of a CFS quota (2.7).
const PERIOD_US: u64 = 100_000;

/// The quota of a CFS period for a number of CPU units.
pub fn quota_us(cpu_units: u32) -> u64 {
    u64::from(cpu_units) * PERIOD_US / 1024
}

impl TaskCgroup {
    /// Files and what is written to them, in order: the tree (none in v2), the file, the text.
    fn limits(&self, unified: bool) -> Vec<(&'static str, &'static str, String)> {
        let mut limits = Vec::new();
        if let Some(units) = self.cpu_units {
            let quota = quota_us(units);
            if unified {
                limits.push(("", "cpu.max", format!("{quota} {PERIOD_US}")));
                // Shares from 2 to 262144 to weights from 1 to 10000, as runc does it.
                let weight = 1 + (u64::from(units.clamp(2, 262_144)) - 2) * 9999 / 262_142;
                limits.push(("", "cpu.weight", weight.to_string()));
            } else {
                limits.push(("cpu", "cpu.cfs_period_us", PERIOD_US.to_string()));
                limits.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
                limits.push(("cpu", "cpu.shares", units.clamp(2, 262_144).to_string()));
            }
        }
        if let Some(mib) = self.memory_mib {
            let bytes = (u64::from(mib) * 1024 * 1024).to_string();
            limits.push(if unified { ("", "memory.max", bytes) } else { ("memory", "memory.limit_in_bytes", bytes) });
        }
        limits
    }
}

impl Docker {
    /// How parents of tasks are to be named, if they can be made and limited on this machine; else why not, for people.
    pub async fn task_cgroups(&self) -> Result<Cgroups, String> {
        let cgroups = self.cgroups().await.map_err(|error| error.to_string())?;
        let cgroups = cgroups.ok_or_else(|| "Docker does without cgroups".to_owned())?;
        if cgroups.driver == Driver::Systemd {
            // A slice's limits are systemd's, which writes them anew from its own knowledge when it likes.
            return Err("Docker leaves cgroups to systemd (its cgroup driver)".to_owned());
        }
        remove_left_probes(Path::new(ROOT), Path::new("/proc"));
        // Whether it works is known when it was done.
        let probe = TaskCgroup {
            parent: cgroups.parent_of_task(&format!("{PROBE}{}", std::process::id())),
            cpu_units: Some(1024),
            memory_mib: Some(64),
        };
        let made = cgroups.ensure(&probe);
        let removed = remove_cgroup_parent(&probe.parent);
        made.and(removed).map_err(|error| crate::reconcile::chain(&error))?;
        Ok(cgroups)
    }
}

impl Cgroups {
    /// Makes a task's parent with its limits, so that they hold from its first process on. What is there is set anew.
    pub fn ensure(&self, task: &TaskCgroup) -> Result<(), RuntimeError> {
        self.ensure_below(Path::new(ROOT), task)
    }

    fn ensure_below(&self, root: &Path, task: &TaskCgroup) -> Result<(), RuntimeError> {
        let relative = relative_path(&task.parent).ok_or_else(|| not_ours(&task.parent))?;
        for (tree, file, text) in task.limits(self.unified) {
            let tree = root.join(tree);
            let directory = tree.join(&relative);
            if !directory.is_dir() {
                let failed = |source| RuntimeError::Io { what: format!("make cgroup {}", directory.display()), source };
                fs::create_dir_all(&directory).map_err(failed)?;
            }
            if self.unified {
                // A cgroup has the controllers that the one above it hands on.
                let above = relative.ancestors().skip(1).collect::<Vec<_>>();
                for above in above.into_iter().rev() {
                    set(&tree.join(above).join("cgroup.subtree_control"), "+cpu +memory")?;
                }
            }
            set(&directory.join(file), &text)?;
        }
        Ok(())
    }

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
    let relative = relative_path(parent).ok_or_else(|| not_ours(parent))?;
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

/// Removes what agents that were killed left of their probes, as far as it is empty; nothing depends on it.
fn remove_left_probes(root: &Path, processes: &Path) {
    let trees = fs::read_dir(root).into_iter().flatten().flatten();
    let trees = trees.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path());
    for tree in trees.chain([root.to_owned()]) {
        for entry in fs::read_dir(tree.join("ecs")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PROBE)?.parse::<u32>().ok());
            // That of an agent that starts just now is its own matter.
            if pid.is_some_and(|pid| !processes.join(pid.to_string()).exists())
                && let Err(error) = fs::remove_dir(entry.path())
            {
                tracing::debug!(cgroup = %entry.path().display(), %error, "a probe's cgroup stays");
            }
        }
    }
}

fn not_ours(parent: &str) -> RuntimeError {
    RuntimeError::Refused {
        what: format!("find cgroup {parent}"),
        message: "not a parent that ecsnet makes".to_owned(),
    }
}

fn set(file: &Path, text: &str) -> Result<(), RuntimeError> {
    let failed = |source| RuntimeError::Io { what: format!("write {text} to {}", file.display()), source };
    fs::write(file, text).map_err(failed)
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
    fn probes_of_agents_that_are_gone_are_removed() {
        let (root, processes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(processes.path().join("7")).unwrap();
        for path in ["ecs/probe7", "ecs/probe8", "cpu/ecs/probe8", "ecs/probe9/busy", "ecs/0a"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        remove_left_probes(root.path(), processes.path());
        let left = |path: &str| root.path().join(path).exists();
        assert!(left("ecs/probe7") && left("ecs/probe9/busy") && left("ecs/0a"));
        assert!(!left("ecs/probe8") && !left("cpu/ecs/probe8"));
    }

    #[test]
    fn a_slice_lies_below_the_slice_of_its_prefix() {
        let path = relative_path("ecstasks-0a.slice").unwrap();
        assert_eq!(path, Path::new("ecstasks.slice/ecstasks-0a.slice"));
        let cgroups = Cgroups { driver: Driver::Systemd, unified: true };
        assert_eq!(cgroups.parent_of_task("0a"), "ecstasks-0a.slice");
    }

    #[rstest::rstest]
    #[case::v1(false, &[
        ("cpu/ecs/0a/cpu.cfs_period_us", "100000"),
        ("cpu/ecs/0a/cpu.cfs_quota_us", "25000"),
        ("cpu/ecs/0a/cpu.shares", "256"),
        ("memory/ecs/0a/memory.limit_in_bytes", "536870912"),
    ])]
    #[case::v2(true, &[
        ("cgroup.subtree_control", "+cpu +memory"),
        ("ecs/cgroup.subtree_control", "+cpu +memory"),
        ("ecs/0a/cpu.max", "25000 100000"),
        ("ecs/0a/cpu.weight", "10"),
        ("ecs/0a/memory.max", "536870912"),
    ])]
    fn a_task_s_size_is_written_where_each_version_has_it(#[case] unified: bool, #[case] expected: &[(&str, &str)]) {
        let root = tempfile::tempdir().unwrap();
        let task = TaskCgroup { parent: "/ecs/0a".into(), cpu_units: Some(256), memory_mib: Some(512) };
        Cgroups { driver: Driver::Cgroupfs, unified }.ensure_below(root.path(), &task).unwrap();
        for (file, text) in expected {
            assert_eq!(fs::read_to_string(root.path().join(file)).unwrap(), *text, "{file}");
        }
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
