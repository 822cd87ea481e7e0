//! Windows: the times in which updates may be sent, or may not, as the config file has them.
//!
//! A window speaks of the clock on the wall of its zone: it is open while that clock shows a time inside, whatever
//! summer time does to it. So whether a service is open is a question of the moment and of the zone's rules alone.

mod span;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::model::{HeldBy, HoldKind, ServiceKey};
use crate::text::words;

pub use span::Span;

/// Times, the services that they are for, and whether updates may be sent in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeWindow {
    /// Whether updates may be sent in these times, or may not.
    pub effect: WindowEffect,
    pub spans: Vec<Span>,
    /// By whose clock.
    pub zone: TimeZone,
    /// For which services; none: for all.
    pub services: Vec<ServicePattern>,
    /// Whether what ran before may be sent at any time.
    pub rollbacks: Rollbacks,
    pub reason: Option<Arc<str>>,
}

words! {
    /// What a window is about.
    pub enum WindowEffect {
        /// Updates are sent in these times, and in no others.
        Allow = "allow",
        /// No update is sent in these times.
        Deny = "deny",
    }
}

words! {
    /// What a window means for the return to what ran before: that of `policy.onFailure: last-good`, and a person's.
    #[derive(Default)]
    pub enum Rollbacks {
        /// It is sent at any time.
        #[default]
        Send = "send",
        /// It waits as updates do.
        Hold = "hold",
    }
}

/// Services by a pattern of their names, as `status` takes it: `shop`, `shop/web-*`, `acme/shop`, `acme/shop/web`; `**`
/// stands for any parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePattern {
    text: Box<str>,
    globs: Vec<Glob>,
}

impl ServicePattern {
    /// The pattern that a text is, if it is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_pattern = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '*' | '?');
        let is_part = |part: &str| !part.is_empty() && part.len() <= 200 && part.chars().all(is_pattern);
        let parts: Vec<&str> = text.split('/').collect();
        // What is shorter than a name is a project or a team, and means all that is below it.
        let below = match parts.len() {
            1 => vec![format!("{text}/**")],
            2 => vec![text.to_owned(), format!("{text}/*")],
            3 => vec![text.to_owned()],
            _ => return None,
        };
        let glob = |text: &String| GlobBuilder::new(text).literal_separator(true).build().ok();
        let globs: Option<Vec<Glob>> = below.iter().map(glob).collect();
        globs.filter(|_| parts.into_iter().all(is_part)).map(|globs| Self { text: text.into(), globs })
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ChangeWindow {
    /// Whether a moment is inside.
    fn has(&self, now: Timestamp) -> bool {
        self.spans.iter().any(|span| span.has(now, &self.zone))
    }

    /// When one of its spans begins or ends next, where it does.
    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.spans.iter().filter_map(|span| span.next_change(now, &self.zone)).min()
    }

    fn is_about(&self, sends: Sends) -> bool {
        sends == Sends::Update || self.rollbacks == Rollbacks::Hold
    }

    fn hold(&self, opens: Option<Timestamp>) -> HeldBy {
        let relation = match self.effect {
            WindowEffect::Allow => "outside the window",
            WindowEffect::Deny => "no updates during",
        };
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let never = if opens.is_none() { "; it never opens: change `windows` in the config file" } else { "" };
        let what = format!("{relation} {}{reason}{never}", self.times()).into();
        HeldBy { kind: HoldKind::Window, what, until: opens }
    }

    /// Its times, and by whose clock.
    fn times(&self) -> String {
        let spans: Vec<String> = self.spans.iter().map(ToString::to_string).collect();
        format!("{} ({})", spans.join(", "), self.zone_name())
    }

    fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// For which services, in words.
    fn services(&self) -> String {
        let named: Vec<String> = self.services.iter().map(ToString::to_string).collect();
        if named.is_empty() { "all services".to_owned() } else { named.join(", ") }
    }
}

