//! What a stack is, as validated values in AWS's words: the one model behind every front door.
//!
//! The stack file (in `cli`) is turned into these types; the store keeps them; `plan` and `project` read them. Nothing in
//! here does I/O, and nothing exists only because the stack file has it, but for a container's `stub`.

pub mod capacity;
pub mod cluster_query;
pub mod ids;
pub mod placement;
pub mod problem;
pub mod security_group;
pub mod service;
pub mod stack;
pub mod task_definition;
pub mod validate;
pub mod volume;
