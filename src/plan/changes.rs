//! What an update changes, field by field, against the content that was applied last.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::DeploymentUpdate;
use crate::text::command::{self, Commands};
use crate::text::printable;

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

impl Change {
    /// The change of a field from one text to another; of a command what may be shown.
    #[must_use]
    pub fn new(path: impl Into<String>, from: Option<String>, to: Option<String>, commands: Commands) -> Self {
        let path = path.into();
        if commands == Commands::Shown || !command::is_command(&path) {
            return Self { path, from, to };
        }
        let (from, to) = match (&from, &to) {
            (Some(from), Some(to)) => {
                let (from, to) = command::change(from, to);
                (Some(from), Some(to))
            }
            (from, to) => (from.as_deref().map(command::shown), to.as_deref().map(command::shown)),
        };
        Self { path, from, to }
    }

    /// The same without a word of a command, for whoever may ask without saying who they are.
    pub fn without_command(self) -> Self {
        if !command::is_command(&self.path) {
            return self;
        }
        let hidden = |text: Option<String>| text.map(|_| command::HIDDEN.to_owned());
        Self { from: hidden(self.from), to: hidden(self.to), path: self.path }
    }
}

impl fmt::Display for Change {
    /// `external.imagePath nginx:1 -> nginx:2`, made printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "not set".into(), printable);
        write!(f, "{} {} -> {}", self.path, shown(&self.from), shown(&self.to))
    }
}

/// The fields in which `desired` differs from `applied`, by path. `applied` is the body of the last accepted update as
/// the ledger has it, `None` where there is none. Of a command only its harmless words are
/// shown, unless somebody asked for `commands`.
#[must_use]
pub fn changes(applied: Option<&Value>, desired: &DeploymentUpdate, commands: Commands) -> Vec<Change> {
    // An update is always JSON.
    changes_between(applied, &serde_json::to_value(desired).unwrap_or_default(), commands)
}

/// The same of two bodies that the ledger has.
#[must_use]
pub fn changes_between(from: Option<&Value>, to: &Value, commands: Commands) -> Vec<Change> {
    differing(from, to).map(|(path, [from, to])| Change::new(path, from, to, commands)).collect()
}

/// The paths of the fields in which two bodies differ; of all fields of `to` where there is no other.
#[must_use]
pub fn changed_paths(from: Option<&Value>, to: &Value) -> Vec<String> {
    differing(from, to).map(|(path, _)| path).collect()
}

/// The fields in which two bodies differ, by path, each with what it has in both.
fn differing(from: Option<&Value>, to: &Value) -> impl Iterator<Item = (String, [Option<String>; 2])> + use<> {
    let mut fields: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
    for (side, body) in [from, Some(to)].into_iter().enumerate() {
        if let Some(body) = body {
            leaves("", body, &mut |path, text| fields.entry(path).or_default()[side] = Some(text));
        }
    }
    fields.into_iter().filter(|(_, [from, to])| from != to)
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