impl fmt::Display for ChangeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.effect.as_str(), self.times(), self.services())?;
        if self.rollbacks == Rollbacks::Hold {
            f.write_str(", rollbacks too")?;
        }
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl Serialize for ChangeWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = |list: &[Span]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut fields = serializer.serialize_struct("ChangeWindow", 6)?;
        fields.serialize_field("effect", &self.effect)?;
        fields.serialize_field("times", &texts(&self.spans))?;
        fields.serialize_field("zone", self.zone_name())?;
        let services: Vec<String> = self.services.iter().map(ToString::to_string).collect();
        fields.serialize_field("services", &services)?;
        fields.serialize_field("rollbacks", &self.rollbacks)?;
        fields.serialize_field("reason", &self.reason)?;
        fields.end()
    }
}

/// All windows.
#[derive(Clone, Debug, Default)]
pub struct Windows(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    windows: Vec<ChangeWindow>,
    /// All patterns of all windows, and whose each is.
    patterns: GlobSet,
    of_pattern: Vec<usize>,
    /// Where each window stands, as `truenorth.yaml:3`, where that is known.
    places: Vec<String>,
}

impl PartialEq for Windows {
    fn eq(&self, other: &Self) -> bool {
        self.0.windows == other.0.windows
    }
}

impl Eq for Windows {}

impl Windows {
    /// These windows; nothing where their patterns are too many to be looked at together.
    #[must_use]
    pub fn new(windows: Vec<ChangeWindow>) -> Option<Self> {
        let (mut patterns, mut of_pattern) = (GlobSetBuilder::new(), Vec::new());
        for (number, window) in windows.iter().enumerate() {
            for glob in window.services.iter().flat_map(|pattern| &pattern.globs) {
                patterns.add(glob.clone());
                of_pattern.push(number);
            }
        }
        let patterns = patterns.build().ok()?;
        Some(Self(Arc::new(Inner { windows, patterns, of_pattern, places: Vec::new() })))
    }

    /// The same, with where each of them stands.
    pub fn standing_at(self, places: Vec<String>) -> Self {
        let Inner { windows, patterns, of_pattern, .. } = &*self.0;
        let (windows, patterns, of_pattern) = (windows.clone(), patterns.clone(), of_pattern.clone());
        Self(Arc::new(Inner { windows, patterns, of_pattern, places }))
    }

    /// The patterns that match none of these services, each in words: a typing mistake in one opens what it was to close.
    /// No services at all say nothing of them.
    pub fn idle<'k>(&self, services: impl Iterator<Item = &'k ServiceKey>) -> BTreeSet<String> {
        let Inner { windows, patterns, of_pattern, places } = &*self.0;
        let mut services = services.peekable();
        if of_pattern.is_empty() || services.peek().is_none() {
            return BTreeSet::new();
        }
        let mut matched = vec![false; of_pattern.len()];
        for key in services {
            patterns.matches(key.to_string()).into_iter().for_each(|glob| matched[glob] = true);
        }
        let mut matched = matched.into_iter();
        let mut idle = BTreeSet::new();
        for (number, window) in windows.iter().enumerate() {
            let place = places.get(number).map(|place| format!("{place}: ")).unwrap_or_default();
            for pattern in &window.services {
                // All of its globs are taken, whichever of them matched.
                let matches = matched.by_ref().take(pattern.globs.len()).filter(|matched| *matched).count();
                if matches == 0 {
                    idle.insert(format!("{place}no service matches `{pattern}` of a window"));
                }
            }
        }
        idle
    }

    pub fn all(&self) -> &[ChangeWindow] {
        &self.0.windows
    }

    /// The windows as they stand at a time.
    pub fn at(&self, now: Timestamp) -> WindowsAt<'_> {
        WindowsAt { windows: self, now, known: HashMap::new() }
    }

    /// When a window opens or closes next, after a time.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.all().iter().filter_map(|window| window.next_change(now)).min()
    }

    /// The windows that are about a service, by their numbers.
    fn of(&self, key: &ServiceKey) -> Vec<usize> {
        let Inner { windows, patterns, of_pattern, .. } = &*self.0;
        let for_all = windows.iter().enumerate().filter(|(_, window)| window.services.is_empty());
        let mut of: Vec<usize> = for_all.map(|(number, _)| number).collect();
        if !of_pattern.is_empty() {
            of.extend(patterns.matches(key.to_string()).into_iter().map(|pattern| of_pattern[pattern]));
            of.sort_unstable();
            of.dedup();
        }
        of
    }
}

