//! End-to-end tests: one sentence of ECS behaviour each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod awsvpc;
mod crash;
mod discovery;
mod explain;
mod faults;
mod flow_log;
mod security_groups;
mod services;
mod tasks;
