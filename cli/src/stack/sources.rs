//! The documents of one load: their text, their values, and where each value stands in the text.
//!
//! A [`Place`] names a document and a JSON pointer; [`Sources::locate`] turns it into a range of bytes. Filled before the walk
//! over the values begins, so that the walk only borrows.

use std::collections::HashMap;
use std::ops::Range;

use agent::spec::problem::Place;
use serde_json::Value;

/// Every document that was read, the stack file first.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    documents: Vec<Document>,
}

/// One file that was read.
#[derive(Debug)]
pub(crate) struct Document {
    /// As [`Place::document`] has it: empty for the stack file, else the path as the stack file gives it.
    pub(crate) name: String,
    /// The path as it is shown: from the user's working directory.
    pub(crate) path: String,
    /// Its text; empty when it could not be read.
    pub(crate) text: String,
    /// Its value; null when it is not well formed.
    pub(crate) value: Value,
    /// Where each value stands, by JSON pointer.
    pub(crate) spans: HashMap<String, Spans>,
}

/// Where a value stands, in bytes of its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spans {
    /// Its key; a list's item and the document itself have none.
    pub(crate) key: Option<Range<usize>>,
    /// The value itself.
    pub(crate) value: Range<usize>,
}

/// What is to be shown for a [`Place`].
#[derive(Debug)]
pub(crate) struct Location<'a> {
    /// The document it is in.
    pub(crate) document: &'a Document,
    /// Bytes of one line of its text; absent when there is no text to show.
    pub(crate) range: Option<Range<usize>>,
}

impl Sources {
    /// Adds a document, unless one of that name is there.
    pub(crate) fn add(&mut self, document: Document) {
        if self.document(&document.name).is_none() {
            self.documents.push(document);
        }
    }

    /// The document of that name.
    pub(crate) fn document(&self, name: &str) -> Option<&Document> {
        self.documents.iter().find(|d| d.name == name)
    }

    /// Where a place is: the value or key itself, else the innermost thing around it that the text has.
    pub(crate) fn locate(&self, place: &Place) -> Option<Location<'_>> {
        let document = self.document(&place.document)?;
        let mut pointer = place.pointer.as_str();
        let mut at_key = place.at_key;
        let spans = loop {
            if let Some(spans) = document.spans.get(pointer) {
                break Some(spans);
            }
            // What is missing is told at the key of the mapping that lacks it.
            at_key = true;
            match pointer.rfind('/') {
                Some(end) => pointer = pointer.get(..end).unwrap_or_default(),
                None => break None,
            }
        };
        let range = spans.filter(|_| !document.text.is_empty()).map(|spans| {
            let value_is_long =
                document.text.get(spans.value.clone()).is_some_and(|text| text.trim_end().contains('\n'));
            let range = match &spans.key {
                Some(key) if at_key || value_is_long || spans.value.is_empty() => key.clone(),
                _ => spans.value.clone(),
            };
            first_line(&document.text, range)
        });
        Some(Location { document, range })
    }

    /// What problems are sorted by: documents in the order they were read, then the place in the text.
    pub(crate) fn order(&self, place: &Place) -> (usize, usize) {
        let document = self.documents.iter().position(|d| d.name == place.document).unwrap_or(usize::MAX);
        let offset = self.locate(place).and_then(|l| l.range).map_or(0, |range| range.start);
        (document, offset)
    }
}

/// The part of a range that is on its first line.
fn first_line(text: &str, range: Range<usize>) -> Range<usize> {
    let line = text.get(range.clone()).and_then(|part| part.lines().next()).unwrap_or_default();
    range.start..range.start + line.trim_end().len()
}
