//! The `metadata` role: what a task finds at 169.254.170.2 (reference 9.1–9.5).
//!
//! A front is a server in one network namespace: that of a VPC, where the resolver serves it beside DNS, or that of a
//! container instance, where it runs as `ecsnet metadata --dir DIR` in a container of its own. `DIR` is a mounted directory
//! (mode 0700): the agent puts `front.json` ([`crate::project::metadata::Front`]) there by rename and says `load` on
//! `front.sock`, which the front makes in it; the agent listens in it on `agent.sock` for what needs the agent.
//!
//! ```text
//! front.json ─ index ─► ArcSwap<Index> ─► answer (pure) ◄─ http ◄─ sockets (169.254.170.2:80, and 51678 of an instance)
//!                                           └ statistics, task protection ─► agent ─► agent.sock
//! front.sock ─ control ─► serve: load, status                       client: the other end, for the agent
//! ```
//!
//! Who asks is known by an unguessable id, and by the source address where tasks have one of their own; a task can never
//! read what is another's. While the agent is dead statistics and task protection are answered 503, and all else goes on
//! from the last good document. Errors have ECS's words, which are some library's where ECS leaves them to it.

pub mod client;
pub mod control;
pub mod question;

pub(crate) mod agent;
mod answer;
mod http;
mod index;
mod introspection;
mod limit;
mod path;
mod protection;
mod reply;
mod serve;
mod sockets;
#[cfg(test)]
mod tests;

pub use index::FrontError;
pub use serve::{ServeError, run, serve_front};

/// The document's file in a front's directory, mode 0600.
pub const FRONT_FILE: &str = "front.json";
/// The control socket in a front's directory, mode 0600.
pub const CONTROL_SOCKET: &str = "front.sock";
/// The agent's socket in a front's directory, mode 0600.
pub const AGENT_SOCKET: &str = "agent.sock";
/// The front's directory in the directory of its VPC's resolver.
pub const DIRECTORY_OF_VPC: &str = "front";
