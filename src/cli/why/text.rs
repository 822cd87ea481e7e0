//! The explanation as somebody reads it at night: the answer first, then what it rests on.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::super::print;
use super::super::status::told;
use crate::ledger::AppliedRecord;
use crate::model::{Diagnostic, Headline, HoldKind, Place, ServiceState};
use crate::plan::{Change, failed_before};
use crate::text::{Printable, counted, listed, printable, short};
use crate::views::{Attempt, Facts, UNDO, next, not_sent, sentence, waits_for};

const PLAIN: Style = Style::new();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const WRONG: Style = AnsiColor::Red.on_default();

/// How wide the labels are.
const LABEL: usize = 9;

/// The explanation; `folder` is where the manifests are, so that a place can be opened from where truenorth runs.
pub(super) fn text(facts: &Facts, folder: &Path) -> String {
    let mut text = Text::default();
    let _ = writeln!(text.0, "{STRONG}{}{STRONG:#}\n", printable(&sentence(facts)));
    text.line("next", &next(facts));
    if let Some(waiting) = waits_for(facts) {
        let until = waiting.until.map(|until| format!(", by {}", short::time(until)));
        text.line("waits for", &format!("{}{}", words_of(waiting.what, facts), until.unwrap_or_default()));
    }
    for asked in facts.untaken.sentences(facts.holder) {
        text.line("asked", &asked);
    }
    if let Some(at) = facts.failed_before {
        text.line("warning", &failed_before(&ago(at, facts.now)));
    }
    if let Some(desired) = &facts.desired {
        text.line("manifest", &shown_place(folder, &desired.place));
        text.line("desired", &format!("{} at {}", short::digest(desired.digest), short::revision(&facts.revision)));
    } else {
        text.line("manifest", &format!("none that is valid, at {}", short::revision(&facts.revision)));
    }
    text.line("applied", &applied(facts));
    if let Some(rollout) = &facts.rollout {
        text.line("rollout", &format!("{}, {}", rollout.words(), ago(rollout.since, facts.now)));
    }
    if let Some(stranger) = &facts.stranger {
        let deployed =
            stranger.by.as_ref().map(|by| format!("{} deployed last, at {}; ", by.who(), short::time(by.at)));
        let noticed = ago(stranger.noticed_at, facts.now);
        text.line("changed", &format!("{}not by this truenorth, noticed {noticed}", deployed.unwrap_or_default()));
    }
    if let Some(drift) = &facts.drift {
        if let Some(error) = &drift.error {
            let when = facts.unread_at.map(|at| format!(" {}", ago(at, facts.now))).unwrap_or_default();
            text.line("live", &format!("could not be read{when}: {error}"));
            text.beside(PLAIN, error);
        }
        let read = drift.read_at.map(|at| format!(", read {}", ago(at, facts.now))).unwrap_or_default();
        match (drift.differences.len(), &drift.error) {
            (0, Some(_)) => {}
            (0, None) => text.line("live", &format!("the same{read}")),
            (count, error) => {
                let differ = if count == 1 { "differs" } else { "differ" };
                let before = if error.is_some() { ", by the read before" } else { &*read };
                text.line("live", &format!("{} {differ}{before}", counted(count, "field")));
            }
        }
        text.changes(&drift.differences);
        for undecided in &drift.undecided {
            text.below(FAINT, &printable(&format!("cannot tell {undecided}")));
        }
    }
    // What was told as drift is not told twice.
    let told_at = facts.drift.as_ref().and_then(|drift| drift.read_at);
    if let Some(live) = facts.live.as_ref().filter(|live| told_at != Some(live.read_at)) {
        match (&live.error, live.differences.len()) {
            (Some(error), _) => {
                text.line("live now", &format!("could not be read: {error}"));
                text.beside(PLAIN, error);
            }
            (None, 0) => text.line("live now", "has what the manifest says"),
            (None, count) => {
                let differ = if count == 1 { "differs" } else { "differ" };
                text.line("live now", &format!("{} {differ} from the manifest", counted(count, "field")));
            }
        }
        text.changes(&live.differences);
        for undecided in &live.undecided {
            text.below(FAINT, &printable(&format!("cannot tell {undecided}")));
        }
    }
    if let Some(last) = &facts.last {
        text.line("last call", &call(last, facts.now));
        if let Some(Headline { subject, author }) = &last.commit {
            text.below(FAINT, &printable(&format!("{subject} ({author})")));
        }
        if let Some(message) = &last.message {
            text.below(WRONG, &printable(&message.message));
            text.beside(WRONG, message);
        }
        text.changes(&last.changes);
    }
    if let Some(not_sent) = not_sent(facts) {
        text.line("not sent", not_sent.why.as_str());
        text.changes(&facts.changes);
    } else if !facts.changes.is_empty() {
        text.line("to send", &counted(facts.changes.len(), "field"));
        text.changes(&facts.changes);
    }
    if let Some(until) = facts.unsettled_until {
        let until = format!("{} (in {})", short::time(until), short::span(facts.now, until));
        text.line("in doubt", &format!("a request whose end is not known may still take effect until {until}"));
    }
    if let Some(turned) = &facts.turned {
        let since = short::time(turned.at);
        text.line("sent as", &format!("PATCH, since {since}, because the API refused POST: {}", turned.reason));
        text.hint(Some(UNDO));
    }
    match facts.ledger.exists {
        true => text.line("ledger", &told(facts.holder, facts.as_of)),
        false => text.line("ledger", &format!("none at {}", facts.ledger.path.display())),
    }
    text.0
}

