//! The resolver's directory: the zone's file, and the word to serve it.

use std::io;
use std::path::Path;

use crate::dataplane::resolver::ZONE_FILE;
use crate::dataplane::resolver::client::{self, ClientError};
use crate::project::zone::Zone;

use super::ApplyError;
use super::published::{failed, generation, have_loaded, put};

/// Writes `zone` with a fresh generation and waits until the resolver serves it.
pub(super) async fn publish(dir: &Path, zone: &Zone) -> Result<(), ApplyError> {
    let zone = Zone { generation: generation(), ..zone.clone() };
    put(dir, ZONE_FILE, &zone)?;
    let io = |error: &ClientError| match error {
        ClientError::Io { source, .. } => Some(source.kind()),
        _ => None,
    };
    have_loaded(|| client::load(dir, zone.generation), io).await
}

/// Removes a stack's directory.
pub(super) fn remove(dir: &Path) -> Result<(), ApplyError> {
    let stack_dir = dir.parent().unwrap_or(dir);
    match std::fs::remove_dir_all(stack_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", stack_dir)(error)),
        _ => Ok(()),
    }
}
