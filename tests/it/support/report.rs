//! Reports, held to their committed schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// The schema of what `--output json` prints.
static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../report.schema.json")).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
});

/// A report that fits the schema.
#[track_caller]
pub(crate) fn checked(report: Value) -> Value {
    let errors: Vec<_> =
        SCHEMA.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?} in {report:#}");
    report
}

/// The same text with every SHA-256 hidden, and how long a rollout took.
pub(crate) fn hidden(text: &str) -> String {
    const DEPLOYED: &str = "deployed in ";
    let mut pieces = text.split(DEPLOYED);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let time = piece.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(piece.len());
        text.push_str(DEPLOYED);
        text.push('…');
        text.push_str(&piece[time..]);
    }
    let mut parts = text.split("sha256:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take(64).take_while(u8::is_ascii_hexdigit).count();
        out.push_str(if digits == 64 { "sha256:…" } else { "sha256:" });
        out.push_str(if digits == 64 { &part[64..] } else { part });
    }
    out
}

/// `(service, outcome)` as reports are compared.
pub(crate) fn outcome(service: &str, outcome: &str) -> (String, String) {
    (service.to_owned(), outcome.to_owned())
}
