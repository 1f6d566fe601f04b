//! The `metadata` role.

pub mod question;
