//! `windows` in a config file: the times in which updates may be sent, or may not.

use std::ops::Range;

use jiff::tz::{self, TimeZone};
use serde_json::json;

use super::file::{NEAR, Reading, SHOWN};
use crate::manifest::values::{Kind, Value};
use crate::plan::{ChangeWindow, Rollbacks, ServicePattern, Span, WindowEffect, Windows};
use crate::text::{near, printable_within};

/// The name that they stand under.
pub(super) const WINDOWS: &str = "windows";

const FIELDS: [&str; 6] = ["allow", "deny", "zone", "services", "rollbacks", "reason"];

/// Most windows, times of one, and patterns of one.
const MOST: usize = 200;
/// Most characters of a reason.
const LONGEST: usize = 200;

/// A window, and on which line it begins.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) window: ChangeWindow,
    pub(super) line: u32,
}

/// A text of the file, and where it stands.
struct Text<'v> {
    text: &'v str,
    at: &'v Range<usize>,
}

impl Reading<'_> {
    /// The windows that stand here: a list, or one.
    pub(super) fn windows(&mut self, value: &Value) -> Vec<Placed> {
        let items = match &value.kind {
            Kind::List(items) => items.as_slice(),
            _ if value.is_empty() => &[],
            _ => std::slice::from_ref(value),
        };
        if items.len() > MOST {
            self.problem(
                &value.at,
                WINDOWS,
                format!("there are more than {MOST} windows"),
                "put several times into one window",
            );
            return Vec::new();
        }
        let windows: Vec<Placed> = items.iter().enumerate().flat_map(|(at, item)| self.window(item, at)).collect();
        if Windows::new(windows.iter().map(|placed| placed.window.clone()).collect()).is_none() {
            let hint = "name projects in place of services";
            self.problem(&value.at, WINDOWS, "the windows have too many patterns of services".to_owned(), hint);
        }
        windows
    }

    fn window(&mut self, value: &Value, number: usize) -> Vec<Placed> {
        let path = format!("{WINDOWS}[{number}]");
        let Kind::Map(entries) = &value.kind else {
            let message = format!("a window must be a map, found {}", value.described());
            let hint = "such as {allow: \"Mon-Thu 09:00-17:00\", zone: Europe/Berlin}".to_owned();
            self.problem(&value.at, &path, message, hint);
            return Vec::new();
        };
        let (mut spans, mut zone) =
            ([(WindowEffect::Allow, Vec::new()), (WindowEffect::Deny, Vec::new())], TimeZone::UTC);
        let (mut services, mut reason, mut seen): (_, _, Vec<&str>) = (Vec::new(), None, Vec::new());
        let mut rollbacks = Rollbacks::default();
        for (key, value) in entries {
            let name = match &key.kind {
                Kind::Scalar { text, .. } => text.as_str(),
                _ => "",
            };
            let path = format!("{path}.{}", printable_within(name, SHOWN));
            if seen.contains(&name) {
                self.problem(&key.at, &path, format!("{name} is given twice"), "keep one of them");
                continue;
            }
            seen.push(name);
            match name {
                "allow" => spans[0].1 = self.spans(value, &path),
                "deny" => spans[1].1 = self.spans(value, &path),
                "zone" => zone = self.zone(value, &path).unwrap_or(TimeZone::UTC),
                "services" => services = self.services(value, &path),
                "rollbacks" => rollbacks = self.rollbacks(value, &path).unwrap_or_default(),
                "reason" => reason = self.reason(value, &path),
                _ => {
                    let hint = match near(name, &FIELDS, NEAR) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("a window has {}", FIELDS.join(", ")),
                    };
                    let message = format!("unknown field `{}` of a window", printable_within(name, SHOWN));
                    self.problem(&key.at, &path, message, hint);
                }
            }
        }
        if !seen.contains(&"allow") && !seen.contains(&"deny") {
            let hint = "such as allow: \"Mon-Thu 09:00-17:00\", or deny: 2026-12-20..2027-01-03".to_owned();
            self.problem(&value.at, &path, "a window needs allow or deny".to_owned(), hint);
        }
        let line = self.line(value);
        let window = |(effect, spans)| {
            let (zone, services, reason) = (zone.clone(), services.clone(), reason.clone());
            Placed { window: ChangeWindow { effect, spans, zone, services, rollbacks, reason }, line }
        };
        spans.into_iter().filter(|(_, spans): &(_, Vec<Span>)| !spans.is_empty()).map(window).collect()
    }

    /// One text or a list of them, and none that is empty.
    fn texts<'v>(&mut self, value: &'v Value, path: &str) -> Vec<Text<'v>> {
        let items = match &value.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        if items.is_empty() || items.len() > MOST {
            let message = format!("{} must have 1 to {MOST} values", name_of(path));
            self.problem(&value.at, path, message, "or leave it out");
            return Vec::new();
        }
        let mut texts = Vec::new();
        for item in items {
            match &item.kind {
                Kind::Scalar { text, .. } if !item.is_empty() => texts.push(Text { text, at: &item.at }),
                _ => {
                    let message = format!("{} must be text, found {}", name_of(path), item.described());
                    self.problem(&item.at, path, message, "write it in quotes, or leave it out");
                }
            }
        }
        texts
    }

    fn spans(&mut self, value: &Value, path: &str) -> Vec<Span> {
        let mut spans = Vec::new();
        for Text { text, at } in self.texts(value, path) {
            match text.parse() {
                Ok(span) => spans.push(span),
                Err(why) => {
                    let message = format!("{} `{}`: {why}", name_of(path), printable_within(text, SHOWN));
                    let hint =
                        "such as \"Mon-Thu 09:00-17:00\", Sat,Sun, 22:00-06:00, 2026-12-20 or 2026-12-20..2027-01-03";
                    self.problem(at, path, message, hint);
                }
            }
        }
        spans
    }

    fn zone(&mut self, value: &Value, path: &str) -> Option<TimeZone> {
        let text = self.single(value, path)?;
        if let Ok(zone) = TimeZone::get(text.text)
            && zone.iana_name().is_some()
        {
            return Some(zone);
        }
        let known: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match near(text.text, &known, NEAR) {
            Some(near) => format!("did you mean {near}?"),
            None => "a name of the time zone database, such as Europe/Berlin or UTC".to_owned(),
        };
        let message = format!("zone `{}` does not exist", printable_within(text.text, SHOWN));
        self.problem(text.at, path, message, hint);
        None
    }

    fn services(&mut self, value: &Value, path: &str) -> Vec<ServicePattern> {
        let mut services = Vec::new();
        for Text { text, at } in self.texts(value, path) {
            match ServicePattern::new(text) {
                Some(pattern) => services.push(pattern),
                None => {
                    let message = format!("services `{}` is not a pattern of names", printable_within(text, SHOWN));
                    let hint = "such as shop, shop/web-*, acme/shop or acme/shop/web; * and ? stand for any characters";
                    self.problem(at, path, message, hint);
                }
            }
        }
        services
    }

    fn rollbacks(&mut self, value: &Value, path: &str) -> Option<Rollbacks> {
        let Text { text, at } = self.single(value, path)?;
        let found = Rollbacks::from_word(text);
        if found.is_none() {
            let words = Rollbacks::ALL.map(Rollbacks::as_str).join(" or ");
            let message = format!("rollbacks must be {words}, found `{}`", printable_within(text, SHOWN));
            let hint = "hold keeps what ran before from being sent outside of the window as well; send is what holds if \
                        not said";
            self.problem(at, path, message, hint);
        }
        found
    }

    fn reason(&mut self, value: &Value, path: &str) -> Option<std::sync::Arc<str>> {
        let Text { text, at } = self.single(value, path)?;
        if text.chars().count() > LONGEST {
            self.problem(at, path, format!("the reason has more than {LONGEST} characters"), "shorten it");
            return None;
        }
        Some(text.into())
    }

    fn single<'v>(&mut self, value: &'v Value, path: &str) -> Option<Text<'v>> {
        if let Kind::List(_) = &value.kind {
            let message = format!("{} must be a single value, found a list", name_of(path));
            self.problem(&value.at, path, message, "keep one of them");
            return None;
        }
        self.texts(value, path).pop()
    }
}

