//! Text to [`Value`] with the place of every key and value: YAML through saphyr, and JSON through the same parser once
//! serde_json has found it well formed (YAML would let a trailing comma pass).
//!
//! The first stage of the stack file's way: `yaml → read → to_spec`. Knows no key of any document.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use saphyr::{LoadableYamlNode, MarkedYaml, Marker, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use super::sources::Spans;

/// A document that is well formed.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Its value, mappings in the order of the text.
    pub(super) value: Value,
    /// Where each value stands, by JSON pointer; the document itself is at the empty one.
    pub(super) spans: HashMap<String, Spans>,
}

/// Why a text is not well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    /// What is wrong.
    pub(super) message: String,
    /// What helps.
    pub(super) hint: Option<String>,
    /// Where, in bytes of the text.
    pub(super) range: Range<usize>,
}

/// Whether a document is to be read as JSON, by its file's name.
pub(super) fn is_json(file_name: &str) -> bool {
    file_name.to_ascii_lowercase().ends_with(".json")
}

/// The value of a text with the place of everything in it.
pub(super) fn parse(text: &str, json: bool) -> Result<Parsed, Malformed> {
    let offsets = Offsets::new(text);
    let json_value = if json { Some(parse_json(text)?) } else { None };
    let parsable = if json { without_surrogates(text) } else { Cow::Borrowed(text) };
    let documents = MarkedYaml::load_from_str(&parsable).map_err(|error| {
        let start = offsets.byte(*error.marker());
        let kind = if json { "JSON" } else { "YAML" };
        let duplicate = error.info().contains("duplicated key");
        let word = word_at(text, start);
        Malformed {
            message: if duplicate {
                format!(
                    "the key `{}` is there twice",
                    text.get(word.clone()).unwrap_or_default().trim_matches(['"', '\''])
                )
            } else {
                format!("not valid {kind}: {}", error.info())
            },
            hint: duplicate.then(|| "keep one of the two".to_owned()),
            range: word,
        }
    })?;
    let mut documents = documents.into_iter();
    let Some(root) = documents.next() else {
        return Err(Malformed { message: "the file is empty".to_owned(), hint: None, range: 0..0 });
    };
    if let Some(second) = documents.next() {
        let start = offsets.byte(second.span.start);
        return Err(Malformed {
            message: "a second YAML document begins here, and one file is one document".to_owned(),
            hint: None,
            range: word_at(text, start),
        });
    }
    let mut walk = Walk { text, offsets: &offsets, spans: HashMap::new() };
    let value = walk.node(&root, String::new(), None)?;
    Ok(Parsed { value: json_value.unwrap_or(value), spans: walk.spans })
}

fn parse_json(text: &str) -> Result<Value, Malformed> {
    serde_json::from_str(text).map_err(|error| {
        // serde_json counts lines and bytes from 1; its column is that of the last byte that it read.
        let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let mut start = (line_start + error.column().saturating_sub(1)).min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let full = error.to_string();
        let reason = full.split(" at line ").next().unwrap_or(&full);
        Malformed {
            message: format!("not valid JSON: {reason}"),
            hint: json_hint(reason, text, start),
            range: start
                ..text.get(start..).and_then(|rest| rest.chars().next()).map_or(start, |c| start + c.len_utf8()),
        }
    })
}

/// What most likely has to be done about a fault in JSON at a byte of the text.
fn json_hint(reason: &str, text: &str, start: usize) -> Option<String> {
    let before = text.get(..start).unwrap_or_default().trim_end();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let placeholder = text.get(line_start..).and_then(|rest| rest.lines().next()).and_then(|line| {
        let opened = line.find("{{").or_else(|| line.find("${"))?;
        let rest = line.get(opened..)?;
        let closed = rest.find('}')?;
        rest.get(..=closed + usize::from(rest.get(closed + 1..closed + 2) == Some("}")))
    });
    if let Some(placeholder) = placeholder {
        return Some(format!("`{placeholder}` is a template's placeholder: put its value there first"));
    }
    if reason.contains("trailing comma") {
        return Some("remove the comma before it".to_owned());
    }
    if reason.starts_with("expected `,`") {
        return Some(match before.chars().last() {
            Some('"' | '}' | ']' | '0'..='9' | 'e' | 'l') => "a comma is missing before it".to_owned(),
            _ => "a text is in double quotes, and a `\"` in it is written `\\\"`".to_owned(),
        });
    }
    if reason.starts_with("key must be a string") {
        return Some("a key is in double quotes, and JSON has no comments".to_owned());
    }
    None
}

