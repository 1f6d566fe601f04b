//! Tables for the checks over requests, as `pointer: message`; checks over spec values are tested where a file becomes one.

mod creation;
mod registration;

use serde_json::Value;

use super::super::problem::Problem;

/// What was found, a line each.
fn lines(problems: Vec<Problem>) -> Vec<String> {
    problems.into_iter().map(|problem| format!("{}: {}", problem.place.pointer, problem.message)).collect()
}

/// A request with fields of another laid over it; lists are replaced.
fn with(mut base: Value, fields: Value) -> Value {
    lay_over(&mut base, fields);
    base
}

fn lay_over(base: &mut Value, fields: Value) {
    match (base, fields) {
        (Value::Object(base), Value::Object(fields)) => {
            for (key, value) in fields {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, value) => *base = value,
    }
}
