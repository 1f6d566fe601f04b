//! The data-plane roles as processes of their own, ended as Docker ends them. The file is both sides: with `pause` or
//! `resolver DIR` or `metadata DIR` as its arguments it is that role.

#![allow(clippy::unwrap_used)]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};

use agent::dataplane::{metadata, pause, resolver};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Runtime;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pause"] => pause::run(),
        ["resolver", dir] => return Runtime::new().unwrap().block_on(resolver::run(Path::new(dir))).unwrap(),
        ["metadata", dir] => return Runtime::new().unwrap().block_on(metadata::run(Path::new(dir))).unwrap(),
        _ => {}
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        pause_ends_with_0_on(signal);
        resolver_ends_with_0_on(signal);
        metadata_ends_with_0_on(signal);
    }
    println!("test roles_end_with_0_on_either_signal ... ok");
}

fn pause_ends_with_0_on(signal: Signal) {
    let mut pause = role(&["pause"]);
    // Where the kernel has it wait; `SigBlk` does not show signals that are blocked and waited for.
    let wait = format!("/proc/{}/wchan", pause.id());
    while !std::fs::read_to_string(&wait).unwrap().starts_with("do_sigtimedwait") {
        assert_eq!(pause.try_wait().unwrap(), None, "the pause ended by itself");
        std::thread::yield_now();
    }
    ends_with_0(pause, signal);
}

fn resolver_ends_with_0_on(signal: Signal) {
    let dir = tempfile::TempDir::new().unwrap();
    let mut resolver = role(&["resolver", dir.path().to_str().unwrap()]);
    let runtime = Runtime::new().unwrap();
    while runtime.block_on(resolver::client::status(dir.path())).is_err() {
        assert_eq!(resolver.try_wait().unwrap(), None, "the resolver ended by itself");
        std::thread::yield_now();
    }
    ends_with_0(resolver, signal);
}

fn metadata_ends_with_0_on(signal: Signal) {
    let dir = tempfile::TempDir::new().unwrap();
    let mut front = role(&["metadata", dir.path().to_str().unwrap()]);
    let runtime = Runtime::new().unwrap();
    while runtime.block_on(metadata::client::status(dir.path())).is_err() {
        assert_eq!(front.try_wait().unwrap(), None, "the front ended by itself");
        std::thread::yield_now();
    }
    ends_with_0(front, signal);
}

fn role(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap()).args(arguments).spawn().unwrap()
}

fn ends_with_0(mut role: Child, signal: Signal) {
    kill(Pid::from_raw(role.id().try_into().unwrap()), signal).unwrap();
    let status = role.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None), "after {signal}");
}
