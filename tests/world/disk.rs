//! The ledger on its disk: what is durable and what is still being written. It follows the rules of doubt of
//! `truenorth::ledger`; `ledger.rs` beside this file holds the two together.

use std::collections::VecDeque;
use std::mem;

use truenorth::model::{Applied, Known, ServiceKey};

use crate::clock::Moment;
use crate::content::{Name, Version};

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

/// One write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    Intend { call: CallId, name: Name, version: Version },
    Record { call: CallId, name: Name, outcome: Outcome },
    SetPause { until: Moment },
}

/// What is durable of a service.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    applied: Option<Version>,
    doubts: u32,
    open: Option<(CallId, Version)>,
    /// Calls whose end nobody knows, since the last one that was accepted; each excuses one repeat.
    excuses: u32,
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
    queue: VecDeque<Write>,
    committing: Vec<Write>,
    pub(crate) space: Space,
}

impl Disk {
    pub(crate) fn new(services: usize) -> Self {
        Self {
            rows: vec![Row::default(); services],
            pause: None,
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
    pub(crate) fn close(&mut self, given_up: &[CallId]) {
        self.commit();
        self.begin();
        self.commit();
        for row in self.rows.iter_mut().filter(|_| self.space == Space::There) {
            if let Some((call, _)) = row.open.filter(|(call, _)| given_up.contains(call)) {
                row.close(call, Outcome::Refused);
            }
        }
    }

    /// A process opens the ledger: what an earlier one left open stays in doubt.
    pub(crate) fn open(&mut self) {
        assert!(self.queue.is_empty() && self.committing.is_empty());
        for row in &mut self.rows {
            row.interrupt();
        }
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Intend { call, name, version } => self.rows[name.0].intend(call, version),
            Write::Record { call, name, outcome } => self.rows[name.0].close(call, outcome),
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

    /// Which call of a service has its intent on disk and no outcome.
    pub(crate) fn open_call(&self, name: Name) -> Option<(CallId, Version)> {
        self.rows[name.0].open
    }

    pub(crate) fn pause(&self) -> Option<Moment> {
        self.pause
    }

    /// Takes one excuse for sending what a service has already, if there is one.
    pub(crate) fn take_excuse(&mut self, name: Name) -> bool {
        let row = &mut self.rows[name.0];
        let excused = row.excuses > 0;
        row.excuses = row.excuses.saturating_sub(1);
        excused
    }
}

impl Row {
    fn intend(&mut self, call: CallId, version: Version) {
        self.interrupt();
        self.doubts += 1;
        self.open = Some((call, version));
    }

    fn interrupt(&mut self) {
        self.excuses += u32::from(self.open.take().is_some());
    }

    fn close(&mut self, call: CallId, outcome: Outcome) {
        let Some((_, version)) = self.open.take_if(|(open, _)| *open == call) else { return };
        match outcome {
            Outcome::Accepted => (self.applied, self.doubts, self.excuses) = (Some(version), 0, 0),
            Outcome::Refused => self.doubts -= 1,
            Outcome::Unknown => self.excuses += 1,
        }
    }
}
