//! The body of an answer that failed: the API's JSON, or whatever something on the way puts in its place.

use reqwest::StatusCode;
use serde_json::Value;

use super::body::{Body, End, MAX_FAILURE};
use super::meaning::Speaker;
use super::{Token, scrub};
use crate::text::command;

/// The longest message, in bytes.
pub(super) const MAX_MESSAGE: usize = 1024;
/// The longest id, in bytes.
const MAX_ID: usize = 128;
/// The most of the details that is kept as they came, in bytes of JSON; more is kept as text that is cut off.
const MAX_DETAILS: usize = 4096;

/// What an error body says; every text of it is harmless, bounded, and without the token.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Who says it.
    pub(super) speaker: Speaker,
    /// What went wrong.
    pub(super) message: Option<String>,
    /// The provider's code for it.
    pub(super) id: Option<String>,
    /// Which fields are at fault, and the like.
    pub(super) details: Option<Value>,
}

impl Said {
    /// Makes of a body what can be made of it: the provider's fields, else the title of a page, else a line of text.
    pub(super) fn from_body(status: StatusCode, body: &Body, token: &Token) -> Self {
        // Half a body may end in half a token, which nothing would find. What is longer than an error is none.
        if !matches!(body.end, End::Whole) || body.bytes.len() > MAX_FAILURE {
            return Self::default();
        }
        let text = String::from_utf8_lossy(&body.bytes);
        match serde_json::from_str(&text) {
            Ok(json) => Self::from_json(status, &json, token),
            Err(_) => {
                let plain = title(&text).or_else(|| plain(&text));
                Self { message: plain.and_then(|text| filled(text, token, MAX_MESSAGE)), ..Self::default() }
            }
        }
    }

    /// Takes out the words of a command that are not to be shown.
    pub(super) fn conceal(&mut self, command: &str) {
        let concealed = |text: &str| command::concealed(text, command);
        self.message = self.message.take().map(|text| concealed(&text));
        self.id = self.id.take().map(|text| concealed(&text));
        self.details = self.details.take().map(|details| mapped(&details, &concealed));
    }

    /// `{"error": {"message", "id", "details"}}`; gateways also write `{"error": "…"}` and `{"message": "…"}`.
    fn from_json(status: StatusCode, json: &Value, token: &Token) -> Self {
        let error = json.get("error").unwrap_or(json);
        let text = |field: &str, max| filled(error.get(field)?.as_str()?, token, max);
        Self {
            speaker: json.get("error").map_or(Speaker::Another, |error| speaker(status, error)),
            message: text("message", MAX_MESSAGE).or_else(|| filled(error.as_str()?, token, MAX_MESSAGE)),
            id: text("id", MAX_ID),
            details: error.get("details").filter(|details| !is_empty(details)).map(|details| bounded(details, token)),
        }
    }
}

/// The API repeats the status as a number, and says in words what is wrong. Other programs write an `error` too: as a
/// text, with a `code`, or with a word for `status`. Under a status of success it can only repeat another.
fn speaker(status: StatusCode, error: &Value) -> Speaker {
    let repeats = |said: u64| status.is_success() || said == u64::from(status.as_u16());
    let is_status = error.get("status").and_then(Value::as_u64).is_some_and(repeats);
    let says = ["message", "id"].iter().any(|field| error.get(field).is_some_and(Value::is_string));
    if is_status && says { Speaker::Api } else { Speaker::Another }
}

/// A text made harmless, if something is left of it.
fn filled(text: &str, token: &Token, max: usize) -> Option<String> {
    Some(scrub::line(text, token, max)).filter(|text| !text.is_empty())
}

