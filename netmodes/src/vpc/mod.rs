//! What a VPC is made of, as plain values: subnets and their addresses, ENIs, and the implied router.

pub mod eni;
pub mod router;
pub mod subnet;
