//! What the bench programs share: rounds with their spread, the table, `results.json`, the plots, the other sides.
//!
//! A bench measures, and asserts nothing: a missed goal is a row that says so. All sides of a comparison take turns
//! within one run, so that whatever else the machine does falls on each of them alike.

pub mod agent;
pub mod bare;
pub mod cni;
pub mod docker;
pub mod flow;
mod interruption;
mod plot;
mod report;
mod results;
mod samples;

pub use interruption::interruption;
pub use report::publish;
pub use results::Row;
pub use samples::Samples;

/// Fewer rounds say nothing about spread.
pub const ROUNDS: usize = 7;

/// A bench ends at its first failure and says it; there is nothing that it could do about one.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many rounds to run: `ECSNET_BENCH_ROUNDS`, or `usual`; never fewer than [`ROUNDS`].
pub fn rounds(usual: usize) -> usize {
    let asked = std::env::var("ECSNET_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual).max(ROUNDS)
}
