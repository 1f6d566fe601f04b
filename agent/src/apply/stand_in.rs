//! The directories that stand in for file systems of EFS, made before a container mounts them.
//!
//! What is below a file system's own directory was made by containers, which may have put a link there. Docker would
//! follow it, out of the file system and to anything on the host. So the way down is walked without following any.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::ApplyError;
use super::published::failed;

/// Makes the directory `source` if it stands in for one of a file system; anything else is left alone. The inner error is
/// why a container can never mount it, in ECS's words.
pub(super) fn make(data_dir: &Path, source: &Path) -> Result<Result<(), String>, ApplyError> {
    let all = data_dir.join("efs");
    let Ok(inside) = source.strip_prefix(&all) else { return Ok(Ok(())) };
    let mut parts = inside.components();
    let Some(Component::Normal(file_system)) = parts.next() else { return Ok(Ok(())) };
    let parts: Vec<Component<'_>> = parts.collect();
    let base = all.join(file_system);
    // No container sees the directory above, so a link here is the user's own; Docker follows it.
    if parts.is_empty() {
        return Ok(Ok(()));
    }
    std::fs::create_dir_all(&base).map_err(failed("make the directory", &base))?;
    let opened = open(&base, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let mut at = opened.map_err(|errno| failed("open", &base)(errno.into()))?;
    let mut path = base;
    for part in parts {
        path.push(part);
        let Component::Normal(name) = part else { return Ok(Err(refused(&path))) };
        at = match step_into(&at, name) {
            Ok(below) => below,
            Err(Errno::ELOOP | Errno::ENOTDIR) => return Ok(Err(refused(&path))),
            Err(errno) => return Err(failed("make the directory", &path)(errno.into())),
        };
    }
    Ok(Ok(()))
}

/// A directory in `at`, made where it is absent; a link is never followed.
fn step_into(at: impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    match mkdirat(&at, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(&at, name, flags, Mode::empty())
}

fn refused(path: &Path) -> String {
    format!(
        "CannotCreateContainerError: {} stands in for a directory of a file system and is a link or a file: it may lead \
         out of the file system, so nothing is mounted from there; remove it",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn directories_are_made_and_no_link_of_a_container_s_is_followed() {
        let (data, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = |path: &str| data.path().join("efs/fs-1").join(path);
        assert_eq!(make(data.path(), &source("a/b")).unwrap(), Ok(()));
        assert_eq!(make(data.path(), &source("a/b")).unwrap(), Ok(()));
        assert!(source("a/b").is_dir());
        symlink(host.path(), source("a/out")).unwrap();
        symlink("b", source("a/in")).unwrap();
        symlink("/no/such", source("gone")).unwrap();
        std::fs::write(source("file"), "").unwrap();
        for path in ["a/out", "a/out/etc", "a/in", "gone", "gone/x", "file", "file/x", "a/../../.."] {
            let reason = make(data.path(), &source(path)).unwrap().unwrap_err();
            assert!(reason.contains("is a link or a file"), "{path}: {reason}");
        }
        assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 0);
    }

    #[test]
    fn other_paths_are_left_alone() {
        let data = tempfile::tempdir().unwrap();
        for source in ["efs/fs-1", "efs", "stacks/a", "/srv/no/such"] {
            assert_eq!(make(data.path(), &data.path().join(source)).unwrap(), Ok(()));
        }
        assert_eq!(make(data.path(), Path::new("a-volume")).unwrap(), Ok(()));
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
    }
}
