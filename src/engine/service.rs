//! One service: what is known of it, what it is doing, and how it goes from one to the next.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::agenda::{Agenda, Lane, Ticket};
use super::event::Told;
use super::{Call, Delivery, Ending, Phase, Unsettled, Work};
use crate::model::{
    Applied, Cause, DependencyGate, Desired, Diagnostic, Digest, DriftMode, HeldBy, HoldKind, Known, Quarantine,
    ServiceKey, ServiceState, Suspend, held_reason, held_until,
};
use crate::plan::{self, Change, Closed, Reading, Rules, Seen, Step, UnnamedCredentials};

/// After so many corrections within [`FLAPPING`] the service is flapping: somebody changes it back each time.
const CORRECTIONS: usize = 3;

/// How long truenorth leaves a flapping service alone, from the first of these corrections.
pub const FLAPPING: SignedDuration = SignedDuration::from_hours(1);

/// What is to be done about drift that is corrected.
const CORRECT: Step = Step::Update(Cause::Drifted);

#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) desired: Option<Desired>,
    pub(super) known: Option<Known>,
    /// What the newest read showed, as long as nothing was sent since.
    pub(super) seen: Option<Seen>,
    /// Credentials that live used by the newest read, where the manifest named none; they stay until an update.
    pub(super) unnamed: Option<UnnamedCredentials>,
    /// What it waits for, of what it depends on.
    pub(super) awaited: Vec<HeldBy>,
    /// What keeps it closed for updates.
    pub(super) closed: Closed,
    /// When a read of it was last tried, or an update accepted.
    pub(super) looked_at: Timestamp,
    /// Why the newest read for drift failed, if it did.
    pub(super) unread: Option<Diagnostic>,
    /// When its drift was corrected: the newest times, oldest first.
    pub(super) corrections: Vec<Timestamp>,
    /// Requests that are over for us and may still take effect.
    pub(super) unsettled: Vec<Unsettled>,
    /// Whether what was accepted is in effect.
    pub(super) effect: Effect,
    /// Content that was let out, where content is guarded.
    pub(super) let_out: Option<Digest>,
    /// What holds the content that its manifest has.
    pub(super) ruled: Option<HeldBy>,
    /// Content of it whose rollout failed.
    pub(super) quarantined: Option<Quarantined>,
    /// What it is to have in place of what its manifest says, because the rollout of that failed.
    pub(super) back: Option<Desired>,
    /// Whether its content is new since this process first saw the folder: somebody may be waiting for it.
    pub(super) fresh: bool,
    pub(super) told: Told,
    pub(super) state: State,
}

/// Content whose rollout failed.
#[derive(Debug)]
pub(super) struct Quarantined {
    pub(super) quarantine: Quarantine,
    /// How it holds an update.
    pub(super) held: HeldBy,
    /// Whether what was sent in its place failed as well: that is not sent again either.
    pub(super) back_failed: bool,
}

/// What is to be done where the rollout of what the manifest says failed.
const RETURN: Step = Step::Update(Cause::Rollback);

/// Whether what the API accepted last is in effect. Acceptance alone does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// It is, by a read since; or nothing was accepted that has to be checked.
    #[default]
    Settled,
    /// It was accepted, and not read since.
    Unread {
        /// Whether the answer had no body; then it is read even where nobody looks for drift.
        bare: bool,
    },
    /// A read showed that the runtime part is not: that part is to be sent alone.
    Missing,
    /// That part was sent alone and accepted, and the service was not read since.
    Completed,
    /// It is still not in effect after that: it is left alone.
    LeftAlone,
}

impl Effect {
    /// Whether a read is due that shows it.
    pub(super) fn wants_a_read(self) -> bool {
        matches!(self, Self::Unread { .. } | Self::Completed)
    }

    /// Whether a part of what was accepted is known not to be in effect.
    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self, Self::Missing | Self::Completed | Self::LeftAlone)
    }
}

