//! Texts that are not valid YAML or JSON: saying why in words that help, at the place where it shows.

use granit_parser::{ErrorKind, ScanError};

use super::documents::Document;
use super::outline;
use super::problem::Problem;
use super::rules::IGNORE_HINT;
use super::text::Source;

/// The characters that YAML 1.1 and 1.2 read differently, and that nobody sees.
pub(super) const UNCLEAR: [char; 4] = ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

/// The first character that YAML does not take as it stands, or not everywhere alike.
pub(super) fn unclear_character(source: &Source<'_>, document: &Document<'_>) -> Option<Problem> {
    let (index, c) = document.text.char_indices().find(|(_, c)| UNCLEAR.contains(c))?;
    let at = document.offset + index;
    let escape = if c == '\u{85}' { "\\N".to_owned() } else { format!("\\u{:04x}", u32::from(c)) };
    Some(source.problem(
        at..at + c.len_utf8(),
        String::new(),
        format!("YAML readers disagree about the invisible character U+{:04X}", u32::from(c)),
        format!("remove it, or write {escape} inside double quotes"),
    ))
}

/// What to do about what has no better hint.
const LOOK: &str = "look at the quotes, colons and indentation of this line and the one before it";

/// Why a document is not valid YAML. Either reader's error may be missing.
pub(super) fn yaml(
    source: &Source<'_>,
    document: &Document<'_>,
    by_libyaml: Option<&serde_yaml::Error>,
    by_granit: Option<&ScanError>,
) -> Problem {
    let problem = |at: usize, message: String, hint: &str| source.problem(at..at, String::new(), message, hint);
    if let Some((index, c)) = document.text.char_indices().find(|(_, c)| is_control(*c)) {
        let hint = if c == '\0' { "save the file as UTF-8 text" } else { "remove it, or escape it in double quotes" };
        let message = format!("the control character U+{:04X} is not allowed", u32::from(c));
        return problem(document.offset + index, message, hint);
    }
    // Both readers trip over a tab at a place of their own; the tab itself is what has to be seen.
    let libyaml_at = by_libyaml
        .and_then(serde_yaml::Error::location)
        .map(|place| source.offset_of_chars(source.line_number(document.offset) + place.line() - 1, place.column()));
    let granit_at = by_granit.map(|error| document.offset + outline::offset(error));
    for at in [libyaml_at, granit_at].into_iter().flatten() {
        let indentation = source.indentation(at);
        if let Some(tab) = source.text[indentation.clone()].find('\t') {
            let hint = "YAML allows only spaces here";
            return problem(indentation.start + tab, "a tab is used for indentation".into(), hint);
        }
    }
    let end = document.offset + document.text.trim_end().len();
    match (by_granit, by_libyaml) {
        (Some(error), _) => {
            let at = granit_at.unwrap_or(document.offset);
            problem(at.min(end.max(document.offset)), message(error.kind()), hint(error.kind()))
        }
        (None, Some(error)) => problem(
            libyaml_at.unwrap_or(document.offset),
            format!("not valid YAML: {}", without_place(&error.to_string())),
            LOOK,
        ),
        (None, None) => problem(document.offset, "not valid YAML".into(), LOOK),
    }
}

/// Why a file is not valid JSON.
pub(super) fn json(source: &Source<'_>, error: &serde_json::Error) -> Problem {
    let at = source.offset_of_bytes(error.line(), error.column());
    let text = error.to_string();
    let (message, hint) = if text.starts_with("trailing characters") {
        ("there is text after the end of the document".to_owned(), "a JSON file has one document")
    } else if text.starts_with("trailing comma") {
        ("not valid JSON: a comma before the closing bracket".to_owned(), "remove the comma")
    } else if text.starts_with("recursion limit") {
        ("the document is nested too deeply".to_owned(), IGNORE_HINT)
    } else {
        (format!("not valid JSON: {}", without_place(&text)), "look at the quotes, commas and brackets up to here")
    };
    source.problem(at..at, String::new(), message, hint)
}

/// An error's text up to where it speaks of places, which a problem has already.
fn without_place(text: &str) -> String {
    text.split(" at line ").next().unwrap_or(text).to_owned()
}

/// What neither YAML version takes as it stands.
fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')
}

fn message(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::UnclosedQuotedScalar => "the quote that opens here is never closed".into(),
        ErrorKind::MappingValueNotAllowed => "a colon where no field can start".into(),
        ErrorKind::UnexpectedCharacter { character } => format!("a value cannot start with `{character}`"),
        ErrorKind::UnknownAnchor => "the alias refers to an anchor that is not defined before it".into(),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "there is text after the closing quote".into()
        }
        ErrorKind::ExpectedBlockMappingKey => "expected a field here".into(),
        ErrorKind::MisplacedFlowCollectionEnd => "a closing bracket without an opening one".into(),
        ErrorKind::InvalidDocumentEnd => "there is text after the `...` that ends the document".into(),
        other => format!("not valid YAML: {other}"),
    }
}

fn hint(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnclosedQuotedScalar => "close it with the same kind of quote, or remove it",
        ErrorKind::UnknownAnchor => "write the value itself, or give it an anchor further up in the same document",
        ErrorKind::MisplacedFlowCollectionEnd => "remove it, or quote the value that it belongs to",
        ErrorKind::InvalidDocumentEnd => "remove it, or begin another document with a line of ---",
        ErrorKind::MappingValueNotAllowed => "quote a value that has `: ` in it, or check the indentation",
        ErrorKind::UnexpectedCharacter { .. } => "quote the value",
        ErrorKind::InvalidTrailingSingleQuotedScalar => "inside single quotes a quote is written twice: ''",
        ErrorKind::InvalidTrailingDoubleQuotedScalar => "inside double quotes a quote is written \\\"",
        ErrorKind::ExpectedBlockMappingKey => "check the indentation of this line",
        ErrorKind::UnknownQuotedScalarEscape => "a backslash in double quotes begins an escape: use single quotes",
        _ => LOOK,
    }
}
