//! A cursor over a document's value: reads typed fields, and notes each thing that is not as expected, with its place.
//!
//! Between `yaml` and the document files (`document`, `service`, `task_definition`, …), which say what keys there are.
//! Reading goes on after a fault, so that one run tells all of them.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use agent::spec::problem::{Place, Problem};
use agent::spec::validate::nearest;
use serde_json::Value;

use super::yaml::escape;

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    /// What the readers asked, for the test that holds the schema to it.
    #[cfg(test)]
    pub(super) asked: RefCell<Vec<(Place, Asked)>>,
}

/// What a reader wants to know of a value.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether a mapping has these keys and no others.
    Keys(Vec<String>),
    /// Which of these words it is.
    Words(Vec<String>),
}

impl Findings {
    /// Notes one thing.
    pub(super) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// All of them.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// One value of a document, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    document: &'a str,
    pointer: String,
    value: &'a Value,
    findings: &'a Findings,
}

impl<'a> Node<'a> {
    /// A document's whole value.
    pub(super) fn root(document: &'a str, value: &'a Value, findings: &'a Findings) -> Self {
        Self { document, pointer: String::new(), value, findings }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        Place::value(self.document, self.pointer.clone())
    }

    /// The value itself.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// Notes anything.
    pub(super) fn note(&self, problem: Problem) {
        self.findings.push(problem);
    }

    /// Notes an error at the value.
    pub(super) fn error(&self, code: &str, message: impl Into<String>) {
        self.findings.push(Problem::error(self.place(), code, message));
    }

    /// Notes an error at the value, and what to do about it.
    pub(super) fn error_with_hint(&self, code: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Problem::error(self.place(), code, message).with_hint(hint));
    }

    /// Notes that the value names something that is not there.
    pub(super) fn unknown<'n>(
        &self,
        code: &str,
        message: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        known.dedup();
        let problem = Problem::error(self.place(), code, message);
        self.findings.push(match known_instead(name, &known) {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }

    /// Notes that a field which ECS has does nothing here.
    pub(super) fn no_effect(&self, name: &str) {
        let place = Place::key(self.document, self.pointer.clone());
        self.findings.push(Problem::warning(place, "NotEmulated", format!("`{name}` has no effect yet")));
    }

    /// Notes that a thing which would change where traffic goes is not there yet.
    pub(super) fn not_emulated(&self, what: &str, hint: Option<&str>) {
        let place = Place::key(self.document, self.pointer.clone());
        let problem = Problem::error(place, "NotEmulated", format!("{what} is not emulated yet"));
        self.findings.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }

    /// Notes what a check over a spec value found: its pointers continue this one.
    pub(super) fn adopt(&self, problems: impl IntoIterator<Item = Problem>, spelt_here: impl Fn(&str) -> String) {
        for mut problem in problems {
            problem.place.document = self.document.to_owned();
            problem.place.pointer = format!("{}{}", self.pointer, spelt_here(&problem.place.pointer));
            self.findings.push(problem);
        }
    }

    /// A field of a mapping; one that is null counts as left out.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(self.at(&escape(key), value))
    }

    fn at(&self, token: &str, value: &'a Value) -> Self {
        Self { document: self.document, pointer: format!("{}/{token}", self.pointer), value, findings: self.findings }
    }

    /// The fields of a mapping, whatever their names; null ones too.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        match self.value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.as_str(), self.at(&escape(key), value))).collect(),
            _ => {
                self.mismatch("a mapping");
                Vec::new()
            }
        }
    }

    /// Whether it is a mapping; notes every field with an unknown name.
    pub(super) fn has_only(&self, known: &[&str]) -> bool {
        #[cfg(test)]
        self.findings
            .asked
            .borrow_mut()
            .push((self.place(), Asked::Keys(known.iter().map(|key| (*key).to_owned()).collect())));
        let Value::Object(map) = self.value else {
            self.mismatch("a mapping");
            return false;
        };
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let place = Place::key(self.document, format!("{}/{}", self.pointer, escape(key)));
            let problem = Problem::error(place, "UnknownField", format!("unknown field `{key}`"));
            self.findings.push(match known_instead(key, known) {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            });
        }
        true
    }

    /// Whether a field is missing, and no unknown one looks like its misspelling.
    pub(super) fn lacks(&self, key: &str, known: &[&str]) -> bool {
        let Value::Object(map) = self.value else { return false };
        let misspelt =
            map.keys().any(|k| !known.contains(&k.as_str()) && nearest(k, known.iter().copied()) == Some(key));
        self.get(key).is_none() && !misspelt
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Self> {
        match self.value {
            Value::Array(items) => items.iter().enumerate().map(|(i, item)| self.at(&i.to_string(), item)).collect(),
            _ => {
                self.mismatch("a list");
                Vec::new()
            }
        }
    }

    /// The items of a list, or the value itself as the only one.
    pub(super) fn one_or_more(&self) -> Vec<Self> {
        if self.value.is_array() { self.items() } else { vec![self.clone()] }
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&'a str> {
        if let Value::String(text) = self.value {
            return Some(text);
        }
        let quoted = match self.value {
            Value::Number(_) | Value::Bool(_) => Some(format!("put it in quotes: \"{}\"", self.value)),
            _ => None,
        };
        self.mismatch_with_hint("a text", quoted);
        None
    }

    /// A list of texts.
    pub(super) fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(|item| item.text().map(str::to_owned)).collect()
    }

    /// true or false.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            // Templates of task definitions often hold every value as a text.
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => {
                self.mismatch("true or false");
                None
            }
        }
    }

    /// A whole number, also one in quotes, whatever its size.
    pub(super) fn number(&self) -> Option<i64> {
        let number = match self.value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.mismatch("a whole number");
        }
        number
    }

    /// A whole number within bounds.
    pub(super) fn number_in(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let number = self.number()?;
        match u32::try_from(number).ok().filter(|n| bounds.contains(n)) {
            Some(number) => Some(number),
            None => {
                self.error(
                    "OutOfRange",
                    format!("expected a whole number from {} to {}, found {number}", bounds.start(), bounds.end()),
                );
                None
            }
        }
    }

    /// One word out of a few.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        #[cfg(test)]
        self.findings
            .asked
            .borrow_mut()
            .push((self.place(), Asked::Words(words.iter().map(|(word, _)| (*word).to_owned()).collect())));
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let problem =
            Problem::error(self.place(), "UnknownValue", format!("expected {}, found `{text}`", one_of(&known)));
        self.findings.push(match nearest(text, known) {
            Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
            None => problem,
        });
        None
    }

    /// Notes that the value is of another kind.
    pub(super) fn mismatch(&self, expected: &str) {
        self.mismatch_with_hint(expected, None);
    }

    fn mismatch_with_hint(&self, expected: &str, hint: Option<String>) {
        let found = match self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => format!("the number {number}"),
            Value::String(text) => format!("the text `{text}`"),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a mapping".to_owned(),
        };
        let problem = Problem::error(self.place(), "WrongType", format!("expected {expected}, found {found}"));
        self.findings.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }
}

/// A float that is a whole number, as YAML's `1e3` and JSON's `1.0` are.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

fn one_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
}

/// What to write in place of a name: the nearest one, else all of them.
pub(super) fn known_instead(name: &str, known: &[&str]) -> Option<String> {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    // The most used stand first; nobody reads forty names.
    let shown: Vec<String> = known.iter().take(12).map(|name| format!("`{name}`")).collect();
    let rest = if known.len() > 12 { ", …" } else { "" };
    (!shown.is_empty()).then(|| format!("known here: {}{rest}", shown.join(", ")))
}
