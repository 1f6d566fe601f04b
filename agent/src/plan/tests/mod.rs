//! Tests of the planner in a simulated world: tables for each rule, and properties of the whole loop.

mod containers;
pub(crate) mod definitions;
mod instances;
mod loops;
mod network;
mod services;
mod shown;
pub(crate) mod simulation;
mod tasks;
mod told;
mod up;
