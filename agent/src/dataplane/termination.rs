//! How a role hears that it shall end: Docker sends SIGTERM, a terminal SIGINT.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Done when either signal came. As pid 1 a role would not be ended by a signal without a handler, which is in place
/// when this returns.
///
/// # Errors
/// When a handler cannot be installed.
pub(crate) fn termination() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