/// The last part of a path.
fn name_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The schema of `windows`.
pub(super) fn schema() -> serde_json::Value {
    let texts = |description: &str| {
        let one = json!({"type": "string", "minLength": 1});
        let several = json!({"type": "array", "items": one, "minItems": 1, "maxItems": MOST});
        json!({"anyOf": [one, several], "description": description})
    };
    let window = json!({
        "type": "object",
        "additionalProperties": false,
        "anyOf": [{"required": ["allow"]}, {"required": ["deny"]}],
        "properties": {
            "allow": texts("Updates are sent in these times only: \"Mon-Thu 09:00-17:00\", \"22:00-06:00\", \"Sat,Sun\""),
            "deny": texts("No update is sent in these times: 2026-12-24, 2026-12-20..2027-01-03, \"Fri 12:00-24:00\""),
            "zone": {"type": "string", "default": "UTC", "description": "By whose clock, such as Europe/Berlin"},
            "services": texts("For which services, by patterns such as shop, shop/web-* or acme/shop; all if not said"),
            "rollbacks": {
                "enum": Rollbacks::ALL, "default": Rollbacks::default(),
                "description": "Whether what ran before is sent at any time in place of what failed, or waits as well",
            },
            "reason": {"type": "string", "maxLength": LONGEST, "description": "Why, for everybody who wonders"},
        },
    });
    json!({
        "description": "When updates may be sent, and when not. SIGHUP takes them over.",
        "anyOf": [window, {"type": "array", "items": window, "maxItems": MOST}, {"type": "null"}],
    })
}
