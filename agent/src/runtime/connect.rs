//! The way to Docker: where it listens, whether it may be used, whether it is new enough.
//!
//! The first call of every process that runs containers. Docker's API paths are sent without a version (bollard does
//! so even after negotiation), so the engine's newest is spoken; only the least version is checked, here.

use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error as BollardError;

use super::RuntimeError;

/// Where Docker listens unless `DOCKER_HOST` says otherwise.
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";

/// The least API: that of Docker 20.10.
const MINIMUM_API: (u32, u32) = (1, 41);

/// bollard's own limit for the head of an answer. It is out of the way: each verb has its own limit, as ECS has.
const BOLLARD_SECONDS: u64 = 24 * 60 * 60;

/// How long Docker may take for an answer that needs no work.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A connection to Docker. Cheap to clone; each request opens a socket of its own.
#[derive(Clone)]
pub struct Docker {
    pub(super) client: bollard::Docker,
    address: String,
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Docker").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Docker {
    /// Connects to `DOCKER_HOST`, or to `/var/run/docker.sock`, and checks that Docker answers and is new enough.
    pub async fn connect() -> Result<Self, RuntimeError> {
        let address = std::env::var("DOCKER_HOST").ok().filter(|a| !a.is_empty());
        Self::connect_to(address.as_deref().unwrap_or(DEFAULT_ADDRESS)).await
    }

    /// Connects to `address` (`unix://…` or `tcp://…`) with the same checks.
    pub async fn connect_to(address: &str) -> Result<Self, RuntimeError> {
        let address = address.to_owned();
        let client = if address.starts_with("unix://") {
            bollard::Docker::connect_with_unix(&address, BOLLARD_SECONDS, API_DEFAULT_VERSION)
        } else if address.starts_with("tcp://") || address.starts_with("http://") {
            bollard::Docker::connect_with_http(&address, BOLLARD_SECONDS, API_DEFAULT_VERSION)
        } else {
            return Err(RuntimeError::Address { address });
        };
        let answer = async {
            let client = client?;
            let version = client.version().await?;
            Ok((client, version))
        };
        let (client, version) = match tokio::time::timeout(ANSWER_TIME, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(not_connected(address, error)),
            Err(_) => return Err(not_connected(address, BollardError::RequestTimeoutError)),
        };
        let api = version.api_version.unwrap_or_default();
        if parse_api(&api).is_none_or(|api| api < MINIMUM_API) {
            return Err(RuntimeError::TooOld {
                address,
                version: version.version.unwrap_or_default(),
                api,
                minimum: format!("{}.{}", MINIMUM_API.0, MINIMUM_API.1),
            });
        }
        Ok(Self { client, address })
    }

    /// Where Docker listens, as `DOCKER_HOST` spells it.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Why no connection came about, told apart by the errno that lies under the HTTP client's errors.
fn not_connected(address: String, error: BollardError) -> RuntimeError {
    if io_kind(&error) == Some(std::io::ErrorKind::PermissionDenied) {
        return RuntimeError::Permission { address };
    }
    match RuntimeError::judge(format!("reach Docker at {address}"), error) {
        RuntimeError::Unreachable { source, .. } => RuntimeError::NotRunning { address, source },
        other => other,
    }
}

fn io_kind(error: &BollardError) -> Option<std::io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        // Two of bollard's variants hold their cause without naming it as source.
        cause = match error.downcast_ref::<BollardError>() {
            Some(BollardError::HyperLegacyError { err }) => Some(err),
            Some(BollardError::IOError { err }) => Some(err),
            _ => error.source(),
        };
    }
    None
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_compare_as_numbers() {
        assert!(parse_api("1.9").unwrap() < MINIMUM_API);
        assert!(parse_api("1.41").unwrap() >= MINIMUM_API);
        assert!(parse_api("1.101").unwrap() >= MINIMUM_API);
        assert_eq!(parse_api(""), None);
    }

    #[tokio::test]
    async fn an_unknown_way_to_docker_is_named() {
        let error = Docker::connect_to("ssh://somewhere").await.unwrap_err();
        assert!(error.is_requirement());
        assert_eq!(error.to_string(), "DOCKER_HOST `ssh://somewhere` is not supported: use unix:// or tcp://");
    }

    #[tokio::test]
    async fn a_missing_socket_is_docker_not_running() {
        let error = Docker::connect_to("unix:///nonexistent/docker.sock").await.unwrap_err();
        assert!(matches!(error, RuntimeError::NotRunning { .. }), "{error}");
        assert!(error.is_requirement());
    }
}
