//! Docker's volumes: whether one is there, and its removal. They are made by the containers that mount them.

use bollard::query_parameters::RemoveVolumeOptions;

use super::RuntimeError;
use super::connect::{ANSWER_TIME, Docker};
use super::lifecycle::within;

impl Docker {
    /// Whether there is a volume of that name.
    pub async fn has_volume(&self, name: &str) -> Result<bool, RuntimeError> {
        let asked = within(ANSWER_TIME, self.client.inspect_volume(name)).await;
        match asked.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError)) {
            Ok(_) => Ok(true),
            Err(error) => match RuntimeError::judge(format!("inspect volume {name}"), error) {
                error if error.is_absent() => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Removes a volume with what is in it. Absent is fine; one that a container mounts is refused.
    pub async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        let asked = within(ANSWER_TIME, self.client.remove_volume(name, None::<RemoveVolumeOptions>)).await;
        match asked.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError)) {
            Ok(()) => Ok(()),
            Err(error) => match RuntimeError::judge(format!("remove volume {name}"), error) {
                error if error.is_absent() => Ok(()),
                error => Err(error),
            },
        }
    }
}
