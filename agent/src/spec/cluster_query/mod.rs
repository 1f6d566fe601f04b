//! ECS's cluster query language: which container instances a `memberOf` constraint means (reference 3.5).
//!
//! `subject operator [argument]`, joined by `and`, `or`, `not` and parentheses. A text is parsed once, where it comes in;
//! from then on an [`Expression`] is asked about one instance after the other, whose values an [`Instance`] tells.

mod compare;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};

pub use parse::SyntaxError;

/// A parsed expression; it prints, compares and is stored as the text that it was written as.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: String,
    query: Query,
}

/// What is asked about an instance.
#[derive(Debug, Clone)]
enum Query {
    /// One of both.
    Or(Box<Query>, Box<Query>),
    /// Both.
    And(Box<Query>, Box<Query>),
    /// The opposite.
    Not(Box<Query>),
    /// `subject operator [argument]`.
    Test {
        subject: Subject,
        /// Whether the operator is a `not_…`.
        negated: bool,
        check: Check,
    },
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `attribute:NAME`.
    Attribute(String),
    /// `ec2InstanceId`.
    Ec2InstanceId,
    /// `agentConnected`: `true` or `false`.
    AgentConnected,
    /// `agentVersion`: numbers and dots.
    AgentVersion,
    /// `registeredAt`: RFC 3339.
    RegisteredAt,
    /// `runningTasksCount`.
    RunningTasksCount,
    /// `task:group`: the groups that have a task on the instance.
    TaskGroup,
}

/// How a value is judged.
#[derive(Debug, Clone)]
enum Check {
    Exists,
    /// `==` with one value, `in` with any number.
    OneOf(Vec<String>),
    /// Already held to the whole of a value.
    Matches(Regex),
    /// `>`, `>=`, `<`, `<=`.
    Ordered(Order, String),
}

/// The operators that want an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

/// What an expression is asked about.
pub trait Instance {
    /// Whether one of the subject's values passes; `false` when it has none. Only `task:group` can have several.
    fn any(&self, subject: &Subject, passes: &mut dyn FnMut(&str) -> bool) -> bool;
}

impl Expression {
    /// Whether the instance is meant.
    pub fn holds(&self, instance: &impl Instance) -> bool {
        self.query.holds(instance)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Query {
    fn holds(&self, instance: &impl Instance) -> bool {
        match self {
            Self::Or(left, right) => left.holds(instance) || right.holds(instance),
            Self::And(left, right) => left.holds(instance) && right.holds(instance),
            Self::Not(inner) => !inner.holds(instance),
            Self::Test { subject, negated: false, check } => {
                instance.any(subject, &mut |value| check.passes(subject, value))
            }
            Self::Test { subject, negated: true, check: Check::Exists } => !instance.any(subject, &mut |_| true),
            Self::Test { subject, negated: true, check } => {
                // `attribute:stack != prod` means the instances *with* the attribute; groups come and go with tasks.
                let is_there = *subject == Subject::TaskGroup || instance.any(subject, &mut |_| true);
                is_there && !instance.any(subject, &mut |value| check.passes(subject, value))
            }
        }
    }
}

impl Check {
    fn passes(&self, subject: &Subject, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::OneOf(values) => values.iter().any(|argument| compare::equal(subject, value, argument)),
            Self::Matches(pattern) => pattern.is_match(value),
            Self::Ordered(order, argument) => {
                compare::order(subject, value, argument).is_some_and(|ordering| match order {
                    Order::Greater => ordering.is_gt(),
                    Order::GreaterEqual => ordering.is_ge(),
                    Order::Less => ordering.is_lt(),
                    Order::LessEqual => ordering.is_le(),
                })
            }
        }
    }
}

impl FromStr for Expression {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Ok(Self { text: text.to_owned(), query: parse::query(text)? })
    }
}

impl TryFrom<String> for Expression {
    type Error = SyntaxError;

    fn try_from(text: String) -> Result<Self, SyntaxError> {
        text.parse()
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}
