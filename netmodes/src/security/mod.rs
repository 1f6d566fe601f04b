//! Security groups as values: typed rules, and the ruleset of a whole VPC (reference 4).
//!
//! Pure. [`ruleset::table`] says which nftables table a ruleset is; [`crate::nft`] brings the kernel there.

mod base_chains;
pub mod change;
pub mod group;
pub mod ruleset;
