//! One call from its intent to its record.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, warn};

use super::clock::Clock;
use crate::engine::{self, Call, Ending};
use crate::ledger::{Intent, Ledger, Outcome, WriteError};
use crate::model::{Revision, ServiceKey};
use crate::northflank::{CallError, Client, Delivery, Disposition, Quota};

/// How long to wait before a record that the disk did not take is tried again.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// How a call ended, for the driver.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) key: ServiceKey,
    pub(super) ending: Ending,
    /// What the answer said of the rate limit.
    pub(super) quota: Option<Quota>,
    /// Whether a call was begun at all, and how long it took.
    pub(super) begun: Begun,
    /// The status of its answer, where it was a refusal.
    pub(super) refused: Option<u16>,
    /// Which token it was made with.
    pub(super) token: TokenNumber,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Yes(Duration),
    No,
}

/// Counts the tokens that were put in place, so that a late refusal of an old one is not held against a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenNumber(pub(super) u64);

/// Records the intent, makes the call, records its outcome.
///
/// If the process dies in the middle, the service is in doubt, and the next pass sends once more. If the ledger takes
/// no intent, no call is made. An outcome that the ledger does not take is offered again until it does: until then the
/// service counts as in flight, and nothing else is sent for it.
pub(super) async fn make(
    call: Call,
    revision: Revision,
    ledger: Ledger,
    client: Client,
    clock: Clock,
    token: TokenNumber,
) -> Ended {
    let intent = Intent {
        key: call.key.clone(),
        update: call.update.clone(),
        digest: call.digest,
        cause: call.cause,
        revision,
        place: call.place.clone(),
        attempt: call.attempt,
        at: clock.now(),
    };
    let id = match ledger.intend(intent).await {
        Ok(id) => id,
        Err(error) => {
            let ending = Ending::Unrecorded { error: crate::error::chain(&error) };
            return Ended { key: call.key, ending, quota: None, begun: Begun::No, refused: None, token };
        }
    };
    let answer = client.update_deployment(&call.key, &call.update).await;
    let refused = answer.as_ref().err().and_then(CallError::status);
    let (outcome, ending, quota, elapsed) = match answer {
        Ok(answer) => (Outcome::Accepted { status: answer.status }, Ending::Accepted, answer.quota, answer.elapsed),
        Err(error) => (outcome(&error), ending(&error), error.quota(), error.elapsed()),
    };
    log(&call, &ending);
    for tries in 1_u64.. {
        match ledger.record(id, outcome.clone(), clock.now()).await {
            Ok(()) | Err(WriteError::NotOpen { .. } | WriteError::Stopped) => break,
            Err(error) => {
                let error = crate::error::chain(&error);
                if tries.is_power_of_two() {
                    error!(service = %call.key, error, tries, "the outcome of a call cannot be recorded yet");
                }
                sleep(RECORD_AGAIN).await;
            }
        }
    }
    Ended { key: call.key, ending, quota, begun: Begun::Yes(elapsed), refused, token }
}

fn outcome(error: &CallError) -> Outcome {
    let message = crate::error::chain(error);
    match (error.delivery(), error.status()) {
        (Delivery::Refused, Some(status)) => Outcome::Rejected { status, message },
        (Delivery::Unsent, _) => Outcome::Unsent { message },
        (Delivery::Refused | Delivery::Unknown, status) => Outcome::Unknown { status, message },
    }
}

fn ending(error: &CallError) -> Ending {
    let text = crate::error::chain(error);
    let delivery = match error.delivery() {
        Delivery::Unsent | Delivery::Refused => engine::Delivery::Excluded,
        Delivery::Unknown => engine::Delivery::Unknown,
    };
    match error.disposition() {
        Disposition::Transient => {
            Ending::Transient { error: text, delivery, wait: error.minimum_wait().unwrap_or_default() }
        }
        Disposition::Limited { wait } => Ending::Limited { error: text, wait },
        Disposition::Denied => Ending::Denied { error: text },
        Disposition::Rejected => Ending::Rejected { error: text, delivery },
    }
}

/// A line for each call. The same failure of a service is told at its 1st, 2nd, 4th, 8th … time only.
fn log(call: &Call, ending: &Ending) {
    let Call { key, cause, digest, attempt, place, .. } = call;
    let cause = cause.as_str();
    match ending {
        Ending::Accepted => {
            tracing::info!(service = %key, cause, %digest, manifest = %place, attempt, "update accepted");
        }
        Ending::Transient { error, .. } if attempt.is_power_of_two() => {
            warn!(service = %key, cause, %digest, attempt, error, "update failed, and will be tried again");
        }
        Ending::Rejected { error, .. } if attempt.is_power_of_two() => {
            error!(service = %key, cause, %digest, manifest = %place, attempt, error, "update refused");
        }
        Ending::Transient { error, .. }
        | Ending::Rejected { error, .. }
        | Ending::Limited { error, .. }
        | Ending::Denied { error } => {
            tracing::debug!(service = %key, cause, %digest, attempt, error, "update not accepted");
        }
        // No call was made; the pause of all calls is told by the driver.
        Ending::Unrecorded { .. } | Ending::Withdrawn => {}
    }
}
