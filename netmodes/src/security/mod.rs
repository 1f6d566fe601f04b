//! Security groups as values: typed rules, and the ruleset of a whole VPC (reference 4).
//!
//! Pure. [`crate::nft`] turns a ruleset into a table and brings the kernel there.

pub mod group;
