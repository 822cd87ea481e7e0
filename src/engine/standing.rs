//! How a service stands: its state, until when, and why.

use std::borrow::Cow;

use jiff::Timestamp;

use super::call::{Phase, Work};
use super::service::{Context, Effect, Service, State, Wait};
use super::turn::class;
use super::{Engine, agenda};
use crate::model::{Cause, Desired, Diagnostic, HeldBy, Known, Rollout, ServiceKey, ServiceState};
use crate::plan::{Seen, Step};

/// A service as it stands.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// What its manifest says.
    pub desired: Option<&'a Desired>,
    /// What was applied.
    pub known: Option<&'a Known>,
    /// What the newest read showed, as long as nothing was sent since.
    pub seen: Option<&'a Seen>,
    /// Why the newest read for drift failed, if it did.
    pub unread: Option<&'a Diagnostic>,
    /// What is to be done for it.
    pub step: Option<Step>,
    /// What it is doing.
    pub phase: Phase,
    /// Until when its drift is left alone, because it came back after each of three corrections within an hour.
    pub flaps_until: Option<Timestamp>,
    /// Whether what was accepted last is in effect.
    pub effect: Effect,
    /// Its state, in a word.
    pub state: ServiceState,
    /// Until when it is in that state, where that is a time.
    pub until: Option<Timestamp>,
    /// Why, where there is more to say than the word.
    pub reason: Option<Cow<'a, Diagnostic>>,
    /// What holds its update, where something does.
    pub held_by: Vec<HeldBy>,
    /// The rollout of what was accepted last, as far as it is known.
    pub rollout: Option<&'a Rollout>,
}

impl<'a> Standing<'a> {
    /// What the newest read showed, where that is something else than was applied.
    #[must_use]
    pub fn drift(&self) -> Option<&'a Seen> {
        let applied = self.known?.digest()?;
        self.seen.filter(|seen| seen.has_drifted_from(applied))
    }
}

/// A state, until when, and why.
type Condition<'a> = (ServiceState, Option<Timestamp>, Option<Cow<'a, Diagnostic>>);

impl Engine {
    /// The services that it knows, in order.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// How each service stands, by name.
    pub fn services(&self, now: Timestamp) -> impl Iterator<Item = (&ServiceKey, Standing<'_>)> {
        self.services.iter().map(move |(key, service)| (key, self.stands(key, service, now)))
    }

    /// How one service stands; `None` for one that is neither desired nor known.
    #[must_use]
    pub fn standing(&self, key: &ServiceKey, now: Timestamp) -> Option<Standing<'_>> {
        self.services.get_key_value(key).map(|(key, service)| self.stands(key, service, now))
    }

    /// What one service is doing; `None` for one that is neither desired nor known.
    #[must_use]
    pub fn phase(&self, key: &ServiceKey) -> Option<Phase> {
        self.services.get(key).map(Service::phase)
    }

    pub(super) fn stands<'a>(&'a self, key: &ServiceKey, service: &'a Service, now: Timestamp) -> Standing<'a> {
        let context = self.context(now);
        let step = service.step(context);
        let rollout = self.rollouts.of(key);
        let (state, until, reason) = match (self.state(service, step, context), rollout) {
            ((ServiceState::Unchanged, ..), Some(rollout)) if rollout.state.has_failed() => {
                (ServiceState::RolloutFailed, None, rollout.reason.as_deref().map(|reason| Cow::Owned(reason.into())))
            }
            (condition, _) => condition,
        };
        Standing {
            desired: service.desired.as_ref(),
            known: service.known.as_ref(),
            seen: service.seen.as_ref(),
            unread: service.unread.as_ref(),
            step,
            phase: service.phase(),
            flaps_until: service.flaps_until(now),
            effect: service.effect,
            state,
            until,
            reason,
            held_by: service.held_by(context),
            rollout,
        }
    }

    /// The state of a service, until when, and why.
    pub(super) fn state<'a>(&'a self, service: &'a Service, step: Option<Step>, context: Context) -> Condition<'a> {
        match &service.state {
            State::InFlight { work: Work::Watch, .. } | State::Resting { .. } => service.state_at_rest(step, context),
            State::InFlight { .. } => (ServiceState::InFlight, None, None),
            State::Waiting { why, until, tries, .. } => {
                let state = match why {
                    Wait::BackOff => ServiceState::BackingOff,
                    Wait::Stalled => ServiceState::Stalled,
                    Wait::Settling => ServiceState::InDoubt,
                };
                (state, Some(*until), tries.error.as_ref().map(Cow::Borrowed))
            }
            State::Ready { ticket, tries } => self.state_in_queue(*ticket, tries.error.as_ref(), step, context),
        }
    }

    /// The state of a service for which a call is due: what keeps it back, if anything does.
    pub(super) fn state_in_queue<'a>(
        &'a self,
        ticket: agenda::Ticket,
        error: Option<&'a Diagnostic>,
        step: Option<Step>,
        context: Context,
    ) -> Condition<'a> {
        if let Some((state, pause)) = self.halted(context.now) {
            return (state, Some(pause.until), Some(Cow::Borrowed(&pause.reason)));
        }
        let error = error.map(Cow::Borrowed);
        let agenda::Ticket::Queued(lane, _) = ticket else { return (ServiceState::Queued, None, error) };
        if let Some(until) = self.quota.opens(class(lane), context.now, self.requests(lane)) {
            let reason = "the rest of the rate limit's window is kept for changes";
            return (ServiceState::RateLimited, Some(until), Some(Cow::Owned(reason.into())));
        }
        match step {
            Some(Step::ReadLive(Cause::InDoubt)) => (ServiceState::InDoubt, None, error),
            _ => (ServiceState::Queued, None, error),
        }
    }
}
