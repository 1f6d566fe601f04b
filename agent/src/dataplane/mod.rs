//! Roles that carry traffic or hold a network namespace, each in a container of its own, so that they outlive the agent.
//!
//! They are fed by files that the agent writes into their directory, keep the last good configuration over their own
//! restart, and import the types of [`crate::project`] and nothing else of the agent.

pub mod metadata;
pub mod pause;
pub(crate) mod published;
pub mod resolver;
mod termination;
