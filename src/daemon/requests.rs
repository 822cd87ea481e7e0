//! Requests of people, as whoever holds the ledger takes them up.

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::run::Daemon;
use crate::error::chain;
use crate::ledger::{Ledger, PersonRequest, ReadError, RequestId, RequestKind};
use crate::runner::Carrier;
use crate::text::printable;

/// Does what people asked for, and says what came of each request. Freezes are level: what holds now is read anew.
pub(super) fn take_up(carrier: &mut Carrier, after: Option<RequestId>) -> Result<Vec<(RequestId, String)>, ReadError> {
    carrier.heed_freezes()?;
    let open = carrier.ledger().reader().open_requests()?;
    let new = open.into_iter().filter(|record| after.is_none_or(|after| record.id > after));
    Ok(new.map(|record| (record.id, answer(carrier, &record.request))).collect())
}

/// Keeps what came of requests. What could not be written down was done all the same.
pub(super) async fn write_down(ledger: Ledger, taken: Vec<(RequestId, String)>, now: Timestamp) {
    if let Err(error) = ledger.take_requests(taken, now).await {
        error!(error = chain(&error), "cannot write down that requests were taken up");
    }
}

fn answer(carrier: &mut Carrier, request: &PersonRequest) -> String {
    let PersonRequest { kind, target, reason, by, until, .. } = request;
    let of = target.as_ref().map_or_else(|| "all services".to_owned(), ToString::to_string);
    let (by, reason) = (printable(by), printable(reason.as_deref().unwrap_or_default()));
    match kind {
        RequestKind::Retry => {
            info!(%of, %by, %reason, "a person asks to try again what waits");
            match target {
                Some(key) if carrier.engine().phase(key).is_none() => return "the service is not known".to_owned(),
                Some(key) => carrier.retry(key),
                None => carrier.retry_all(),
            }
            "tried again".to_owned()
        }
        RequestKind::Freeze => {
            let until = until.map(|until| until.to_string()).unwrap_or_default();
            info!(%of, %by, %reason, until, "frozen by a person: no update is sent");
            "frozen".to_owned()
        }
        RequestKind::Thaw => {
            info!(%of, %by, %reason, "a person ended the freeze");
            "thawed".to_owned()
        }
    }
}

impl Daemon {
    /// Takes up what people asked for since the last time.
    pub(super) fn take_requests(&mut self) {
        let taken = match take_up(&mut self.carrier, self.taken) {
            Ok(taken) => taken,
            Err(error) => return warn!(error = chain(&error), "cannot read what people ask for"),
        };
        let Some((last, _)) = taken.last() else { return };
        self.taken = Some(*last);
        self.published.touch_all(tokio::time::Instant::now());
        let (ledger, now) = (self.carrier.ledger().clone(), self.carrier.clock().now());
        tokio::spawn(write_down(ledger, taken, now));
    }
}