/// What a decision about a service takes into account beside the service itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) rules: Rules,
    /// The time by the clock that never jumps.
    pub(super) now: Timestamp,
    /// The time by the wall clock, by which people write down when a suspension ends.
    pub(super) wall: Timestamp,
    /// Whether a service is read before a change is sent: somebody else changes the services too, or the call only finds
    /// out whether an outage is over, and an update that is lost in it would be in doubt for nothing.
    pub(super) reads_first: bool,
    /// How long after its acceptance an update is checked.
    pub(super) check_after: Duration,
    /// Whether services are read in turn, or only those whose updates have several parts.
    pub(super) in_turn: bool,
    /// Whether content has to be let out before it is sent.
    pub(super) guarded: bool,
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
    pub(super) error: Option<Diagnostic>,
    /// Whether it failed last because the API could not be reached: when it can, the wait is over.
    pub(super) outage: bool,
    /// How often it was rejected in a row.
    pub(super) rejected: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    BackOff,
    Stalled,
    /// Until a request that was given up can no longer take effect.
    Settling,
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
        Self { digest, failed: 0, error: None, outage: false, rejected: 0 }
    }

    pub(super) fn fail(&mut self, error: Diagnostic) {
        self.failed = self.failed.saturating_add(1);
        self.error = Some(error);
    }

    pub(super) fn turn(&self) -> Turn {
        if self.failed == 0 { Turn::Fresh } else { Turn::Behind }
    }
}

impl Service {
    /// What it is to have: what its manifest says, unless the rollout of that failed and it goes back.
    pub(super) fn target(&self) -> Option<&Desired> {
        self.back.as_ref().or(self.desired.as_ref())
    }

    /// What is to be done for it. What is held waits.
    pub(super) fn step(&self, context: Context) -> Option<Step> {
        let step = self.unheld_step(context)?;
        Some(match step {
            Step::Update(cause) | Step::ReadLive(cause) if !self.holds(step, context).is_empty() => Step::Held(cause),
            step => step,
        })
    }

    /// What holds the update that is due, and what its manifest says where it has something else on purpose.
    pub(super) fn held_by(&self, context: Context) -> Vec<HeldBy> {
        let mut held_by = self.unheld_step(context).map(|step| self.holds(step, context)).unwrap_or_default();
        let returned = self.quarantined.as_ref().filter(|_| self.back.is_some());
        held_by.extend(returned.map(|quarantined| quarantined.held.clone()).filter(|held| !held_by.contains(held)));
        held_by
    }

    fn holds(&self, step: Step, context: Context) -> Vec<HeldBy> {
        let Some(desired) = self.target() else { return Vec::new() };
        // A way back is open where new things are not, unless a person or its window closes it; also where the first try
        // to send it is in doubt. Drift from it is corrected like any other.
        let goes_back = self.back.is_some() && step != CORRECT;
        let awaited = if goes_back { &[][..] } else { &self.awaited };
        let mut held_by = plan::held_by(step, desired, self.unnamed.as_ref(), awaited);
        if context.guarded && self.content_change(context).is_some_and(|(_, content)| self.let_out != Some(content)) {
            held_by.push(self.ruled.clone().unwrap_or_else(unruled));
        }
        if plan::may_be_closed(step) {
            held_by.extend_from_slice(self.closed.to(goes_back));
        }
        // Reads go on while its content is quarantined.
        if matches!(step, Step::Update(_)) {
            held_by.extend(self.quarantined_as(desired.digest).map(|quarantined| quarantined.held.clone()));
        }
        held_by
    }

    /// What keeps this content from being sent because its rollout failed.
    fn quarantined_as(&self, content: Digest) -> Option<&Quarantined> {
        let holds = |quarantined: &&Quarantined| {
            let Quarantined { quarantine, back_failed, .. } = quarantined;
            quarantine.holds(content) || *back_failed && quarantine.back == Some(content)
        };
        self.quarantined.as_ref().filter(holds)
    }

    /// What it has, as far as is known, and what is to be sent in its place: not where that is only sent again.
    pub(super) fn content_change(&self, context: Context) -> Option<(Option<Digest>, Digest)> {
        self.unheld_step(context)?.cause()?;
        let from = self.known.as_ref().and_then(Known::digest);
        let to = self.desired.as_ref()?.digest;
        (from != Some(to) && self.back.is_none() && self.quarantined_as(to).is_none()).then_some((from, to))
    }

    /// The content that was accepted and is desired still.
    pub(super) fn accepted_content(&self) -> Option<Digest> {
        let accepted = self.known.as_ref()?.digest()?;
        self.desired.as_ref().is_some_and(|desired| desired.digest == accepted).then_some(accepted)
    }

    /// Whether nothing was ruled yet on what would change.
    pub(super) fn is_unruled(&self, context: Context) -> bool {
        let waits = |(_, content)| self.let_out != Some(content) && self.ruled.is_none();
        context.guarded && self.content_change(context).is_some_and(waits)
    }