/// JSON with each half of a `\ud83d\ude00` replaced by another escape of its length: YAML has no such pairs, and only the places
/// are taken from that parse.
fn without_surrogates(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let is_half = escape.get(2..3).is_some_and(|d| d.eq_ignore_ascii_case("d"))
            && escape
                .get(3..4)
                .is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit() && b >= b'8' || b.is_ascii_alphabetic()));
        let length = if is_half && escape.starts_with("\\u") { 6 } else { 2 };
        let Some((taken, after)) = escape.split_at_checked(length) else {
            rest = escape;
            break;
        };
        plain.push_str(if length == 6 { "\\u0041" } else { taken });
        rest = after;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// From characters, which saphyr counts, to bytes.
struct Offsets {
    bytes: Vec<usize>,
    end: usize,
}

impl Offsets {
    fn new(text: &str) -> Self {
        Self { bytes: text.char_indices().map(|(byte, _)| byte).collect(), end: text.len() }
    }

    fn byte(&self, marker: Marker) -> usize {
        self.bytes.get(marker.index()).copied().unwrap_or(self.end)
    }
}

struct Walk<'a> {
    text: &'a str,
    offsets: &'a Offsets,
    spans: HashMap<String, Spans>,
}

impl Walk<'_> {
    fn range(&self, node: &MarkedYaml<'_>) -> Range<usize> {
        let start = self.offsets.byte(node.span.start);
        start..self.offsets.byte(node.span.end).max(start)
    }

    fn node(&mut self, node: &MarkedYaml<'_>, pointer: String, key: Option<Range<usize>>) -> Result<Value, Malformed> {
        let range = self.range(node);
        let value = match &node.data {
            YamlData::Value(scalar) => scalar_value(scalar),
            YamlData::Sequence(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    values.push(self.node(item, format!("{pointer}/{index}"), None)?);
                }
                Value::Array(values)
            }
            YamlData::Mapping(entries) => {
                let mut values = Map::new();
                for (key, item) in entries {
                    let key_range = self.range(key);
                    let Some(name) = key_text(key) else {
                        return Err(self.malformed(key_range, "a key must be a plain text"));
                    };
                    let pointer = format!("{pointer}/{}", escape(&name));
                    let value = self.node(item, pointer, Some(key_range.clone()))?;
                    // `1` and `"1"` are two keys to YAML and one to everyone else.
                    if values.insert(name.clone(), value).is_some() {
                        return Err(self.malformed(key_range, &format!("the key `{name}` is there twice")));
                    }
                }
                Value::Object(values)
            }
            YamlData::Tagged(tag, _) => {
                let message = format!("the tag `{}{}` has no meaning here", tag.handle, tag.suffix);
                return Err(self.malformed(range, &message));
            }
            YamlData::Representation(text, ..) => Value::String(text.to_string()),
            YamlData::Alias(_) => return Err(self.malformed(range, "this alias names no anchor")),
            YamlData::BadValue if self.text.get(range.clone()).is_none_or(|t| t.trim().is_empty()) => Value::Null,
            YamlData::BadValue => return Err(self.malformed(range, "this value does not fit its tag")),
        };
        self.spans.insert(pointer, Spans { key, value: range });
        Ok(value)
    }

    fn malformed(&self, range: Range<usize>, message: &str) -> Malformed {
        Malformed { message: message.to_owned(), hint: None, range }
    }
}

fn scalar_value(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::Bool(*value),
        Scalar::Integer(value) => Value::Number((*value).into()),
        Scalar::FloatingPoint(value) => {
            Number::from_f64(value.0).map_or_else(|| Value::String(value.to_string()), Value::Number)
        }
        Scalar::String(value) => Value::String(value.to_string()),
    }
}

fn key_text(key: &MarkedYaml<'_>) -> Option<String> {
    match &key.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(value)) => Some(value.to_string()),
        YamlData::Value(Scalar::FloatingPoint(value)) => Some(value.to_string()),
        YamlData::Value(Scalar::Null) => Some("null".to_owned()),
        _ => None,
    }
}

/// A key as a token of a JSON pointer (RFC 6901).
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What a reader takes for one word, from a byte on; at least one character where the text has one.
fn word_at(text: &str, start: usize) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.find(|c: char| c.is_whitespace() || ":,]}".contains(c)).unwrap_or(rest.len());
    let least = rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    start..start + length.max(least)
}
