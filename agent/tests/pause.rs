//! The `pause` role as a process of its own. The file is both sides: with `role` as its argument it is the pause.

#![allow(clippy::unwrap_used)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use agent::dataplane::pause;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("role") {
        pause::run();
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        ends_with_0(signal);
    }
    println!("test pause_ends_with_0_on_either_signal ... ok");
}

fn ends_with_0(signal: Signal) {
    let mut pause = Command::new(std::env::current_exe().unwrap()).arg("role").spawn().unwrap();
    let pid = Pid::from_raw(pause.id().try_into().unwrap());
    wait_until_blocked(&mut pause, signal);
    kill(pid, signal).unwrap();
    let status = pause.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None), "after {signal}");
}

/// `SigBlk` in /proc shows when the role has begun; ends with the role if that dies before.
fn wait_until_blocked(pause: &mut Child, signal: Signal) {
    loop {
        assert_eq!(pause.try_wait().unwrap(), None, "the pause ended by itself");
        let status = std::fs::read_to_string(format!("/proc/{}/status", pause.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        if u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal as i32 - 1)) != 0 {
            return;
        }
        std::thread::yield_now();
    }
}
