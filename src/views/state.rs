//! The state of a service as whoever reads the ledger knows it: what the engine decided last, unless the folder and the
//! ledger say by now that this is over.

use jiff::Timestamp;

use super::{Observed, Recorded, told};
use crate::ledger::StateRecord;
use crate::model::{Cause, Diagnostic, Digest, HeldBy, ServiceKey, ServiceState, Suspend, held_reason, held_until};
use crate::plan::Step;

/// In which state a service is, until when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) state: ServiceState,
    /// Since when, where an engine decided it.
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) reason: Option<Diagnostic>,
    /// Failed attempts at the present content.
    pub(crate) attempts: u32,
}

impl Finding {
    pub(crate) fn of(key: &ServiceKey, observed: Observed<'_>, recorded: &Recorded) -> Self {
        let Some(step) = observed.steps.get(key).copied() else { return Self::invalid(key, observed) };
        let desired = observed.snapshot.desired.get(key);
        let digest = desired.map(|desired| desired.digest);
        // What was held may be let go since.
        let is_let_go = |record: &StateRecord| {
            matches!(record.state, ServiceState::Held | ServiceState::RolledBack)
                && !matches!(step, Step::Held(_))
                && recorded.untaken.may_let_go(key, digest)
        };
        if let Some(record) = recorded.state(key).filter(|record| !is_let_go(record))
            && let Some(found) = Self::recorded(record, key, (step, digest), recorded)
        {
            return found;
        }
        let (until, reason) = match (step, desired.map(|desired| &desired.policy.suspend)) {
            (Step::Suspended, Some(Suspend::Yes { reason, until })) => {
                (*until, reason.as_deref().map(Diagnostic::from))
            }
            (Step::Held(_), _) => held(observed.held.get(key)),
            _ => (None, None),
        };
        let found = Self::planned(step, || recorded.has_drifted(key, observed.known.get(key)));
        let found = Self { until, reason, ..found };
        found.while_called(step.cause(), recorded, key)
    }

    /// Whether a call for it is due, under way or put off, and nothing holds it on purpose.
    pub(crate) fn waits_for_calls(&self) -> bool {
        is_pending(self.state) && !matches!(self.state, ServiceState::Held | ServiceState::RolledBack)
    }

    /// Until when its drift is left alone, because it came back after each correction.
    pub(super) fn left_alone_until(&self) -> Option<Timestamp> {
        self.until.filter(|_| self.state == ServiceState::Flapping)
    }

    /// A service of which only a problem is known.
    fn invalid(key: &ServiceKey, observed: Observed<'_>) -> Self {
        let last = observed.unproven.get(key).map(|file| &**file);
        match observed.snapshot.problems_of(key, last).next() {
            Some(problem) => Self { reason: Some(told(problem).into()), ..Self::from(ServiceState::Invalid) },
            // Only its history is there: it was forgotten, or never accepted anything.
            None => Self::from(ServiceState::Orphaned),
        }
    }

    /// What the plan says.
    fn planned(step: Step, has_drifted: impl Fn() -> bool) -> Self {
        Self::from(match step {
            Step::Update(Cause::InDoubt) | Step::ReadLive(Cause::InDoubt) => ServiceState::InDoubt,
            Step::Update(_) | Step::ReadLive(_) => ServiceState::Queued,
            Step::Held(_) => ServiceState::Held,
            Step::Suspended => ServiceState::Suspended,
            Step::Orphaned => ServiceState::Orphaned,
            Step::Unchanged if has_drifted() => ServiceState::Drifted,
            Step::Unchanged => ServiceState::Unchanged,
        })
    }

