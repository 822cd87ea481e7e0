//! The outline of a YAML or JSON document: where each value stands.
//!
//! It costs a second reading, so it is made only for a document that has a problem, or that is to be looked at before
//! libyaml reads it: a large one, a deep one, one with tags or aliases. The reader streams, stops at the limits, and
//! was seen to be linear on every hostile text that we could think of, which libyaml is not.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScanError, Span};

use super::node::{MAX_DEPTH, MAX_NODES};

/// Where each value of a document stands, as ranges of bytes in the document's text.
#[derive(Default)]
pub(super) struct Outline {
    knots: Vec<Knot>,
    /// Tags.
    pub(super) tags: Vec<Range<usize>>,
    /// Anchors whose name an earlier anchor of the document has.
    pub(super) repeated_anchors: Vec<Range<usize>>,
}

struct Knot {
    span: Range<usize>,
    /// A map's keys and values in turn, or a list's items.
    children: Vec<usize>,
    /// The value that an alias stands for.
    target: Option<usize>,
}

/// Why a document has no outline.
pub(super) enum NoOutline {
    /// More values than a document may have; the offset of the first one too many.
    Nodes(usize),
    /// Nested deeper than a document may be; the offset where.
    Depth(usize),
    /// No YAML.
    Syntax(ScanError),
}

impl Outline {
    /// Reads a document's text.
    pub(super) fn read(text: &str) -> Result<Self, NoOutline> {
        let limit = MAX_DEPTH as usize;
        let mut options = granit_parser::options! {
            emit_anchor_events: true,
            block_scalar_eof_without_line_feed: true,
            flow_nesting_limit: limit,
            block_nesting_limit: limit,
        };
        options.set_emit_comments(false);
        let mut draft = Draft::default();
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| match error.kind() {
                ErrorKind::RecursionLimitExceeded => NoOutline::Depth(offset(&error)),
                _ => NoOutline::Syntax(error),
            })?;
            draft.take(&event, &span);
            if draft.outline.knots.len() > MAX_NODES as usize {
                return Err(NoOutline::Nodes(range(&span).start));
            }
            if draft.open.len() > limit {
                return Err(NoOutline::Depth(range(&span).start));
            }
        }
        Ok(draft.outline)
    }

    /// Where a value stands, found by the same steps as in the tree; an alias leads to what it stands for. A map or
    /// list gives its start, an empty value the key before it. Steps that lead nowhere give the document's start.
    pub(super) fn locate(&self, steps: &[u32]) -> Range<usize> {
        let Some(knot) = self.walk(steps) else { return self.knots.first().map_or(0..0, |knot| knot.span.clone()) };
        match steps.split_last() {
            Some((last, before)) if knot.span.is_empty() && knot.children.is_empty() && last % 2 == 1 => {
                let key: Vec<u32> = before.iter().copied().chain([last - 1]).collect();
                self.walk(&key).unwrap_or(knot).span.clone()
            }
            _ => match knot.children.first().and_then(|child| self.knots.get(*child)) {
                Some(first) if first.span.start == knot.span.start => first.span.clone(),
                _ => knot.span.clone(),
            },
        }
    }

    /// How many children the value at some steps has.
    #[cfg(test)]
    pub(super) fn children(&self, steps: &[u32]) -> Option<usize> {
        self.walk(steps).map(|knot| knot.children.len())
    }

    fn walk(&self, steps: &[u32]) -> Option<&Knot> {
        let mut knot = self.knots.first()?;
        for step in steps {
            knot = self.knots.get(*knot.children.get(*step as usize)?)?;
            if let Some(target) = knot.target {
                knot = self.knots.get(target)?;
            }
        }
        Some(knot)
    }
}

/// Where a syntax error stands in the document's text.
pub(super) fn offset(error: &ScanError) -> usize {
    error.marker().byte_offset().unwrap_or_default()
}

#[derive(Default)]
struct Draft {
    outline: Outline,
    /// Maps and lists that are not closed yet, outermost first.
    open: Vec<usize>,
    anchors: HashMap<usize, usize>,
    names: HashSet<String>,
}

impl Draft {
    fn take(&mut self, event: &Event<'_>, span: &Span) {
        match event {
            Event::Anchor(_, name) => {
                let is_new = self.names.insert(name.to_string());
                self.outline.repeated_anchors.extend((!is_new).then(|| range(span)));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
            }
            event if event.is_node() => self.node(event, span),
            _ => {}
        }
    }

    fn node(&mut self, event: &Event<'_>, span: &Span) {
        let index = self.outline.knots.len();
        if let Some(id) = event.anchor_id() {
            self.anchors.insert(id, index);
        }
        if event.tag().is_some() {
            self.outline.tags.push(range(&span.tag_span().unwrap_or(*span)));
        }
        let target = event.alias_id().and_then(|id| self.anchors.get(&id)).copied();
        self.outline.knots.push(Knot { span: range(span), children: Vec::new(), target });
        if let Some(parent) = self.open.last().and_then(|parent| self.outline.knots.get_mut(*parent)) {
            parent.children.push(index);
        }
        if matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) {
            self.open.push(index);
        }
    }
}

fn range(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or_default()
}
