//! The ledger on its disk: what is durable and what is still being written. It follows the rules of doubt of
//! `truenorth::ledger`; `ledger.rs` beside this file holds the two together.

use std::collections::VecDeque;
use std::mem;

use truenorth::engine::Memory;
use truenorth::model::{Applied, Cause, Known, ServiceKey};
use truenorth::plan::Seen;

use crate::api::Window;
use crate::clock::Moment;
use crate::content::{Name, Shown, Version};

/// Names one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// How a call ended, as far as the ledger cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    /// Rejected or unsent: the service has what it had.
    Refused,
    Unknown,
}

/// What a read for drift showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// When it was read, to the millisecond.
    pub(crate) at: Moment,
    /// What it was compared with and what was shown; nothing where an update was accepted since.
    pub(crate) seen: Option<(Version, Shown)>,
}

/// One write. `told` is when the API had the request that shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    Intend { call: CallId, name: Name, version: Version, cause: Cause },
    Record { call: CallId, name: Name, outcome: Outcome, at: Moment, told: Moment },
    Adopt { call: CallId, name: Name, version: Version, at: Moment, told: Moment },
    Saw { call: CallId, name: Name, version: Version, shown: Shown, at: Moment, told: Moment },
    KeepQuota { window: Window },
    SetPause { until: Moment },
}

/// What is durable of a service.
#[derive(Clone, Debug, Default)]
struct Row {
    applied: Option<Version>,
    doubts: u32,
    open: Option<(CallId, Version, Cause)>,
    sighting: Option<Sighting>,
    /// When drift from which content was corrected, to the millisecond, oldest first.
    corrections: Vec<(Moment, Version)>,
    /// When the API last told what it has.
    told: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    There,
    /// Nothing can be written.
    Full,
}

#[derive(Debug)]
pub(crate) struct Disk {
    rows: Vec<Row>,
    pause: Option<Moment>,
    quota: Option<Window>,
    queue: VecDeque<Write>,
    committing: Vec<Write>,
    pub(crate) space: Space,
}

impl Disk {
    pub(crate) fn new(services: usize) -> Self {
        Self {
            rows: vec![Row::default(); services],
            pause: None,
            quota: None,
            queue: VecDeque::new(),
            committing: Vec::new(),
            space: Space::There,
        }
    }

    /// Hands a write over.
    pub(crate) fn queue(&mut self, write: Write) {
        self.queue.push_back(write);
    }

    /// Begins to commit all that waits, if anything does and no commit is under way.
    pub(crate) fn begin(&mut self) -> bool {
        let begins = self.committing.is_empty() && !self.queue.is_empty();
        if begins {
            self.committing = self.queue.drain(..).collect();
        }
        begins
    }

    /// Ends the commit under way: the writes and whether they are durable now.
    pub(crate) fn commit(&mut self) -> (Vec<Write>, bool) {
        let writes = mem::take(&mut self.committing);
        let durable = self.space == Space::There;
        if durable {
            for write in &writes {
                self.apply(*write);
            }
        }
        (writes, durable)
    }

    /// The process dies: what was being written is durable or not, what waited is lost.
    pub(crate) fn crash(&mut self, durable: bool) {
        if durable {
            self.commit();
        }
        self.committing.clear();
        self.queue.clear();
    }

    /// The process ends in order: everything that was handed over is carried out, and the intents of `given_up` calls
    /// are closed as unsent.
    pub(crate) fn close(&mut self, given_up: &[CallId], now: Moment) {
        self.commit();
        self.begin();
        self.commit();
        for row in self.rows.iter_mut().filter(|_| self.space == Space::There) {
            if let Some((call, ..)) = row.open.filter(|(call, ..)| given_up.contains(call)) {
                row.close(call, Outcome::Refused, now, now);
            }
        }
    }

