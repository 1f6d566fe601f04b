//! The `pause` role: pid 1 of the container that holds a network namespace.
//!
//! Docker starts it for every VPC, container instance, task and load balancer node (reference 1.2); others join its
//! namespace. It reaps what is reparented to it and ends on SIGTERM or SIGINT. It opens no file, no socket and no second
//! thread, so that a namespace costs next to nothing; call it before any runtime is built.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// Holds the namespace until SIGTERM or SIGINT, then ends the process with 0; with 1 if signals cannot be waited for.
///
/// The kernel discards signals for pid 1 that have their default action; blocked ones it keeps for `sigwait`.
pub fn run() -> ! {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGCHLD);
    if signals.thread_block().is_err() {
        std::process::exit(1);
    }
    loop {
        // Before the wait: a child may have ended before SIGCHLD was blocked.
        reap_children();
        match signals.wait() {
            Ok(Signal::SIGTERM | Signal::SIGINT) => std::process::exit(0),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::process::exit(1),
        }
    }
}

/// Several children may have ended under one SIGCHLD.
fn reap_children() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
