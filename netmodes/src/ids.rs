//! Identifiers of the VPC, as AWS prints them, and the network modes.
//!
//! An id is made once, from random bits that the caller brings, and is stored; everything that the kernel sees
//! (interface names, chains, sets) is derived from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form {prefix}<17 hex digits>")]
pub struct ParseIdError {
    /// What the id should have begun with, for example `eni-`.
    pub prefix: &'static str,
    /// What was given.
    pub text: String,
}

macro_rules! aws_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id whose 17 hex digits are the low 68 bits of `bits`.
            pub fn from_bits(bits: u128) -> Self {
                Self(format!("{}{:017x}", $prefix, bits & ((1 << 68) - 1)))
            }

            /// The whole id, prefix included.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The 17 hex digits.
            pub fn digits(&self) -> &str {
                &self.0[$prefix.len()..]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.strip_prefix($prefix);
                let well_formed = digits.is_some_and(|d| {
                    d.len() == 17 && d.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                });
                if well_formed {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseIdError { prefix: $prefix, text: text.to_owned() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

aws_id!(
    /// A VPC: `vpc-` and 17 hex digits.
    VpcId, "vpc-");
aws_id!(
    /// A subnet: `subnet-` and 17 hex digits.
    SubnetId, "subnet-");
aws_id!(
    /// An elastic network interface: `eni-` and 17 hex digits (reference 5.4).
    EniId, "eni-");
aws_id!(
    /// A security group: `sg-` and 17 hex digits (reference 4.1).
    GroupId, "sg-");

/// How the containers of a task are attached to the network (reference 1.1), spelt as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// A network namespace and an ENI for each task.
    Awsvpc,
    /// A namespace for each container, on its instance's bridge.
    Bridge,
    /// The instance's own namespace.
    Host,
    /// Loopback only.
    None,
}

impl NetworkMode {
    /// The word that task definitions use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Awsvpc => "awsvpc",
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_seventeen_hex_digits() {
        let id = EniId::from_bits(0xabc);
        assert_eq!(id.as_str(), "eni-00000000000000abc");
        assert_eq!(id.as_str().parse::<EniId>().unwrap(), id);
        assert_eq!(EniId::from_bits(u128::MAX).digits().len(), 17);
    }

    #[rstest::rstest]
    #[case("eni-abc")]
    #[case("sg-00000000000000abc")]
    #[case("eni-00000000000000ABC")]
    #[case("")]
    fn what_is_no_eni_id_is_refused(#[case] text: &str) {
        assert!(text.parse::<EniId>().is_err());
    }
}
