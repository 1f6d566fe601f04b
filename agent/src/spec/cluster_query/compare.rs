//! Values and arguments of the cluster query language, compared as their subject wants it.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::Subject;

/// Whether both mean the same.
pub(super) fn equal(subject: &Subject, value: &str, argument: &str) -> bool {
    match subject {
        Subject::AgentVersion | Subject::RegisteredAt | Subject::RunningTasksCount => {
            order(subject, value, argument) == Some(Ordering::Equal)
        }
        _ => value == argument,
    }
}

/// How they stand to each other; `None` where one of them is not what the subject has.
pub(super) fn order(subject: &Subject, value: &str, argument: &str) -> Option<Ordering> {
    match subject {
        Subject::RegisteredAt => Some(instant(value)?.cmp(&instant(argument)?)),
        Subject::AgentVersion => Some(version(value)?.cmp(&version(argument)?)),
        Subject::RunningTasksCount => Some(count(value)?.cmp(&count(argument)?)),
        // An attribute has no type: two numbers are compared as numbers, all else as text.
        _ => match (number(value), number(argument)) {
            (Some(value), Some(argument)) => value.partial_cmp(&argument),
            _ => Some(value.cmp(argument)),
        },
    }
}

/// What an argument of this subject has to be, when it is not.
pub(super) fn fault(subject: &Subject, argument: &str) -> Option<&'static str> {
    match subject {
        Subject::RegisteredAt if instant(argument).is_none() => {
            Some("a date, such as 2018-06-18T22:28:28Z or 2018-06-18")
        }
        Subject::AgentVersion if version(argument).is_none() => Some("a version, such as 1.14.5"),
        Subject::RunningTasksCount if count(argument).is_none() => Some("a whole number"),
        Subject::AgentConnected if !["true", "false"].contains(&argument) => Some("`true` or `false`"),
        _ => None,
    }
}

/// With an offset, or in UTC without one; a date alone is its first moment.
fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(instant) = text.parse() {
        return Some(instant);
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from)).ok()?;
    TimeZone::UTC.to_timestamp(local).ok()
}

fn version(text: &str) -> Option<Vec<u64>> {
    let mut parts = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    // 1.14 and 1.14.0 are the same version.
    while parts.len() > 1 && parts.last() == Some(&0) {
        parts.pop();
    }
    Some(parts)
}

fn count(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
