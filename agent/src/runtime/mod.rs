//! Docker, behind our own verbs and our own types.
//!
//! Called by `apply` (create, start, stop, remove, pull), by `observe` (list, inspect, events) and by the command line
//! (logs, exec, the agent's own container). Every verb may be repeated: what exists is adopted, what is gone counts as
//! removed. `bollard` appears below this folder alone; nothing here decides what should run, and nothing is stored:
//! the state of a container is what Docker says at the moment of asking.

pub mod agent_container;
pub mod cgroup;
pub mod elf;
pub mod helper_container;
pub mod image;
pub mod keyring;
pub mod labels;
pub mod names;
mod open_files;
pub mod statistics;

mod connect;
mod create;
mod engine;
mod error;
mod events;
mod exec;
mod lifecycle;
mod logs;
mod observed;
mod pull;
mod reference;
mod spec;
mod volume;

pub use connect::Docker;
pub use engine::Engine;
pub use error::{PullError, RuntimeError};
pub use events::{ContainerEvent, EventKind, EventStream};
pub use exec::{ExecOptions, ExecOutput, ExecSession};
pub use logs::{LogLine, LogOptions, LogStream};
pub use observed::{ContainerState, Health, ObservedContainer};
pub use pull::{Credentials, PullProgress, Secret};
pub use reference::ImageReference;
pub use spec::{
    ContainerId, ContainerSpec, Device, HealthCheck, LogFiles, Mount, Network, NewVolume, OutputStream, Ulimit,
};
