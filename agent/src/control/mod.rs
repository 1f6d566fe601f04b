//! The door for the CLI: HTTP with JSON over a unix socket that is as good as root (pitfall 19).
//!
//! [`api`] is what goes over it, shared with the CLI; [`server`] asks the reconcile loop and decides nothing.

pub mod api;
pub mod dig;
pub mod inspect;
pub mod server;
pub mod target;
pub mod view;
