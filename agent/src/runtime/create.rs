//! A [`ContainerSpec`] in Docker's words. Pure: nothing is asked, nothing is chosen.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigLogConfig, Mount as DockerMount, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use super::spec::{ContainerSpec, HealthCheck, Mount, Network};
use crate::secret::SecretValue;

const MIB: i64 = 1024 * 1024;

/// The body of `POST /containers/create`; `secrets` are the values of the variables that the spec only names.
pub(super) fn create_body(spec: &ContainerSpec, secrets: &[(String, SecretValue)]) -> ContainerCreateBody {
    let mut environment: Vec<String> = Vec::with_capacity(spec.environment.len() + secrets.len());
    let is_secret = |name: &String| secrets.iter().any(|(secret, _)| secret == name);
    let plain = spec.environment.iter().filter(|(name, _)| !is_secret(name));
    environment.extend(plain.map(|(name, value)| format!("{name}={value}")));
    environment.extend(secrets.iter().map(|(name, value)| format!("{name}={}", value.reveal())));
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        tty: Some(spec.tty),
        open_stdin: Some(spec.interactive),
        env: Some(environment),
        cmd: spec.command.clone(),
        entrypoint: spec.entry_point.clone(),
        working_dir: spec.working_directory.clone(),
        healthcheck: Some(spec.health_check.as_ref().map_or_else(no_health_check, health_check)),
        labels: Some(spec.all_labels().into_iter().collect()),
        stop_timeout: spec.stop_timeout.map(i64::from),
        host_config: Some(host_config(spec)),
        ..Default::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let log_options = HashMap::from([
        ("max-size".to_owned(), format!("{}m", spec.log_files.size_mib)),
        ("max-file".to_owned(), spec.log_files.files.to_string()),
    ]);
    HostConfig {
        network_mode: Some(match &spec.network {
            Network::None => "none".to_owned(),
            Network::DockerBridge => "bridge".to_owned(),
            Network::Host => "host".to_owned(),
            Network::JoinContainer(holder) => format!("container:{holder}"),
        }),
        // The plan brings containers back: Docker would start them without their ENI (pitfall 11).
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        dns: some_list(spec.dns.iter().map(ToString::to_string)),
        dns_search: some_list(spec.dns_search.iter().cloned()),
        extra_hosts: some_list(spec.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}"))),
        cpu_shares: spec.cpu_shares,
        cpu_period: spec.cpu_quota_us.map(|_| 100_000),
        cpu_quota: spec.cpu_quota_us,
        memory: spec.memory_mib.map(|mib| mib.saturating_mul(MIB)),
        memory_reservation: spec.memory_reservation_mib.map(|mib| mib.saturating_mul(MIB)),
        cgroup_parent: spec.cgroup_parent.clone(),
        readonly_rootfs: Some(spec.read_only),
        privileged: Some(spec.privileged),
        init: Some(spec.init),
        mounts: some_list(spec.mounts.iter().filter(|m| !m.make_source).map(mount)),
        // Of Docker's two forms only this one makes a path that is absent (API 1.41).
        binds: some_list(spec.mounts.iter().filter(|m| m.make_source).map(|m| {
            let access = if m.read_only { "ro" } else { "rw" };
            format!("{}:{}:{access}", m.source, m.target)
        })),
        volumes_from: some_list(spec.volumes_from.iter().map(|(container, read_only)| {
            let access = if *read_only { "ro" } else { "rw" };
            format!("{container}:{access}")
        })),
        devices: some_list(spec.devices.iter().map(|device| DeviceMapping {
            path_on_host: Some(device.host_path.clone()),
            path_in_container: Some(device.container_path.clone()),
            cgroup_permissions: Some(device.permissions.clone()),
        })),
        shm_size: spec.shared_memory_mib.map(|mib| mib.saturating_mul(MIB)),
        tmpfs: (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.clone().into_iter().collect()),
        memory_swap: spec.memory_swap_mib.map(|mib| mib.saturating_mul(MIB)),
        memory_swappiness: spec.swappiness,
        ipc_mode: spec.ipc_mode.clone(),
        cap_add: some_list(spec.cap_add.iter().cloned()),
        cap_drop: some_list(spec.cap_drop.iter().cloned()),
        ulimits: some_list(spec.ulimits.iter().map(|limit| ResourcesUlimits {
            name: Some(limit.name.clone()),
            soft: Some(limit.soft),
            hard: Some(limit.hard),
        })),
        sysctls: Some(spec.sysctls.clone().into_iter().collect()),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log_options) }),
        security_opt: some_list(spec.security_options.iter().cloned()),
        pid_mode: spec.pid_mode.clone(),
        ..Default::default()
    }
}

/// Docker tells "not given" from "given and empty" for some lists, and refuses the latter in a joined namespace.
fn some_list<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

fn mount(mount: &Mount) -> DockerMount {
    let is_path = mount.source.starts_with('/');
    DockerMount {
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        typ: Some(if is_path { MountType::BIND } else { MountType::VOLUME }),
        read_only: Some(mount.read_only),
        volume_options: mount.volume.as_ref().map(|volume| MountVolumeOptions {
            no_copy: Some(false),
            labels: Some(volume.labels.clone().into_iter().collect()),
            driver_config: volume.driver.as_ref().map(|driver| MountVolumeOptionsDriverConfig {
                name: Some(driver.clone()),
                options: Some(volume.options.clone().into_iter().collect()),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// `NONE` switches the image's own HEALTHCHECK off; without it Docker would take that one.
fn no_health_check() -> HealthConfig {
    HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }
}

fn health_check(check: &HealthCheck) -> HealthConfig {
    let nanoseconds = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: Some(check.command.clone()),
        interval: Some(nanoseconds(check.interval)),
        timeout: Some(nanoseconds(check.timeout)),
        retries: Some(i64::from(check.retries)),
        start_period: Some(nanoseconds(check.start_period)),
        start_interval: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::labels::Role;

    #[test]
    fn docker_never_restarts_and_never_takes_the_image_s_health_check() {
        let body = create_body(&ContainerSpec::new("a", "image:1", Role::App), &[]);
        let host = body.host_config.unwrap();
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::NO));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(body.healthcheck.unwrap().test, Some(vec!["NONE".to_owned()]));
        assert_eq!((body.cmd, body.entrypoint, host.dns), (None, None, None));
    }

    #[test]
    fn a_source_is_a_path_or_a_volume() {
        let source = |source: &str| mount(&Mount::new(source, "/data", true)).typ;
        assert_eq!(source("/srv"), Some(MountType::BIND));
        assert_eq!(source("data"), Some(MountType::VOLUME));
    }
}
