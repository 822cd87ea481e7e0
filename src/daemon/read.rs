//! Reading live: to see whether an update is needed at all, or whether a service drifted.

use tracing::warn;

use super::call::{Line, Spent, ending, insist};
use super::send;
use crate::engine::{Call, Delivery, Ending, Work};
use crate::error::chain;
use crate::ledger::{Adoption, Outcome, Sighting};
use crate::model::{DeploymentUpdate, Live, ServiceKey, ServiceKind};
use crate::northflank::{self, CallError, Client, Disposition};
use crate::plan::{self, Change, Comparison, Reading, Seen};

const NO_SUCH_SERVICE: &str =
    "the service must exist: create it in Northflank, or correct projectId, serviceId and teamId in the manifest";

const MAY_NOT_READ: &str =
    "give the token's role the permission to read services (Project > Services > General > Read), or pass --no-adopt";

/// Reads live and compares it. What has what is desired is recorded as adopted, or as seen.
pub(super) async fn read(call: &Call, line: &Line, spent: &mut Spent) -> (Ending, Option<u16>) {
    let compared = match line.wire.place().await {
        Some(_place) => compare(&call.key, &call.update, &line.client, spent).await,
        None => return (Ending::Withdrawn, None),
    };
    let (live, comparison) = match compared {
        Ok(compared) => compared,
        Err(error) => {
            // A read changes nothing, however it fails.
            let ending = ending(&error, northflank::Delivery::Refused, hint(&error));
            put_off(call, &ending, error.status(), line).await;
            note_failure(call, &ending, line).await;
            return (ending, error.status());
        }
    };
    if live.kind == ServiceKind::Build {
        let error =
            "a build service deploys nothing; hint: name the deployment service that runs its builds".to_owned();
        let ending = Ending::Rejected { error, delivery: Delivery::Excluded };
        put_off(call, &ending, None, line).await;
        return (ending, None);
    }
    let reading = reading(&comparison, &line.client);
    if matches!(call.work, Work::Decide(_)) {
        for warning in reading.warnings(call.unnamed) {
            warn!(service = %call.key, manifest = %call.place, "{warning}");
        }
    }
    let at = line.clock.now();
    match call.work {
        Work::Watch => {
            let seen = Seen { compared: call.digest, at, reading: reading.clone() };
            let sighting = Sighting { at, kind: Some(live.kind), seen: Some(seen), failure: None };
            // The engine knows it all the same; a restart would read the service again.
            line.keep_sighting(&call.key, sighting, "what live shows").await;
            (Ending::Read(reading), None)
        }
        Work::Decide(_) if comparison.is_adoptable() => {
            let adoption = Adoption {
                key: call.key.clone(),
                update: call.update.clone(),
                digest: call.digest,
                revision: line.revision.clone(),
                place: call.place.clone(),
                at,
            };
            insist(&call.key, "an adoption", async || line.ledger.adopt(adoption.clone()).await.map(drop)).await;
            (Ending::Adopted, None)
        }
        Work::Decide(_) | Work::Send(_) => (Ending::Read(reading), None),
    }
}

/// Keeps why an update was not sent, for `history`, `status` and `why`. The rate limit is no service's own matter.
async fn put_off(call: &Call, ending: &Ending, status: Option<u16>, line: &Line) {
    let (Work::Decide(cause), Some(message)) = (call.work, failure(ending)) else { return };
    let message = format!("{}{message}", Outcome::UNREAD);
    let outcome = match (ending, status) {
        (Ending::Rejected { .. } | Ending::Denied { .. }, Some(status)) => Outcome::Rejected { status, message },
        _ => Outcome::Unsent { message },
    };
    if let Err(error) = line.ledger.put_off(send::intent(call, cause, line), outcome).await {
        warn!(service = %call.key, error = chain(&error), "that the service could not be read cannot be recorded");
    }
}

/// Keeps why a service could not be read for drift, for `status` and `why`.
async fn note_failure(call: &Call, ending: &Ending, line: &Line) {
    let (Work::Watch, Some(failure)) = (call.work, failure(ending)) else { return };
    let sighting = Sighting { at: line.clock.now(), kind: None, seen: None, failure: Some(failure.to_owned()) };
    line.keep_sighting(&call.key, sighting, "that the service could not be read").await;
}

fn failure(ending: &Ending) -> Option<&str> {
    match ending {
        Ending::Transient { error, .. } | Ending::Rejected { error, .. } | Ending::Denied { error } => Some(error),
        Ending::Limited { .. }
        | Ending::Accepted
        | Ending::Adopted
        | Ending::Read(_)
        | Ending::Unrecorded { .. }
        | Ending::Withdrawn => None,
    }
}

/// Asks for the service, and for the id of its build where nothing else is left to decide.
pub(super) async fn compare(
    key: &ServiceKey,
    update: &DeploymentUpdate,
    client: &Client,
    spent: &mut Spent,
) -> Result<(Live, Comparison), CallError> {
    let live = spent.on(client.read_service(key).await)?.value;
    let comparison = plan::compare(update, &live);
    if !comparison.wants_build_id() {
        return Ok((live, comparison));
    }
    match spent.on(client.read_build_id(key).await) {
        Ok(answer) => {
            let live = live.with_build_id(answer.value);
            let comparison = plan::compare(update, &live);
            Ok((live, comparison))
        }
        // The deprecated call may be gone, or closed to this token: then the build cannot be told.
        Err(error)
            if matches!(error.disposition(), Disposition::Rejected | Disposition::Denied | Disposition::Forbidden) =>
        {
            Ok((live, comparison))
        }
        Err(error) => Err(error),
    }
}

/// What of a comparison is kept and shown: a command may hold the token.
pub(super) fn reading(comparison: &Comparison, client: &Client) -> Reading {
    let concealed = |text: Option<String>| text.map(|text| client.conceal(&text));
    let differences = comparison.differences().into_iter();
    let differences =
        differences.map(|Change { path, from, to }| Change { path, from: concealed(from), to: concealed(to) });
    let undecided = comparison.undecided().map(|field| format!("{}: {}", field.path, field.rule));
    let unnamed_credentials = comparison.unnamed_credentials.clone();
    Reading { differences: differences.collect(), undecided: undecided.collect(), unnamed_credentials }
}

fn hint(error: &CallError) -> Option<&'static str> {
    match error.disposition() {
        Disposition::Rejected if error.status() == Some(404) => Some(NO_SUCH_SERVICE),
        Disposition::Forbidden => Some(MAY_NOT_READ),
        _ => None,
    }
}
