//! Desired state: as values ([`state`], [`task`], [`instance`]) and on disk ([`sqlite`]).
//!
//! Written before it is acted on. Observed state is never stored; it is read from Docker and the kernel.

pub mod instance;
mod migrate;
pub mod secrets;
pub mod sqlite;
pub mod state;
pub mod task;
