//! Manifests: from the bytes of a file to what it desires, or to problems with places.
//!
//! Bytes come in, values go out; nothing here opens a file, reads a clock or knows who asks. The way of a file:
//! `text` decodes it, `documents` cuts a YAML stream into documents, `node` fills one tree from YAML and JSON alike
//! (and `plain` the same one in less time, where a document is as simple as most are), `rules`, `spec` and `policy` check
//! the tree and collect everything that is wrong with it. Only when something is, `outline` reads the text again to find
//! where; `draw` shows it. `schema` says the same rules to editors. `values` reads YAML that is not a manifest.
//!
//! A file is distrusted: its size, its depth, the number of its values and what its aliases unfold to are bounded, and
//! a document that might be hostile is looked at by a streaming reader before libyaml sees it.

mod check;
mod documents;
mod draw;
pub(crate) mod fields;
mod image;
mod leftover;
mod node;
mod outline;
mod plain;
mod policy;
mod problem;
mod rules;
mod schema;
mod spec;
mod suggest;
mod syntax;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod values;

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeSeed as _;

use crate::model::{BuildSha, Desired, Place, ServiceKey};

use check::{Checker, Finding, Hint};
use documents::Document;
use node::{Budget, Excess, MAX_DEPTH, MAX_NODES, Node};
use outline::{NoOutline, Outline};
use text::shown;

pub use draw::Drawing;
pub use problem::{Problem, Warning};
pub use schema::schema;
pub(crate) use text::Source;

/// Largest file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Most problems of one file; the rest is counted.
const MAX_PROBLEMS: usize = 1000;
/// Most warnings of one file; who has read so many knows the kind.
const MAX_WARNINGS: usize = 100;
/// Documents up to this size, in bytes, and with few brackets cannot hold up libyaml.
const SMALL: usize = 4096;
const FEW_BRACKETS: usize = 32;
/// Most directives of a document: libyaml compares each with all others.
const MAX_DIRECTIVES: usize = 8;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, any number of documents.
    Yaml,
    /// Strict JSON, one document.
    Json,
}

impl Format {
    /// The format that a file's name says: `.yaml`, `.yml` or `.json`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Valid manifests, in the file's order.
    pub manifests: Vec<(ServiceKey, Desired)>,
    /// Problems, in their order.
    pub problems: Vec<Problem>,
    /// How many problems were found beyond those.
    pub(crate) more: usize,
    /// Warnings, in their order, the first `MAX_WARNINGS` of them.
    pub warnings: Vec<Warning>,
    /// Services that documents with problems name, where that much could be read.
    pub claimed: Vec<ServiceKey>,
}

impl Parsed {
    /// How many problems were found.
    pub(crate) fn count(&self) -> usize {
        self.problems.len() + self.more
    }

    /// Keeps the first problem only, for a folder that has too many to keep them all.
    pub(crate) fn cut(&mut self) {
        self.more += self.problems.len().saturating_sub(1);
        self.problems.truncate(1);
        self.problems.shrink_to_fit();
        self.warnings = Vec::new();
    }

    /// Whether [`Parsed::cut`] left anything out.
    pub(crate) fn is_cut(&self) -> bool {
        self.more > 0 && self.problems.len() == 1
    }
}

/// Reads a file's bytes. `file` is its path from the folder's top.
#[must_use]
pub fn parse(file: &Arc<str>, format: Format, bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    if bytes.len() > MAX_BYTES {
        let message = format!("the file is larger than {} MiB", MAX_BYTES / 1024 / 1024);
        parsed.problems.push(Problem::of_file(file, message, rules::IGNORE_HINT));
        return parsed;
    }
    let source = match Source::decode(file, bytes) {
        Ok(source) => source,
        Err(problem) => {
            parsed.problems.push(*problem);
            return parsed;
        }
    };
    if let Some(problem) = leftover::of_file(&source) {
        parsed.problems.push(problem);
        return parsed;
    }
    let documents = match format {
        Format::Yaml => documents::split(source.text),
        Format::Json => whole(source.text).into_iter().collect(),
    };
    if documents.is_empty() {
        let blank = source.text.trim().is_empty();
        let message = if blank { "the file is empty" } else { "the file has only comments and no manifest" };
        let hint = "remove the file, or name it in .truenorthignore";
        parsed.problems.push(Problem::of_file(file, message, hint));
    }
    parsed.manifests.reserve_exact(documents.len());
    let (mut more, mut told) = (0, leftover::Told::default());
    for document in &documents {
        let mut problems = take(&source, format, document, &mut parsed);
        told.explain(&source, document, &mut problems);
        problems.sort();
        // Documents come in the order of their lines, so the first problems are those that are kept.
        let room = MAX_PROBLEMS - parsed.problems.len();
        more += problems.len().saturating_sub(room);
        problems.truncate(room);
        parsed.problems.append(&mut problems);
    }
    parsed.warnings.sort();
    parsed.warnings.truncate(MAX_WARNINGS);
    if more > 0 {
        let end = source.text.trim_end().len();
        let message = format!("and {more} more problems in this file");
        parsed.problems.push(source.problem(end..end, String::new(), message, MORE));
        // That itself stands for one.
        parsed.more = more - 1;
    }
    parsed
}

