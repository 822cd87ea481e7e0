//! The ledger on its disk: what is durable and what is still being written. It follows the rules of doubt of
//! `truenorth::ledger`; `ledger.rs` beside this file holds the two together.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use jiff::Timestamp;
use truenorth::engine::{Effect, Memory, Unsettled, Window};
use truenorth::ledger::{CallId, Keep, Outcome, Pause, Turned};
use truenorth::model::{Applied, Cause, Known, ServiceKey, ServiceKind};
use truenorth::plan::{Seen, UnnamedCredentials};
use truenorth::runner::{Recalled, Write};

use crate::clock::{Moment, kept};
use crate::content::{Name, Version};

/// One write, and who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Queued<W> {
    pub(crate) waits: Option<W>,
    pub(crate) what: What,
    /// When the API had the request that shows it.
    pub(crate) told: Option<Moment>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Call(Write),
    Quota(Window, Timestamp),
    Pause(Pause),
    Turned(Option<Turned>),
    Kept(Arc<[Keep]>),
}

/// What is durable of a service.
#[derive(Clone, Debug, Default)]
struct Row {
    /// The content, and whether it was sent and why, or adopted.
    applied: Option<(Version, Option<Cause>)>,
    /// Whether there may have been newer content: the ledger is an older one.
    suspect: bool,
    doubts: u32,
    open: Option<(CallId, Version, Cause, Timestamp)>,
    /// What it carried, when it was sent, and until when it may arrive.
    unsettled: Vec<(CallId, Version, Timestamp, Timestamp)>,
    looked_at: Option<Timestamp>,
    kind: Option<ServiceKind>,
    seen: Option<Seen>,
    /// Credentials that live uses and the manifest names none of.
    unnamed: Option<UnnamedCredentials>,
    /// When drift from which content was corrected, oldest first.
    corrections: Vec<(Timestamp, Version)>,
    /// When the API last told what it has.
    told: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    There,
    /// Nothing can be written.
    Full,
}

/// `W` names those who wait for writes.
#[derive(Debug)]
pub(crate) struct Disk<W> {
    rows: Vec<Row>,
    backup: Option<Vec<Row>>,
    calls: i64,
    pause: Option<Pause>,
    quota: Option<(Window, Timestamp)>,
    turned: Option<Turned>,
    /// What was decided.
    kept: Vec<Keep>,
    queue: VecDeque<Queued<W>>,
    committing: Vec<Queued<W>>,
    pub(crate) space: Space,
}

/// A write that was carried out, or was not.
#[derive(Debug)]
pub(crate) struct Committed<W> {
    pub(crate) queued: Queued<W>,
    /// The call that it began, where it was an intent; nothing where the disk did not take it.
    pub(crate) done: Result<Option<CallId>, ()>,
}

impl<W: Copy> Disk<W> {
    pub(crate) fn new(services: usize) -> Self {
        Self {
            rows: vec![Row::default(); services],
            backup: None,
            calls: 0,
            pause: None,
            quota: None,
            turned: None,
            kept: Vec::new(),
            queue: VecDeque::new(),
            committing: Vec::new(),
            space: Space::There,
        }
    }

    /// Hands a write over.
    pub(crate) fn queue(&mut self, queued: Queued<W>) {
        self.queue.push_back(queued);
    }

    /// Begins to commit all that waits, if anything does and no commit is under way.
    pub(crate) fn begin(&mut self) -> bool {
        let begins = self.committing.is_empty() && !self.queue.is_empty();
        if begins {
            self.committing = self.queue.drain(..).collect();
        }
        begins
    }

    /// Ends the commit under way.
    pub(crate) fn commit(&mut self) -> Vec<Committed<W>> {
        let writes = mem::take(&mut self.committing);
        let durable = self.space == Space::There;
        let commit = |queued: Queued<W>| {
            let done = if durable { Ok(self.apply(&queued.what, queued.told)) } else { Err(()) };
            Committed { queued, done }
        };
        writes.into_iter().map(commit).collect()
    }

    /// The process dies: what was being written is durable or not, what waited is lost.
    pub(crate) fn crash(&mut self, durable: bool) {
        if durable {
            self.commit();
        }
        self.committing.clear();
        self.queue.clear();
    }

    /// The process ends in order: everything that was handed over is carried out, and intents for which nobody waits any
    /// more are closed as unsent.
    pub(crate) fn close(&mut self) {
        let mut done = self.commit();
        self.begin();
        done.extend(self.commit());
        for committed in done {
            if let (What::Call(Write::Intend(intent)), Ok(Some(call))) = (&committed.queued.what, committed.done) {
                self.rows[Name::of(&intent.key).0].close(call, &unsent(), intent.at, None);
            }
        }
    }

