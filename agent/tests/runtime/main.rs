//! The Docker side against the real Docker of this machine.
//!
//! Needs root, Docker, and of Debian `busybox-static` and `docker-registry`; what is missing is said and skipped.
//! Every test has an owner of its own and removes what carries it, also after a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod away;
mod images;
mod lab;
mod lifecycle;
mod output;
mod statistics;
