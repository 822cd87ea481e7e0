//! The rules of a manifest's policy: how truenorth is to treat the service.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use regex::Regex;

use crate::model::{Approval, DependencyGate, DriftMode, Id, OnFailure, Policy, ServiceKey, Suspend, Unnamed};

use super::check::{Checker, Field, Hint, a_kind};
use super::fields;
use super::node::Node;
use super::suggest;
use super::text::shown;

/// A time of RFC 3339, from its years to its zone; which days a month has is not in it. The leap second is left out:
/// nobody means it.
pub(super) const TIME: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\
    (\\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// Something that can be seen.
pub(super) const SEEN: &str = r"[^\s\u0085\uFEFF]";

const EXAMPLE: &str = "2027-01-31T18:00:00Z";
/// Longer texts are no times, and are not looked at.
const MAX_TIME_BYTES: usize = 64;

/// Checks a policy.
pub(super) fn treatment(checker: &mut Checker, field: &Field<'_, '_>, key: Option<&ServiceKey>) -> Option<Policy> {
    let [suspend, drift, credentials, depends_on, gate, approval, on_failure] =
        checker.fields(&field.spot, field.node, fields::POLICY)?;
    let suspend = match suspend {
        Some(field) => self::suspend(checker, &field),
        None => Some(Suspend::No),
    };
    let drift = match drift {
        Some(field) => self::drift(checker, &field).map(Some),
        None => Some(None),
    };
    let credentials = match credentials {
        Some(field) => checker.choice(&field, &[Unnamed::OnPurpose], |_| Unnamed::WORD),
        None => Some(Unnamed::default()),
    };
    let depends_on = match depends_on {
        Some(field) => self::depends_on(checker, &field, key),
        None => Some(Arc::default()),
    };
    let gate = match gate {
        Some(field) => checker.choice(&field, &DependencyGate::ALL, DependencyGate::as_str),
        None => Some(DependencyGate::default()),
    };
    let approval = match approval {
        Some(field) => checker.choice(&field, &Approval::ALL, Approval::as_str),
        None => Some(Approval::default()),
    };
    let on_failure = match on_failure {
        Some(field) => checker.choice(&field, &OnFailure::ALL, OnFailure::as_str).map(Some),
        None => Some(None),
    };
    Some(Policy {
        suspend: suspend?,
        drift: drift?,
        credentials: credentials?,
        depends_on: depends_on?,
        gate: gate?,
        approval: approval?,
        on_failure: on_failure?,
    })
}

/// The services that this one depends on. A bare name is one of the same project, and of the same team.
fn depends_on(checker: &mut Checker, field: &Field<'_, '_>, key: Option<&ServiceKey>) -> Option<Arc<[ServiceKey]>> {
    let count = if let Node::List(entries) = field.node { entries.len() } else { 0 };
    if count > Policy::MAX_DEPENDENCIES {
        let message = format!("dependsOn has {count} entries, more than {}", Policy::MAX_DEPENDENCIES);
        let hint = "depend on the last of a chain alone: what that depends on is waited for too".to_owned();
        checker.at_value(&field.spot, message, Hint::Text(hint));
        return None;
    }
    let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let mut named: Vec<ServiceKey> = Vec::with_capacity(count);
    let mut good = true;
    for entry in checker.entries(field, &names)? {
        match dependency(checker, &entry, key, &named) {
            Some(dependency) => named.push(dependency),
            None => good = false,
        }
    }
    good.then(|| named.into())
}

fn dependency(
    checker: &mut Checker,
    entry: &Field<'_, '_>,
    key: Option<&ServiceKey>,
    before: &[ServiceKey],
) -> Option<ServiceKey> {
    let Node::Text(text) = entry.node else {
        let message = format!("an entry of dependsOn must be the name of a service, found {}", a_kind(entry.node));
        checker.at_value(&entry.spot, message, Hint::Text("write service, or project/service".into()));
        return None;
    };
    let parts: Vec<&str> = text.splitn(4, '/').collect();
    let (team, project, service) = match parts[..] {
        [service] => (None, None, service),
        [project, service] => (None, Some(project), service),
        [team, project, service] => (Some(team), Some(project), service),
        _ => {
            let hint = "write service, project/service or team/project/service".to_owned();
            let message = format!("`{}` is not the name of a service", shown(text));
            checker.at_value(&entry.spot, message, Hint::Text(hint));
            return None;
        }
    };
    let mut id = |part: &str| match Id::new(part) {
        Ok(id) => Some(id),
        Err(error) => {
            let message = format!("`{}` is not the name of a service: the id `{}` {error}", shown(text), shown(part));
            checker.at_value(&entry.spot, message, Hint::Text(suggest::id(part).unwrap_or_else(|| suggest::ID.into())));
            None
        }
    };
    let service = id(service)?;
    // Where the key is missing, the document has a problem of its own.
    let project = match project {
        Some(project) => id(project)?,
        None => key?.project.clone(),
    };
    let team = match team {
        Some(team) => Some(id(team)?),
        None => key.and_then(|key| key.team.clone()),
    };
    let dependency = ServiceKey { team, project, service };
    if key == Some(&dependency) {
        let message = format!("`{dependency}` depends on itself");
        checker.at_value(&entry.spot, message, Hint::Text("remove the entry".into()));
        return None;
    }
    if before.contains(&dependency) {
        let message = format!("dependsOn names `{dependency}` twice");
        checker.at_value(&entry.spot, message, Hint::Text("remove one of the entries".into()));
        return None;
    }
    Some(dependency)
}

fn suspend(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Suspend> {
    match field.node {
        Node::Bool(false) => Some(Suspend::No),
        Node::Bool(true) => Some(Suspend::Yes { reason: None, until: None }),
        Node::Map(_) => suspension(checker, field),
        Node::Null => {
            checker.wrong_type(&field.spot, field.node, "true or false");
            None
        }
        other => {
            let message = format!("suspend must be true, false or a map of reason and until, found {}", a_kind(other));
            let hint = match other {
                Node::Text(text) => suggest_suspend(text),
                _ => format!("write suspend: {{reason: maintenance, until: {EXAMPLE}}}"),
            };
            checker.at_value(&field.spot, message, Hint::Text(hint));
            None
        }
    }
}

/// What somebody may have meant who wrote text after `suspend:`: a truth, a time, or why.
fn suggest_suspend(text: &str) -> String {
    match time(text) {
        Ok(_) => format!("write suspend: {{until: {text}}}"),
        Err(_) => suggest::truth(text)
            .unwrap_or_else(|| format!("write suspend: {{reason: maintenance, until: {EXAMPLE}}}, or true or false")),
    }
}

fn suspension(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Suspend> {
    let [reason, until] = checker.fields(&field.spot, field.node, fields::SUSPEND)?;
    let reason = match reason {
        Some(field) => self::reason(checker, &field).map(Some),
        None => Some(None),
    };
    let until = match until {
        Some(field) => self::until(checker, &field).map(Some),
        None => Some(None),
    };
    Some(Suspend::Yes { reason: reason?, until: until? })
}

/// Why a service is suspended. What surrounds it is cut: a folded text of YAML ends with a line break.
fn reason(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Arc<str>> {
    let text = checker.text(field)?;
    let seen = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if seen.is_empty() {
        checker.at_value(&field.spot, "reason is empty".into(), Hint::Text("say why, or leave it out".into()));
        return None;
    }
    let count = text.chars().count();
    if count > Suspend::MAX_REASON_CHARS {
        let message = format!("reason has {count} characters, more than {}", Suspend::MAX_REASON_CHARS);
        let hint = "shorten it, and put the rest in a comment".to_owned();
        checker.at_value(&field.spot, message, Hint::Text(hint));
        return None;
    }
    Some(seen.into())
}

fn until(checker: &mut Checker, field: &Field<'_, '_>) -> Option<Timestamp> {
    let (message, hint) = match field.node {
        Node::Text(text) => match time(text) {
            Ok(time) => return Some(time),
            Err(why) => (format!("until `{}` is not an RFC 3339 time", shown(text)), why.hint(text)),
        },
        Node::Null => {
            checker.wrong_type(&field.spot, field.node, "a time");
            return None;
        }
        other => (format!("until must be a time, found {}", a_kind(other)), NoTime::Other.hint("")),
    };
    checker.at_value(&field.spot, message, Hint::Text(hint));
    None
}

/// Why a text is no time, as far as it can be told.
enum NoTime {
    /// A day without a time.
    Day,
    /// A day and a time without a zone.
    Zone,
    /// Written as a time, but no calendar has it.
    Calendar,
    /// A time of another notation.
    Notation,
    Other,
}

impl NoTime {
    fn hint(&self, text: &str) -> String {
        match self {
            Self::Day => format!("add a time and its zone, as {text}T18:00:00Z"),
            Self::Zone => "add the zone: Z for UTC, or an offset as +01:00".into(),
            Self::Calendar => "there is no such day".into(),
            Self::Notation => format!("write day, T, time with seconds, and zone, as {EXAMPLE}"),
            Self::Other => format!("write it as {EXAMPLE}"),
        }
    }
}

/// Reads a time of RFC 3339. One past the last that can be told, such as the end of the year 9999, is the last.
fn time(text: &str) -> Result<Timestamp, NoTime> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| pattern(TIME));
    if text.len() > MAX_TIME_BYTES {
        return Err(NoTime::Other);
    }
    let pieces = Pieces::parse(text);
    if !PATTERN.is_match(text) {
        let Ok(pieces) = pieces else { return Err(NoTime::Other) };
        return Err(match (pieces.time(), pieces.to_numeric_offset(), pieces.time_zone_annotation()) {
            (None, None, None) if is_plain_day(text) => NoTime::Day,
            (Some(_), None, None) => NoTime::Zone,
            _ => NoTime::Notation,
        });
    }
    let Ok(pieces) = pieces else { return Err(NoTime::Calendar) };
    let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else { return Err(NoTime::Other) };
    Ok(offset.to_timestamp(pieces.date().to_datetime(time)).unwrap_or(Timestamp::MAX))
}

/// Whether a day is written as `2027-01-31`, so that a time can be put behind it.
fn is_plain_day(text: &str) -> bool {
    text.len() == 10 && !text.starts_with(['+', '-'])
}

#[allow(clippy::expect_used, reason = "the pattern is a constant, and used by a test")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern of a time is valid")
}

fn drift(checker: &mut Checker, field: &Field<'_, '_>) -> Option<DriftMode> {
    let hint = match field.node {
        Node::Bool(true) => "write report or correct",
        Node::Bool(false) => "write off",
        _ => return checker.choice(field, &DriftMode::ALL, DriftMode::as_str),
    };
    let message = format!("drift must be report, correct or off, found {}", a_kind(field.node));
    checker.at_value(&field.spot, message, Hint::Text(hint.into()));
    None
}