    /// Whether its update is held until the rollout of another service has ended well.
    pub(super) fn waits_for_a_rollout(&self, context: Context) -> bool {
        let gated = self.desired.as_ref().is_some_and(|desired| desired.policy.gate == DependencyGate::Deployed);
        let is_dependency = |held: &HeldBy| held.kind == HoldKind::Dependency;
        gated && !self.awaited.is_empty() && self.held_by(context).iter().any(is_dependency)
    }

    /// Whether its manifest names services that it depends on.
    pub(super) fn depends(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| !desired.policy.depends_on.is_empty())
    }

    /// What is to be done for it if nothing holds it. A flapping service is left alone; a part that is not in effect is
    /// sent once.
    fn unheld_step(&self, context: Context) -> Option<Step> {
        let seen = self.conclusive();
        let step = plan::step(self.target(), self.known.as_ref(), seen, &context.rules, context.wall)?;
        let quarantine = self.quarantined.as_ref().map(|quarantined| &quarantined.quarantine);
        let quarantine = quarantine.filter(|quarantine| quarantine.released);
        let step = self.target().map_or(step, |desired| plan::released(step, desired.digest, quarantine, None));
        Some(match step {
            Step::Update(Cause::Changed) if self.back.is_some() => RETURN,
            Step::Unchanged | CORRECT if self.effect == Effect::Missing => Step::Update(Cause::NotInEffect),
            CORRECT if self.effect == Effect::LeftAlone || self.flaps_until(context.now).is_some() => Step::Unchanged,
            Step::Update(Cause::Changed)
                if (context.reads_first || self.may_have_arrived()) && !self.was_compared() =>
            {
                Step::ReadLive(Cause::Changed)
            }
            step => step,
        })
    }

    /// What the newest read showed, unless a request that may still take effect makes that a thing of the past.
    fn conclusive(&self) -> Option<&Seen> {
        let until = self.settles();
        self.seen.as_ref().filter(|seen| until.is_none_or(|until| seen.at >= until))
    }

    /// When the requests can no longer take effect that would make a read of now worth nothing.
    fn settles(&self) -> Option<Timestamp> {
        let desired = self.target()?.digest;
        let matters = |unsettled: &&Unsettled| match self.known {
            // What is in doubt is what is desired: it may arrive yet.
            Some(Known::InDoubt) => unsettled.digest == desired,
            // What was accepted may yet be replaced by something older.
            Some(Known::Applied(Applied { digest, unverified: true })) => unsettled.digest != digest,
            _ => false,
        };
        self.unsettled.iter().filter(matters).map(|unsettled| unsettled.until).max()
    }

    /// Its state while no call for it is due or being made.
    pub(super) fn state_at_rest(
        &self,
        step: Option<Step>,
        context: Context,
    ) -> (ServiceState, Option<Timestamp>, Option<Cow<'_, Diagnostic>>) {
        let flaps_until = self.flaps_until(context.now);
        match step {
            Some(Step::Suspended) => match self.desired.as_ref().map(|desired| &desired.policy.suspend) {
                Some(Suspend::Yes { reason, until }) => {
                    (ServiceState::Suspended, *until, reason.as_deref().map(|reason| Cow::Owned(reason.into())))
                }
                _ => (ServiceState::Suspended, None, None),
            },
            Some(Step::Orphaned) | None => (ServiceState::Orphaned, None, None),
            Some(Step::Held(_)) => {
                let held_by = self.held_by(context);
                (ServiceState::Held, held_until(&held_by), Some(Cow::Owned(held_reason(&held_by).into())))
            }
            Some(Step::Unchanged | CORRECT) if self.drift().is_none() && self.back.is_some() => {
                let reason = held_reason(&self.held_by(context));
                (ServiceState::RolledBack, None, Some(Cow::Owned(reason.into())))
            }
            Some(Step::Unchanged | CORRECT) if self.drift().is_none() => (ServiceState::Unchanged, None, None),
            Some(Step::Unchanged | CORRECT) if self.effect.is_missing() => (ServiceState::NotInEffect, None, None),
            Some(Step::Unchanged | CORRECT) if flaps_until.is_some() => (ServiceState::Flapping, flaps_until, None),
            Some(Step::Unchanged | CORRECT) => (ServiceState::Drifted, None, None),
            Some(Step::Update(_) | Step::ReadLive(_)) => (ServiceState::Queued, None, None),
        }
    }

    /// Until when nothing can be decided by reading.
    pub(super) fn settling_until(&self, now: Timestamp) -> Option<Timestamp> {
        let unverified = matches!(self.known, Some(Known::Applied(Applied { unverified: true, .. })));
        // A doubt is read once at once: what is there already ends it.
        let wait = unverified || self.was_compared();
        self.settles().filter(|until| wait && *until > now)
    }

    /// Whether a request that was given up carried what is desired now.
    fn may_have_arrived(&self) -> bool {
        let desired = self.target().map(|desired| desired.digest);
        self.unsettled.iter().any(|unsettled| Some(unsettled.digest) == desired)
    }

    /// Whether live was compared with what is desired now.
    fn was_compared(&self) -> bool {
        let desired = self.target().map(|desired| desired.digest);
        self.seen.as_ref().is_some_and(|seen| Some(seen.compared) == desired)
    }

    /// Until when its drift is left alone, because it was corrected again and again.
    pub(super) fn flaps_until(&self, now: Timestamp) -> Option<Timestamp> {
        flaps_until(&self.corrections, now)
    }

    /// Whether it is desired, known or being called. What is not is forgotten: if its manifest comes back, it begins anew.
    pub(super) fn is_of_interest(&self) -> bool {
        self.desired.is_some() || self.known.is_some() || matches!(self.state, State::InFlight { .. })
    }

    /// Takes what a new snapshot says of it. `false` where that is nothing new.
    pub(super) fn desire(&mut self, desired: Option<&Desired>) -> bool {
        // What was read once and not again since has the same body in memory, which need not be looked at.
        if let (Some(before), Some(after)) = (&self.desired, desired)
            && Arc::ptr_eq(&before.update, &after.update)
            && Arc::ptr_eq(&before.place.file, &after.place.file)
            && (&before.policy, before.place.line) == (&after.policy, after.place.line)
        {
            return false;
        }
        let same = match (&self.desired, desired) {
            (Some(before), Some(after)) => before.digest == after.digest && before.policy == after.policy,
            (before, after) => before.is_none() && after.is_none(),
        };
        let after = desired.map(|desired| desired.digest);
        self.fresh |= self.desired.as_ref().is_some_and(|before| Some(before.digest) != after) && after.is_some();
        // Other content ends the flapping, also where the manifest changed while no process looked.
        let before = self.desired.as_ref().map(|desired| desired.digest);
        let before = before.or(desired.and(self.known).and_then(|known| known.digest()));
        if before.is_some() && before != after {
            self.corrections.clear();
        }
        self.desired = desired.cloned();
        !same
    }

    /// The API accepted this content. `shown` is what its answer shows of the service.
    pub(super) fn accepted(
        &mut self,
        digest: Digest,
        work: Work,
        (shown, bare): (Option<Reading>, bool),
        (began, now): (Timestamp, Timestamp),
    ) {
        self.has(digest, (began, now));
        self.count_correction(work, now);
        self.effect = match work {
            Work::Send(Cause::NotInEffect) => Effect::Completed,
            _ => Effect::Unread { bare },
        };
        if let Some(reading) = shown {
            self.read(digest, reading, (now, now));
        }
    }

    /// It has this content: accepted, or there already, by a call that began then.
    pub(super) fn has(&mut self, digest: Digest, (began, now): (Timestamp, Timestamp)) {
        // Of the same content nothing is lost if it arrives once more. What could still arrive when the call was made may
        // have come after it, however long its record took.
        self.unsettled.retain(|unsettled| unsettled.digest != digest && unsettled.until > began);
        self.known = Some(Known::Applied(Applied { digest, unverified: !self.unsettled.is_empty() }));
        (self.seen, self.unread, self.looked_at) = (None, None, now);
        (self.effect, self.fresh, self.unnamed) = (Effect::Settled, false, None);
        self.told.sent();
    }

    /// In which fields the newest read showed something else than was applied, where it did.
    pub(super) fn drift(&self) -> Option<Arc<[Change]>> {
        let applied = self.known?.digest()?;
        let seen = self.seen.as_ref().filter(|seen| seen.has_drifted_from(applied))?;
        Some(Arc::clone(&seen.reading.differences))
    }

    fn count_correction(&mut self, work: Work, now: Timestamp) {
        if work == Work::Send(Cause::Drifted) {
            self.corrections.push(now);
            let surplus = self.corrections.len().saturating_sub(CORRECTIONS);
            self.corrections.drain(..surplus);
        }
    }

    /// It was read, and compared with this content.
    /// That is how it was when the read began.
    pub(super) fn read(&mut self, compared: Digest, reading: Reading, (began, now): (Timestamp, Timestamp)) {
        let of_applied = self.known.and_then(|known| known.digest()) == Some(compared);
        if of_applied {
            self.effect = self.effect_by(&reading);
        }
        self.unnamed = reading.unnamed_credentials.clone();
        self.seen = Some(Seen { compared, at: began, reading });
        (self.unread, self.looked_at) = (None, now);
    }

    /// Whether the end of a call shows that somebody else changed the service: it has the content of a change that was
    /// not sent from here, or something else than it was read to have before.
    pub(super) fn is_foreign(&self, work: Work, ending: &Ending) -> bool {
        match (work, ending) {
            // Where drift was seen before, a person may have written down what they changed by hand.
            (Work::Decide(Cause::Changed), Ending::Adopted { .. }) => {
                self.drift().is_none() && matches!(self.known, Some(Known::Applied(_)))
            }
            (Work::Watch, Ending::Read(reading)) => {
                let was_same = self.seen.as_ref().is_some_and(|seen| seen.reading.differences.is_empty());
                was_same && !reading.differences.is_empty()
            }
            _ => false,
        }
    }

    /// What a read of what was accepted shows of its effect.
    fn effect_by(&self, reading: &Reading) -> Effect {
        let is_runtime = |path: &str| path.starts_with("docker.") || path.starts_with("buildpack.");
        let lacks_runtime = !reading.differences.is_empty()
            && reading.differences.iter().all(|change| is_runtime(&change.path))
            && self.target().is_some_and(|desired| desired.update.has_several_parts());
        match self.effect {
            Effect::Unread { .. } | Effect::Missing if lacks_runtime => Effect::Missing,
            Effect::Completed | Effect::LeftAlone if lacks_runtime => Effect::LeftAlone,
            _ => Effect::Settled,
        }
    }

    /// After a call that failed: whether it is still known what the service has.
    pub(super) fn doubt(&mut self, digest: Digest, delivery: Delivery, work: Work, now: Timestamp) {
        match delivery {
            Delivery::Unknown { until } => {
                (self.known, self.seen) = (Some(Known::InDoubt), None);
                self.unsettled.retain(|unsettled| unsettled.until > now);
                self.unsettled.push(Unsettled { digest, until });
                // It may have restarted the service nevertheless.
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
                    Wait::Settling => Phase::Settling { until },
                }
            }
        }
    }
}