    /// Somebody copies the ledger.
    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.rows.clone());
    }

    pub(crate) fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// Somebody puts the copy in its place, while no process has it open. Says whether there is one.
    pub(crate) fn restore(&mut self) -> bool {
        let Some(rows) = self.backup.take() else { return false };
        self.rows = rows;
        self.rows.iter_mut().for_each(|row| row.suspect = true);
        true
    }

    /// A process opens the ledger: what an earlier one left open stays in doubt.
    pub(crate) fn open(&mut self, now: Timestamp) {
        assert!(self.queue.is_empty() && self.committing.is_empty());
        for row in &mut self.rows {
            row.open = None;
            for (_, _, sent, until) in row.unsettled.iter_mut().filter(|(_, _, sent, _)| *sent > kept(now)) {
                *until = kept(now) + until.duration_since(*sent);
            }
        }
    }

    fn apply(&mut self, what: &What, told: Option<Moment>) -> Option<CallId> {
        match what {
            What::Call(Write::Intend(intent)) => {
                self.calls += 1;
                let (call, name) = (CallId(self.calls), Name::of(&intent.key));
                let row = &mut self.rows[name.0];
                let version = name.version(intent.digest);
                row.doubts += 1;
                row.open = Some((call, version, intent.cause, kept(intent.at)));
                row.unsettled.push((call, version, kept(intent.at), kept(intent.settles_at)));
                if let Some(kind) = intent.kind {
                    row.kind = Some(kind);
                    row.looked_at.get_or_insert(kept(intent.at));
                }
                return Some(call);
            }
            What::Call(Write::Record(call, outcome, at, ..)) => {
                let open = |row: &&mut Row| row.open.is_some_and(|(open, ..)| open == *call);
                if let Some(row) = self.rows.iter_mut().find(open) {
                    row.close(*call, outcome, *at, told);
                }
            }
            What::Call(Write::Adopt(adoption)) => {
                let name = Name::of(&adoption.key);
                let at = kept(adoption.at);
                let row = &mut self.rows[name.0];
                row.has((name.version(adoption.digest), None), (at, at), told);
                if adoption.unnamed.is_some() {
                    row.looked_at.get_or_insert(at);
                    row.unnamed.clone_from(&adoption.unnamed);
                }
            }
            What::Call(Write::Saw(key, sighting)) => {
                let row = &mut self.rows[Name::of(key).0];
                row.looked_at = Some(kept(sighting.at));
                if sighting.failure.is_none() {
                    row.kind = sighting.kind.or(row.kind);
                    row.seen = sighting.seen.clone();
                    row.unnamed.clone_from(&sighting.unnamed);
                    row.told = row.told.max(told);
                }
            }
            What::Call(Write::PutOff(..)) => {}
            What::Quota(window, at) => {
                self.quota = Some((Window { resets_at: kept(window.resets_at), ..*window }, kept(*at)));
            }
            What::Pause(pause) => {
                let (until, set_at) = (kept(pause.until), kept(pause.set_at));
                self.pause = Some(Pause { until, set_at, reason: pause.reason.clone() });
            }
            What::Turned(turned) => self.turned.clone_from(turned),
            What::Kept(all) => self.kept.extend(all.iter().cloned()),
        }
        None
    }

    /// What was decided, and is on disk since the last time that this was asked.
    pub(crate) fn take_kept(&mut self) -> Vec<Keep> {
        mem::take(&mut self.kept)
    }

    /// What the ledger knows of a service.
    pub(crate) fn known(&self, name: Name) -> Option<Known> {
        let row = &self.rows[name.0];
        if row.doubts > 0 {
            return Some(Known::InDoubt);
        }
        let (version, _) = row.applied?;
        let unverified = row.unsettled.iter().any(|(_, other, ..)| *other != version);
        let known = Known::Applied(Applied { digest: name.digest(version), unverified });
        Some(if row.suspect { known.suspected() } else { known })
    }

    pub(crate) fn all_known(&self) -> impl Iterator<Item = (ServiceKey, Known)> {
        (0..self.rows.len()).filter_map(|number| Some((Name(number).key().clone(), self.known(Name(number))?)))
    }

    /// What an exchange is told of a service.
    pub(crate) fn recalled(&self, name: Name) -> Recalled {
        let row = &self.rows[name.0];
        let body = |version| serde_json::to_value(&*name.plain(version).update).unwrap();
        Recalled { kind: row.kind, others: self.others(name).into_iter().map(|other| other.map(body)).collect() }
    }

    /// What a service may have: what was applied last, and what may still arrive.
    pub(crate) fn others(&self, name: Name) -> Vec<Option<Version>> {
        let row = &self.rows[name.0];
        let applied = row.applied.map(|(version, _)| version).filter(|_| !row.suspect);
        std::iter::once(applied).chain(row.unsettled.iter().map(|(_, version, ..)| Some(*version))).collect()
    }

    /// Content that may still arrive, and until when.
    pub(crate) fn unsettled(&self, name: Name) -> impl Iterator<Item = (Version, Timestamp)> {
        self.rows[name.0].unsettled.iter().map(|(_, version, _, until)| (*version, *until))
    }

    /// When the drift of a service was corrected since a time.
    pub(crate) fn corrections(&self, name: Name, since: Timestamp) -> Vec<Timestamp> {
        let row = &self.rows[name.0];
        let applied = row.applied.map(|(version, _)| version);
        let counts = |(at, version): &&(Timestamp, Version)| *at >= kept(since) && Some(*version) == applied;
        row.corrections.iter().filter(counts).map(|(at, _)| *at).collect()
    }

    /// When the API last told what a service has, as far as that was recorded.
    pub(crate) fn told(&self, name: Name) -> Option<Moment> {
        self.rows[name.0].told
    }

    /// What a process takes over beside what is applied, of each service that there is something of.
    pub(crate) fn memories(&self, since: Timestamp) -> BTreeMap<ServiceKey, Memory> {
        let memory = |name: Name| {
            let row = &self.rows[name.0];
            let effect = match row.applied {
                Some((_, Some(_))) if row.seen.is_some() => Effect::Settled,
                Some((_, Some(Cause::NotInEffect))) => Effect::Completed,
                Some((_, Some(_))) => Effect::Unread { bare: false },
                _ => Effect::Settled,
            };
            let unsettled =
                self.unsettled(name).map(|(version, until)| Unsettled { digest: name.digest(version), until });
            let memory = Memory {
                unnamed: row.unnamed.clone(),
                looked_at: row.looked_at,
                // The time of the newest try stands for both.
                seen: row.seen.clone().map(|seen| Seen { at: row.looked_at.unwrap_or(seen.at), ..seen }),
                corrections: self.corrections(name, since),
                unsettled: unsettled.collect(),
                effect,
                rollout: None,
                quarantine: None,
            };
            let says = memory.looked_at.is_some()
                || memory.effect != Effect::Settled
                || !(memory.corrections.is_empty() && memory.unsettled.is_empty());
            says.then(|| (name.key().clone(), memory))
        };
        (0..self.rows.len()).map(Name).filter_map(memory).collect()
    }

    /// What was applied last.
    pub(crate) fn applied(&self, name: Name) -> Option<Version> {
        self.rows[name.0].applied.map(|(version, _)| version)
    }

    /// Which call of a service has its intent on disk and no outcome.
    pub(crate) fn open_call(&self, name: Name) -> Option<Version> {
        self.rows[name.0].open.map(|(_, version, ..)| version)
    }

    pub(crate) fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref()
    }

    pub(crate) fn quota(&self) -> Option<(Window, Timestamp)> {
        self.quota
    }

    pub(crate) fn turned(&self) -> Option<&Turned> {
        self.turned.as_ref()
    }
}

