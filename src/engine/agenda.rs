//! The agenda: which services wait for a call, in order, which wait for a time, and which are to be read for drift in
//! their turn. It holds keys, never content.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::ServiceKey;

/// Which services go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// An update that was not tried before.
    Fresh,
    /// An update that was.
    Retry,
    /// A read that decides whether an update is needed.
    Read,
    /// Such a read that was tried before.
    ReadAgain,
    /// The correction of drift.
    Correction,
}

/// A service's place in the agenda, by which it is taken out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    Queued(Lane, u64),
    Scheduled(Timestamp, u64),
    Watched(Timestamp, u64),
    Checked(Timestamp, u64),
}

/// The queue, the timetable, the rotation and the checks. Each service is in at most one of them, at most once.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    queue: BTreeMap<(Lane, u64), ServiceKey>,
    timetable: BTreeMap<(Timestamp, u64), ServiceKey>,
    rotation: BTreeMap<(Timestamp, u64), ServiceKey>,
    /// Services that accepted an update lately, by when they are to be read: first in the rotation.
    checks: BTreeMap<(Timestamp, u64), ServiceKey>,
    issued: u64,
}

impl Agenda {
    /// Puts a service at the end of a lane.
    pub(super) fn queue(&mut self, lane: Lane, key: &ServiceKey) -> Ticket {
        let number = self.issue();
        self.queue.insert((lane, number), key.clone());
        Ticket::Queued(lane, number)
    }

    /// Puts a service down for a time.
    pub(super) fn schedule(&mut self, at: Timestamp, key: &ServiceKey) -> Ticket {
        let number = self.issue();
        self.timetable.insert((at, number), key.clone());
        Ticket::Scheduled(at, number)
    }

    /// Puts a service among those that are read for drift; the longest unread goes first.
    pub(super) fn watch(&mut self, read_at: Timestamp, key: &ServiceKey) -> Ticket {
        let number = self.issue();
        self.rotation.insert((read_at, number), key.clone());
        Ticket::Watched(read_at, number)
    }

    /// Puts a service down to be read at a time, before those that are read in turn.
    pub(super) fn check(&mut self, at: Timestamp, key: &ServiceKey) -> Ticket {
        let number = self.issue();
        self.checks.insert((at, number), key.clone());
        Ticket::Checked(at, number)
    }

    /// Takes a service out.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        match ticket {
            Ticket::Queued(lane, number) => self.queue.remove(&(lane, number)),
            Ticket::Scheduled(at, number) => self.timetable.remove(&(at, number)),
            Ticket::Watched(read_at, number) => self.rotation.remove(&(read_at, number)),
            Ticket::Checked(at, number) => self.checks.remove(&(at, number)),
        };
    }

    /// The lane of the service that goes first.
    pub(super) fn first_lane(&self) -> Option<Lane> {
        self.queue.first_key_value().map(|((lane, _), _)| *lane)
    }

    /// The lane of the service that goes first among those that were tried before.
    pub(super) fn first_tried_lane(&self) -> Option<Lane> {
        [Lane::Retry, Lane::ReadAgain].into_iter().find(|lane| self.first_of(*lane).is_some())
    }

    /// The first service of a lane.
    pub(super) fn take(&mut self, lane: Lane) -> Option<ServiceKey> {
        let place = self.first_of(lane)?;
        self.queue.remove(&place)
    }

    fn first_of(&self, lane: Lane) -> Option<(Lane, u64)> {
        self.queue.range((lane, 0)..=(lane, u64::MAX)).next().map(|(place, _)| *place)
    }

    /// The first service of the timetable, if its time has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<ServiceKey> {
        let first = self.timetable.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// The service that is to be checked by now, else the one that was not read for longest.
    pub(super) fn take_watched(&mut self, now: Timestamp) -> Option<ServiceKey> {
        let checked = self.checks.first_entry().filter(|check| check.key().0 <= now);
        checked.map(|check| check.remove()).or_else(|| self.rotation.pop_first().map(|(_, key)| key))
    }

    /// The first time in the timetable.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.timetable.first_key_value().map(|((at, _), _)| *at)
    }

    /// When the service was read that was not read for longest.
    pub(super) fn longest_unread(&self) -> Option<Timestamp> {
        self.rotation.first_key_value().map(|((read_at, _), _)| *read_at)
    }

    /// When the first service is to be checked.
    pub(super) fn next_check(&self) -> Option<Timestamp> {
        self.checks.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many services wait for a call.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many services are read in turn.
    pub(super) fn watched(&self) -> usize {
        self.rotation.len() + self.checks.len()
    }

    fn issue(&mut self) -> u64 {
        self.issued += 1;
        self.issued
    }
}
