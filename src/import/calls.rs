//! Calls that wait: past the rate limit until it resets, after a failure that passes a little while and not for ever.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tokio::time::Instant;

use super::Heard;
use crate::engine::Pace;
use crate::northflank::{Answered, CallError, Disposition, Quota};
use crate::plan::ApiUse;

/// How often a call that fails for a reason that passes is made.
const TRIES: u32 = 5;

/// The longest wait between two of them. Whoever asks for more has a maintenance that a person does not sit through.
const LONGEST: Duration = Duration::from_secs(60);

/// Ends that are further apart belong to two windows.
const WINDOWS_APART: Duration = Duration::from_secs(5);

/// A call that is given up.
#[derive(Clone, Debug, Error)]
#[error("{text}")]
pub(super) struct GivenUp {
    text: String,
    /// The status, where the API itself refused the call.
    pub(super) status: Option<u16>,
}

/// What all calls of an import share.
pub(super) struct Calls<'a, H> {
    hear: &'a H,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    made: u32,
    /// Calls left in the window, and about when it ends.
    left: Option<(u32, Instant)>,
    limited_until: Option<Instant>,
    /// The token is refused: every further call would be, too.
    refused: Option<GivenUp>,
}

impl<'a, H: Fn(Heard)> Calls<'a, H> {
    pub(super) fn new(hear: &'a H) -> Self {
        Self { hear, shared: Mutex::default() }
    }

    /// What was spent so far.
    pub(super) fn spent(&self) -> ApiUse {
        let shared = self.lock();
        ApiUse { calls: shared.made, remaining: shared.left.map(|(remaining, _)| remaining) }
    }

    /// Makes a call, again where that helps.
    pub(super) async fn make<T>(&self, call: impl AsyncFn() -> Result<Answered<T>, CallError>) -> Result<T, GivenUp> {
        let mut failed = 0;
        loop {
            self.wait_for_limit().await;
            if let Some(refused) = self.lock().refused.clone() {
                return Err(refused);
            }
            self.lock().made += 1;
            let error = match call().await {
                Ok(answered) => {
                    self.learn(answered.quota);
                    return Ok(answered.value);
                }
                Err(error) => error,
            };
            self.learn(error.quota());
            match error.disposition() {
                Disposition::Limited { wait, .. } => self.limit(wait),
                Disposition::Transient { .. } if failed + 1 < TRIES => {
                    failed += 1;
                    let jittered = Pace::default().backoff.wait(failed, fastrand::f64());
                    let wait = error.minimum_wait().unwrap_or_default().max(jittered);
                    if wait > LONGEST {
                        return Err(given_up(&error));
                    }
                    tokio::time::sleep(wait).await;
                }
                Disposition::Denied => {
                    let refused = given_up(&error);
                    self.lock().refused = Some(refused.clone());
                    return Err(refused);
                }
                Disposition::Transient { .. } | Disposition::Forbidden | Disposition::Rejected => {
                    return Err(given_up(&error));
                }
            }
        }
    }

    /// Waits until the limit is over; it may have been put off meanwhile.
    async fn wait_for_limit(&self) {
        loop {
            let until = self.lock().limited_until.filter(|until| *until > Instant::now());
            let Some(until) = until else { return };
            tokio::time::sleep_until(until).await;
        }
    }

    /// Holds all calls back. Answers to calls that were out together say the same; it is told once.
    fn limit(&self, wait: Duration) {
        let now = Instant::now();
        let until = now + wait;
        let mut shared = self.lock();
        let news = shared.limited_until.is_none_or(|known| known <= now);
        shared.limited_until = shared.limited_until.max(Some(until));
        drop(shared);
        if news {
            let signed = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
            let until = Timestamp::now().checked_add(signed).unwrap_or(Timestamp::MAX);
            (self.hear)(Heard::Limited { wait, until });
        }
    }

    fn learn(&self, quota: Option<Quota>) {
        let Some(Quota { remaining, resets_in, .. }) = quota else { return };
        let ends = Instant::now() + resets_in;
        let mut shared = self.lock();
        // Answers overtake each other: in one window, the least is the newest. Ends are told in whole seconds.
        shared.left = match shared.left {
            Some((known, known_end)) if ends < known_end + WINDOWS_APART => Some((known.min(remaining), known_end)),
            _ => Some((remaining, ends)),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn given_up(error: &CallError) -> GivenUp {
    let refused = matches!(error.disposition(), Disposition::Denied | Disposition::Forbidden | Disposition::Rejected);
    GivenUp { text: crate::error::chain(error), status: error.status().filter(|_| refused) }
}