/// Lines with labels.
#[derive(Default)]
struct Text(String);

impl Text {
    /// What stands beside the message of a fault: the fields that the API names, and the way out.
    fn beside(&mut self, style: Style, error: &Diagnostic) {
        for line in error.lines() {
            self.below(style, &printable(&format!("  {line}")));
        }
        self.hint(error.hint.as_deref());
    }

    fn line(&mut self, label: &str, words: &str) {
        let _ = writeln!(self.0, "  {FAINT}{label:<LABEL$}{FAINT:#}  {}", printable(words));
    }

    /// A line that belongs to the one before.
    fn below(&mut self, style: Style, words: &Printable) {
        let _ = writeln!(self.0, "  {:<LABEL$}  {style}{words}{style:#}", "");
    }

    /// The way out of what stands above.
    fn hint(&mut self, hint: Option<&str>) {
        if let Some(hint) = hint {
            self.below(PLAIN, &printable(&format!("hint: {hint}")));
        }
    }

    fn changes(&mut self, changes: &[Change]) {
        let width = changes.iter().map(|change| change.path.len()).max().unwrap_or_default();
        for change in changes {
            let words = match (&change.from, &change.to) {
                (None, to) => to.clone().unwrap_or_default(),
                (Some(from), None) => format!("{from} -> not set"),
                (Some(from), Some(to)) => format!("{from} -> {to}"),
            };
            self.below(PLAIN, &printable(&format!("{:<width$}  {words}", change.path)));
        }
    }
}

fn applied(facts: &Facts) -> String {
    let doubt = if facts.in_doubt { "; a later call may have arrived too" } else { "" };
    match &facts.applied {
        None => format!("nothing{doubt}"),
        Some(AppliedRecord { digest, revision, place, cause, at, .. }) => format!(
            "{}, {}, {cause}, from {place} at {}{doubt}",
            short::digest(*digest),
            ago(*at, facts.now),
            short::revision(revision),
        ),
    }
}

fn call(call: &Attempt, now: Timestamp) -> String {
    let took = call.took().map(|took| format!(", took {}", short::took(took))).unwrap_or_default();
    let when = ago(call.ended.unwrap_or(call.began), now);
    let tried = call.tried().map(|attempt| format!(", try {attempt}")).unwrap_or_default();
    // An adoption is its own cause.
    let cause = Some(&call.cause).filter(|cause| **cause != call.ending());
    let cause = cause.map(|cause| format!(", {cause}")).unwrap_or_default();
    format!("{}, {when}{cause}{tried}{took}", call.ending())
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", short::ago(at, now), short::time(at))
}

fn shown_place(folder: &Path, place: &Place) -> String {
    format!("{}:{}", print::shown_file(folder, &place.file), place.line)
}

fn words_of<'a>(what: &'a str, facts: &Facts) -> Cow<'a, str> {
    Cow::Borrowed(match what {
        "answer" => "the API's answer",
        "rate-limit" => "the rate limit",
        "retry" => "its next try",
        "suspension" => "the end of its suspension",
        "left-alone" => "the end of the pause after three corrections",
        "settling" => "the time after which the last call can no longer arrive",
        "release" => return Cow::Owned(release(facts)),
        "new-content" => "other content, or its next try",
        "fix" => "its manifest to be fixed",
        "run" => "a daemon or a pass that runs",
        other => other,
    })
}

/// What lets go what is held.
fn release(facts: &Facts) -> String {
    const OF_A_QUARANTINE: &str = "a release, or a new version";
    if facts.found.state == ServiceState::RolledBack {
        return OF_A_QUARANTINE.to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    for held in &facts.held_by {
        let word = match held.kind {
            HoldKind::Credentials => "credentials in its manifest",
            HoldKind::Dependency => "the service that it depends on",
            HoldKind::Freeze => "the end of the freeze",
            HoldKind::Window => "its window",
            HoldKind::Plan | HoldKind::Approval => "an approval",
            HoldKind::Quarantine => OF_A_QUARANTINE,
        };
        if words.iter().all(|known| known != word) {
            words.push(word.to_owned());
        }
    }
    // Whoever decided that it is held knows windows that are not known here.
    if words.is_empty() { "the end of what holds it".to_owned() } else { listed(&words) }
}