fn is_empty(details: &Value) -> bool {
    match details {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn bounded(details: &Value, token: &Token) -> Value {
    let details = scrubbed(details, token);
    let text = details.to_string();
    if text.len() > MAX_DETAILS { Value::String(scrub::line(&text, token, MAX_DETAILS)) } else { details }
}

/// The same value with every text made harmless.
fn scrubbed(value: &Value, token: &Token) -> Value {
    mapped(value, &|text| scrub::line(text, token, MAX_DETAILS))
}

/// The same value with every text changed so. The parser has bounded its depth.
fn mapped(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| mapped(item, change)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, item)| (change(name), mapped(item, change))).collect(),
        // A secret of digits alone is a number in JSON.
        Value::Number(number) if change(&number.to_string()) != number.to_string() => Value::Null,
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// What stands between `<title>` and `</title>`.
fn title(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(&text[start..end])
}

/// The first line of a text that is neither a page nor broken JSON, such as a proxy's own complaint.
fn plain(text: &str) -> Option<&str> {
    let binary = |c: char| c == char::REPLACEMENT_CHARACTER || (c.is_control() && !c.is_whitespace());
    let line = text.trim().lines().next()?;
    (!line.starts_with(['<', '{', '[', '"']) && !line.contains(binary)).then_some(line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(body: &str) -> Said {
        let body = Body { bytes: body.into(), end: End::Whole };
        Said::from_body(StatusCode::BAD_REQUEST, &body, &Token::new("nf-hunter2").expect("valid"))
    }

    fn message(body: &str) -> Option<String> {
        said(body).message
    }

    #[test]
    fn the_providers_fields_are_kept() {
        let body = r#"{"error":{"status":400,"message":"bad body","id":"invalid","details":{"imagePath":["no tag"]}}}"#;
        let details = Some(json!({"imagePath": ["no tag"]}));
        let (message_of, id) = (Some("bad body".into()), Some("invalid".into()));
        assert_eq!(said(body), Said { speaker: Speaker::Api, message: message_of, id, details });
        assert_eq!(message(r#"{"error":"not found"}"#).as_deref(), Some("not found"));
        assert_eq!(message(r#"{"message":"no route","error":null}"#), None);
        assert_eq!(message(r#"{"message":"no route"}"#).as_deref(), Some("no route"));
    }

    #[test]
    fn a_page_gives_its_title_and_a_text_its_first_line() {
        assert_eq!(message("<html><TITLE lang=en>\n 502  Bad</Title><p>x").as_deref(), Some("502 Bad"));
        assert_eq!(message("<html><title>open").as_deref(), None);
        assert_eq!(message("upstream connect error\r\nreset").as_deref(), Some("upstream connect error"));
        for nothing in ["", "   ", "null", "[]", "{", "{\"error\":", "3", "\u{0}\u{1}", r#"{"error":{"message":7}}"#] {
            assert_eq!(said(nothing), Said::default(), "{nothing:?}");
        }
    }

    #[test]
    fn only_an_error_in_the_contracts_form_is_the_apis() {
        for body in [
            r#"{"error":{"status":400,"message":"bad body"}}"#,
            r#"{"error":{"status":400,"id":"invalid","message":null}}"#,
            r#"{"error":{"status":400,"message":"","more":1},"requestId":7}"#,
        ] {
            assert_eq!(said(body).speaker, Speaker::Api, "{body}");
        }
        for body in [
            "404 page not found",
            "",
            "{}",
            "[400]",
            r#""error""#,
            r#"{"error":null}"#,
            r#"{"error":"Bad Request","status":400,"message":"of a framework"}"#,
            r#"{"status":400,"message":"of another framework"}"#,
            r#"{"error":{"code":400,"message":"of a cloud","status":"INVALID_ARGUMENT"}}"#,
            r#"{"error":{"status":400}}"#,
            r#"{"error":{"status":"400","message":"a word"}}"#,
            r#"{"error":{"status":502,"message":"of another answer"}}"#,
            r#"{"error":{"status":-400,"message":"x"}}"#,
            r#"{"error":{"status":400.5,"message":"x"}}"#,
            r#"{"error":[{"status":400,"message":"x"}]}"#,
        ] {
            assert_eq!(said(body).speaker, Speaker::Another, "{body}");
        }
    }

    #[test]
    fn half_a_body_says_nothing() {
        let body = Body { bytes: b"refused: Bearer nf-hun".to_vec(), end: End::Deadline };
        assert_eq!(
            Said::from_body(StatusCode::BAD_REQUEST, &body, &Token::new("nf-hunter2").expect("valid")),
            Said::default()
        );
    }

    #[test]
    fn no_field_is_long_or_holds_the_token() {
        let long = "x".repeat(10_000);
        let body = json!({"error": {"message": format!("Bearer nf-hunter2 {long}"), "id": long, "details":
            {"nf-hunter2": [{"authorization": "Bearer nf-hunter2\u{1b}"}], "n": 1}}});
        let some = said(&body.to_string());
        assert!(!format!("{some:?}").contains("hunter2"), "{some:?}");
        assert_eq!(some.details, Some(json!({"[token]": [{"authorization": "Bearer [token]\u{fffd}"}], "n": 1})));
        assert_eq!(some.message.map(|text| text.len()), Some(MAX_MESSAGE));
        assert_eq!(some.id.map(|text| text.len()), Some(MAX_ID));
        let many: Vec<_> = (0..5000).collect();
        let some = said(&json!({"error": {"details": many}}).to_string());
        assert!(matches!(some.details, Some(Value::String(text)) if text.len() == MAX_DETAILS));
    }

    #[test]
    fn nesting_without_end_is_no_trouble() {
        assert_eq!(said(&"[".repeat(60_000)), Said::default());
        let deep = format!(r#"{{"error":{{"details":{}{}}}}}"#, "[".repeat(120), "]".repeat(120));
        assert!(said(&deep).details.is_some());
    }
}
