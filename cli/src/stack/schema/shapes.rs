//! The few shapes that the schema is made of; each is what a method of the reader's `Node` takes.

use serde_json::{Map, Value, json};

/// A mapping whose keys are these and no others: where the reader refuses unknown ones.
pub(super) fn closed<const N: usize>(description: &str, properties: [(&str, Value); N]) -> Value {
    with(open(description, properties), json!({ "additionalProperties": false }))
}

/// A mapping that AWS knows by these keys and nobody here reads, or reads in part.
pub(super) fn open<const N: usize>(description: &str, properties: [(&str, Value); N]) -> Value {
    let properties: Map<String, Value> = properties.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
    json!({ "type": "object", "description": description, "properties": properties })
}

/// Keys that must be there.
pub(super) fn required(schema: Value, keys: &[&str]) -> Value {
    with(schema, json!({ "required": keys }))
}

/// A mapping of any names to one kind of value.
pub(super) fn named(description: &str, value: Value) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": value })
}

/// A list.
pub(super) fn list(description: &str, items: Value) -> Value {
    json!({ "type": "array", "description": description, "items": items })
}

/// A text.
pub(super) fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

/// A list of texts.
pub(super) fn texts(description: &str) -> Value {
    list(description, json!({ "type": "string" }))
}

/// true or false, also in quotes.
pub(super) fn flag(description: &str, default: bool) -> Value {
    json!({
        "type": ["boolean", "string"],
        "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$",
        "description": description,
        "default": default,
    })
}

/// A whole number, also in quotes: templates of task definitions hold every value as a text.
pub(super) fn number(description: &str, least: i64, most: i64) -> Value {
    json!({
        "type": ["integer", "string"],
        "pattern": "^\\s*-?[0-9]+\\s*$",
        "minimum": least,
        "maximum": most,
        "description": description,
    })
}

/// One word out of a few; the reader's own tables say which.
pub(super) fn words<T>(description: &str, words: &[(&str, T)]) -> Value {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({ "enum": words, "description": description })
}

/// One word out of a few that the reader has in no table.
pub(super) fn one_of(description: &str, words: &[&str]) -> Value {
    json!({ "enum": words, "description": description })
}

/// A shape that is described once.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// Anything.
pub(super) fn anything(description: &str) -> Value {
    json!({ "description": description })
}

/// What a value is when it is left out.
pub(super) fn default(schema: Value, default: Value) -> Value {
    with(schema, json!({ "default": default }))
}

/// A schema with more said about it.
pub(super) fn with(mut schema: Value, more: Value) -> Value {
    if let (Value::Object(schema), Value::Object(more)) = (&mut schema, more) {
        schema.extend(more);
    }
    schema
}
