//! The resolver's directory: the zone's file, written beside and renamed over, and the word to serve it.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::dataplane::resolver::ZONE_FILE;
use crate::dataplane::resolver::client::{self, ClientError};
use crate::project::zone::Zone;

use super::ApplyError;

/// How long a resolver that was just started may take to open its socket.
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

/// Writes `zone` with a fresh generation and waits until the resolver serves it.
pub(super) async fn publish(dir: &Path, zone: &Zone) -> Result<(), ApplyError> {
    let now = jiff::Timestamp::now().as_microsecond();
    let zone = Zone { generation: u64::try_from(now).unwrap_or_default(), ..zone.clone() };
    let text = serde_json::to_vec(&zone).map_err(io::Error::other).map_err(failed("print", dir))?;
    let (fresh, file) = (dir.join("zone.json.new"), dir.join(ZONE_FILE));
    write_synced(&fresh, &text).map_err(failed("write", &fresh))?;
    std::fs::rename(&fresh, &file).map_err(failed("replace", &file))?;
    let deadline = tokio::time::Instant::now() + SOCKET_DEADLINE;
    loop {
        match client::load(dir, zone.generation).await {
            Ok(_) => return Ok(()),
            Err(ClientError::Io { ref source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(SOCKET_LOOK).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    file.write_all(text)?;
    file.sync_data()
}

/// Removes a stack's directory.
pub(super) fn remove(dir: &Path) -> Result<(), ApplyError> {
    let stack_dir = dir.parent().unwrap_or(dir);
    match std::fs::remove_dir_all(stack_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", stack_dir)(error)),
        _ => Ok(()),
    }
}
