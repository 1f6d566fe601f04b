//! The times of one side: every round is kept, so that table, file and plot are made from the same figures.

use std::time::Duration;

/// What one side took, round by round, in milliseconds.
#[derive(Debug, Clone)]
pub struct Samples {
    /// The side, as the table and the plot name it.
    pub side: String,
    milliseconds: Vec<f64>,
}

impl Samples {
    /// A side without a round yet.
    pub fn of(side: impl Into<String>) -> Self {
        Self { side: side.into(), milliseconds: Vec::new() }
    }

    /// Adds a round.
    pub fn push(&mut self, took: Duration) {
        self.milliseconds.push(took.as_secs_f64() * 1e3);
    }

    /// All rounds, in the order in which they ran.
    pub fn all(&self) -> &[f64] {
        &self.milliseconds
    }

    /// The middle one; with an even number of rounds, half-way between the two in the middle. NaN without a round.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The 10th and the 90th percentile, interpolated between rounds.
    pub fn spread(&self) -> (f64, f64) {
        (self.quantile(0.1), self.quantile(0.9))
    }

    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
        let at = share * last as f64;
        let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        below + (above - below) * at.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(milliseconds: &[u64]) -> Samples {
        let mut samples = Samples::of("side");
        milliseconds.iter().for_each(|&ms| samples.push(Duration::from_millis(ms)));
        samples
    }

    #[test]
    fn the_median_and_the_spread_do_not_depend_on_the_order_of_the_rounds() {
        let samples = samples(&[30, 10, 20, 110, 0, 50, 40, 60, 70, 80, 90]);
        assert_eq!(samples.median(), 50.0);
        assert_eq!(samples.spread(), (10.0, 90.0));
        assert_eq!(samples.all()[0], 30.0);
    }

    #[test]
    fn between_two_rounds_the_quantile_is_interpolated() {
        assert_eq!(samples(&[10, 20]).median(), 15.0);
        assert!(samples(&[]).median().is_nan());
    }
}
