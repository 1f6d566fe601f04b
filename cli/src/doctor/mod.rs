//! What this machine has for ecsnet, and what to do about what it lacks.
//!
//! [`facts`] gathers, [`findings`] judges and is pure; `commands/doctor.rs` prints. What nobody has tried is called that,
//! not "ok".

pub(crate) mod facts;
pub(crate) mod findings;
