//! One service: what is known of it, what it is doing, and how it goes from one to the next.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::agenda::{Agenda, Lane, Ticket};
use super::{Call, Delivery, Phase, Work};
use crate::model::{Cause, Desired, Digest, DriftMode, Known, ServiceKey, Suspend};
use crate::plan::{self, Reading, Rules, Seen, Step};

/// So many corrections within [`FIGHT`] are a fight with somebody who changes the service back.
const CORRECTIONS: usize = 3;

/// How long truenorth leaves a service alone that it fights about, from the first of these corrections.
pub const FIGHT: SignedDuration = SignedDuration::from_hours(1);

/// What is to be done about drift that is corrected.
const CORRECT: Step = Step::Update(Cause::Drifted);

#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) desired: Option<Desired>,
    pub(super) known: Option<Known>,
    /// What the newest read showed, as long as nothing was sent since.
    pub(super) seen: Option<Seen>,
    /// When a read of it was last tried, or an update accepted.
    pub(super) looked_at: Timestamp,
    /// Why the newest read for drift failed, if it did.
    pub(super) unread: Option<String>,
    /// When its drift was corrected: the newest times, oldest first.
    pub(super) corrections: Vec<Timestamp>,
    pub(super) state: State,
}

/// A [`Phase`] with its place in the agenda.
#[derive(Debug)]
pub(super) enum State {
    Resting {
        /// Where only time can make something due: the end of a suspension, or the turn to be read for drift.
        ticket: Option<Ticket>,
    },
    Ready {
        ticket: Ticket,
        tries: Tries,
    },
    InFlight {
        work: Work,
        tries: Tries,
        since: Timestamp,
    },
    Waiting {
        ticket: Ticket,
        why: Wait,
        until: Timestamp,
        tries: Tries,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Resting { ticket: None }
    }
}

/// What has happened to the content that is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    pub(super) digest: Digest,
    pub(super) failed: u32,
    pub(super) error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    BackOff,
    Stalled,
}

/// What a call that ended leaves to be done for the content that it was about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sequel {
    Done,
    /// The next call for it, behind those that failed if it did.
    Next(Turn),
    Wait(Wait, Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Fresh,
    Behind,
}

impl Tries {
    pub(super) fn none(digest: Digest) -> Self {
        Self { digest, failed: 0, error: None }
    }

    pub(super) fn fail(&mut self, error: String) {
        self.failed = self.failed.saturating_add(1);
        self.error = Some(error);
    }

    pub(super) fn turn(&self) -> Turn {
        if self.failed == 0 { Turn::Fresh } else { Turn::Behind }
    }
}

impl Service {
    /// What is to be done for it, a fight left alone.
    pub(super) fn step(&self, rules: &Rules, now: Timestamp) -> Option<Step> {
        let step = plan::step(self.desired.as_ref(), self.known.as_ref(), self.seen.as_ref(), rules, now)?;
        match step {
            Step::Update(Cause::Drifted) if self.fights_until(now).is_some() => Some(Step::Unchanged),
            step => Some(step),
        }
    }

    /// Until when its drift is left alone, because it was corrected again and again.
    pub(super) fn fights_until(&self, now: Timestamp) -> Option<Timestamp> {
        fights_until(&self.corrections, now)
    }

    /// Whether it is desired, known or being called. What is not is forgotten: if its manifest comes back, it begins anew.
    pub(super) fn is_of_interest(&self) -> bool {
        self.desired.is_some() || self.known.is_some() || matches!(self.state, State::InFlight { .. })
    }

    /// Takes what a new snapshot says of it. `false` where that is nothing new.
    pub(super) fn desire(&mut self, desired: Option<Desired>) -> bool {
        let same = match (&self.desired, &desired) {
            (Some(before), Some(after)) => before.digest == after.digest && before.policy == after.policy,
            (before, after) => before.is_none() && after.is_none(),
        };
        // Other content ends a fight, also where the manifest changed while no process looked.
        let before = self.desired.as_ref().map(|desired| desired.digest);
        let before = before.or(desired.as_ref().and(self.known).and_then(|known| known.digest()));
        if before.is_some() && before != desired.as_ref().map(|desired| desired.digest) {
            self.corrections.clear();
        }
        self.desired = desired;
        !same
    }

