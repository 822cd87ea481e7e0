//! A problem: what is wrong, where, and what to do about it.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::model::Place;
use crate::text::command::HIDDEN;

/// Something that keeps a manifest, a file or the folder from being applied.
///
/// Problems are ordered by file, line, column, path and message, so that a run always lists them alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Path from the folder's top.
    #[serde(serialize_with = "text")]
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The field, as `spec.external.imagePath`; empty for a document or file as a whole.
    pub path: String,
    /// What is wrong: a fragment without a full stop.
    pub message: String,
    /// What to do about it. Whoever makes a problem has to name a way out.
    pub hint: Option<String>,
    /// The source line, so that the problem can be drawn when the file is gone.
    #[serde(skip)]
    pub(super) excerpt: Option<Excerpt>,
}

/// A bounded piece of one source line, and which bytes of it are at fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Excerpt {
    pub(super) text: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Something that keeps nothing from being applied and is worth a look before it is. It is told like a problem, and
/// never counts as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Warning(pub Problem);

/// What to do about a token that is in the folder.
const TOKEN_HINT: &str = "remove it, and replace the token in Northflank: whoever can read the folder has it";

impl Problem {
    /// A problem of a file as a whole: it cannot be read, is a pipe, is too large. It stands at 1:1.
    #[must_use]
    pub fn of_file(file: &Arc<str>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(file),
            line: 1,
            column: 1,
            path: String::new(),
            message: message.into(),
            hint: Some(hint.into()),
            excerpt: None,
        }
    }

    /// The text at fault, as much of it as is kept. Of a map or a list only the beginning is at fault; there it is all of
    /// the line from it on.
    pub(super) fn fault(&self) -> Option<&str> {
        let Excerpt { text, start, end } = self.excerpt.as_ref()?;
        let rest = text.get(*start..)?;
        if rest.starts_with(['{', '[']) { Some(rest) } else { text.get(*start..*end) }
    }

    /// Whether it shows a text that must not be shown.
    pub(crate) fn shows(&self, is_secret: &dyn Fn(&str) -> bool) -> bool {
        let excerpt = self.excerpt.as_ref().map(|excerpt| excerpt.text.as_str());
        let texts = [Some(&*self.file), Some(&self.message), Some(&self.path), self.hint.as_deref(), excerpt];
        texts.into_iter().flatten().any(is_secret)
    }

    /// The same problem without a word of the file, where it shows some that must not be shown.
    #[must_use]
    pub(crate) fn withheld(self, is_secret: &dyn Fn(&str) -> bool) -> Self {
        if !self.shows(is_secret) {
            return self;
        }
        let message = "this has a problem, and the API token in it, so no more is shown".to_owned();
        let file = Self::shown_file(&self.file, is_secret);
        Self { file, path: String::new(), message, hint: Some(TOKEN_HINT.to_owned()), excerpt: None, ..self }
    }

    /// A path without the names in it that must not be shown.
    pub(crate) fn shown_file(file: &Arc<str>, is_secret: &dyn Fn(&str) -> bool) -> Arc<str> {
        if !is_secret(file) {
            return Arc::clone(file);
        }
        let names: Vec<_> = file.split('/').map(|name| if is_secret(name) { HIDDEN } else { name }).collect();
        names.join("/").into()
    }

    /// The problem of a manifest that would send the API token somewhere.
    #[must_use]
    pub(crate) fn with_token(place: &Place) -> Self {
        Self::of_document(place, "the manifest contains the API token", TOKEN_HINT)
    }

    /// The same of a field, whose place in the text is not known any more.
    #[must_use]
    pub(crate) fn of_field(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// A problem of a document as a whole, such as a second manifest for the same service. It stands where the
    /// document begins.
    #[must_use]
    pub fn of_document(place: &Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line: place.line, ..Self::of_file(&place.file, message, hint) }
    }
}

/// serde writes an `Arc` only with a feature that all crates of a build would get.
fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