fn unsent() -> Outcome {
    Outcome::Unsent { error: "".into() }
}

impl Row {
    fn close(&mut self, call: CallId, outcome: &Outcome, at: Timestamp, told: Option<Moment>) {
        let Some((_, version, cause, began)) = self.open.take_if(|(open, ..)| *open == call) else { return };
        if cause == Cause::Drifted && matches!(outcome, Outcome::Accepted { .. } | Outcome::Unknown { .. }) {
            self.corrections.push((kept(at), version));
        }
        match outcome {
            Outcome::Accepted { .. } => self.has((version, Some(cause)), (began, at), told),
            Outcome::Rejected { .. } | Outcome::Unsent { .. } => {
                self.doubts -= 1;
                self.unsettled.retain(|(unsettled, ..)| *unsettled != call);
            }
            Outcome::Unknown { .. } => {}
        }
    }

    /// It has this for certain, by a call that began and ended then.
    fn has(&mut self, applied: (Version, Option<Cause>), (began, at): (Timestamp, Timestamp), told: Option<Moment>) {
        (self.applied, self.suspect, self.doubts, self.open) = (Some(applied), false, 0, None);
        self.unnamed = None;
        self.unsettled.retain(|(_, version, _, until)| *version != applied.0 && *until > began);
        self.told = self.told.max(told);
        if self.looked_at.is_some() {
            (self.looked_at, self.seen) = (Some(kept(at)), None);
        }
    }
}
