//! The states of services as the ledger gets them, so that everybody who reads it sees what the engine decided.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::engine::{Engine, Phase, Standing};
use crate::error::chain;
use crate::ledger::{Decider, Halt, Ledger, StateRecord};
use crate::model::ServiceKey;

/// How long the end of a process may wait for its last states.
pub(crate) const LAST: Duration = Duration::from_secs(2);

/// A state to be written; nothing takes it out.
pub(crate) type StateChange = (ServiceKey, Option<StateRecord>);

/// Writes the states at the end of a process, for as long as that may wait.
pub(crate) async fn write_last(
    ledger: &Ledger,
    states: Vec<StateChange>,
    decider: Decider,
    now: Timestamp,
    until: Instant,
) {
    let error = match timeout_at(until, ledger.set_states(states, decider, now)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => chain(&error),
        Err(_) => "the disk does not answer".to_owned(),
    };
    warn!(error, "cannot record the states of services; `status` shows older ones");
}

/// By what an engine decides.
pub(crate) fn decider(engine: &Engine, now: Timestamp) -> Decider {
    let halt = engine.halted(now).map(|(state, pause)| Halt {
        state,
        until: pause.until,
        reason: pause.reason.message.clone(),
    });
    Decider { rules: engine.rules(), reserve_percent: engine.pace().reserve_percent, halt }
}

pub(crate) fn record_of(standing: &Standing<'_>, now: Timestamp) -> StateRecord {
    let attempts = match standing.phase {
        Phase::Resting | Phase::Settling { .. } => 0,
        Phase::Ready { failed, .. } | Phase::BackingOff { failed, .. } | Phase::Stalled { failed, .. } => failed,
        Phase::InFlight { attempt, .. } => attempt - 1,
    };
    StateRecord {
        state: standing.state,
        since: now,
        until: standing.until,
        reason: standing.reason.as_deref().cloned(),
        digest: standing.desired.map(|desired| desired.digest),
        attempts,
    }
}
