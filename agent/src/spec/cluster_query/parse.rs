//! From the text of an expression to its tree.

use regex::{Regex, RegexBuilder};

use super::{Check, Order, Query, Subject, compare};

/// The most characters of an expression, as in ECS.
const MOST_CHARACTERS: usize = 2000;
/// How deep parentheses and `not` may lie in each other; the parser calls itself for each.
const DEEPEST: usize = 64;
/// Bytes that a pattern may take when it is compiled.
const PATTERN_SIZE: usize = 1 << 20;

const SUBJECTS: &str =
    "attribute:NAME, ec2InstanceId, agentConnected, agentVersion, registeredAt, runningTasksCount or task:group";
const OPERATORS: &str = "an operator: ==, !=, >, >=, <, <=, in, not_in, exists, not_exists, =~ or !~";

/// Where an expression is none, and what should stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: expected {expected}, found {found}")]
pub struct SyntaxError {
    /// The first character is 1.
    pub at: usize,
    /// What should stand there.
    pub expected: String,
    /// What does.
    pub found: String,
}

/// The tree of a text.
pub(super) fn query(text: &str) -> Result<Query, SyntaxError> {
    let characters: Vec<char> = text.chars().collect();
    let mut parser = Parser { text: &characters, at: 0, depth: 0 };
    if characters.len() > MOST_CHARACTERS {
        parser.at = MOST_CHARACTERS;
        return Err(parser.expected(format!("the end: an expression has at most {MOST_CHARACTERS} characters")));
    }
    let query = parser.or()?;
    parser.skip_space();
    if parser.at < characters.len() {
        return Err(parser.expected("`and`, `or` or the end"));
    }
    Ok(query)
}

/// Operators, each by its sign and its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Ordered(Order),
    Exists,
    In,
    Matches,
}

/// Sign or word, whether it negates, and the operator; a sign that begins another one comes after it.
const SIGNS: &[(&str, bool, Operator)] = &[
    ("==", false, Operator::Equal),
    ("!=", true, Operator::Equal),
    ("=~", false, Operator::Matches),
    ("!~", true, Operator::Matches),
    (">=", false, Operator::Ordered(Order::GreaterEqual)),
    ("<=", false, Operator::Ordered(Order::LessEqual)),
    (">", false, Operator::Ordered(Order::Greater)),
    ("<", false, Operator::Ordered(Order::Less)),
];
const WORDS: &[(&str, bool, Operator)] = &[
    ("equals", false, Operator::Equal),
    ("not_equals", true, Operator::Equal),
    ("matches", false, Operator::Matches),
    ("not_matches", true, Operator::Matches),
    ("greater_than_equal", false, Operator::Ordered(Order::GreaterEqual)),
    ("less_than_equal", false, Operator::Ordered(Order::LessEqual)),
    ("greater_than", false, Operator::Ordered(Order::Greater)),
    ("less_than", false, Operator::Ordered(Order::Less)),
    ("not_exists", true, Operator::Exists),
    ("!exists", true, Operator::Exists),
    ("exists", false, Operator::Exists),
    ("not_in", true, Operator::In),
    ("!in", true, Operator::In),
    ("in", false, Operator::In),
];

impl Operator {
    /// Whether ECS has it for this subject; the words of a refusal say which ones it has.
    fn refusal(self, subject: &Subject) -> Option<&'static str> {
        let fits = match subject {
            Subject::Attribute(_) | Subject::TaskGroup => true,
            Subject::Ec2InstanceId | Subject::AgentConnected => {
                matches!(self, Self::Equal | Self::In | Self::Matches)
            }
            Subject::AgentVersion | Subject::RegisteredAt | Subject::RunningTasksCount => {
                matches!(self, Self::Equal | Self::Ordered(_))
            }
        };
        let known = match subject {
            Subject::Ec2InstanceId | Subject::AgentConnected => {
                "an operator of this subject: ==, !=, in, not_in, =~ or !~"
            }
            _ => "an operator of this subject: ==, !=, >, >=, < or <=",
        };
        (!fits).then_some(known)
    }
}

