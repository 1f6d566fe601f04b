//! What the end-to-end tests share: they drive the binary as a user does, with real Docker and real packets.
//!
//! Each test has an agent of its own ([`lab::Lab`]) with its own socket, store and mark in Docker, so tests run side by
//! side and next to a developer's stacks; what a test started is removed when it ends, also when it fails.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a test that cannot go on fails")]

pub mod bench;
pub mod definition;
pub mod eventually;
pub mod lab;
pub mod metadata;
pub mod probe;
pub mod registry;
pub mod user;
