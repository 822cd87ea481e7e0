//! The body of an answer that is no success: the provider's JSON, or whatever a proxy on the way makes of it.

use serde_json::Value;

use super::body::{Body, End};
use super::{Token, scrub};

/// The longest message, in bytes.
pub(super) const MAX_MESSAGE: usize = 1024;
/// The longest id, in bytes.
const MAX_ID: usize = 128;
/// The most of the details that is kept as they came, in bytes of JSON; more is kept as text that is cut off.
const MAX_DETAILS: usize = 4096;

/// What an error body says; every text of it is harmless, bounded, and without the token.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// What went wrong.
    pub(super) message: Option<String>,
    /// The provider's code for it.
    pub(super) id: Option<String>,
    /// Which fields are at fault, and the like.
    pub(super) details: Option<Value>,
}

impl Said {
    /// Makes of a body what can be made of it: the provider's fields, else the title of a page, else a line of text.
    pub(super) fn from_body(body: &Body, token: &Token) -> Self {
        // Half a body may end in half a token, which nothing would find.
        if !matches!(body.end, End::Whole) {
            return Self::default();
        }
        let text = String::from_utf8_lossy(&body.bytes);
        match serde_json::from_str(&text) {
            Ok(json) => Self::from_json(&json, token),
            Err(_) => {
                let plain = title(&text).or_else(|| plain(&text));
                Self { message: plain.and_then(|text| filled(text, token, MAX_MESSAGE)), ..Self::default() }
            }
        }
    }

    /// `{"error": {"message", "id", "details"}}`; gateways also write `{"error": "…"}` and `{"message": "…"}`.
    fn from_json(json: &Value, token: &Token) -> Self {
        let error = json.get("error").unwrap_or(json);
        let text = |field: &str, max| filled(error.get(field)?.as_str()?, token, max);
        Self {
            message: text("message", MAX_MESSAGE).or_else(|| filled(error.as_str()?, token, MAX_MESSAGE)),
            id: text("id", MAX_ID),
            details: error.get("details").filter(|details| !is_empty(details)).map(|details| bounded(details, token)),
        }
    }
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

/// The same value with every text made harmless. The parser has bounded its depth.
fn scrubbed(value: &Value, token: &Token) -> Value {
    let line = |text: &str| scrub::line(text, token, MAX_DETAILS);
    match value {
        Value::String(text) => Value::String(line(text)),
        Value::Array(items) => items.iter().map(|item| scrubbed(item, token)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, item)| (line(name), scrubbed(item, token))).collect(),
        // A token of digits alone is a number in JSON.
        Value::Number(number) if number.to_string().contains(token.expose()) => Value::Null,
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
        Said::from_body(&body, &Token::new("nf-hunter2").expect("valid"))
    }

    fn message(body: &str) -> Option<String> {
        said(body).message
    }

    #[test]
    fn the_providers_fields_are_kept() {
        let body = r#"{"error":{"status":400,"message":"bad body","id":"invalid","details":{"imagePath":["no tag"]}}}"#;
        let details = Some(json!({"imagePath": ["no tag"]}));
        assert_eq!(said(body), Said { message: Some("bad body".into()), id: Some("invalid".into()), details });
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
    fn half_a_body_says_nothing() {
        let body = Body { bytes: b"refused: Bearer nf-hun".to_vec(), end: End::Deadline };
        assert_eq!(Said::from_body(&body, &Token::new("nf-hunter2").expect("valid")), Said::default());
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
