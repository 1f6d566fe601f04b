//! Tables of the language, and text that is none.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// An instance with a few of everything.
struct One;

impl Instance for One {
    fn any(&self, subject: &Subject, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        let values: &[&str] = match subject {
            Subject::Attribute(name) => match name.as_str() {
                "ecs.instance-type" => &["t2.small"],
                "ecs.availability-zone" => &["us-east-1a"],
                "stack" => &["blue green"],
                "weight" => &["10"],
                _ => &[],
            },
            Subject::Ec2InstanceId => &["i-abcd1234"],
            Subject::AgentConnected => &["true"],
            Subject::AgentVersion => &["1.14.5"],
            Subject::RegisteredAt => &["2018-06-18T22:28:28Z"],
            Subject::RunningTasksCount => &["2"],
            Subject::TaskGroup => &["service:production", "service:database"],
        };
        values.iter().any(|value| passes(value))
    }
}

#[rstest]
// The guide's own examples.
#[case("attribute:ecs.instance-type == t2.small", true)]
#[case("attribute:ecs.availability-zone in [us-east-1a, us-east-1b]", true)]
#[case("attribute:ecs.instance-type =~ g2.* and attribute:ecs.availability-zone != us-east-1d", false)]
#[case("attribute:ecs.instance-type =~ t2.* and attribute:ecs.availability-zone != us-east-1d", true)]
#[case("task:group == service:production", true)]
#[case("not(task:group == database)", true)]
#[case("runningTasksCount == 1", false)]
#[case("agentVersion < 1.14.5", false)]
#[case("registeredAt < 2018-02-13", false)]
#[case("ec2InstanceId in ['i-abcd1234', 'i-wxyx7890']", true)]
// Words and signs are the same, and space is free.
#[case("attribute:ecs.instance-type equals t2.small", true)]
#[case("attribute:ecs.instance-type not_equals t2.small", false)]
#[case("attribute:ecs.instance-type matches t2.*", true)]
#[case("attribute:ecs.instance-type not_matches t2.*", false)]
#[case("attribute:ecs.availability-zone not_in [us-east-1a]", false)]
#[case("attribute:ecs.availability-zone !in[us-east-1b]", true)]
#[case("(attribute:weight>=10)&&(attribute:weight<11||attribute:weight==no)", true)]
#[case("  runningTasksCount   greater_than 1  ", true)]
#[case("runningTasksCount less_than_equal 1", false)]
#[case("agentConnected == true", true)]
#[case("agentConnected != true", false)]
// Existence: every other negation wants the attribute to be there.
#[case("attribute:gpu exists", false)]
#[case("attribute:gpu !exists", true)]
#[case("attribute:gpu not_exists", true)]
#[case("attribute:weight exists", true)]
#[case("attribute:gpu != a", false)]
#[case("attribute:gpu !in [a]", false)]
#[case("attribute:gpu !~ a.*", false)]
#[case("! attribute:gpu == a", true)]
// Values.
#[case("attribute:stack == 'blue green'", true)]
#[case("attribute:stack == \"blue green\"", true)]
#[case("attribute:weight > 9", true)]
#[case("attribute:weight > 9.5e0", true)]
#[case("attribute:ecs.instance-type > t2.medium", true)]
#[case("agentVersion > 1.9", true)]
#[case("agentVersion == 1.14.5.0", true)]
#[case("registeredAt == 2018-06-18T22:28:28", true)]
#[case("registeredAt >= 2018-06-18T22:28:28+00:00", true)]
#[case("registeredAt > 2018-06-18T23:28:28+02:00", true)]
// A pattern is held to the whole value, as in Java.
#[case("attribute:ecs.instance-type =~ t2", false)]
#[case("attribute:ecs.instance-type =~ (t2|t3)\\.small", true)]
#[case("(attribute:ecs.instance-type =~ (t2|t3)\\..*)", true)]
#[case("attribute:ecs.instance-type =~ 't[0-9]\\.(small|large)'", true)]
#[case("attribute:ecs.instance-type =~ a|t2.small", true)]
#[case("attribute:ecs.instance-type =~ g.*||attribute:weight exists", true)]
// `and` binds more closely than `or`; `not` more closely than both.
#[case("attribute:weight exists or attribute:gpu exists and attribute:gpu exists", true)]
#[case("(attribute:weight exists or attribute:gpu exists) and attribute:gpu exists", false)]
#[case("not attribute:weight exists or attribute:weight exists", true)]
#[case("not (attribute:weight exists or attribute:weight exists)", false)]
#[case("!(!(attribute:weight exists))", true)]
// Groups: any of them for `==`, none of them for `!=`.
#[case("task:group == service:database", true)]
#[case("task:group != service:database", false)]
#[case("task:group != service:web", true)]
#[case("task:group =~ service:data.*", true)]
fn an_expression_means(#[case] text: &str, #[case] holds: bool) {
    let expression: Expression = text.parse().unwrap();
    assert_eq!(expression.holds(&One), holds, "{text}");
    assert_eq!(expression.to_string(), text);
}

