//! A YAML document that is not a manifest, as values with their places: what a config file is read into.
//!
//! Values stay texts as they are written; who asks for one says what it must be. Tags, anchors and aliases are refused,
//! so nothing here unfolds.

use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};

use super::documents::{self, Document};
use super::node::{MAX_DEPTH, MAX_NODES};
use super::problem::Problem;
use super::text::Source;
use super::{outline, syntax};

/// A value, and where it stands in the text.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) at: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A text as it is written, without its quotes. One without quotes may stand for a number, a truth or nothing.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Value>),
    /// Entries as they stand, duplicates and all.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Whether nothing stands there.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, with its article.
    pub(crate) fn described(&self) -> &'static str {
        match self.kind {
            _ if self.is_empty() => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Reads the one document of a file; nothing where there is none.
pub(crate) fn read(source: &Source<'_>) -> Result<Option<Value>, Box<Problem>> {
    let documents = documents::split(source.text);
    let Some((document, others)) = documents.split_first() else { return Ok(None) };
    let problem = |at: Range<usize>, message: &str, hint: &str| {
        Box::new(source.problem(at, String::new(), message.to_owned(), hint))
    };
    if let Some(second) = others.first() {
        let at = source.offset_of_chars(second.line as usize, 1);
        return Err(problem(at..at, "a second document begins here", "put everything into one document"));
    }
    if let Some(problem) = syntax::unclear_character(source, document) {
        return Err(Box::new(problem));
    }
    build(source, document)
}

fn build(source: &Source<'_>, document: &Document<'_>) -> Result<Option<Value>, Box<Problem>> {
    let problem = |at: Range<usize>, message: &str, hint: &str| {
        Box::new(source.problem(at, String::new(), message.to_owned(), hint))
    };
    let mut options = granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: MAX_DEPTH as usize,
        block_nesting_limit: MAX_DEPTH as usize,
    };
    options.set_emit_comments(false);
    // Lists and maps that are not closed yet, outermost first; a map's keys and values in turn.
    let mut open: Vec<(Range<usize>, Vec<Value>, bool)> = Vec::new();
    let (mut root, mut count) = (None, 0);
    for event in Parser::new_from_str_with_options(document.text, options) {
        let (event, span) = event.map_err(|error| match error.kind() {
            ErrorKind::RecursionLimitExceeded => {
                let at = document.offset + outline::offset(&error);
                problem(at..at, "the file is nested too deeply", "a config file has a few levels")
            }
            _ => Box::new(syntax::yaml(source, document, None, Some(&error))),
        })?;
        let at = span.byte_range().unwrap_or_default();
        let at = document.offset + at.start..document.offset + at.end;
        count += u32::from(event.is_node());
        if count > MAX_NODES {
            return Err(problem(at, "the file has too many values", "a config file has some dozens"));
        }
        if event.tag().is_some() || event.anchor_id().is_some() || event.alias_id().is_some() {
            let hint = "write the value itself";
            return Err(problem(at, "tags, anchors and aliases are not allowed in a config file", hint));
        }
        let done = match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                open.push((at, Vec::new(), matches!(event, Event::MappingStart(..))));
                continue;
            }
            Event::Scalar(text, style, ..) => {
                let quoted = style != ScalarStyle::Plain;
                Value { at, kind: Kind::Scalar { text: text.into_owned(), quoted } }
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((at, items, true)) => Value { at, kind: Kind::Map(pairs(items)) },
                Some((at, items, false)) => Value { at, kind: Kind::List(items) },
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            Some((_, items, _)) => items.push(done),
            None => root = Some(done),
        }
    }
    Ok(root)
}

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
}
