//! What a container of a task mounts, as Docker is told it, and which volumes go with the task (reference 2.5). Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::Setting;
use crate::runtime::labels::{OWNER, STACK, TASK};
use crate::runtime::{Mount, NewVolume};
use crate::spec::ids::StackName;
use crate::spec::task_definition::ContainerDefinition;
use crate::spec::volume::{Volume, VolumeScope, VolumeSource};
use crate::store::task::Task;

/// A container's mounts, in the order of its mount points.
pub fn of_container(setting: &Setting, stack: &StackName, task: &Task, definition: &ContainerDefinition) -> Vec<Mount> {
    let volume = |name: &str| task.definition.volumes.iter().find(|v| v.name == name);
    let points = definition.mount_points.iter().filter_map(|point| Some((point, volume(&point.source_volume)?)));
    points
        .map(|(point, volume)| Mount {
            target: point.container_path.clone(),
            read_only: point.read_only,
            ..mount(setting, stack, task, volume)
        })
        .collect()
}

fn mount(setting: &Setting, stack: &StackName, task: &Task, volume: &Volume) -> Mount {
    let path = |source: String| Mount { make_source: true, ..Mount::new(source, "", false) };
    let new = |name: String, new: NewVolume| Mount { volume: Some(new), ..Mount::new(name, "", false) };
    let own = || setting.volume_name(stack, &task.id, &volume.name);
    match &volume.source {
        VolumeSource::Host { source_path } => path(source_path.clone()),
        VolumeSource::Efs { file_system_id, root_directory } => {
            path(stand_in(&setting.data_dir, file_system_id, root_directory).to_string_lossy().into_owned())
        }
        VolumeSource::Empty => new(
            own(),
            NewVolume {
                make: true,
                driver: None,
                options: BTreeMap::new(),
                labels: labels(setting, stack, task, &BTreeMap::new()),
            },
        ),
        VolumeSource::Docker(docker) => {
            let options = NewVolume {
                make: docker.scope == VolumeScope::Task || docker.autoprovision,
                // Options without a driver are Docker's own driver's.
                driver: docker.driver.clone().or_else(|| (!docker.driver_opts.is_empty()).then(|| "local".to_owned())),
                options: docker.driver_opts.clone(),
                labels: match docker.scope {
                    VolumeScope::Task => labels(setting, stack, task, &docker.labels),
                    VolumeScope::Shared => docker.labels.clone(),
                },
            };
            match docker.scope {
                VolumeScope::Task => new(own(), options),
                VolumeScope::Shared => new(volume.name.clone(), options),
            }
        }
    }
}

/// The user's, and ours over them.
fn labels(
    setting: &Setting,
    stack: &StackName,
    task: &Task,
    users: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = users.clone();
    labels.insert(OWNER.to_owned(), setting.owner.clone());
    labels.insert(STACK.to_owned(), stack.as_str().to_owned());
    labels.insert(TASK.to_owned(), task.id.as_str().to_owned());
    labels
}

/// The directory that stands in for a directory of a file system; no `..` leads out of it.
pub fn stand_in(data_dir: &Path, file_system_id: &str, root_directory: &str) -> PathBuf {
    let plain = |path: &str| -> PathBuf {
        Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect()
    };
    data_dir.join("efs").join(plain(file_system_id)).join(plain(root_directory))
}

/// The volumes in Docker that go with a task, by name.
pub fn own_volumes(setting: &Setting, stack: &StackName, task: &Task) -> Vec<String> {
    let is_own = |volume: &&Volume| match &volume.source {
        VolumeSource::Empty => true,
        VolumeSource::Docker(docker) => docker.scope == VolumeScope::Task,
        VolumeSource::Host { .. } | VolumeSource::Efs { .. } => false,
    };
    let own = task.definition.volumes.iter().filter(is_own);
    own.map(|volume| setting.volume_name(stack, &task.id, &volume.name)).collect()
}
