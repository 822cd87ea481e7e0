//! Whose turn it is: the next call that may be made, and the reads that come round.

use std::time::Duration;

use jiff::Timestamp;

use super::Engine;
use super::agenda::Lane;
use super::call::{Call, Work};
use super::quota::Class;
use super::service::later;
use crate::model::ServiceKey;

impl Engine {
    /// The next call to make now, if one is due and there is room and quota for it. Fresh updates go before retries,
    /// these before reads. `owed` is how many requests the calls in flight have still to make or to hear of. The caller
    /// makes the call and says how it ended by [`Engine::finish`].
    pub fn next_call(&mut self, now: Timestamp, owed: usize) -> Option<Call> {
        self.come_round(now);
        let call = self.next_due(now, owed).or_else(|| self.next_watch(now, owed))?;
        self.gate.began();
        Some(call)
    }

    /// Takes in that time has passed: what waited long enough for it goes into the queue, and is ruled on. Whoever keeps what
    /// rulings find out asks for that before [`Engine::next_call`], which does the same.
    pub fn come_round(&mut self, now: Timestamp) {
        self.mind_the_time(now);
        if self.has_room(now) {
            self.wake(now);
        }
    }

    /// Whether a call in flight may make one more request, beside `owed` of others.
    #[must_use]
    pub fn permits_another(&self, work: Work, now: Timestamp, owed: usize) -> bool {
        let class = match work {
            Work::Send(_) => Class::Change,
            Work::Decide(_) | Work::Watch => Class::Other,
        };
        self.gate.limited(now).is_none() && self.quota.permits(class, now, 1, owed)
    }

    pub(super) fn next_due(&mut self, now: Timestamp, owed: usize) -> Option<Call> {
        if !self.has_room(now) {
            return None;
        }
        loop {
            let permits = |lane: &Lane| self.quota.permits(class(*lane), now, self.requests(*lane), owed);
            let lane = self.lanes().find(|lane| self.gate.is_asked() || permits(lane))?;
            let key = self.agenda.take(lane)?;
            if let Some(call) = self.begin(&key, now) {
                self.in_flight += 1;
                return Some(call);
            }
            // What is due for it is another thing than when it was put there, as when an outage ended: reads first do
            // not wait for what updates wait for. It waits by what holds now, and the next has its turn.
            self.reconsider([key], now);
        }
    }

    pub(super) fn room(&self, now: Timestamp) -> usize {
        self.gate.room(now, self.pace.concurrency, self.pace.ahead)
    }

    /// Whether one more call may begin. A block is probed by one call, whatever its kind.
    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        let watching = if self.gate.blocked().is_some() { self.watching } else { 0 };
        self.in_flight + watching < self.room(now)
    }

    /// The lanes that the next call may be from, the first that the quota permits.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Lane> {
        let tried = self.gate.probes_what_failed().then(|| self.agenda.first_tried_lane()).flatten();
        tried.into_iter().chain(self.agenda.first_lane())
    }

    /// How many requests a call from a lane takes, as far as that is known before.
    pub(super) fn requests(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Fresh | Lane::Retry | Lane::Correction => self.update_requests,
            Lane::Read | Lane::ReadAgain => 1,
        }
    }

    /// The next read for drift: beside the queue, and only while that is empty.
    pub(super) fn next_watch(&mut self, now: Timestamp, owed: usize) -> Option<Call> {
        if self.watch_due(now)? > now || !self.quota.permits(Class::Other, now, 1, owed) {
            return None;
        }
        if self.pace.watch_period.is_some() {
            self.watch_from = later(now, self.watch_interval(now));
        }
        self.quota.watch();
        let key = self.agenda.take_watched(now)?;
        let call = self.begin(&key, now);
        debug_assert!(call.is_some(), "only services at rest are in the rotation");
        self.watching += usize::from(call.is_some());
        call
    }

    pub(super) fn begin(&mut self, key: &ServiceKey, now: Timestamp) -> Option<Call> {
        self.at(key, now)?.begin()
    }

    /// When a service may be read for drift; `None` while anything else goes first.
    pub(super) fn watch_due(&self, now: Timestamp) -> Option<Timestamp> {
        let most = if self.pace.watch_period.is_some() { 1 } else { self.room(now) };
        let is_probed = self.gate.blocked().is_some() && self.in_flight > 0;
        if self.watching >= most.max(1) || is_probed || self.agenda.first_lane().is_some() {
            return None;
        }
        let unread = self.agenda.longest_unread().zip(self.pace.watch_period).map(|(read, period)| later(read, period));
        let due = [unread, self.agenda.next_check()].into_iter().flatten().min()?;
        // Past a block it is the one call that proves that the cause is gone.
        Some(due.max(self.watch_from).max(self.gate.opens(now).unwrap_or(now)))
    }

    /// How long after a read for drift the next one begins.
    pub(super) fn watch_interval(&self, now: Timestamp) -> Duration {
        let watched = u32::try_from(self.agenda.watched()).unwrap_or(u32::MAX).max(1);
        self.quota.watch_interval(now).max(self.pace.watch_period.unwrap_or_default() / watched)
    }

    /// About how often each service is read for drift; `None` where none is.
    #[must_use]
    pub fn watch_period(&self, now: Timestamp) -> Option<Duration> {
        let period = self.pace.watch_period?;
        let watched = u32::try_from(self.agenda.watched() + self.watching).ok().filter(|watched| *watched > 0)?;
        Some(self.watch_interval(now).saturating_mul(watched).max(period))
    }
}

pub(super) fn class(lane: Lane) -> Class {
    match lane {
        Lane::Fresh | Lane::Retry => Class::Change,
        Lane::Read | Lane::ReadAgain | Lane::Correction => Class::Other,
    }
}
