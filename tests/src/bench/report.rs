//! Shows what a program measured: the table in the terminal, the rows in the file, the plot beside it.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};

use super::Outcome;
use super::plot::plot;
use super::results::{Row, merge};
use super::samples::Samples;

/// `target/bench`, or below `CARGO_TARGET_DIR`.
fn output_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))).join("bench")
}

/// Prints the table, writes `results.json` and `<program>.svg` with every round of `sides`.
///
/// # Errors
/// When a file cannot be written.
pub fn publish(program: &str, title: &str, rows: &[Row], sides: &[&Samples]) -> Outcome<()> {
    println!("{title}\n{}", table(rows));
    let dir = output_dir();
    std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    let (results, svg) = (dir.join("results.json"), dir.join(format!("{program}.svg")));
    merge(&results, rows)?;
    plot(&svg, title, sides)?;
    println!("written: {}, {}", results.display(), svg.display());
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["median ms (p10–p90)", "ecsnet", "against", "", "ratio", "goal", ""]);
    for row in rows {
        table.add_row([
            row.name.clone(),
            cell(&row.ours),
            row.other.side.clone(),
            cell(&row.other),
            format!("{:.3}", row.ratio()),
            row.goal.map(|goal| format!("≤ {goal:.3}")).unwrap_or_default(),
            row.is_met().map(|met| if met { "met" } else { "missed" }).unwrap_or_default().to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cell(samples: &Samples) -> String {
    let (low, high) = samples.spread();
    let digits = if samples.median() < 10.0 { 2 } else { 1 };
    format!("{:.digits$} ({low:.digits$}–{high:.digits$})", samples.median())
}