/// What to do where more is wrong than is told.
const MORE: &str = "fix those that are shown; the others are shown then";

/// Reads one document into what is known of its file; gives its problems.
fn take(source: &Source<'_>, format: Format, document: &Document<'_>, parsed: &mut Parsed) -> Vec<Problem> {
    let Reading { tree, outline, mut problems } = match format {
        Format::Yaml => read_yaml(source, document),
        Format::Json => read_json(source),
    };
    if let Some(tree) = tree {
        let mut checker = Checker::default();
        let is_valid = match rules::document(&mut checker, &tree) {
            Some((key, update, policy)) if problems.is_empty() => {
                let place = Place { file: Arc::clone(source.file), line: document.line };
                let desired = Desired::new(&key, update, policy, place);
                parsed.manifests.push((key, desired));
                true
            }
            _ => {
                parsed.claimed.extend(rules::named_service(&tree));
                false
            }
        };
        if is_valid && checker.warnings.is_empty() {
            return problems;
        }
        let outline = outline.or_else(|| Outline::read(document.text).ok());
        let placed = |findings| place(source, format, document, outline.as_ref(), findings);
        parsed.warnings.extend(placed(checker.warnings).map(Warning));
        problems.extend(placed(checker.findings));
        if checker.more > 0 {
            let end = document.offset + document.text.trim_end().len();
            let message = format!("and {} more problems in this document", checker.more);
            problems.push(source.problem(end..end, String::new(), message, MORE));
        }
    }
    problems
}

/// A document after reading. Without problems it has a tree.
#[derive(Default)]
struct Reading<'t> {
    tree: Option<Node<'t>>,
    outline: Option<Outline>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn failed(problem: Problem) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}

fn read_yaml<'t>(source: &Source<'_>, document: &Document<'t>) -> Reading<'t> {
    if document.directives > MAX_DIRECTIVES {
        let message = format!("the document has {} directives", document.directives);
        return Reading::failed(whole_document(source, document, message, "remove the lines that start with %"));
    }
    if !document.text.is_ascii()
        && let Some(problem) = syntax::unclear_character(source, document)
    {
        return Reading::failed(problem);
    }
    if let Some(tree) = plain::read(document.text) {
        return Reading { tree: Some(tree), ..Reading::default() };
    }
    let mut reading = if needs_a_look(document.text) { look(source, document) } else { Reading::default() };
    if !reading.problems.is_empty() && reading.outline.is_none() {
        return reading;
    }
    let budget = Budget::new();
    match budget.seed().deserialize(serde_yaml::Deserializer::from_str(document.text)) {
        Ok(tree) => reading.tree = Some(tree),
        // A tag that was reported already is likely to be the cause.
        Err(_) if !reading.problems.is_empty() => {}
        Err(error) => reading.problems.push(match (budget.excess(), Outline::read(document.text)) {
            (Some(excess), _) => excessive(source, document, excess, None),
            (None, Err(NoOutline::Syntax(scan))) => syntax::yaml(source, document, Some(&error), Some(&scan)),
            (None, _) => syntax::yaml(source, document, Some(&error), None),
        }),
    }
    reading
}

fn read_json<'t>(source: &Source<'t>) -> Reading<'t> {
    let budget = Budget::new();
    let mut deserializer = serde_json::Deserializer::from_str(source.text);
    let tree = budget.seed().deserialize(&mut deserializer).and_then(|tree| deserializer.end().map(|()| tree));
    match tree {
        Ok(tree) => Reading { tree: Some(tree), ..Reading::default() },
        Err(error) => Reading::failed(match (budget.excess(), whole(source.text)) {
            (Some(excess), Some(document)) => {
                let at = source.offset_of_bytes(error.line(), error.column());
                excessive(source, &document, excess, Some(at))
            }
            _ => syntax::json(source, &error),
        }),
    }
}

