//! Where a service's tasks may run and where they should: `placement` of a stack, `placementConstraints` and
//! `placementStrategy` of CreateService (reference 3.5). [`crate::plan::placement`] acts on them.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::cluster_query::{Expression, SyntaxError};

/// Strategies and constraints of a service. Empty means ECS's own: spread over Availability Zones, any instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// In the order in which they narrow the choice; at most 5.
    #[serde(default)]
    pub strategy: Vec<Strategy>,
    /// All of them must hold; at most 10.
    #[serde(default)]
    pub constraints: Vec<Constraint>,
}

/// An entry of `placementStrategy`: `{ type, field }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StrategyEntry", into = "StrategyEntry")]
pub enum Strategy {
    /// Any instance that will do.
    Random,
    /// An instance of the value that has the fewest tasks of the service.
    Spread(SpreadField),
    /// The instance that has the least left.
    Binpack(BinpackField),
}

/// What tasks are spread over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpreadField {
    /// `instanceId`, also spelled `host`.
    InstanceId,
    /// `attribute:NAME`: the values of an attribute of that name.
    Attribute(String),
}

/// Of what instances are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinpackField {
    /// CPU units.
    Cpu,
    /// MiB.
    Memory,
}

/// An entry of `placementConstraints`: `{ type, expression }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ConstraintEntry", into = "ConstraintEntry")]
pub enum Constraint {
    /// At most one task of the group on an instance.
    DistinctInstance,
    /// Only instances for which the expression holds.
    MemberOf(Expression),
}

/// Why an entry is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No such strategy.
    #[error("`{0}` is no placement strategy: random, spread or binpack")]
    UnknownStrategy(String),
    /// AWS's own words (reference 1.10).
    #[error("binpack field '{0}' is invalid")]
    BinpackField(String),
    /// As AWS says it of binpack.
    #[error("spread field '{0}' is invalid: instanceId, host or attribute:NAME")]
    SpreadField(String),
    /// No such constraint.
    #[error("`{0}` is no placement constraint: distinctInstance or memberOf")]
    UnknownConstraint(String),
    /// AWS's own words (reference 1.10).
    #[error("distinctInstance expression should not be specified.")]
    DistinctInstanceExpression,
    /// There is nothing to be a member of.
    #[error("memberOf needs an expression, such as `attribute:ecs.instance-type == t3.small`")]
    NoExpression,
    /// The expression is none.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
}

impl Strategy {
    /// What ECS does for a service that names no strategy (3.5).
    pub fn of_services() -> Vec<Self> {
        vec![Self::Spread(SpreadField::availability_zone())]
    }

    /// The strategy that an entry says; an empty `field` is one left out, and `random` takes none.
    ///
    /// # Errors
    /// When type or field is unknown.
    pub fn new(kind: &str, field: Option<&str>) -> Result<Self, EntryError> {
        let field = field.unwrap_or_default();
        match kind {
            "random" => Ok(Self::Random),
            "spread" if field.eq_ignore_ascii_case("instanceId") || field == "host" => {
                Ok(Self::Spread(SpreadField::InstanceId))
            }
            "spread" => match field.strip_prefix("attribute:") {
                Some(name) if !name.is_empty() => Ok(Self::Spread(SpreadField::Attribute(name.to_owned()))),
                _ => Err(EntryError::SpreadField(field.to_owned())),
            },
            "binpack" if field.eq_ignore_ascii_case("cpu") => Ok(Self::Binpack(BinpackField::Cpu)),
            "binpack" if field.eq_ignore_ascii_case("memory") => Ok(Self::Binpack(BinpackField::Memory)),
            "binpack" => Err(EntryError::BinpackField(field.to_owned())),
            other => Err(EntryError::UnknownStrategy(other.to_owned())),
        }
    }
}

impl SpreadField {
    /// `attribute:ecs.availability-zone`.
    pub fn availability_zone() -> Self {
        Self::Attribute(super::capacity::attribute::AVAILABILITY_ZONE.to_owned())
    }
}

impl Constraint {
    /// The constraint that an entry says; an empty `expression` is one left out.
    ///
    /// # Errors
    /// When the type is unknown, the expression is none, or is there where none may be.
    pub fn new(kind: &str, expression: Option<&str>) -> Result<Self, EntryError> {
        let expression = expression.filter(|text| !text.trim().is_empty());
        match (kind, expression) {
            ("distinctInstance", None) => Ok(Self::DistinctInstance),
            ("distinctInstance", Some(_)) => Err(EntryError::DistinctInstanceExpression),
            ("memberOf", Some(text)) => Ok(Self::MemberOf(text.parse()?)),
            ("memberOf", None) => Err(EntryError::NoExpression),
            (other, _) => Err(EntryError::UnknownConstraint(other.to_owned())),
        }
    }
}

