//! Requests of people, as whoever holds the ledger takes them up.

use tracing::field::display;
use tracing::info;

use super::Carrier;
use crate::engine::ChangedSince;
use crate::ledger::{PersonRequest, RequestId, RequestKind, RequestRecord, TakenRequest};
use crate::model::ServiceKey;
use crate::text::printable;

/// Whether a service may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayForget {
    Yes,
    No(&'static str),
}

impl MayForget {
    pub(crate) const HAS_A_MANIFEST: Self = Self::No("not forgotten: a manifest names it");
    pub(crate) const MAY_HAVE_ONE: Self = Self::No("not forgotten: a manifest that has a problem may name it");
    pub(crate) const IS_BUSY: Self = Self::No("not forgotten: its last call has not come to its end");
}

/// Does what people asked for, in the order in which they did, once the folder was read; what came of each goes to the
/// ledger together with what follows from it. Gives what was taken up.
pub(crate) fn take_up(
    carrier: &mut Carrier,
    open: Vec<RequestRecord>,
    after: Option<RequestId>,
    may_forget: impl Fn(&Carrier, &ServiceKey) -> MayForget,
) -> Vec<TakenRequest> {
    let new = open.into_iter().filter(|record| after.is_none_or(|after| record.id > after));
    let taken = new.map(|RequestRecord { id, request, .. }| {
        let target = request.target.clone().filter(|_| request.kind == RequestKind::Forget);
        let (result, forgets) = match target.as_ref().map(|key| may_forget(carrier, key)) {
            Some(MayForget::No(why)) => (why.to_owned(), None),
            Some(MayForget::Yes) | None => (answer(carrier, &request), target),
        };
        TakenRequest { id, result, forgets, at: carrier.clock().now() }
    });
    let taken: Vec<TakenRequest> = taken.collect();
    carrier.keep_taken(taken.clone());
    taken
}

fn answer(carrier: &mut Carrier, request: &PersonRequest) -> String {
    let PersonRequest { kind, target, reason, by, until, .. } = request;
    let of = target.as_ref().map_or_else(|| "all services".to_owned(), ToString::to_string);
    let (by, reason) = (printable(by), reason.as_deref().map(printable));
    let reason = reason.as_ref().map(display);
    match kind {
        RequestKind::Retry => {
            info!(%of, %by, reason, "a person asks to try again what waits");
            match target {
                Some(key) if carrier.engine().phase(key).is_none() => return "the service is not known".to_owned(),
                Some(key) => carrier.retry(key),
                None => carrier.retry_all(),
            }
            "tried again".to_owned()
        }
        RequestKind::Rollback => {
            let (Some(key), Some(taken)) = (target, request.taken_back()) else { return "damaged".to_owned() };
            info!(%of, %by, reason, "a person takes back what the manifest says");
            match carrier.take_content_back(key, taken) {
                Ok(()) => "rolled back".to_owned(),
                Err(ChangedSince) => "not rolled back: the manifest changed".to_owned(),
            }
        }
        RequestKind::Release => {
            info!(%of, %by, reason, "a person lets content out of quarantine");
            match target.as_ref().is_some_and(|key| carrier.release(key)) {
                true => "released".to_owned(),
                false => "nothing of it is quarantined".to_owned(),
            }
        }
        RequestKind::Freeze => {
            let until = until.map(|until| until.to_string());
            info!(%of, %by, reason, until, "frozen by a person: no update is sent");
            "frozen".to_owned()
        }
        RequestKind::Thaw => {
            info!(%of, %by, reason, "a person ended the freeze");
            "thawed".to_owned()
        }
        RequestKind::Forget => {
            info!(%of, %by, reason, "forgotten at a person's request: no manifest names it");
            target.iter().for_each(|key| carrier.forget(key));
            "forgotten".to_owned()
        }
    }
}
