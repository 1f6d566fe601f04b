//! Skeleton.

pub mod runtime;
