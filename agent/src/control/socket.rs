//! The control socket on disk: where it is, and who may open it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::net::UnixListener;

use crate::daemon::DaemonError;

/// Opens the socket, with the owner, group and mode of Docker's own: both are root's door (pitfall 19).
///
/// # Errors
/// When another agent answers on it, or it cannot be made.
pub fn listen(path: &Path, docker: &str) -> Result<UnixListener, DaemonError> {
    let failed = |what| {
        let path = path.to_owned();
        move |source| DaemonError::File { what, path, source }
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed("make the directory of"))?;
    }
    // The store's lock keeps a second agent of this data directory out; this is one of another directory.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(DaemonError::Occupied(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed("listen on"))?;
    let docker_socket = docker.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    let (mode, owner) = match std::fs::metadata(docker_socket) {
        Ok(metadata) => (metadata.mode() & 0o777, Some((metadata.uid(), metadata.gid()))),
        Err(_) => (0o600, None),
    };
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed("give away"))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    Ok(listener)
}
