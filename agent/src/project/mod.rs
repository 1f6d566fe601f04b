//! Projections: what the data plane is told, as pure values made from one snapshot.
//!
//! `publish` writes them to each role's directory; the roles in [`crate::dataplane`] read them. Nothing here does I/O.

pub mod zone;
