//! The control plane of ecsnet and its data-plane roles.

pub mod dataplane;
pub mod project;
