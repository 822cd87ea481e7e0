//! What an update changes, field by field, against the content that was applied last.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::printable;
use crate::model::DeploymentUpdate;

/// One field that an update changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The field in the body of the update, such as `external.imagePath`.
    pub path: String,
    /// What was applied last; nothing where the field was not sent.
    pub from: Option<String>,
    /// What is desired; nothing where the field is no longer sent.
    pub to: Option<String>,
}

impl fmt::Display for Change {
    /// `external.imagePath nginx:1 -> nginx:2`, control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "not set".to_owned(), printable);
        write!(f, "{} {} -> {}", self.path, shown(&self.from), shown(&self.to))
    }
}

/// The fields in which `desired` differs from `applied`, by path. `applied` is the body of the last accepted update as
/// the ledger has it, `None` where there is none. Parts of a command that look like a password are not shown.
#[must_use]
pub fn changes(applied: Option<&Value>, desired: &DeploymentUpdate) -> Vec<Change> {
    // An update is always JSON.
    changes_between(applied, &serde_json::to_value(desired).unwrap_or_default())
}

/// The same of two bodies that the ledger has.
#[must_use]
pub fn changes_between(from: Option<&Value>, to: &Value) -> Vec<Change> {
    let mut fields: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    if let Some(from) = from {
        leaves("", from, &mut |path, text| fields.entry(path).or_default().0 = Some(text));
    }
    leaves("", to, &mut |path, text| fields.entry(path).or_default().1 = Some(text));
    fields
        .into_iter()
        .filter(|(_, (from, to))| from != to)
        .map(|(path, (from, to))| {
            let (from, mut to) = (from.map(masked), to.map(masked));
            if let Some(to) = to.as_mut().filter(|to| from.as_ref() == Some(to)) {
                to.push_str(" (another in what is not shown)");
            }
            Change { path, from, to }
        })
        .collect()
}

/// Gives every leaf below `value` with its path.
fn leaves(path: &str, value: &Value, give: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, give);
            }
        }
        Value::String(text) => give(path.to_owned(), text.clone()),
        other => give(path.to_owned(), other.to_string()),
    }
}

/// Hides what follows a name like `--password` or `API_KEY=`, and the user of a URL: a plan ends up in build logs.
pub(super) fn masked(text: String) -> String {
    #[allow(clippy::expect_used, reason = "a constant pattern that a test uses")]
    static SECRET: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)([\w-]*(?:passw(?:or)?d|secret|token|api[-_]?key|private[-_]?key)[\w-]*(?:\s*[=:]\s*|\s+))[^\s,;&]+|(://)[^/\s@]+@",
        )
        .expect("a valid pattern")
    });
    if !SECRET.is_match(&text) {
        return text;
    }
    SECRET
        .replace_all(&text, |found: &regex::Captures<'_>| match (found.get(1), found.get(2)) {
            (Some(name), _) => format!("{}***", name.as_str()),
            (None, _) => "://***@".to_owned(),
        })
        .into_owned()
}