    /// What an engine decided, while nothing says that it is over.
    fn recorded(
        record: &StateRecord,
        key: &ServiceKey,
        (step, digest): (Step, Option<Digest>),
        recorded: &Recorded,
    ) -> Option<Self> {
        if record.digest != digest {
            return None;
        }
        let runs = recorded.holder.is_some();
        // Nothing was accepted since it was decided.
        let is_newest = recorded.marks.get(key).is_none_or(|mark| mark.at <= record.since);
        let at_rest = at_rest(record.state);
        let holds = match step {
            Step::Held(_) => matches!(record.state, ServiceState::Held | ServiceState::RolledBack),
            Step::Suspended => record.state == ServiceState::Suspended,
            Step::Orphaned => record.state == ServiceState::Orphaned,
            Step::Unchanged => at_rest || is_pending(record.state) && is_newest,
            Step::Update(cause) | Step::ReadLive(cause) => {
                is_pending(record.state) && (record.state != ServiceState::InDoubt || cause == Cause::InDoubt)
            }
        };
        if !holds {
            return None;
        }
        let found = Self {
            state: record.state,
            since: Some(record.since),
            until: record.until,
            reason: record.reason.clone(),
            attempts: record.attempts,
        };
        match record.state {
            // Whoever made the call, or was about to, is gone.
            ServiceState::InFlight | ServiceState::Queued if !runs => None,
            ServiceState::Denied
            | ServiceState::Unreachable
            | ServiceState::LedgerUnwritable
            | ServiceState::RateLimited => {
                match recorded.halt.as_ref().filter(|halt| halt.state == record.state) {
                    // All share it: of a single service the ledger may have an older time.
                    Some(halt) => {
                        Some(Self { until: Some(halt.until), reason: Some(halt.reason.as_str().into()), ..found })
                    }
                    // Only who runs keeps something back for later changes.
                    None if record.state == ServiceState::RateLimited && runs => found.unless_over(recorded.now),
                    None => None,
                }
            }
            ServiceState::BackingOff | ServiceState::Stalled | ServiceState::InDoubt if runs => {
                found.unless_over(recorded.now)
            }
            // A time opens what it closed, whether or not somebody runs.
            ServiceState::Held => found.unless_over(recorded.now),
            _ => Some(found),
        }
        .map(|found| found.or_rollout_failed(recorded, key).while_called(step.cause(), recorded, key))
    }

    /// How a rollout ended may be known since the state was written.
    fn or_rollout_failed(self, recorded: &Recorded, key: &ServiceKey) -> Self {
        match recorded.rollouts.get(key).filter(|rollout| rollout.state.has_failed()) {
            Some(rollout) if self.state == ServiceState::Unchanged => {
                Self { state: ServiceState::RolloutFailed, reason: rollout.reason.clone().map(Into::into), ..self }
            }
            None if self.state == ServiceState::RolloutFailed => {
                Self { state: ServiceState::Unchanged, reason: None, ..self }
            }
            _ => self,
        }
    }

    /// A wait whose time is over is none any more.
    fn unless_over(self, now: Timestamp) -> Option<Self> {
        self.until.is_none_or(|until| until > now).then_some(self)
    }

    /// A call under way, or a ledger that takes none, is known before the engine could write it down.
    fn while_called(self, cause: Option<Cause>, recorded: &Recorded, key: &ServiceKey) -> Self {
        let is_waiting = matches!(self.state, ServiceState::Queued | ServiceState::InDoubt | ServiceState::InFlight);
        if cause == Some(Cause::InDoubt) && is_waiting && recorded.is_called(key) {
            return Self { state: ServiceState::InFlight, ..self };
        }
        let unwritable = recorded.holder.is_some_and(|holder| !holder.writes);
        if cause.is_some() && is_waiting && unwritable {
            let reason = Some("the disk, or another program, keeps truenorth from writing it".into());
            return Self { reason, ..Self::from(ServiceState::LedgerUnwritable) };
        }
        self
    }
}

impl From<ServiceState> for Finding {
    fn from(state: ServiceState) -> Self {
        Self { state, since: None, until: None, reason: None, attempts: 0 }
    }
}

/// Until when something is held, and by what.
fn held(held_by: Option<&Vec<HeldBy>>) -> (Option<Timestamp>, Option<Diagnostic>) {
    let held_by = held_by.map_or(&[][..], Vec::as_slice);
    (held_until(held_by), Some(held_reason(held_by).into()))
}

/// Whether nothing is due for a service in this state, though its manifest does not ask for that.
fn at_rest(state: ServiceState) -> bool {
    matches!(
        state,
        ServiceState::Unchanged
            | ServiceState::RolloutFailed
            | ServiceState::Drifted
            | ServiceState::Flapping
            | ServiceState::NotInEffect
    )
}

