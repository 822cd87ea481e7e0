//! What went wrong, for people: in words, with the way out, and with what the API says of the fields at fault.

use std::fmt;

use serde::Serializer;
use serde::ser::SerializeMap as _;
use serde_json::Value;

/// A fault as people are told it. Its parts stay apart up to where they are shown, so that no text of a server can pass
/// for a hint of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic {
    /// What happened: a fragment such as `the API answered 404 Not Found: no such service`.
    pub message: String,
    /// The way out, where there is one to name.
    pub hint: Option<Box<str>>,
    /// What the API told beside its message, such as the fields that it refused: JSON of its own making, without the
    /// token and bounded.
    pub details: Option<Box<Value>>,
}

impl Diagnostic {
    /// Most lines that details take.
    const MAX_LINES: usize = 8;

    /// The same with a way out.
    pub fn with_hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with more words before the message.
    #[must_use]
    pub fn after(mut self, words: &str) -> Self {
        self.message.insert_str(0, words);
        self
    }

    /// The details in lines such as `external.imagePath: is not a valid image`. More lines than fit are counted.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(details) = &self.details {
            collect(details, &mut String::new(), &mut lines);
        }
        if lines.len() > Self::MAX_LINES {
            let more = lines.len() - (Self::MAX_LINES - 1);
            lines.truncate(Self::MAX_LINES - 1);
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// All of it in one line, for logs: `message (field: text; …)`.
    pub fn line(&self) -> String {
        let lines = self.lines();
        if lines.is_empty() { self.message.clone() } else { format!("{} ({})", self.message, lines.join("; ")) }
    }
}

fn collect(value: &Value, path: &mut String, lines: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                collect(value, path, lines);
                path.truncate(length);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, path, lines)),
        Value::Null => {}
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            lines.push(if length == 0 { text } else { format!("{path}: {text}") });
        }
    }
}

impl From<String> for Diagnostic {
    fn from(message: String) -> Self {
        Self { message, hint: None, details: None }
    }
}

impl From<&str> for Diagnostic {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// For `#[serde(flatten)]`: the message under the name `error`, and beside it `hint` and `details` where they are there.
pub(crate) fn as_error<S: Serializer>(diagnostic: &Option<Diagnostic>, serializer: S) -> Result<S::Ok, S::Error> {
    beside("error", diagnostic.as_ref(), serializer)
}

/// The same under the name `message`.
pub(crate) fn as_message<S: Serializer>(diagnostic: &Option<Diagnostic>, serializer: S) -> Result<S::Ok, S::Error> {
    beside("message", diagnostic.as_ref(), serializer)
}

/// The same under the name `reason`.
pub(crate) fn as_reason<S: Serializer>(diagnostic: &Option<Diagnostic>, serializer: S) -> Result<S::Ok, S::Error> {
    beside("reason", diagnostic.as_ref(), serializer)
}

fn beside<S: Serializer>(
    name: &'static str,
    diagnostic: Option<&Diagnostic>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry(name, &diagnostic.map(|diagnostic| &diagnostic.message))?;
    if let Some(hint) = diagnostic.and_then(|diagnostic| diagnostic.hint.as_ref()) {
        map.serialize_entry("hint", hint)?;
    }
    if let Some(details) = diagnostic.and_then(|diagnostic| diagnostic.details.as_ref()) {
        map.serialize_entry("details", details)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;

    use super::*;

    fn lines(details: Value) -> Vec<String> {
        Diagnostic { details: Some(Box::new(details)), ..Diagnostic::from("no") }.lines()
    }

    #[test]
    fn details_of_any_shape_are_lines_that_name_the_field() {
        assert_eq!(
            lines(json!({"external": {"imagePath": ["no tag", "too long"]}, "n": 3, "nothing": null})),
            ["external.imagePath: no tag", "external.imagePath: too long", "n: 3"]
        );
        assert_eq!(lines(json!("a text")), ["a text"]);
        assert_eq!(lines(json!([{"field": "a", "message": "b"}, true])), ["field: a", "message: b", "true"]);
        assert_eq!(Diagnostic::from("no").lines(), [""; 0]);
    }

    #[test]
    fn details_take_eight_lines_and_count_the_rest() {
        let many = |count: usize| lines(json!((0..count).collect::<Vec<_>>()));
        assert_eq!(many(8).len(), 8);
        let more = many(20);
        assert_eq!((more.len(), more[6].as_str(), more[7].as_str()), (8, "6", "and 13 more"));
    }

    #[test]
    fn in_json_the_parts_stand_side_by_side() {
        #[derive(Serialize)]
        struct Shown {
            before: u8,
            #[serde(flatten, serialize_with = "as_error")]
            error: Option<Diagnostic>,
            after: u8,
        }
        let shown = |error| serde_json::to_string(&Shown { before: 1, error, after: 2 }).unwrap();
        assert_eq!(shown(None), r#"{"before":1,"error":null,"after":2}"#);
        let all =
            Diagnostic { details: Some(Box::new(json!({"a": ["b"]}))), ..Diagnostic::from("no").with_hint("yes") };
        assert_eq!(shown(Some(all)), r#"{"before":1,"error":"no","hint":"yes","details":{"a":["b"]},"after":2}"#);
    }
}