    /// A process opens the ledger: what an earlier one left open stays in doubt.
    pub(crate) fn open(&mut self) {
        assert!(self.queue.is_empty() && self.committing.is_empty());
        for row in &mut self.rows {
            row.open = None;
        }
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Intend { call, name, version, cause } => self.rows[name.0].intend(call, version, cause),
            Write::Record { call, name, outcome, at, told } => self.rows[name.0].close(call, outcome, at, told),
            Write::Adopt { name, version, at, told, .. } => self.rows[name.0].has(version, at, told),
            Write::Saw { name, version, shown, at, told, .. } => {
                let row = &mut self.rows[name.0];
                row.sighting = Some(Sighting { at: at.kept(), seen: Some((version, shown)) });
                row.told = row.told.max(Some(told));
            }
            Write::KeepQuota { window } => {
                self.quota = Some(Window { resets_at: window.resets_at.kept(), ..window });
            }
            Write::SetPause { until } => self.pause = Some(until.kept()),
        }
    }

    /// What the ledger knows of a service.
    pub(crate) fn known(&self, name: Name) -> Option<Known> {
        let row = &self.rows[name.0];
        if row.doubts > 0 {
            return Some(Known::InDoubt);
        }
        row.applied.map(|version| Known::Applied(Applied { digest: name.digest(version) }))
    }

    pub(crate) fn all_known(&self) -> impl Iterator<Item = (ServiceKey, Known)> {
        (0..self.rows.len()).filter_map(|number| Some((Name(number).key().clone(), self.known(Name(number))?)))
    }

    /// What is kept of a read for drift.
    pub(crate) fn sighting(&self, name: Name) -> Option<Sighting> {
        self.rows[name.0].sighting
    }

    /// When the drift of a service was corrected since a time.
    pub(crate) fn corrections(&self, name: Name, since: Moment) -> Vec<Moment> {
        let row = &self.rows[name.0];
        let counts = |(at, version): &&(Moment, Version)| *at >= since.kept() && Some(*version) == row.applied;
        row.corrections.iter().filter(counts).map(|(at, _)| *at).collect()
    }

    /// When the API last told what a service has, as far as that was recorded.
    pub(crate) fn told(&self, name: Name) -> Option<Moment> {
        self.rows[name.0].told
    }

    /// What a process takes over beside what is applied, of each service that there is something of.
    pub(crate) fn memories(&self, since: Moment) -> impl Iterator<Item = (ServiceKey, Memory)> {
        (0..self.rows.len()).map(Name).filter_map(move |name| {
            let sighting = self.sighting(name);
            let seen = sighting.and_then(|sighting| {
                let (version, shown) = sighting.seen?;
                let reading = version.read(shown).0.clone();
                Some(Seen { compared: name.digest(version), at: sighting.at.timestamp(), reading })
            });
            let corrections: Vec<_> = self.corrections(name, since).into_iter().map(|at| at.timestamp()).collect();
            let memory = Memory { looked_at: sighting.map(|sighting| sighting.at.timestamp()), seen, corrections };
            (sighting.is_some() || !memory.corrections.is_empty()).then(|| (name.key().clone(), memory))
        })
    }

    /// Which call of a service has its intent on disk and no outcome.
    pub(crate) fn open_call(&self, name: Name) -> Option<(CallId, Version)> {
        self.rows[name.0].open.map(|(call, version, _)| (call, version))
    }

    pub(crate) fn pause(&self) -> Option<Moment> {
        self.pause
    }

    pub(crate) fn quota(&self) -> Option<Window> {
        self.quota
    }
}

impl Row {
    fn intend(&mut self, call: CallId, version: Version, cause: Cause) {
        self.doubts += 1;
        self.open = Some((call, version, cause));
    }

    fn close(&mut self, call: CallId, outcome: Outcome, at: Moment, told: Moment) {
        let Some((_, version, cause)) = self.open.take_if(|(open, ..)| *open == call) else { return };
        if cause == Cause::Drifted && outcome != Outcome::Refused {
            self.corrections.push((at.kept(), version));
        }
        match outcome {
            Outcome::Accepted => self.has(version, at, told),
            Outcome::Refused => self.doubts -= 1,
            Outcome::Unknown => {}
        }
    }

    /// It has this for certain.
    fn has(&mut self, version: Version, at: Moment, told: Moment) {
        (self.applied, self.doubts, self.open) = (Some(version), 0, None);
        self.told = self.told.max(Some(told));
        if let Some(sighting) = &mut self.sighting {
            *sighting = Sighting { at: at.kept(), seen: None };
        }
    }
}
