//! One call from its beginning to what is recorded of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::clock::Clock;
use super::read;
use super::send::{self, UpdateCalls};
use crate::engine::{self, Call, Ending, Work};
use crate::error::chain;
use crate::ledger::{Ledger, Sighting, WriteError};
use crate::model::{Revision, ServiceKey};
use crate::northflank::{CallError, Client, Delivery, Deprecation, Disposition, Quota};

/// How long to wait before a record that the disk did not take is tried again.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// What every call works with.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) ledger: Ledger,
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) updates: UpdateCalls,
    pub(super) revision: Revision,
    pub(super) token: TokenNumber,
    pub(super) wire: Wire,
}

impl Line {
    /// Records what a read showed, or that it failed. Where the ledger does not take it, nothing depends on it but the
    /// next process.
    pub(super) async fn keep_sighting(&self, key: &ServiceKey, sighting: Sighting, what: &str) {
        if let Err(error) = self.ledger.saw(key, sighting).await {
            warn!(service = %key, error = chain(&error), "{what} cannot be recorded");
        }
    }
}

/// The places on the wire, as many as there may be calls in flight at once. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    places: Arc<Semaphore>,
    held: Arc<AtomicBool>,
    /// Counts the snapshots that brought something new.
    newest: Arc<AtomicU64>,
    /// Which of them this call is of.
    of: u64,
}

impl Wire {
    pub(super) fn new(places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places.max(1)));
        Self { places, held: Arc::default(), newest: Arc::default(), of: 0 }
    }

    /// For a call of the newest snapshot.
    pub(super) fn of_newest(&self) -> Self {
        Self { of: self.newest.load(Ordering::Relaxed), ..self.clone() }
    }

    /// Waits for a place. Nothing where none is given any more, or all calls wait, or something newer may have to be
    /// sent by now: then the call goes back to the engine.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.places.acquire().await.ok()?;
        let newest = self.of == self.newest.load(Ordering::Relaxed);
        (newest && !self.held.load(Ordering::Relaxed)).then_some(place)
    }

    /// A snapshot brought something new.
    pub(super) fn supersede(&self) {
        self.newest.fetch_add(1, Ordering::Relaxed);
    }

    /// All calls wait: what has no place yet gets none.
    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// Calls are made again.
    pub(super) fn release(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    /// Nothing new is begun, for good.
    pub(super) fn close(&self) {
        self.places.close();
    }
}

/// How a call ended, for the driver.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) key: ServiceKey,
    pub(super) work: Work,
    pub(super) ending: Ending,
    /// The requests that it took.
    pub(super) spent: Spent,
    /// The status of its answer, where it was a refusal.
    pub(super) refused: Option<u16>,
    /// Which token it was made with.
    pub(super) token: TokenNumber,
}

/// The requests of one call, and what their answers said beside the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    /// How many there were; none where the call was never begun.
    pub(super) requests: u32,
    /// How long they took together.
    pub(super) elapsed: Duration,
    /// What the newest answer said of the rate limit.
    pub(super) quota: Option<Quota>,
    /// When that answer came: what it showed may take long to be recorded.
    pub(super) told_at: Option<Instant>,
    /// What an answer said of the end of the call.
    pub(super) deprecation: Option<Deprecation>,
}

impl Spent {
    /// Counts a request by its answer, and gives that back.
    pub(super) fn on<T>(
        &mut self,
        answer: Result<crate::northflank::Answered<T>, CallError>,
    ) -> Result<crate::northflank::Answered<T>, CallError> {
        let (elapsed, quota, deprecation) = match &answer {
            Ok(answer) => (answer.elapsed, answer.quota, answer.deprecated),
            Err(error) => (error.elapsed(), error.quota(), error.deprecated()),
        };
        // What is refused here never became a request.
        self.requests += u32::from(!answer.as_ref().is_err_and(CallError::is_local));
        self.elapsed += elapsed;
        if quota.is_some() {
            (self.quota, self.told_at) = (quota, Some(Instant::now()));
        }
        self.deprecation = deprecation.or(self.deprecation);
        answer
    }
}

