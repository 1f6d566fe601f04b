//! The directory of a role, and the document in it: written beside and renamed over, and the word to serve it.
//!
//! For [`super::zone`] and [`super::front`]; [`crate::dataplane`] is the other side.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::ApplyError;

/// How long a role that was just started may take to open its socket.
const SOCKET_DEADLINE: Duration = Duration::from_secs(5);
/// How often it is looked for: a socket that is not there yet sends no event of its own.
const SOCKET_LOOK: Duration = Duration::from_millis(5);

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ApplyError {
    let path = path.to_owned();
    move |source| ApplyError::File { what, path, source }
}

/// Makes the directory, for root alone.
pub(super) fn prepare(dir: &Path) -> Result<(), ApplyError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(dir).map_err(failed("make the directory", dir))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(failed("close", dir))
}

/// A generation later than all before, also of an agent before.
pub(super) fn generation() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default()
}

/// Puts `document` in place of what `file` in `dir` holds, for root alone: it may hold credentials.
pub(super) fn put(dir: &Path, file: &str, document: &impl Serialize) -> Result<(), ApplyError> {
    let (fresh, file) = (dir.join(format!("{file}.new")), dir.join(file));
    let text = serde_json::to_vec(document).map_err(io::Error::other).map_err(failed("print", &file))?;
    write_synced(&fresh, &text).map_err(failed("write", &fresh))?;
    std::fs::rename(&fresh, &file).map_err(failed("replace", &file))
}

/// Writes a file for root alone, all of it or none of it on disk.
pub(super) fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // One that an earlier version has left may be open to others.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_data()
}

/// Has a role load what was put, waiting for one that was just started; `io` takes out of its error why it is not there.
pub(super) async fn have_loaded<E: Into<ApplyError>, L: Future<Output = Result<u64, E>>>(
    load: impl Fn() -> L,
    io: impl Fn(&E) -> Option<io::ErrorKind>,
) -> Result<(), ApplyError> {
    let deadline = tokio::time::Instant::now() + SOCKET_DEADLINE;
    loop {
        match load().await {
            Ok(_) => return Ok(()),
            Err(error)
                if matches!(io(&error), Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(SOCKET_LOOK).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
