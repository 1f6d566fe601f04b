//! Volumes of a task definition and where its containers mount them (reference 2.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::ContainerName;

/// A volume that a task definition declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Unique in the task definition; mount points name it.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// The kinds of volumes that one machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    /// A path of the host, absolute; it stays, and Docker makes it when it is absent.
    Host {
        /// `host.sourcePath`.
        source_path: String,
    },
    /// Fresh for each task, shared by its containers, gone with it (`host: {}`).
    Empty,
    /// `dockerVolumeConfiguration`.
    Docker(DockerVolume),
    /// An EFS file system; a directory of this machine stands in for it, one for all tasks and stacks.
    Efs {
        /// `fs-…`.
        file_system_id: String,
        /// The directory in it that is mounted, absolute.
        root_directory: String,
    },
}

/// `dockerVolumeConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerVolume {
    /// Whether it outlives its task.
    pub scope: VolumeScope,
    /// Whether a shared one is made when it is absent.
    pub autoprovision: bool,
    /// Docker's `local` when absent.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

/// How long a Docker volume lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeScope {
    /// As long as its task.
    Task,
    /// Until somebody removes it; it has the volume's name in Docker too.
    Shared,
}

/// Where a container has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// A volume of the task definition.
    pub source_volume: String,
    /// Absolute path in the container.
    pub container_path: String,
    /// The container cannot write to it.
    pub read_only: bool,
}

/// All mounts of another container of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumesFrom {
    /// The other container; it is there first (2.4).
    pub source_container: ContainerName,
    /// The container cannot write to them.
    pub read_only: bool,
}
