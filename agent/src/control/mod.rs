//! The door for the CLI: HTTP with JSON over a unix socket that is as good as root (pitfall 19).
//!
//! [`api`] is what goes over it, shared with the CLI; [`server`] has the routes and asks the reconcile loop; the handlers are
//! in `change` (what is wished for), `question`, `follow` (answers that go on) and `forward` (a connection). Nothing is decided here.

pub mod api;
mod change;
pub mod dig;
pub mod explain;
mod failure;
mod flow_log;
mod follow;
mod forward;
pub mod front;
pub mod inspect;
pub mod instance_view;
mod question;
pub mod server;
pub mod socket;
pub mod target;
mod task_view;
pub mod view;
