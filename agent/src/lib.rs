//! The control plane of ecsnet and its data-plane roles.
//!
//! The folders are the stages of the flow: `spec` (what a stack is) → `store` (desired state, on disk) → `observe` (what
//! Docker and the kernel have) → `plan` (what to do next, pure) → `apply` (doing it) → `project` (what follows from the
//! state for DNS and filters, pure). `reconcile` turns the loop; `control` is the door for the CLI.

pub mod control;
pub mod dataplane;
pub mod observe;
pub mod plan;
pub mod project;
pub mod runtime;
pub mod spec;
pub mod store;
