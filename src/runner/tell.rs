//! What people are told in the log: one line for one fact.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, error, info, warn};

use crate::engine::{Block, Call, Ending, Event, Work};
use crate::model::{Diagnostic, HoldKind, OvertakenBy, Place, Rollout, RolloutState, ServiceKey, held_reason};
use crate::northflank::Deprecation;
use crate::plan::Change;

/// Something that the log tells.
#[derive(Clone, Debug)]
pub enum Told {
    /// A call ended.
    Call {
        /// Which.
        call: Call,
        /// How.
        ending: Ending,
    },
    /// Something happened in the engine.
    Engine(Event),
    /// The token has no permission for one service, though it is good for others.
    Forbidden {
        /// Which service.
        key: ServiceKey,
        /// What the API said.
        error: Diagnostic,
    },
    /// What a person should know before an update of a service is sent.
    Warning {
        /// Which service.
        key: ServiceKey,
        /// Its manifest.
        place: Place,
        /// The warning.
        text: String,
    },
    /// The API refused the token, and another one is in place.
    TokenReplacedAfterRefusal,
    /// The token cannot be read again.
    TokenUnreadable(String),
    /// Updates go out as PATCH from now on.
    Turned {
        /// What the API said to POST.
        reason: String,
    },
    /// Updates go out as POST again, because PATCH is forbidden.
    TurnUndone,
    /// Updates go out as POST again: the API serves it again after a day.
    TurnOver,
    /// An API call that is used has an end.
    Deprecated(Deprecation),
    /// How often each service is read for drift.
    WatchPeriod(Duration),
    /// It cannot be told whose the token is, though the API answers otherwise.
    AccountUnknown {
        /// Why not.
        error: String,
    },
    /// The token ends soon, or has ended.
    TokenEnds {
        /// When.
        at: Timestamp,
    },
}

impl Told {
    /// Whether it is about all calls, and not about one service.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        let Self::Engine(event) = self else { return false };
        matches!(event, Event::Blocked { .. } | Event::Limited { .. } | Event::ReadsWait { .. } | Event::Open)
    }

    /// Writes it to the log.
    pub fn log(&self) {
        match self {
            Self::Call { call, ending } => log_call(call, ending),
            Self::Engine(event) => log_event(event),
            Self::Forbidden { key, error } => {
                let hint = error.hint.as_deref();
                error!(service = %key, error = error.line(), hint, "the token has no permission for this service");
            }
            Self::Warning { key, place, text } => warn!(service = %key, manifest = %place, "{text}"),
            Self::TokenReplacedAfterRefusal => warn!("the API refused the token; going on with the new one"),
            Self::TokenUnreadable(error) => error!(error, "cannot read the token again"),
            Self::Turned { reason } => {
                warn!(
                    error = reason,
                    "the API no longer serves POST …/deployment; updates go out as PATCH. POST is tried again after a day, or with --update-call post"
                );
            }
            Self::TurnOver => info!("the API serves POST again: updates are sent as POST"),
            Self::TurnUndone => {
                warn!("the token may not PATCH; updates go out as POST again");
            }
            Self::Deprecated(said) => warn!("the API announces the end of a call that is used: {said}"),
            Self::AccountUnknown { error } => {
                warn!(error, "cannot ask the API whose the token is; the ledger is taken to be of the same account");
            }
            Self::TokenEnds { at } => {
                warn!(%at, "the token ends soon: create a new one and put it in place; SIGHUP reads it without a restart");
            }
            Self::WatchPeriod(period) => {
                info!("each service is read for drift about every {} min", period.as_secs().div_ceil(60));
            }
        }
    }
}

/// A line for each state of a rollout, and for what is found out of a failure.
fn log_rollout(key: &ServiceKey, was: RolloutState, rollout: &Rollout) {
    let (is_news, failed) = (was != rollout.state, rollout.state.has_failed());
    if is_news || failed {
        let (digest, words) = (rollout.digest, rollout.words());
        match rollout.state {
            _ if failed => error!(service = %key, %digest, "{words}"),
            RolloutState::Superseded => warn!(service = %key, %digest, "{words}"),
            _ => info!(service = %key, %digest, "{words}"),
        }
    }
}

