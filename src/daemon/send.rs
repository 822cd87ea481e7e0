//! Sending an update: intent, call, record; by POST or by PATCH.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{error, warn};

use super::call::{Line, Spent, ending, insist};
use crate::engine::{Call, Ending};
use crate::error::chain;
use crate::ledger::{CallId, Intent, Outcome, Sighting, Turned};
use crate::model::{Cause, Live, ServiceKind};
use crate::northflank::{Accepted, Answered, CallError, Delivery};

/// Which call carries an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateCall {
    /// `POST …/deployment`, the call of the provider's reference page.
    Post,
    /// `PATCH …/services/deployment/…` or `…/combined/…`, by the service's type.
    Patch,
    /// POST, until the API no longer serves it for a service that is there; from then on PATCH, for good.
    Auto,
}

/// The choice, and whether the API was found to serve PATCH alone. Clones share what was found.
#[derive(Clone, Debug)]
pub(super) struct UpdateCalls {
    choice: UpdateCall,
    turned: Arc<AtomicBool>,
}

impl UpdateCalls {
    /// `turned` is what the ledger has of earlier processes.
    pub(super) fn new(choice: UpdateCall, turned: bool) -> Self {
        Self { choice, turned: Arc::new(AtomicBool::new(turned)) }
    }

    fn are_patches(&self) -> bool {
        match self.choice {
            UpdateCall::Post => false,
            UpdateCall::Patch => true,
            UpdateCall::Auto => self.turned.load(Ordering::Relaxed),
        }
    }
}

/// Why an update did not go out or was not accepted.
enum Failed {
    /// The update was sent, or could not be.
    Update(CallError),
    /// It was not sent: what has to be known before could not be read.
    Before(CallError),
}

/// Records the intent, makes the call, records its outcome.
///
/// If the process dies in the middle, the service is in doubt, and live is read before anything else is sent. If the
/// ledger takes no intent, no call is made. An outcome that the ledger does not take is offered again until it does.
pub(super) async fn send(call: &Call, cause: Cause, line: &Line, spent: &mut Spent) -> (Ending, Option<u16>) {
    let id = match line.ledger.intend(intent(call, cause, line)).await {
        Ok(id) => id,
        Err(error) => return (Ending::Unrecorded { error: chain(&error) }, None),
    };
    // Only the call itself has a place on the wire: what is written before and after it keeps no other call waiting.
    let answer = match line.wire.place().await {
        Some(_place) => update(call, line, spent).await,
        None => return give_up(call, id, line).await,
    };
    let (outcome, ending, refused) = match answer {
        Ok(answer) => (Outcome::Accepted { status: answer.status }, Ending::Accepted, None),
        Err(Failed::Update(error)) => (outcome(&error), ending(&error, error.delivery(), None), error.status()),
        Err(Failed::Before(error)) => {
            (Outcome::Unsent { message: chain(&error) }, ending(&error, Delivery::Unsent, None), error.status())
        }
    };
    let at = line.clock.now();
    insist(&call.key, "the outcome of a call", || line.ledger.record(id, outcome.clone(), at)).await;
    (ending, refused)
}

/// No call may be made any more, or for now: the intent is taken back.
async fn give_up(call: &Call, id: CallId, line: &Line) -> (Ending, Option<u16>) {
    let outcome = Outcome::Unsent { message: "put back: no call could be made any more".to_owned() };
    insist(&call.key, "the outcome of a call", || line.ledger.record(id, outcome.clone(), line.clock.now())).await;
    (Ending::Withdrawn, None)
}

/// What is about to be sent, or was to be.
pub(super) fn intent(call: &Call, cause: Cause, line: &Line) -> Intent {
    Intent {
        key: call.key.clone(),
        update: call.update.clone(),
        digest: call.digest,
        cause,
        revision: line.revision.clone(),
        place: call.place.clone(),
        attempt: call.attempt,
        at: line.clock.now(),
    }
}

async fn update(call: &Call, line: &Line, spent: &mut Spent) -> Result<Answered<Accepted>, Failed> {
    if line.updates.are_patches() {
        return patch(call, None, line, spent).await;
    }
    let refusal = match spent.on(line.client.update_deployment(&call.key, &call.update).await) {
        Err(error) if line.updates.choice == UpdateCall::Auto && error.is_not_served() => error,
        answer => return answer.map_err(Failed::Update),
    };
    // A service that is there shows that it is the call which is gone.
    match spent.on(line.client.read_service(&call.key).await) {
        Ok(live) => {
            turn(line, &refusal).await;
            patch(call, Some(live.value), line, spent).await
        }
        Err(_) => Err(Failed::Update(refusal)),
    }
}

/// Goes over to PATCH for good; says so once.
async fn turn(line: &Line, refusal: &CallError) {
    if line.updates.turned.swap(true, Ordering::Relaxed) {
        return;
    }
    let error = chain(refusal);
    warn!(error, "the API no longer serves POST …/deployment: updates go out as PATCH from now on");
    let turned = Turned { at: line.clock.now(), reason: error };
    if let Err(error) = line.ledger.turn_to_patch(turned).await {
        error!(error = chain(&error), "the turn to PATCH cannot be recorded; a restart would find it out anew");
    }
}

/// Sends by PATCH. A service of type deployment must be told its instances: those that it has, so that scaling by hand
/// or by autoscaling survives.
async fn patch(call: &Call, live: Option<Live>, line: &Line, spent: &mut Spent) -> Result<Answered<Accepted>, Failed> {
    let kept = line.ledger.reader().kind(&call.key).unwrap_or_default();
    let (kind, instances) = match (&live, kept) {
        (Some(live), _) => (live.kind, live.instances),
        (None, Some(ServiceKind::Combined)) => (ServiceKind::Combined, None),
        (None, _) => {
            let live = spent.on(line.client.read_service(&call.key).await).map_err(Failed::Before)?.value;
            (live.kind, live.instances)
        }
    };
    if kept != Some(kind) {
        let sighting = Sighting { at: line.clock.now(), kind: Some(kind), seen: None, failure: None };
        line.keep_sighting(&call.key, sighting, "the service's type").await;
    }
    let answer = line.client.patch_deployment(&call.key, kind, instances, &call.update).await;
    match spent.on(answer) {
        // The type that the ledger has may be that of a service that was there before: it is read, once.
        Err(error) if live.is_none() && kept == Some(kind) && may_be_another(&error) => {
            let live = spent.on(line.client.read_service(&call.key).await).map_err(Failed::Before)?.value;
            if live.kind == kind {
                Err(Failed::Update(error))
            } else {
                Box::pin(patch(call, Some(live), line, spent)).await
            }
        }
        answer => answer.map_err(Failed::Update),
    }
}

fn may_be_another(error: &CallError) -> bool {
    error.is_not_served() || error.is_local()
}

fn outcome(error: &CallError) -> Outcome {
    let message = chain(error);
    match (error.delivery(), error.status()) {
        (Delivery::Refused, Some(status)) => Outcome::Rejected { status, message },
        (Delivery::Unsent, _) => Outcome::Unsent { message },
        (Delivery::Refused | Delivery::Unknown, status) => Outcome::Unknown { status, message },
    }
}