#[rstest]
#[case(
    "",
    "at character 1: expected attribute:NAME, ec2InstanceId, agentConnected, agentVersion, registeredAt, runningTasksCount or task:group, found the end"
)]
#[case(
    "attribute: == a",
    "at character 1: expected attribute:NAME, ec2InstanceId, agentConnected, agentVersion, registeredAt, runningTasksCount or task:group, found `attribute:`"
)]
#[case(
    "attribute:a",
    "at character 12: expected an operator: ==, !=, >, >=, <, <=, in, not_in, exists, not_exists, =~ or !~, found the end"
)]
#[case(
    "attribute:a = b",
    "at character 13: expected an operator: ==, !=, >, >=, <, <=, in, not_in, exists, not_exists, =~ or !~, found `=`"
)]
#[case("attribute:a ==", "at character 15: expected a value, found the end")]
#[case("attribute:a == b c", "at character 18: expected `and`, `or` or the end, found `c`")]
#[case("attribute:a in b", "at character 16: expected a list, such as `[a, b]`, found `b`")]
#[case("attribute:a in [b c]", "at character 19: expected `,` or `]`, found `c]`")]
#[case("attribute:a in []", "at character 17: expected a value, found `]`")]
#[case("(attribute:a exists", "at character 20: expected `and`, `or` or `)`, found the end")]
#[case("attribute:a exists)", "at character 19: expected `and`, `or` or the end, found `)`")]
#[case("attribute:a == 'b", "at character 18: expected the closing ', found the end")]
#[case(
    "attribute:a =~ *",
    "at character 16: expected a regular expression (without look-around and back-references), found `*`"
)]
#[case(
    "attribute:a =~ 'a)|(b'",
    "at character 16: expected a regular expression (without look-around and back-references), found `'a)|(b'`"
)]
#[case("runningTasksCount == few", "at character 22: expected a whole number, found `few`")]
#[case("agentVersion > new", "at character 16: expected a version, such as 1.14.5, found `new`")]
#[case(
    "registeredAt < yesterday",
    "at character 16: expected a date, such as 2018-06-18T22:28:28Z or 2018-06-18, found `yesterday`"
)]
#[case("agentConnected == yes", "at character 19: expected `true` or `false`, found `yes`")]
#[case(
    "agentConnected > true",
    "at character 16: expected an operator of this subject: ==, !=, in, not_in, =~ or !~, found `>`"
)]
#[case(
    "registeredAt =~ 2018.*",
    "at character 14: expected an operator of this subject: ==, !=, >, >=, < or <=, found `=~`"
)]
fn what_is_no_expression_says_where_and_what_was_expected(#[case] text: &str, #[case] error: &str) {
    assert_eq!(text.parse::<Expression>().unwrap_err().to_string(), error);
}

#[test]
fn an_expression_has_an_end_and_a_depth() {
    let long = format!("attribute:a == {}", "b".repeat(1985));
    assert!(long.parse::<Expression>().is_ok());
    assert_eq!(format!("{long}b").parse::<Expression>().unwrap_err().at, 2001);
    let deep = |depth: usize| format!("{}attribute:a exists{}", "(".repeat(depth), ")".repeat(depth));
    assert!(deep(60).parse::<Expression>().is_ok());
    assert_eq!(
        deep(900).parse::<Expression>().unwrap_err().expected,
        "no more than 64 parentheses and `not` in each other"
    );
}

#[test]
fn an_expression_is_stored_as_its_text() {
    let text = "\"attribute:stack == blue\"";
    let expression: Expression = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&expression).unwrap(), text);
    assert!(serde_json::from_str::<Expression>("\"attribute:stack\"").is_err());
}

/// Pieces of the language, so that text comes far into the parser.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "attribute:",
        "a",
        "ec2InstanceId",
        "agentVersion",
        "registeredAt",
        "runningTasksCount",
        "task:group",
        "==",
        "!=",
        "=~",
        "!~",
        ">",
        "<=",
        "in",
        "not_in",
        "!in",
        "exists",
        "!exists",
        "(",
        ")",
        "[",
        "]",
        ",",
        "'",
        "\"",
        "\\",
        "&&",
        "||",
        "!",
        "not",
        "and",
        "or",
        " ",
        "1",
        "2018-06-18",
        ".*",
        "{9}",
        "ß",
        "=",
        "|",
        "&",
        "?",
        "+",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![any::<String>(), "\\PC{0,80}", pieces()]) {
        match text.parse::<Expression>() {
            Ok(expression) => {
                expression.holds(&One);
            }
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.at)),
        }
    }

    #[test]
    fn whatever_is_joined_is_read_again(left in "[a-z]{1,5}", right in "[a-z]{1,5}", and in any::<bool>()) {
        let word = if and { "and" } else { "or" };
        let text = format!("attribute:{left} exists {word} (not attribute:{right} == '{left}')");
        prop_assert!(text.parse::<Expression>().is_ok());
    }
}