fn log_event(event: &Event) {
    match event {
        Event::Rollout { key, was, rollout } => log_rollout(key, *was, rollout),
        Event::NotFollowed { reason } => warn!("rollouts cannot be followed: {reason}"),
        Event::Drifted { key, differences, flaps_until: Some(until) } => {
            let fields = listed(differences);
            error!(
                service = %key, fields, %until,
                "drift came back after each of 3 corrections; no more until then, or until the manifest changes"
            );
        }
        Event::Drifted { key, differences, flaps_until: None } => {
            let fields = listed(differences);
            warn!(service = %key, fields, "the service drifted: it runs something else than was applied");
        }
        Event::Held { key, held_by } => {
            let what = held_reason(held_by);
            // What only waits for its turn needs nobody.
            if held_by.iter().all(|held| held.kind == HoldKind::Dependency) {
                info!(service = %key, "an update is held: {what}");
            } else {
                warn!(service = %key, "an update is held: {what}");
            }
        }
        Event::PlanHeld { what } => warn!("the plan is held: {what}"),
        Event::DriftGone { key } => info!(service = %key, "the service runs what was applied again"),
        Event::NotInEffect { key, differences, sends: true } => {
            let fields = listed(differences);
            warn!(service = %key, fields, "a part of the accepted update is not in effect; sending that part alone");
        }
        Event::NotInEffect { key, differences, sends: false } => {
            let fields = listed(differences);
            error!(
                service = %key, fields,
                "a part of the accepted update is not in effect, also after it was sent alone; left as it is"
            );
        }
        Event::Unread { key, error } => {
            let hint = error.hint.as_deref();
            warn!(service = %key, error = error.line(), hint, "cannot read the service: drift would not be seen");
        }
        Event::ReadAgain { key } => info!(service = %key, "the service can be read again"),
        Event::Blocked { block: Block::Denied, reason, until } => {
            error!(error = reason.line(), %until, "the API refuses the token; calls are paused");
        }
        Event::Blocked { block: Block::Unwritable, reason, until } => {
            error!(error = reason.line(), %until, "cannot write the ledger; calls are paused");
        }
        Event::Blocked { block: Block::Unreachable, reason, until } => {
            error!(error = reason.line(), next_try = %until, "the API is unreachable; calls are paused");
        }
        Event::Limited { reason, until } => warn!(error = reason.line(), %until, "rate limit: calls are paused"),
        Event::ReadsWait { until } => {
            warn!(%until, "rate limit: reads wait; the rest of this window is kept for changes");
        }
        Event::Open => info!("calls are made again"),
        Event::SomebodyElse { key, by, .. } => {
            let (user, at) = (by.as_ref().map(OvertakenBy::who), by.as_ref().map(|by| tracing::field::display(by.at)));
            warn!(
                service = %key, deployed_by = user, deployed_at = at,
                "somebody else changes these services too: for an hour each is read before an update is sent. Only one truenorth may run for a folder"
            );
        }
    }
}

fn listed(differences: &[Change]) -> String {
    let fields: Vec<String> = differences.iter().map(ToString::to_string).collect();
    fields.join(", ")
}

/// A line for each call that tells something. The same failure of a service is told at its 1st, 2nd, 4th, 8th … time.
fn log_call(call: &Call, ending: &Ending) {
    let Call { key, work, digest, attempt, place, .. } = call;
    let cause = work.cause();
    match ending {
        Ending::Accepted { .. } => info!(service = %key, cause, %digest, manifest = %place, attempt, "update accepted"),
        Ending::Adopted { .. } => {
            info!(service = %key, cause, %digest, manifest = %place, "adopted: live has it already")
        }
        // What it shows is told with the update that follows, or as drift.
        Ending::Read(reading) => {
            let (differences, undecided) = (reading.differences.len(), reading.undecided.len());
            debug!(service = %key, cause, differences, undecided, "live was read");
        }
        Ending::Transient { error, .. } | Ending::Rejected { error, .. } if *work == Work::Watch => {
            debug!(service = %key, error = error.line(), "live could not be read");
        }
        Ending::Transient { error, .. } if attempt.is_power_of_two() => {
            let (error, hint) = (error.line(), error.hint.as_deref());
            warn!(service = %key, cause, %digest, attempt, error, hint, "{} failed, and will be tried again", noun(*work));
        }
        Ending::Rejected { error, .. } if attempt.is_power_of_two() => {
            let (error, hint) = (error.line(), error.hint.as_deref());
            error!(service = %key, cause, %digest, manifest = %place, attempt, error, hint, "{} refused", noun(*work));
        }
        Ending::Transient { error, .. }
        | Ending::Rejected { error, .. }
        | Ending::Limited { error, .. }
        | Ending::Denied { error } => {
            debug!(service = %key, cause, %digest, attempt, error = error.line(), "{} not accepted", noun(*work));
        }
        // No call was made; a pause of all calls is told by itself.
        Ending::Unrecorded { .. } | Ending::Withdrawn => {}
    }
}

fn noun(work: Work) -> &'static str {
    match work {
        Work::Send(_) => "update",
        Work::Decide(_) | Work::Watch => "read",
    }
}