/// Whether something is due for a service in this state.
fn is_pending(state: ServiceState) -> bool {
    !at_rest(state) && !matches!(state, ServiceState::Suspended | ServiceState::Orphaned | ServiceState::Invalid)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ledger::Holder;
    use crate::ledger::{Decider, Halt, States};
    use crate::plan::Rules;

    const NOW: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(NOW + seconds).expect("is a time")
    }

    fn digest(content: u8) -> Digest {
        Digest::from_bytes([content; 32])
    }

    fn key() -> ServiceKey {
        "shop/web".parse().expect("is a key")
    }

    /// The state that is found where an engine wrote this one, ten seconds ago, of content 1.
    fn found(
        written: ServiceState,
        until: Option<i64>,
        (step, content): (Step, u8),
        change: impl FnOnce(&mut Recorded),
    ) -> Option<ServiceState> {
        let record = StateRecord {
            state: written,
            since: at(-10),
            until: until.map(at),
            reason: None,
            digest: Some(digest(1)),
            attempts: 0,
        };
        let decider = Decider { rules: Rules::default(), reserve_percent: 10, halt: None };
        let states = States { at: at(-10), decider, of: HashMap::from([(key(), record.clone())]) };
        let mut recorded = Recorded::read(None, at(0)).expect("nothing is read");
        recorded.holder = Some(Holder { pid: None, writes: true });
        recorded.states = Some(states);
        change(&mut recorded);
        Finding::recorded(&record, &key(), (step, Some(digest(content))), &recorded).map(|found| found.state)
    }

    const CHANGED: Step = Step::Update(Cause::Changed);

    #[test]
    fn what_was_written_of_other_content_says_nothing() {
        for state in ServiceState::ALL {
            assert_eq!(found(state, None, (CHANGED, 2), |_| {}), None, "{state}");
            assert_eq!(found(state, None, (Step::Unchanged, 2), |_| {}), None, "{state}");
        }
    }

    #[test]
    fn what_the_plan_contradicts_yields_to_it() {
        use ServiceState::*;
        for state in [Unchanged, Drifted, Flapping, NotInEffect, Suspended, Orphaned, Invalid, InDoubt] {
            assert_eq!(found(state, None, (CHANGED, 1), |_| {}), None, "{state}");
        }
        assert_eq!(found(InDoubt, None, (Step::ReadLive(Cause::InDoubt), 1), |_| {}), Some(InDoubt));
        assert_eq!(found(Suspended, None, (Step::Unchanged, 1), |_| {}), None);
        assert_eq!(found(Stalled, None, (Step::Suspended, 1), |_| {}), None);
        for state in [Unchanged, Drifted, Flapping, NotInEffect, Stalled] {
            assert_eq!(found(state, None, (Step::Unchanged, 1), |_| {}), Some(state));
        }
        // It was accepted since.
        let accepted = |recorded: &mut Recorded| {
            let mark = crate::ledger::AppliedMark { revision: String::new(), headline: None, at: at(-1) };
            recorded.marks.insert(key(), mark);
        };
        assert_eq!(found(Stalled, None, (Step::Unchanged, 1), accepted), None);
    }

    #[test]
    fn a_wait_ends_at_its_time_where_somebody_runs_who_ends_it() {
        use ServiceState::*;
        let nobody = |recorded: &mut Recorded| recorded.holder = None;
        for state in [BackingOff, Stalled] {
            assert_eq!(found(state, Some(5), (CHANGED, 1), |_| {}), Some(state));
            assert_eq!(found(state, Some(-5), (CHANGED, 1), |_| {}), None, "{state}");
            assert_eq!(found(state, Some(-5), (CHANGED, 1), nobody), Some(state));
        }
        // Only who runs keeps reads back for later changes, and makes a call.
        assert_eq!(found(RateLimited, Some(5), (CHANGED, 1), |_| {}), Some(RateLimited));
        for state in [RateLimited, InFlight, Queued] {
            assert_eq!(found(state, Some(5), (CHANGED, 1), nobody), None, "{state}");
        }
    }

    #[test]
    fn what_all_calls_wait_for_is_a_state_while_they_do() {
        use ServiceState::*;
        for state in [Denied, Unreachable, LedgerUnwritable, RateLimited] {
            let halted = |recorded: &mut Recorded| {
                recorded.halt = Some(Halt { state, until: at(3), reason: "so".to_owned() });
            };
            assert_eq!(found(state, Some(-5), (CHANGED, 1), halted), Some(state));
            assert_eq!(found(state, Some(-5), (CHANGED, 1), |_| {}), None, "{state}");
        }
    }

    #[test]
    fn a_call_under_way_and_a_ledger_that_takes_nothing_are_known_before_they_are_written() {
        let doubt = Finding::from(ServiceState::InDoubt);
        let mut recorded = Recorded::read(None, at(0)).expect("nothing is read");
        let state = |recorded: &Recorded| doubt.clone().while_called(Some(Cause::InDoubt), recorded, &key()).state;
        recorded.open = vec![key()];
        assert_eq!(state(&recorded), ServiceState::InDoubt, "nobody is there to make it");
        recorded.holder = Some(Holder { pid: None, writes: false });
        assert_eq!(state(&recorded), ServiceState::InFlight);
        recorded.open.clear();
        assert_eq!(state(&recorded), ServiceState::LedgerUnwritable);
        recorded.holder = Some(Holder { pid: None, writes: true });
        assert_eq!(state(&recorded), ServiceState::InDoubt);
    }
}