struct Parser<'a> {
    text: &'a [char],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Query, SyntaxError> {
        let mut left = self.and()?;
        while self.eat("||") || self.eat_word("or") {
            left = Query::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Query, SyntaxError> {
        let mut left = self.not()?;
        while self.eat("&&") || self.eat_word("and") {
            left = Query::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Query, SyntaxError> {
        self.skip_space();
        if self.depth == DEEPEST {
            return Err(self.expected(format!("no more than {DEEPEST} parentheses and `not` in each other")));
        }
        self.depth += 1;
        let query = if self.eat("!") || self.eat_word("not") {
            Query::Not(Box::new(self.not()?))
        } else if self.eat("(") {
            let inner = self.or()?;
            if !self.eat(")") {
                return Err(self.expected("`and`, `or` or `)`"));
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(query)
    }

    fn test(&mut self) -> Result<Query, SyntaxError> {
        let subject = self.subject()?;
        let (negated, operator) = self.operator(&subject)?;
        let check = match operator {
            Operator::Exists => Check::Exists,
            Operator::Equal => Check::OneOf(vec![self.value(&subject)?]),
            Operator::Ordered(order) => Check::Ordered(order, self.value(&subject)?),
            Operator::In => Check::OneOf(self.list(&subject)?),
            Operator::Matches => Check::Matches(self.pattern()?),
        };
        Ok(Query::Test { subject, negated, check })
    }

    fn subject(&mut self) -> Result<Subject, SyntaxError> {
        self.skip_space();
        let start = self.at;
        let word = self.take(|c| c.is_alphanumeric() || "_-./\\:".contains(c));
        let subject = match word.as_str() {
            "ec2InstanceId" => Subject::Ec2InstanceId,
            "agentConnected" => Subject::AgentConnected,
            "agentVersion" => Subject::AgentVersion,
            "registeredAt" => Subject::RegisteredAt,
            "runningTasksCount" => Subject::RunningTasksCount,
            "task:group" => Subject::TaskGroup,
            other => match other.strip_prefix("attribute:") {
                Some(name) if !name.is_empty() && !name.contains(':') => Subject::Attribute(name.to_owned()),
                _ => {
                    self.at = start;
                    return Err(self.expected(SUBJECTS));
                }
            },
        };
        Ok(subject)
    }

    fn operator(&mut self, subject: &Subject) -> Result<(bool, Operator), SyntaxError> {
        self.skip_space();
        let start = self.at;
        let sign = SIGNS.iter().find(|(sign, ..)| self.eat(sign));
        let Some(&(_, negated, operator)) = sign.or_else(|| WORDS.iter().find(|(word, ..)| self.eat_word(word))) else {
            return Err(self.expected(OPERATORS));
        };
        if let Some(known) = operator.refusal(subject) {
            self.at = start;
            return Err(self.expected(known));
        }
        Ok((negated, operator))
    }

    fn value(&mut self, subject: &Subject) -> Result<String, SyntaxError> {
        self.skip_space();
        let start = self.at;
        let value = match self.quoted()? {
            Some(value) => value,
            None => {
                let mut value = String::new();
                while let Some(c) = self.peek().filter(|c| !c.is_whitespace() && !"()[],'\"".contains(*c)) {
                    if self.is_at("&&") || self.is_at("||") {
                        break;
                    }
                    value.push(c);
                    self.at += 1;
                }
                if value.is_empty() {
                    return Err(self.expected("a value"));
                }
                value
            }
        };
        if let Some(expected) = compare::fault(subject, &value) {
            self.at = start;
            return Err(self.expected(expected));
        }
        Ok(value)
    }

    fn list(&mut self, subject: &Subject) -> Result<Vec<String>, SyntaxError> {
        if !self.eat("[") {
            return Err(self.expected("a list, such as `[a, b]`"));
        }
        let mut values = vec![self.value(subject)?];
        while self.eat(",") {
            values.push(self.value(subject)?);
        }
        if !self.eat("]") {
            return Err(self.expected("`,` or `]`"));
        }
        Ok(values)
    }

    /// A regular expression, in quotes or up to the next space; brackets of its own belong to it.
    fn pattern(&mut self) -> Result<Regex, SyntaxError> {
        self.skip_space();
        let start = self.at;
        let pattern = match self.quoted()? {
            Some(pattern) => pattern,
            None => {
                let (mut pattern, mut open) = (String::new(), 0usize);
                while let Some(c) = self.peek().filter(|c| !c.is_whitespace()) {
                    if open == 0 && (c == ')' || self.is_at("&&") || self.is_at("||")) {
                        break;
                    }
                    match c {
                        '(' => open += 1,
                        ')' => open -= 1,
                        _ => {}
                    }
                    pattern.push(c);
                    self.at += 1;
                    if c == '\\'
                        && let Some(next) = self.peek()
                    {
                        pattern.push(next);
                        self.at += 1;
                    }
                }
                pattern
            }
        };
        let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build();
        // By itself first: put into the group below, `a)|(b` would become another pattern.
        let compiled = (!pattern.is_empty())
            .then(|| compile(&pattern).and_then(|_| compile(&format!("^(?:{pattern})$"))).ok())
            .flatten();
        compiled.ok_or_else(|| {
            self.at = start;
            self.expected("a regular expression (without look-around and back-references)")
        })
    }

    /// A text in quotes, single or double; a backslash before the quote makes it a character of the text.
    fn quoted(&mut self) -> Result<Option<String>, SyntaxError> {
        let Some(quote) = self.peek().filter(|c| ['\'', '"'].contains(c)) else { return Ok(None) };
        self.at += 1;
        let mut value = String::new();
        loop {
            match self.peek() {
                None => return Err(self.expected(format!("the closing {quote}"))),
                Some(c) if c == quote => {
                    self.at += 1;
                    return Ok(Some(value));
                }
                Some('\\') if self.text.get(self.at + 1) == Some(&quote) => {
                    value.push(quote);
                    self.at += 2;
                }
                Some(c) => {
                    value.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, mut wanted: impl FnMut(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek().filter(|&c| wanted(c)) {
            taken.push(c);
            self.at += 1;
        }
        taken
    }

    fn is_at(&self, sign: &str) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        sign.chars().count() <= rest.len() && sign.chars().zip(rest).all(|(wanted, &c)| wanted == c)
    }

    /// Takes the sign, after any space, when it comes next.
    fn eat(&mut self, sign: &str) -> bool {
        self.skip_space();
        let found = self.is_at(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// Takes the word when it comes next and ends there.
    fn eat_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let after = self.text.get(self.at + word.len());
        let ends = after.is_none_or(|c| !c.is_alphanumeric() && !"_-.:/\\".contains(*c));
        ends && self.eat(word)
    }

    fn expected(&self, expected: impl Into<String>) -> SyntaxError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: String = rest.iter().take_while(|c| !c.is_whitespace()).take(20).collect();
        let found = match (rest.is_empty(), word.is_empty()) {
            (true, _) => "the end".to_owned(),
            (false, true) => "a space".to_owned(),
            (false, false) => format!("`{word}`"),
        };
        SyntaxError { at: self.at + 1, expected: expected.into(), found }
    }
}
