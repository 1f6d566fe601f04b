//! End-to-end tests: one sentence of ECS behaviour each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod agent_container;
mod awsvpc;
mod crash;
mod credentials;
mod debian;
mod discovery;
mod doctor;
mod explain;
mod faults;
mod flow_log;
mod host;
mod no_root;
mod security_groups;
mod services;
mod stacks;
mod task_definition;
mod tasks;
mod terminal;
