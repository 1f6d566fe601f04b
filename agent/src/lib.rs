//! The control plane of ecsnet and its data-plane roles.
//!
//! The folders are the stages of the flow: `spec` (what a stack is) → `store` (desired state, on disk) → `observe` (what
//! Docker and the kernel have) → `plan` (what to do next, pure) → `apply` (doing it) → `project` (what follows from the
//! state for DNS and filters, pure). `reconcile` turns the loop; `control` is the door for the CLI.

pub mod apply;
pub mod control;
pub mod daemon;
pub mod dataplane;
pub mod observe;
pub mod plan;
pub mod project;
pub mod reconcile;
pub mod runtime;
pub mod secret;
pub mod spec;
pub mod store;

/// Where the state of the machine's agent is, unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/ecsnet";
/// Where the machine's agent listens, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ecsnet/agent.sock";

/// What the machine's kernel can do, tried in throw-away namespaces, for `ecsnet doctor`.
pub use netmodes::probe;