/// Counts the tokens that were put in place, so that a late refusal of an old one is not held against a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenNumber(pub(super) u64);

/// Makes a call, and records what is to be recorded of it.
pub(super) async fn make(call: Call, line: Line) -> Ended {
    let mut spent = Spent::default();
    let (ending, refused) = match call.work {
        Work::Send(cause) => send::send(&call, cause, &line, &mut spent).await,
        Work::Decide(_) | Work::Watch => read::read(&call, &line, &mut spent).await,
    };
    log(&call, &ending);
    Ended { key: call.key, work: call.work, ending, spent, refused, token: line.token }
}

/// Offers a record to the ledger until it takes it: until then the service counts as in flight, and nothing else is
/// sent for it.
pub(super) async fn insist<F>(service: &ServiceKey, what: &'static str, mut offer: impl FnMut() -> F)
where
    F: Future<Output = Result<(), WriteError>>,
{
    for tries in 1_u64.. {
        match offer().await {
            Ok(()) | Err(WriteError::NotOpen { .. } | WriteError::Stopped) => break,
            Err(error) => {
                let error = crate::error::chain(&error);
                if tries.is_power_of_two() {
                    error!(%service, error, tries, "{what} cannot be recorded yet");
                }
                sleep(RECORD_AGAIN).await;
            }
        }
    }
}

/// How a request that failed ends its call. `hint` says the way out of a refusal.
pub(super) fn ending(error: &CallError, delivery: Delivery, hint: Option<&str>) -> Ending {
    let mut text = crate::error::chain(error);
    if let Some(hint) = hint {
        text.push_str("; hint: ");
        text.push_str(hint);
    }
    let delivery = match delivery {
        Delivery::Unsent | Delivery::Refused => engine::Delivery::Excluded,
        Delivery::Unknown => engine::Delivery::Unknown,
    };
    match error.disposition() {
        Disposition::Transient { .. } => {
            Ending::Transient { error: text, delivery, wait: error.minimum_wait().unwrap_or_default() }
        }
        Disposition::Limited { wait, .. } => Ending::Limited { error: text, wait },
        Disposition::Denied | Disposition::Forbidden => Ending::Denied { error: text },
        Disposition::Rejected => Ending::Rejected { error: text, delivery },
    }
}

/// A line for each call that tells something. The same failure of a service is told at its 1st, 2nd, 4th, 8th … time.
fn log(call: &Call, ending: &Ending) {
    let Call { key, work, digest, attempt, place, .. } = call;
    let cause = work.cause();
    match ending {
        Ending::Accepted => info!(service = %key, cause, %digest, manifest = %place, attempt, "update accepted"),
        Ending::Adopted => info!(service = %key, cause, %digest, manifest = %place, "adopted: live has it already"),
        // What it shows is told with the update that follows, or by the driver where it is drift.
        Ending::Read(reading) => {
            let (differences, undecided) = (reading.differences.len(), reading.undecided.len());
            debug!(service = %key, cause, differences, undecided, "live was read");
        }
        Ending::Transient { error, .. } | Ending::Rejected { error, .. } if *work == Work::Watch => {
            debug!(service = %key, error, "live could not be read");
        }
        Ending::Transient { error, .. } if attempt.is_power_of_two() => {
            warn!(service = %key, cause, %digest, attempt, error, "{} failed, and will be tried again", noun(*work));
        }
        Ending::Rejected { error, .. } if attempt.is_power_of_two() => {
            error!(service = %key, cause, %digest, manifest = %place, attempt, error, "{} refused", noun(*work));
        }
        Ending::Transient { error, .. }
        | Ending::Rejected { error, .. }
        | Ending::Limited { error, .. }
        | Ending::Denied { error } => {
            debug!(service = %key, cause, %digest, attempt, error, "{} not accepted", noun(*work));
        }
        // No call was made; the pause of all calls is told by the driver.
        Ending::Unrecorded { .. } | Ending::Withdrawn => {}
    }
}

fn noun(work: Work) -> &'static str {
    match work {
        Work::Send(_) => "update",
        Work::Decide(_) | Work::Watch => "read",
    }
}