/// Windows at a moment. Services for which the same windows are have the same answer, which is found once.
#[derive(Debug)]
pub struct WindowsAt<'w> {
    windows: &'w Windows,
    now: Timestamp,
    known: HashMap<Vec<usize>, ClosedBy>,
}

/// The window that keeps a service closed, for updates and for rollbacks, where one does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosedBy {
    /// What holds updates.
    pub updates: Option<HeldBy>,
    /// What holds the return to what ran before.
    pub rollbacks: Option<HeldBy>,
}

/// What would be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    Update,
    Rollback,
}

impl WindowsAt<'_> {
    /// What keeps a service closed, if something does: it is open inside any window that allows, or where none that does
    /// is about it, and inside none that denies.
    pub fn closed(&mut self, key: &ServiceKey) -> ClosedBy {
        if self.windows.all().is_empty() {
            return ClosedBy::default();
        }
        let of = self.windows.of(key);
        let (windows, now) = (self.windows.all(), self.now);
        let find = |of: &Vec<usize>| {
            let of: Vec<&ChangeWindow> = of.iter().map(|number| &windows[*number]).collect();
            ClosedBy { updates: closed(&of, Sends::Update, now), rollbacks: closed(&of, Sends::Rollback, now) }
        };
        self.known.entry(of).or_insert_with_key(find).clone()
    }
}

fn closed(of: &[&ChangeWindow], sends: Sends, now: Timestamp) -> Option<HeldBy> {
    let closing = closing(of, sends, now)?;
    let opens = opening(of, sends, now);
    // Of several that allow, the one that it waits for.
    let allows = |window: &&&ChangeWindow| window.effect == WindowEffect::Allow;
    let awaited = match (closing, opens) {
        (Closing::NotAllowed, Some(opens)) => of.iter().filter(allows).find(|window| window.has(opens)),
        (Closing::NotAllowed, None) => of.iter().find(allows),
        (Closing::Denied(window), _) => return Some(window.hold(opens)),
    };
    awaited.map(|window| window.hold(opens))
}

/// What keeps a service closed.
enum Closing<'w> {
    Denied(&'w ChangeWindow),
    NotAllowed,
}

/// Whatever lets updates through lets rollbacks through as well.
fn closing<'w>(of: &[&'w ChangeWindow], sends: Sends, now: Timestamp) -> Option<Closing<'w>> {
    let with = |effect| of.iter().copied().filter(move |window| window.effect == effect);
    if let Some(window) = with(WindowEffect::Deny).find(|window| window.is_about(sends) && window.has(now)) {
        return Some(Closing::Denied(window));
    }
    let is_allowed = with(WindowEffect::Allow).any(|window| window.has(now));
    let is_limited = with(WindowEffect::Allow).any(|window| window.is_about(sends));
    (is_limited && !is_allowed).then_some(Closing::NotAllowed)
}

/// After so many changes of what closes it, a service counts as closed for good: about a year of days.
const MOST_CHANGES: usize = 800;

/// When these windows open next: from what closes them to its end, and on from there.
fn opening(of: &[&ChangeWindow], sends: Sends, now: Timestamp) -> Option<Timestamp> {
    let mut at = now;
    for _ in 0..MOST_CHANGES {
        at = match closing(of, sends, at) {
            None => return Some(at),
            Some(Closing::Denied(window)) => window.next_change(at)?,
            Some(Closing::NotAllowed) => {
                let allows = of.iter().filter(|window| window.effect == WindowEffect::Allow);
                allows.filter_map(|window| window.next_change(at)).min()?
            }
        };
    }
    None
}

#[cfg(test)]
mod tests;
