//! The door for the CLI: HTTP with JSON over a unix socket that is as good as root (pitfall 19).
//!
//! [`api`] is what goes over it, shared with the CLI; the server asks the reconcile loop and decides nothing.

pub mod api;
