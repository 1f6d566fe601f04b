//! Images from registries: whether one is here, and bringing it.
//!
//! Called by `apply` before a container is created. Credentials pass through and are kept nowhere (pitfall 20).

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error as BollardError;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::connect::{ANSWER_TIME, Docker};
use super::lifecycle::within;
use super::reference::ImageReference;
use super::{PullError, RuntimeError};

/// ECS's agent gives up on a pull in which nothing moves for so long (reference 2.7).
const INACTIVITY_TIME: Duration = Duration::from_secs(60);

/// How to sign in at a registry. Never stored, never printed; it goes over the control socket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The registry, as Docker's `config.json` names it.
    pub server: String,
    /// User and password, or a token.
    pub secret: Secret,
}

/// What proves who one is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Secret {
    /// User and password.
    Password {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// A refresh token that a credential helper gave (user `<token>`).
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("server", &self.server).finish_non_exhaustive()
    }
}

/// How far a pull is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Layers that are here.
    pub layers_done: usize,
    /// Layers known so far.
    pub layers_total: usize,
    /// Bytes downloaded, of the layers that are being downloaded or were.
    pub bytes_done: u64,
    /// Bytes of those layers, as far as the registry said.
    pub bytes_total: u64,
    /// Docker's latest words.
    pub status: String,
}

impl Docker {
    /// Whether the image is on this machine. A reference without a tag means `:latest`.
    pub async fn has_image(&self, reference: &str) -> Result<bool, RuntimeError> {
        Ok(self.inspect_image(reference).await?.is_some())
    }

    /// The registry's digest (`sha256:…`) of the image on this machine; `None` if it is not here or came from no
    /// registry.
    pub async fn image_digest(&self, reference: &str) -> Result<Option<String>, RuntimeError> {
        let image = self.inspect_image(reference).await?;
        let digests = image.and_then(|image| image.repo_digests).unwrap_or_default();
        let repository = ImageReference::parse(reference).repository;
        let own = digests.iter().find(|digest| digest.split('@').next() == Some(repository.as_str()));
        let digest = own.or_else(|| digests.first());
        Ok(digest.and_then(|digest| digest.split_once('@')).map(|(_, digest)| digest.to_owned()))
    }

    async fn inspect_image(&self, reference: &str) -> Result<Option<bollard::models::ImageInspect>, RuntimeError> {
        let what = format!("inspect image {reference}");
        let whole = ImageReference::parse(reference).to_string();
        let answer = within(ANSWER_TIME, self.client.inspect_image(&whole))
            .await
            .unwrap_or(Err(BollardError::RequestTimeoutError));
        match answer {
            Ok(image) => Ok(Some(image)),
            Err(error) => match RuntimeError::judge(what, error) {
                error if error.is_absent() => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Pulls the image, or finds that it is up to date, and tells `progress` of each step.
    pub async fn pull(
        &self,
        reference: &str,
        credentials: Option<Credentials>,
        mut progress: impl FnMut(PullProgress),
    ) -> Result<(), PullError> {
        let image = ImageReference::parse(reference);
        // Without a tag Docker would pull every tag; a digest goes in the tag's place.
        let options = CreateImageOptions {
            from_image: Some(image.repository.clone()),
            tag: image.digest.clone().or(image.tag.clone()),
            ..Default::default()
        };
        let mut answers = self.client.create_image(Some(options), None, credentials.map(docker_credentials));
        let mut layers = Layers::default();
        loop {
            match within(INACTIVITY_TIME, answers.next()).await {
                None => return Err(PullError::Inactive { waited: INACTIVITY_TIME }),
                Some(None) => return Ok(()),
                Some(Some(Ok(info))) => progress(layers.add(info)),
                Some(Some(Err(error))) => return Err(PullError::judge(error)),
            }
        }
    }
}

fn docker_credentials(credentials: Credentials) -> DockerCredentials {
    let mut wire = DockerCredentials { serveraddress: Some(credentials.server), ..Default::default() };
    match credentials.secret {
        Secret::Password { user, password } => (wire.username, wire.password) = (Some(user), Some(password)),
        Secret::IdentityToken(token) => wire.identitytoken = Some(token),
    }
    wire
}

#[derive(Default)]
struct Layers(HashMap<String, Layer>);

#[derive(Default)]
struct Layer {
    done: bool,
    current: u64,
    total: u64,
}

impl Layers {
    fn add(&mut self, info: CreateImageInfo) -> PullProgress {
        let status = info.status.unwrap_or_default();
        let of_layer = ["Pulling fs layer", "Waiting", "Downloading", "Verifying", "Download complete", "Extracting"];
        let done = matches!(status.as_str(), "Pull complete" | "Already exists");
        if let Some(id) = info.id.filter(|_| done || of_layer.iter().any(|word| status.starts_with(word))) {
            let layer = self.0.entry(id).or_default();
            layer.done |= done;
            let positive = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
            if let Some(detail) = info.progress_detail.filter(|_| status == "Downloading") {
                layer.current = positive(detail.current);
                layer.total = positive(detail.total).max(layer.current);
            } else if done || status == "Download complete" {
                layer.current = layer.total;
            }
        }
        PullProgress {
            layers_done: self.0.values().filter(|layer| layer.done).count(),
            layers_total: self.0.len(),
            bytes_done: self.0.values().map(|layer| layer.current).sum(),
            bytes_total: self.0.values().map(|layer| layer.total).sum(),
            status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_adds_up_over_layers() {
        let mut layers = Layers::default();
        let mut last = PullProgress::default();
        for text in [
            r#"{"status":"Pulling from shop/api","id":"1"}"#,
            r#"{"status":"Pulling fs layer","id":"aa"}"#,
            r#"{"status":"Already exists","id":"bb"}"#,
            r#"{"status":"Downloading","id":"aa","progressDetail":{"current":10,"total":40}}"#,
        ] {
            last = layers.add(serde_json::from_str(text).unwrap());
        }
        let seen = (last.layers_done, last.layers_total, last.bytes_done, last.bytes_total);
        assert_eq!(seen, (1, 2, 10, 40));
        last = layers.add(serde_json::from_str(r#"{"status":"Pull complete","id":"aa"}"#).unwrap());
        assert_eq!((last.layers_done, last.bytes_done), (2, 40));
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = Secret::Password { user: "u".to_owned(), password: "hunter2".to_owned() };
        let credentials = Credentials { server: "r".to_owned(), secret };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