    /// It has this content now, for certain.
    pub(super) fn has(&mut self, digest: Digest, work: Work, now: Timestamp) {
        self.known = Some(Known::Applied(crate::model::Applied { digest }));
        (self.seen, self.unread, self.looked_at) = (None, None, now);
        self.count_correction(work, now);
    }

    fn count_correction(&mut self, work: Work, now: Timestamp) {
        if work == Work::Send(Cause::Drifted) {
            self.corrections.push(now);
            let surplus = self.corrections.len().saturating_sub(CORRECTIONS);
            self.corrections.drain(..surplus);
        }
    }

    /// It was read, and compared with this content.
    pub(super) fn read(&mut self, compared: Digest, reading: Reading, now: Timestamp) {
        self.seen = Some(Seen { compared, at: now, reading });
        (self.unread, self.looked_at) = (None, now);
    }

    /// After a call that failed: whether it is still known what the service has.
    pub(super) fn doubt(&mut self, delivery: Delivery, work: Work, now: Timestamp) {
        match delivery {
            Delivery::Unknown => {
                (self.known, self.seen) = (Some(Known::InDoubt), None);
                // It may have restarted the service all the same.
                self.count_correction(work, now);
            }
            Delivery::Excluded => {}
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match &self.state {
            // To be read in its turn is no state that people wait on.
            State::Resting { .. } | State::InFlight { work: Work::Watch, .. } => Phase::Resting,
            State::Ready { tries, .. } => Phase::Ready { failed: tries.failed, error: tries.error.clone() },
            State::InFlight { work, tries, since } => {
                Phase::InFlight { work: *work, digest: tries.digest, attempt: tries.failed + 1, since: *since }
            }
            State::Waiting { why, until, tries, .. } => {
                let (digest, failed, until) = (tries.digest, tries.failed, *until);
                let error = tries.error.clone().unwrap_or_default();
                match why {
                    Wait::BackOff => Phase::BackingOff { digest, failed, until, error },
                    Wait::Stalled => Phase::Stalled { digest, failed, until, error },
                }
            }
        }
    }
}

/// A service as the transitions see it.
pub(super) struct At<'a> {
    pub(super) key: &'a ServiceKey,
    pub(super) service: &'a mut Service,
    pub(super) agenda: &'a mut Agenda,
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
}

