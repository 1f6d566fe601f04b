//! A metadata front's directory: the document, which may hold credentials, and the word to serve it.

use std::path::Path;

use crate::dataplane::metadata::FRONT_FILE;
use crate::dataplane::metadata::client::{self, ClientError};
use crate::plan::up::profile_secret;
use crate::project::metadata::{Front, Keys, local_keys};
use crate::spec::ids::StackName;
use crate::store::secrets;

use super::ApplyError;
use super::published;

/// Makes a front's directory, for root alone. Before its container, which mounts it.
///
/// # Errors
/// When it cannot be made.
pub fn prepare(dir: &Path) -> Result<(), ApplyError> {
    published::prepare(dir)
}

/// Writes `front` with a fresh generation, mode 0600, and waits until the front in `dir` serves it.
///
/// # Errors
/// When it cannot be written, nobody serves it, or the front refuses it and goes on with the last good one.
pub async fn publish(dir: &Path, front: &Front) -> Result<(), ApplyError> {
    prepare(dir)?;
    let front = Front { generation: published::generation(), ..front.clone() };
    published::put(dir, FRONT_FILE, &front)?;
    let io = |error: &ClientError| match error {
        ClientError::Io { source, .. } => Some(source.kind()),
        _ => None,
    };
    published::have_loaded(|| client::load(dir, front.generation), io).await
}

/// The keys that tasks with a role are given: those of the profile that the stack names, as `up` read them, else local ones.
/// None while there are none of that profile.
///
/// # Errors
/// When the stack's secrets cannot be read.
pub(super) fn keys(data_dir: &Path, stack: &StackName, profile: Option<&str>) -> Result<Option<Keys>, ApplyError> {
    let Some(profile) = profile else { return Ok(Some(local_keys())) };
    let secrets = secrets::read(data_dir, stack)?;
    let found = secrets.get(&profile_secret(profile));
    Ok(found.and_then(|text| serde_json::from_str(text.reveal()).ok()))
}

/// Removes a front's directory.
///
/// # Errors
/// When it is there and stays.
pub(super) fn remove(dir: &Path) -> Result<(), ApplyError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ApplyError::File { what: "remove", path: dir.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;
    use crate::dataplane::metadata::serve_front;
    use crate::project::metadata::example;

    #[tokio::test]
    async fn what_is_published_is_served_and_closed_to_others() {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("front");
        // The front may begin later: it is waited for.
        let document = example::front("127.0.0.1:0".parse().unwrap());
        let serving = serve_front(&dir, std::future::pending());
        let published = publish(&dir, &document);
        tokio::select! {
            ended = serving => panic!("{ended:?}"),
            published = async { published.await?; publish(&dir, &document).await } => published.unwrap(),
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join(FRONT_FILE))), (0o700, 0o600));
        let text = std::fs::read_to_string(dir.join(FRONT_FILE)).unwrap();
        let written: Front = serde_json::from_str(&text).unwrap();
        assert!(written.generation > 1);
        assert_eq!(Front { generation: 1, ..written }, document);
    }
}
