//! What kind of engine Docker is here, as far as ecsnet depends on it.
//!
//! Asked by `ecsnet doctor` for all there is to say, and before an agent is started for what cannot work at all.

use bollard::errors::Error as BollardError;
use bollard::models::SystemInfo;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::lifecycle::within;

/// What Docker says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engine {
    /// Its version, as `20.10.24`.
    pub version: String,
    /// Runs without root: it cannot give what the agent needs.
    pub rootless: bool,
    /// Maps root in containers to another user of the host (`userns-remap`).
    pub remapped: bool,
    /// Security modules that it applies, as `apparmor`, `selinux`, `seccomp`.
    pub security_modules: Vec<String>,
    /// `1` or `2`; empty without cgroups.
    pub cgroup_version: String,
    /// `cgroupfs`, `systemd` or `none`.
    pub cgroup_driver: String,
    /// For example `overlay2`.
    pub storage_driver: String,
    /// Containers go on while the engine is down.
    pub live_restore: bool,
    /// The kernel under it.
    pub kernel: String,
    /// The system under it, as it calls itself.
    pub operating_system: String,
}

impl Docker {
    /// What kind of engine it is.
    pub async fn engine(&self) -> Result<Engine, RuntimeError> {
        within(ANSWER_TIME, self.client.info())
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError))
            .map(read)
            .map_err(|error| RuntimeError::judge("ask Docker what kind of engine it is", error))
    }

    /// What kind of engine it is, and an error for one that the agent cannot work with.
    ///
    /// # Errors
    /// [`RuntimeError::Rootless`], [`RuntimeError::Remapped`], or when Docker does not answer.
    pub async fn supported_engine(&self) -> Result<Engine, RuntimeError> {
        let engine = self.engine().await?;
        let address = self.address().to_owned();
        match engine {
            Engine { rootless: true, .. } => Err(RuntimeError::Rootless { address }),
            Engine { remapped: true, .. } => Err(RuntimeError::Remapped { address }),
            engine => Ok(engine),
        }
    }
}

fn read(info: SystemInfo) -> Engine {
    // Each is `name=seccomp,profile=default` and the like.
    let options = info.security_options.unwrap_or_default();
    let names: Vec<String> = options
        .iter()
        .filter_map(|option| option.split(',').find_map(|part| part.strip_prefix("name=")))
        .map(str::to_owned)
        .collect();
    let has = |name: &str| names.iter().any(|known| known == name);
    Engine {
        version: info.server_version.unwrap_or_default(),
        rootless: has("rootless"),
        remapped: has("userns"),
        cgroup_version: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
        cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
        storage_driver: info.driver.unwrap_or_default(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        kernel: info.kernel_version.unwrap_or_default(),
        operating_system: info.operating_system.unwrap_or_default(),
        security_modules: names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(options: &[&str]) -> Engine {
        let security_options = Some(options.iter().map(ToString::to_string).collect());
        read(SystemInfo { security_options, ..Default::default() })
    }

    #[test]
    fn a_remapped_and_a_rootless_engine_are_told_by_their_security_options() {
        assert!(engine(&["name=seccomp,profile=default", "name=userns"]).remapped);
        assert!(engine(&["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]).rootless);
        let usual = engine(&["name=apparmor", "name=seccomp,profile=default"]);
        assert!(!usual.remapped && !usual.rootless);
        assert_eq!(usual.security_modules, ["apparmor", "seccomp"]);
    }
}
