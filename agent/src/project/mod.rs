//! What follows from the state for the data plane, as values: pure functions, no I/O.
//!
//! Each value is compared with what is in force and brought there by a step when it differs.

pub mod dns;
pub mod fronts;
pub mod metadata;
pub mod ports;
pub mod security_groups;
pub mod zone;