impl fmt::Display for SpreadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstanceId => f.write_str("instanceId"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
        }
    }
}

impl fmt::Display for BinpackField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        })
    }
}

/// A [`Strategy`] as AWS writes it.
#[derive(Serialize, Deserialize)]
struct StrategyEntry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl TryFrom<StrategyEntry> for Strategy {
    type Error = EntryError;

    fn try_from(entry: StrategyEntry) -> Result<Self, EntryError> {
        Self::new(&entry.kind, entry.field.as_deref())
    }
}

impl From<Strategy> for StrategyEntry {
    fn from(strategy: Strategy) -> Self {
        let (kind, field) = match strategy {
            Strategy::Random => ("random", None),
            Strategy::Spread(field) => ("spread", Some(field.to_string())),
            Strategy::Binpack(field) => ("binpack", Some(field.to_string())),
        };
        Self { kind: kind.to_owned(), field }
    }
}

/// A [`Constraint`] as AWS writes it.
#[derive(Serialize, Deserialize)]
struct ConstraintEntry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
}

impl TryFrom<ConstraintEntry> for Constraint {
    type Error = EntryError;

    fn try_from(entry: ConstraintEntry) -> Result<Self, EntryError> {
        Self::new(&entry.kind, entry.expression.as_deref())
    }
}

impl From<Constraint> for ConstraintEntry {
    fn from(constraint: Constraint) -> Self {
        let (kind, expression) = match constraint {
            Constraint::DistinctInstance => ("distinctInstance", None),
            Constraint::MemberOf(expression) => ("memberOf", Some(expression.to_string())),
        };
        Self { kind: kind.to_owned(), expression }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_placement_is_written_as_aws_writes_it() {
        let text = json!({
            "strategy": [
                { "type": "spread", "field": "attribute:ecs.availability-zone" },
                { "type": "spread", "field": "instanceId" },
                { "type": "binpack", "field": "memory" },
                { "type": "random" },
            ],
            "constraints": [
                { "type": "distinctInstance" },
                { "type": "memberOf", "expression": "attribute:stack == blue" },
            ],
        });
        let placement: Placement = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(placement.strategy[0], Strategy::Spread(SpreadField::availability_zone()));
        assert_eq!(serde_json::to_value(&placement).unwrap(), text);
        assert_eq!(serde_json::from_value::<Placement>(json!({})).unwrap(), Placement::default());
    }

    #[rstest]
    #[case(json!({ "type": "spread", "field": "host" }), Strategy::Spread(SpreadField::InstanceId))]
    #[case(json!({ "type": "binpack", "field": "CPU" }), Strategy::Binpack(BinpackField::Cpu))]
    #[case(json!({ "type": "random", "field": "" }), Strategy::Random)]
    fn other_spellings_of_aws_mean_the_same(#[case] entry: Value, #[case] strategy: Strategy) {
        assert_eq!(serde_json::from_value::<Strategy>(entry).unwrap(), strategy);
    }

    #[rstest]
    #[case("binpack", Some("disk"), "binpack field 'disk' is invalid")]
    #[case("spread", None, "spread field '' is invalid: instanceId, host or attribute:NAME")]
    #[case("spread", Some("attribute:"), "spread field 'attribute:' is invalid: instanceId, host or attribute:NAME")]
    #[case("best", None, "`best` is no placement strategy: random, spread or binpack")]
    fn a_strategy_that_is_none_is_refused(#[case] kind: &str, #[case] field: Option<&str>, #[case] words: &str) {
        assert_eq!(Strategy::new(kind, field).unwrap_err().to_string(), words);
    }

    #[rstest]
    #[case("distinctInstance", Some("attribute:a exists"), "distinctInstance expression should not be specified.")]
    #[case("memberOf", Some(" "), "memberOf needs an expression, such as `attribute:ecs.instance-type == t3.small`")]
    #[case("near", None, "`near` is no placement constraint: distinctInstance or memberOf")]
    fn a_constraint_that_is_none_is_refused(#[case] kind: &str, #[case] expression: Option<&str>, #[case] words: &str) {
        assert_eq!(Constraint::new(kind, expression).unwrap_err().to_string(), words);
    }
}
