//! Tests of the planner in a simulated world: tables for each rule, and properties of the whole loop.

mod containers;
mod loops;
mod network;
mod services;
mod tasks;
mod up;
