//! Desired state: as values ([`state`]) and on disk ([`sqlite`]).
//!
//! Written before it is acted on. Observed state is never stored; it is read from Docker and the kernel.

pub mod secrets;
pub mod sqlite;
pub mod state;
