//! Small verbs over netlink, each idempotent: `ensure_…` creates or repairs, `remove_…` counts absent as done.
//!
//! One socket for each namespace, born inside it and used from anywhere: a socket stays where it was made.

pub mod error;
pub mod netns;
