//! End-to-end tests: one sentence of ECS behaviour each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod agent_container;
mod awsvpc;
mod bridge;
mod crash;
mod credentials;
mod debian;
mod discovery;
mod doctor;
mod explain;
mod explain_bridge;
mod faults;
mod flow_log;
mod host;
mod instances;
mod metadata;
mod no_root;
mod protection;
mod security_groups;
mod services;
mod stacks;
mod task_definition;
mod tasks;
mod terminal;
