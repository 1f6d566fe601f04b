//! Checks of a security group's name (reference 4.1, 4.6). Its rules are right by their types.

use super::super::problem::Problem;
use super::error;

/// What is wrong with the name that a user gives a group.
pub fn group_name(name: &str) -> Option<Problem> {
    if name.starts_with("sg-") {
        return Some(error("", "InvalidParameterValue", "Group names may not be in the format sg-*"));
    }
    if matches!(name, "self" | "host") {
        return Some(
            error("", "InvalidParameterValue", format!("a security group cannot be named `{name}`"))
                .with_hint("the word has a meaning of its own in `from` and `to`"),
        );
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b" ._-:/()#,@[]+=&;{}!$*".contains(&b);
    (name.is_empty() || name.len() > 255 || !name.bytes().all(allowed)).then(|| {
        error("", "InvalidParameterValue", format!("Value ({name}) for parameter GroupName is invalid."))
            .with_hint("up to 255 of a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{}!$*")
    })
}