/// Whether a document must be looked at before libyaml reads it: it may be hostile, or use what only its outline
/// shows. Ordinary manifests need no second look.
fn needs_a_look(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > SMALL
        || bytes.contains(&b'!')
        || (bytes.contains(&b'&') && bytes.contains(&b'*'))
        || bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > FEW_BRACKETS
}

/// Looks at a document through its outline.
fn look<'t>(source: &Source<'_>, document: &Document<'_>) -> Reading<'t> {
    let outline = match Outline::read(document.text) {
        Ok(outline) => outline,
        Err(error) => {
            return Reading::failed(match error {
                NoOutline::Nodes(at) => excessive(source, document, Excess::Nodes, Some(document.offset + at)),
                NoOutline::Depth(at) => excessive(source, document, Excess::Depth, Some(document.offset + at)),
                NoOutline::Syntax(error) => syntax::yaml(source, document, None, Some(&error)),
            });
        }
    };
    let problem = |range: &std::ops::Range<usize>, message: &str, hint: &str| {
        let range = document.offset + range.start..document.offset + range.end;
        source.problem(range, String::new(), message.to_owned(), hint)
    };
    let tags = outline.tags.iter().take(check::MAX_FINDINGS);
    let mut problems: Vec<_> = tags
        .map(|tag| {
            problem(tag, "YAML tags are not allowed in manifests", "remove the tag; quote the value if it must be text")
        })
        .collect();
    // Readers do not agree on what an alias means after its anchor was given anew; serde_yaml even confuses others.
    let anchors = outline.repeated_anchors.iter().take(check::MAX_FINDINGS);
    problems.extend(anchors.map(|anchor| problem(anchor, "this anchor is defined twice", "rename one of them")));
    Reading { tree: None, outline: Some(outline), problems }
}

/// The problem of a document that passes a limit.
fn excessive(source: &Source<'_>, document: &Document<'_>, excess: Excess, at: Option<usize>) -> Problem {
    let message = match excess {
        Excess::Nodes => format!("the document has more than {MAX_NODES} values, or its aliases expand to more"),
        Excess::Depth => format!("the document is nested more than {MAX_DEPTH} levels deep"),
        Excess::Text => "the document has aliases that expand to too much text".to_owned(),
    };
    let hint = rules::IGNORE_HINT;
    match at {
        Some(at) => source.problem(at..at, String::new(), message, hint),
        None => whole_document(source, document, message, hint),
    }
}

/// A problem at the first line of a document's content.
fn whole_document(source: &Source<'_>, document: &Document<'_>, message: String, hint: &str) -> Problem {
    let at = source.offset_of_chars(document.line as usize, 1);
    source.problem(at..at, String::new(), message, hint)
}

/// Turns findings into problems by the outline; without one they stand at the document's start.
fn place<'p>(
    source: &'p Source<'_>,
    format: Format,
    document: &'p Document<'_>,
    outline: Option<&'p Outline>,
    findings: Vec<Finding>,
) -> impl Iterator<Item = Problem> + use<'p> {
    let start = source.offset_of_chars(document.line as usize, 1);
    let locate = move |steps: &[u32]| match outline {
        Some(outline) => {
            let range = outline.locate(steps);
            document.offset + range.start..document.offset + range.end
        }
        None => start..start,
    };
    findings.into_iter().map(move |Finding { steps, path, message, hint }| {
        let range = locate(&steps);
        let written = || shown(source.text.get(range.clone()).unwrap_or_default());
        let quoted = |text: &str| match format {
            Format::Yaml => format!("quote it: write '{text}'"),
            Format::Json => format!("quote it: write \"{text}\""),
        };
        let hint = match hint {
            Hint::Text(text) => text,
            Hint::Quote => quoted(&written()),
            Hint::QuotedSha => {
                let text = written();
                match text.chars().count() {
                    BuildSha::CHARS => quoted(&text),
                    count => format!("it has {count}: write all 40 characters, in quotes"),
                }
            }
            Hint::FirstAt(first) => {
                let line = source.line_number(locate(&first).start);
                format!("the first one is on line {line}; keep one of them")
            }
        };
        source.problem(range, path, message, hint)
    })
}

/// A JSON file as its one document; nothing where there is only blank.
fn whole(text: &str) -> Option<Document<'_>> {
    let blank = text.len() - text.trim_start().len();
    let line = text[..blank].bytes().filter(|byte| *byte == b'\n').count() + 1;
    (blank < text.len()).then(|| Document {
        text,
        offset: 0,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        directives: 0,
    })
}
