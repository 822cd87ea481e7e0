//! The agenda: which services wait for a call, in order, and which wait for a time. It holds keys, never content.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::ServiceKey;

/// Which services go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// New content.
    Fresh,
    /// Content that was tried before.
    Retry,
}

/// A service's place in the agenda, by which it is taken out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    Queued(Lane, u64),
    Scheduled(Timestamp, u64),
}

/// The queue and the timetable. Each service is in at most one of them, at most once.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    queue: BTreeMap<(Lane, u64), ServiceKey>,
    timetable: BTreeMap<(Timestamp, u64), ServiceKey>,
    issued: u64,
}

impl Agenda {
    /// Puts a service at the end of a lane.
    pub(super) fn queue(&mut self, lane: Lane, key: &ServiceKey) -> Ticket {
        self.issued += 1;
        self.queue.insert((lane, self.issued), key.clone());
        Ticket::Queued(lane, self.issued)
    }

    /// Puts a service down for a time.
    pub(super) fn schedule(&mut self, at: Timestamp, key: &ServiceKey) -> Ticket {
        self.issued += 1;
        self.timetable.insert((at, self.issued), key.clone());
        Ticket::Scheduled(at, self.issued)
    }

    /// Takes a service out.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        match ticket {
            Ticket::Queued(lane, number) => self.queue.remove(&(lane, number)),
            Ticket::Scheduled(at, number) => self.timetable.remove(&(at, number)),
        };
    }

    /// The first service of the queue.
    pub(super) fn take(&mut self) -> Option<ServiceKey> {
        self.queue.pop_first().map(|(_, key)| key)
    }

    /// The first service of the timetable, if its time has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<ServiceKey> {
        let first = self.timetable.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Whether a service waits for a call.
    pub(super) fn is_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The first time in the timetable.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.timetable.first_key_value().map(|((at, _), _)| *at)
    }
}