/// What holds content until its plan is looked at, which is at once.
fn unruled() -> HeldBy {
    HeldBy { kind: HoldKind::Plan, what: "not yet compared with --max-changes and the approvals".into(), until: None }
}

/// A service as the transitions see it.
pub(super) struct At<'a> {
    pub(super) key: &'a ServiceKey,
    pub(super) service: &'a mut Service,
    pub(super) agenda: &'a mut Agenda,
    pub(super) context: Context,
}

impl At<'_> {
    /// Begins the call that is due; the service has been taken off the agenda.
    pub(super) fn begin(self) -> Option<Call> {
        let (work, tries) = match (&self.service.state, self.service.step(self.context)?) {
            (State::Ready { tries, .. }, Step::Update(cause)) => (Work::Send(cause), tries.clone()),
            (State::Ready { tries, .. }, Step::ReadLive(cause)) => (Work::Decide(cause), tries.clone()),
            // Drift that is not corrected at once is read once more before it is: after a restart, after flapping.
            (State::Resting { .. }, Step::Unchanged | Step::Update(Cause::Drifted) | Step::Held(Cause::Drifted)) => {
                (Work::Watch, Tries::none(self.service.target()?.digest))
            }
            _ => return None,
        };
        let desired = self.service.target()?;
        let call = Call {
            key: self.key.clone(),
            work,
            update: Arc::clone(&desired.update),
            digest: desired.digest,
            place: desired.place.clone(),
            unnamed: desired.policy.credentials,
            attempt: tries.failed + 1,
            fresh: self.service.effect.wants_a_read(),
        };
        self.service.state = State::InFlight { work, tries, since: self.context.now };
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
        self.service.step(self.context)
    }

    /// The digest of what a step calls for, if it does.
    fn due(&self, step: Option<Step>) -> Option<Digest> {
        step.filter(|step| !matches!(step, Step::Held(_)))?.cause()?;
        self.service.target().map(|desired| desired.digest)
    }

    /// To the queue with what is due as if nothing was tried yet, or to rest. A correction follows from the read that
    /// shows the drift, and from nothing else.
    fn begin_anew(self, step: Option<Step>) {
        let due = self.due(step.filter(|step| *step != CORRECT));
        self.settle(step, due.map(Tries::none), Turn::Fresh);
    }

    /// To the queue with what is due, or to rest.
    fn settle(mut self, step: Option<Step>, due: Option<Tries>, turn: Turn) {
        let lane = match (step, turn) {
            (Some(CORRECT | Step::Update(Cause::NotInEffect)), _) => Some(Lane::Correction),
            (Some(Step::Update(_)), Turn::Fresh) => Some(Lane::Fresh),
            (Some(Step::Update(_)), Turn::Behind) => Some(Lane::Retry),
            // A read that a change waits for is the first half of the change; so is one that settles what was sent.
            (Some(Step::ReadLive(cause)), Turn::Fresh) if self.service.is_change(cause) => Some(Lane::Fresh),
            (Some(Step::ReadLive(cause)), Turn::Behind) if self.service.is_change(cause) => Some(Lane::Retry),
            (Some(Step::ReadLive(_)), Turn::Fresh) => Some(Lane::Read),
            (Some(Step::ReadLive(_)), Turn::Behind) => Some(Lane::ReadAgain),
            (Some(Step::Held(_) | Step::Unchanged | Step::Suspended | Step::Orphaned) | None, _) => None,
        };
        let settling = self.service.settling_until(self.context.now);
        let settling = settling.filter(|_| matches!(step, Some(Step::ReadLive(Cause::InDoubt))));
        self.service.state = match (due, lane, settling) {
            (Some(tries), Some(_), Some(until)) => {
                let ticket = self.agenda.schedule(until, self.key);
                State::Waiting { ticket, why: Wait::Settling, until, tries }
            }
            (Some(tries), Some(lane), None) => State::Ready { ticket: self.agenda.queue(lane, self.key), tries },
            _ => State::Resting { ticket: self.rest(step) },
        };
    }

    /// What a resting service waits for, where that is a time.
    fn rest(&mut self, step: Option<Step>) -> Option<Ticket> {
        let Self { key, service, agenda, context } = self;
        let desired = service.desired.as_ref()?;
        match (step?, &desired.policy.suspend) {
            (Step::Suspended, Suspend::Yes { until: Some(until), .. }) => {
                // What people wrote goes by the wall clock, and the timetable by the other one.
                let wait = Duration::try_from(until.duration_since(context.wall)).unwrap_or_default();
                Some(agenda.schedule(later(context.now, wait), key))
            }
            (Step::Held(cause), _) if cause != Cause::Drifted => {
                let until = held_until(&service.held_by(*context))?;
                let wait = Duration::try_from(until.duration_since(context.wall)).unwrap_or_default();
                Some(agenda.schedule(later(context.now, wait), key))
            }
            (Step::Unchanged | CORRECT, _) if service.is_to_be_checked(*context) => {
                Some(agenda.check(later(service.looked_at, context.check_after), key))
            }
            (Step::Unchanged | Step::Held(_) | CORRECT, _)
                if context.in_turn && context.rules.drift_of(desired) != DriftMode::Off =>
            {
                Some(agenda.watch(service.looked_at, key))
            }
            _ => None,
        }
    }
}

