//! `make conformance`: how much of the reference of ECS's behaviour is held by tests.
//!
//! `tests/conformance.tsv` has a row for each statement in reach: its id, area and words, how it stands, the tests that
//! would fail if it did not hold, and a note. This program runs none of them. It fails on a row that says nothing, on a test that
//! is not in the sources, and, where the reference lies beside the repository, on a statement that has no row.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};

use table::{Row, State};

/// Areas that are in reach as a whole, and those of which only some sections are.
const AREAS: &[&str] = &[
    "awsvpc",
    "bridge",
    "cloud-map",
    "credentials",
    "dns",
    "eni",
    "health",
    "host",
    "lifecycle",
    "metadata",
    "none",
    "placement",
    "protection",
    "security-group",
    "service",
    "validate",
    "vpc",
];

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = std::env::args().any(|argument| argument == "--list");
    match check(&root) {
        Ok((rows, faults)) => {
            println!("{}", summary(&rows));
            if list {
                rows.iter().filter(|row| row.state != State::Covered).for_each(|row| println!("{row}"));
            }
            for fault in &faults {
                eprintln!("conformance: {fault}");
            }
            if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("conformance: cannot read tests/conformance.tsv: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The rows, and everything that is wrong with them.
fn check(root: &Path) -> std::io::Result<(Vec<Row>, Vec<String>)> {
    let text = std::fs::read_to_string(root.join("tests/conformance.tsv"))?;
    let (rows, mut faults) = table::read(&text);
    let mut sources = BTreeMap::new();
    for row in &rows {
        for test in &row.tests {
            let Some((file, name)) = test.split_once("::") else {
                faults.push(format!("{}: `{test}` is not FILE::NAME", row.id));
                continue;
            };
            let source = sources
                .entry(file.to_owned())
                .or_insert_with(|| std::fs::read_to_string(root.join(file)).unwrap_or_default());
            if !table::has_test(source, name) {
                faults.push(format!("{}: there is no test `{name}` in {file}", row.id));
            }
        }
    }
    // The reference is no part of the repository.
    if let Ok(statements) = std::fs::read_to_string(root.join("../shared/reference/statements.tsv")) {
        let known: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let missing = in_reach(&statements).into_iter().filter(|id| !known.contains(id));
        faults.extend(missing.map(|id| format!("{id} has no row")));
    }
    Ok((rows, faults))
}

/// The statements of the reference that need a row.
fn in_reach(statements: &str) -> Vec<&str> {
    let mut ids = Vec::new();
    for line in statements.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(id), Some(area)) = (columns.next(), columns.next()) else { continue };
        let section = id.split('.').next().unwrap_or_default();
        let sections: Option<&[&str]> = match area {
            "validate" => Some(&["1", "2", "3", "4", "5"]),
            "dns" => Some(&["1", "3", "5", "6"]),
            _ => None,
        };
        if AREAS.contains(&area) && sections.is_none_or(|sections| sections.contains(&section)) {
            ids.push(id);
        }
    }
    ids
}

/// A line for each area: how many of its statements are covered, and what becomes of the others.
fn summary(rows: &[Row]) -> Table {
    let mut areas: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        areas.entry(&row.area).or_default().push(row);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["area", "covered", "of"].into_iter().chain(State::ALL.into_iter().skip(1).map(State::word)));
    let line = |name: &str, rows: &[&Row]| {
        let count = |state: State| rows.iter().filter(|row| row.state == state).count().to_string();
        let mut cells = vec![name.to_owned(), count(State::Covered), rows.len().to_string()];
        cells.extend(State::ALL.into_iter().skip(1).map(count));
        cells
    };
    for (area, rows) in &areas {
        table.add_row(line(area, rows));
    }
    table.add_row(line("all", &rows.iter().collect::<Vec<_>>()));
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}
