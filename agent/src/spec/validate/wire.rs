//! A read-only look at a request as it came over the wire: values with their pointers, and nothing noted.
//!
//! For the checks of fields that the spec does not keep. A value of another kind than AWS's counts as left out: who reads the
//! request says that it is wrong.

use serde_json::Value;

use super::super::problem::Problem;
use super::error;

/// One value of a request.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pointer: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// The whole request.
    pub(super) fn root(value: &'a Value) -> Self {
        Self { pointer: String::new(), value }
    }

    /// A field of it; one that is null counts as left out.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { pointer: format!("{}/{key}", self.pointer), value })
    }

    /// The items of a field that is a list.
    pub(super) fn items(&self, key: &str) -> Vec<Self> {
        let Some(list) = self.get(key) else { return Vec::new() };
        let items = list.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(index, value)| Self { pointer: format!("{}/{index}", list.pointer), value };
        items.iter().enumerate().map(item).collect()
    }

    /// A field that is a text.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.value.as_str()
    }

    /// A field that is a whole number; templates often hold it as a text.
    pub(super) fn number(&self, key: &str) -> Option<i64> {
        match self.get(key)?.value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The value as a text.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// Whether it says anything: `[]`, `{}`, `false` and `""` do not.
    pub(super) fn says_something(&self) -> bool {
        match self.value {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(_) => true,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
        }
    }

    /// How many bytes it has as compact JSON.
    pub(super) fn size(&self) -> usize {
        self.value.to_string().len()
    }

    /// An error at it.
    pub(super) fn error(&self, code: &str, message: impl Into<String>) -> Problem {
        error(self.pointer.clone(), code, message)
    }

    /// An error at a field of it, or at it where the field is missing.
    pub(super) fn error_at(&self, key: &str, code: &str, message: impl Into<String>) -> Problem {
        error(format!("{}/{key}", self.pointer), code, message)
    }
}
