//! The table `tests/conformance.tsv`, read and held to its own rules, and the tests that it names looked up in a source.

use std::collections::BTreeSet;
use std::fmt;

/// A statement of the reference and how it stands.
#[derive(Debug)]
pub(crate) struct Row {
    /// As in the reference: section, then a number.
    pub(crate) id: String,
    /// The reference's own grouping.
    pub(crate) area: String,
    /// The beginning of its words.
    pub(crate) statement: String,
    /// How it stands.
    pub(crate) state: State,
    /// `FILE::NAME` each.
    pub(crate) tests: Vec<String>,
    /// What is left out, and why.
    pub(crate) note: String,
}

/// How a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Its tests would fail if it did not hold.
    Covered,
    /// Its tests hold a part of it; the note says which part is left.
    Partly,
    /// ecsnet does otherwise on purpose; the note says why.
    Differs,
    /// It is about something that is not there yet, or was not tried; the note says what.
    Open,
    /// The reference itself turned out to be wrong; the note says what holds.
    Wrong,
}

impl State {
    /// Best first.
    pub(crate) const ALL: [Self; 5] = [Self::Covered, Self::Partly, Self::Differs, Self::Open, Self::Wrong];

    /// As the table has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Partly => "partly",
            Self::Differs => "differs",
            Self::Open => "open",
            Self::Wrong => "wrong",
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}\n    {}: {}", self.id, self.area, self.statement, self.state.word(), self.note)
    }
}

/// The rows of a table, and everything that breaks its rules.
pub(crate) fn read(text: &str) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut faults, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (number, line) in text.lines().enumerate().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, area, statement, state, tests, note] = columns[..] else {
            faults.push(format!("line {}: a row has 6 columns, not {}", number + 1, columns.len()));
            continue;
        };
        let Some(state) = State::ALL.into_iter().find(|known| known.word() == state) else {
            faults.push(format!("{id}: `{state}` is not how a statement can stand"));
            continue;
        };
        if !ids.insert(id) {
            faults.push(format!("{id} is there twice"));
        }
        let tests: Vec<String> = tests.split_whitespace().map(str::to_owned).collect();
        match state {
            State::Covered | State::Partly if tests.is_empty() => faults.push(format!("{id}: no test is named")),
            State::Partly | State::Differs | State::Open | State::Wrong if note.trim().is_empty() => {
                faults.push(format!("{id}: no reason is given"));
            }
            _ => {}
        }
        rows.push(Row {
            id: id.to_owned(),
            area: area.to_owned(),
            statement: statement.to_owned(),
            state,
            tests,
            note: note.to_owned(),
        });
    }
    (rows, faults)
}

/// Whether a source has a test of that name: a function under a test's attribute.
pub(crate) fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declares = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().filter(|(_, line)| declares(line)).any(|(at, _)| {
        // Up through the function's attributes and comments.
        lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .any(|line| line.contains("test]") || line.contains("test(") || line.contains("rstest"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn a_row_says_where_it_is_held_or_why_it_is_not() {
        let text = "id\tarea\tstatement\tstate\ttests\tnote\n\
            1.1-01\tvpc\tx\tcovered\ta.rs::b c.rs::d\t\n\
            1.1-01\tvpc\tx\tcovered\t\t\n\
            1.1-03\tvpc\tx\tpartly\ta.rs::b\t\n\
            1.1-04\tvpc\tx\tdone\t\t\n\
            1.1-05\tvpc\tx\topen\t\tnot yet\n\
            1.1-06\tvpc\n";
        let (rows, faults) = read(text);
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0].tests, ["a.rs::b", "c.rs::d"]);
        assert_eq!(
            faults,
            [
                "1.1-01 is there twice",
                "1.1-01: no test is named",
                "1.1-03: no reason is given",
                "1.1-04: `done` is not how a statement can stand",
                "line 7: a row has 6 columns, not 2",
            ]
        );
    }

    #[test]
    fn a_test_is_a_function_with_a_tests_attribute() {
        let source = "fn lonely() {}\n\
            #[test]\nfn plain() {}\n\
            #[tokio::test(flavor = \"multi_thread\")]\nasync fn waits() {}\n\
            #[rstest]\n#[case::a(1)]\n// why\nfn cases(#[case] n: u8) {}\n\
            mod x {\n    #[test]\n    fn inner() {}\n}\n";
        for name in ["plain", "waits", "cases", "inner"] {
            assert!(has_test(source, name), "{name}");
        }
        for name in ["lonely", "plai", "none"] {
            assert!(!has_test(source, name), "{name}");
        }
    }
}