impl Service {
    /// Whether a read decides about a change that somebody waits for, and not about what an earlier process left.
    fn is_change(&self, cause: Cause) -> bool {
        self.fresh || matches!(cause, Cause::Changed | Cause::InDoubt)
    }

    /// Whether it is to be read once because of what was accepted. A daemon reads it in its turn, only sooner; a pass
    /// reads what can be accepted in part. One whose read failed waits for its turn among the others.
    fn is_to_be_checked(&self, context: Context) -> bool {
        let Some(desired) = self.target().filter(|_| self.unread.is_none()) else { return false };
        match self.effect {
            Effect::Unread { bare: true } => true,
            Effect::Unread { bare: false } | Effect::Completed if context.in_turn => {
                context.rules.drift_of(desired) != DriftMode::Off
            }
            Effect::Unread { bare: false } | Effect::Completed => desired.update.has_several_parts(),
            Effect::Settled | Effect::Missing | Effect::LeftAlone => false,
        }
    }
}

/// Until when drift is left alone that was corrected at these times, oldest first; `None` where nothing is flapping.
#[must_use]
pub fn flaps_until(corrections: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let first = *corrections.iter().rev().nth(CORRECTIONS - 1)?;
    let until = first.checked_add(FLAPPING).unwrap_or(Timestamp::MAX);
    (until > now).then_some(until)
}

/// `at` plus `wait`, or the end of time.
pub(super) fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