impl At<'_> {
    /// Begins the call that is due; the service has been taken off the agenda.
    pub(super) fn begin(self) -> Option<Call> {
        let (work, tries) = match (&self.service.state, self.service.step(self.rules, self.now)?) {
            (State::Ready { tries, .. }, Step::Update(cause)) => (Work::Send(cause), tries.clone()),
            (State::Ready { tries, .. }, Step::ReadLive(cause)) => (Work::Decide(cause), tries.clone()),
            // Drift that is not corrected at once is read once more before it is: after a restart, after a fight.
            (State::Resting { .. }, Step::Unchanged | Step::Update(Cause::Drifted)) => {
                (Work::Watch, Tries::none(self.service.desired.as_ref()?.digest))
            }
            _ => return None,
        };
        let desired = self.service.desired.as_ref()?;
        let call = Call {
            key: self.key.clone(),
            work,
            update: Arc::clone(&desired.update),
            digest: desired.digest,
            place: desired.place.clone(),
            unnamed: desired.policy.credentials,
            attempt: tries.failed + 1,
        };
        self.service.state = State::InFlight { work, tries, since: self.now };
        Some(call)
    }

    /// After a look at the folder, or where a time has come: brings what the service does in line with what is due
    /// now. A call in flight is left to end first.
    pub(super) fn reconsider(self) {
        let step = self.step();
        let due = self.due(step);
        match &self.service.state {
            State::InFlight { .. } => return,
            State::Ready { tries, .. } | State::Waiting { tries, .. } if due == Some(tries.digest) => return,
            State::Ready { ticket, .. } | State::Waiting { ticket, .. } | State::Resting { ticket: Some(ticket) } => {
                self.agenda.cancel(*ticket);
            }
            State::Resting { ticket: None } => {}
        }
        if step == Some(CORRECT) {
            // What was seen of it may be long ago: it is read again, and soon.
            self.service.looked_at = Timestamp::MIN;
        }
        self.begin_anew(step);
    }

    /// After a call: what comes next, unless what is due now is not what it was about.
    pub(super) fn follow(self, sequel: Sequel, tries: Tries) {
        let step = self.step();
        let due = self.due(step);
        match sequel {
            Sequel::Next(turn) if due == Some(tries.digest) => self.settle(step, Some(tries), turn),
            Sequel::Wait(why, until) if due == Some(tries.digest) => {
                let ticket = self.agenda.schedule(until, self.key);
                self.service.state = State::Waiting { ticket, why, until, tries };
            }
            Sequel::Done | Sequel::Next(_) | Sequel::Wait(..) => self.begin_anew(step),
        }
    }

    /// Its time in the timetable has come, which it was taken off; or its wait is ended.
    pub(super) fn wake(self) {
        match &self.service.state {
            State::Waiting { tries, .. } => {
                let tries = tries.clone();
                let step = self.step();
                self.settle(step, Some(tries), Turn::Behind);
            }
            State::Resting { .. } => {
                self.service.state = State::default();
                self.reconsider();
            }
            State::Ready { .. } | State::InFlight { .. } => {}
        }
    }

    /// What is to be done by now.
    fn step(&self) -> Option<Step> {
        self.service.step(self.rules, self.now)
    }

    /// The digest of what a step calls for, if it does.
    fn due(&self, step: Option<Step>) -> Option<Digest> {
        step?.cause()?;
        self.service.desired.as_ref().map(|desired| desired.digest)
    }

    /// To the queue with what is due as if nothing was tried yet, or to rest. A correction follows from the read that
    /// shows the drift, and from nothing else.
    fn begin_anew(self, step: Option<Step>) {
        let due = self.due(step.filter(|step| *step != CORRECT));
        self.settle(step, due.map(Tries::none), Turn::Fresh);
    }

    /// To the queue with what is due, or to rest.
    fn settle(self, step: Option<Step>, due: Option<Tries>, turn: Turn) {
        let lane = match (step, turn) {
            (Some(CORRECT), _) => Some(Lane::Correction),
            (Some(Step::Update(_)), Turn::Fresh) => Some(Lane::Fresh),
            (Some(Step::Update(_)), Turn::Behind) => Some(Lane::Retry),
            // A read that a change waits for is the first half of the change.
            (Some(Step::ReadLive(Cause::Changed)), Turn::Fresh) => Some(Lane::Fresh),
            (Some(Step::ReadLive(Cause::Changed)), Turn::Behind) => Some(Lane::Retry),
            (Some(Step::ReadLive(_)), Turn::Fresh) => Some(Lane::Read),
            (Some(Step::ReadLive(_)), Turn::Behind) => Some(Lane::ReadAgain),
            (Some(Step::Unchanged | Step::Suspended | Step::Orphaned) | None, _) => None,
        };
        self.service.state = match (due, lane, &self.service.desired) {
            (Some(tries), Some(lane), _) => State::Ready { ticket: self.agenda.queue(lane, self.key), tries },
            (_, _, Some(desired)) => {
                State::Resting { ticket: rest(step, desired, self.service, self.rules, self.key, self.agenda) }
            }
            (_, _, None) => State::default(),
        };
    }
}

/// What a resting service waits for, where that is a time.
fn rest(
    step: Option<Step>,
    desired: &Desired,
    service: &Service,
    rules: &Rules,
    key: &ServiceKey,
    agenda: &mut Agenda,
) -> Option<Ticket> {
    match (step?, &desired.policy.suspend) {
        (Step::Suspended, Suspend::Yes { until: Some(until), .. }) => Some(agenda.schedule(*until, key)),
        (Step::Unchanged | Step::Update(Cause::Drifted), _) if rules.drift_of(desired) != DriftMode::Off => {
            Some(agenda.watch(service.looked_at, key))
        }
        _ => None,
    }
}

/// Until when drift is left alone that was corrected at these times, oldest first; `None` where there is no fight.
#[must_use]
pub fn fights_until(corrections: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let first = *corrections.iter().rev().nth(CORRECTIONS - 1)?;
    let until = first.checked_add(FIGHT).unwrap_or(Timestamp::MAX);
    (until > now).then_some(until)
}

/// `at` plus `wait`, or the end of time.
pub(super) fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
