//! `results.json`: the list of rows that programs and people compare over time.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Value, json};

use super::Outcome;
use super::samples::Samples;

/// One comparison: our side beside another one or beside the floor, and the ratio that it should not pass.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is measured, unique over all programs.
    pub name: String,
    /// Our side.
    pub ours: Samples,
    /// The side that it is compared with.
    pub other: Samples,
    /// Ours divided by the other should be at most this; `None` where a figure is only shown.
    pub goal: Option<f64>,
}

impl Row {
    /// Ours divided by the other, of the medians.
    pub fn ratio(&self) -> f64 {
        self.ours.median() / self.other.median()
    }

    /// Whether the goal is met; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| self.ratio() <= goal)
    }

    fn json(&self) -> Value {
        let spread = |samples: &Samples| {
            let (p10, p90) = samples.spread();
            json!([rounded(p10), rounded(p90)])
        };
        json!({
            "name": self.name,
            "unit": "ms",
            "ours": rounded(self.ours.median()),
            "other": rounded(self.other.median()),
            "ratio": rounded(self.ratio()),
            "goal": self.goal.map(rounded),
            "better": "lower",
            "spread": { "ours": spread(&self.ours), "other": spread(&self.other), "percentiles": [10, 90], "rounds": self.ours.all().len() },
        })
    }
}

/// Puts the rows into the file; a row of the same name is replaced, those of other programs stay.
///
/// # Errors
/// When the file cannot be read or written, or holds something else.
pub(super) fn merge(path: &Path, rows: &[Row]) -> Outcome<()> {
    let mut all: Vec<Value> = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display()).into()),
    };
    for row in rows {
        match all.iter_mut().find(|present| present["name"] == row.name.as_str()) {
            Some(present) => *present = row.json(),
            None => all.push(row.json()),
        }
    }
    let mut text = serde_json::to_string_pretty(&all)?;
    text.push('\n');
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(())
}

/// Four digits after the point: a tenth of a microsecond, beyond which nothing here can be told apart.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use std::time::Duration;

    use super::*;

    fn row(name: &str, ours: u64) -> Row {
        let samples = |side: &str, ms| {
            let mut samples = Samples::of(side);
            samples.push(Duration::from_millis(ms));
            samples
        };
        Row { name: name.into(), ours: samples("ecsnet", ours), other: samples("other", 10), goal: Some(0.5) }
    }

    #[test]
    fn a_row_replaces_its_namesake_and_leaves_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        merge(&path, &[row("a", 1), row("b", 2)]).unwrap();
        merge(&path, &[row("b", 6), row("c", 3)]).unwrap();
        let all: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let seen: Vec<_> = all.iter().map(|r| (r["name"].as_str().unwrap(), r["ratio"].as_f64().unwrap())).collect();
        assert_eq!(seen, [("a", 0.1), ("b", 0.6), ("c", 0.3)]);
        assert_eq!(all[1]["goal"], 0.5);
    }

    #[test]
    fn a_goal_is_met_up_to_its_very_value() {
        assert_eq!(row("a", 5).is_met(), Some(true));
        assert_eq!(row("a", 6).is_met(), Some(false));
        assert_eq!(Row { goal: None, ..row("a", 6) }.is_met(), None);
    }
}
