//! A value that nobody is shown: where it passes through us it has this type, which does not print itself.
//!
//! The command line reads it from where the stack file says, the control socket carries it, [`crate::store::secrets`]
//! keeps it, and `apply` gives it to Docker when a container is created. It is never part of a spec, a plan or a view.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The value of a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValue(String);

impl SecretValue {
    /// A value from outside.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for who passes it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_print_itself() {
        assert_eq!(format!("{:?}", vec![SecretValue::new("hunter2")]), "[SecretValue(…)]");
    }
}
