//! What the ledger knows of live: what was seen, what is left alone for a while, and how long reads wait.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::engine::{self, Pace};
use crate::ledger::{ReadError, Reader, Sighting};
use crate::model::{Cause, Digest, Known, ServiceKey};
use crate::plan::Step;
use crate::status::{Drift, Quota};

/// Why reads wait.
pub(super) const KEPT: &str = "what is left is kept for changes";

/// What the ledger knows of live.
#[derive(Debug)]
pub(super) struct Lately {
    sightings: HashMap<ServiceKey, Sighting>,
    /// When drift was corrected, oldest first.
    corrections: HashMap<ServiceKey, Vec<Timestamp>>,
    /// What the rate limit leaves, by the newest answer that the ledger has.
    pub(super) quota: Option<Quota>,
    now: Timestamp,
}

impl Lately {
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn of(ledger: Option<&Reader>, now: Timestamp) -> Result<Self, ReadError> {
        let mut lately = Self { sightings: HashMap::new(), corrections: HashMap::new(), quota: None, now };
        let Some(ledger) = ledger else { return Ok(lately) };
        lately.sightings = ledger.sightings()?;
        // What is still to come was written by a clock that was wrong.
        let since = now.checked_sub(engine::FIGHT).unwrap_or(Timestamp::MIN);
        for (key, at) in ledger.corrections(since)?.into_iter().filter(|(_, at)| *at <= now) {
            lately.corrections.entry(key).or_default().push(at);
        }
        lately.quota = ledger.quota()?.filter(|window| window.resets_at > now).map(|window| {
            // As the daemon paces itself.
            let reserve = window.reserve(Pace::default().reserve_percent);
            let resets_at = Some(window.resets_at);
            let reads_wait_until = resets_at.filter(|_| window.remaining <= reserve);
            Quota { limit: window.limit, remaining: window.remaining, resets_at, reserve, reads_wait_until }
        });
        Ok(lately)
    }

    /// How live compares with what was applied.
    pub(super) fn drift(&self, key: &ServiceKey, known: Option<&Known>, desired: Option<Digest>) -> Option<Drift> {
        let sighting = self.sightings.get(key);
        let error = sighting.and_then(|sighting| sighting.failure.as_deref());
        let seen = sighting.and_then(|sighting| sighting.seen.as_ref());
        let drift = Drift::of(known, seen, error, self.left_alone_until(key, known, desired))?;
        // The ledger has the time of the newest read, also of one that failed.
        Some(Drift { read_at: drift.read_at.filter(|_| error.is_none()), ..drift })
    }

    /// When the newest read failed, if it did.
    pub(super) fn failed_at(&self, key: &ServiceKey) -> Option<Timestamp> {
        self.sightings.get(key).filter(|sighting| sighting.failure.is_some()).map(|sighting| sighting.at)
    }

    /// Until when a step waits for the rate limit's next window: a daemon keeps what is left for changes.
    pub(super) fn waits_until(&self, step: Step) -> Option<Timestamp> {
        match step {
            Step::ReadLive(Cause::New | Cause::InDoubt | Cause::Drifted) => {
                self.quota.and_then(|quota| quota.reads_wait_until)
            }
            // A read that a change waits for is a part of the change.
            Step::ReadLive(Cause::Changed) | Step::Update(_) => None,
            Step::Unchanged | Step::Suspended | Step::Orphaned => None,
        }
    }

    /// Other content ends a fight.
    fn left_alone_until(&self, key: &ServiceKey, known: Option<&Known>, desired: Option<Digest>) -> Option<Timestamp> {
        let applied = known.and_then(Known::digest);
        let corrections = self.corrections.get(key).filter(|_| applied.is_some() && applied == desired)?;
        engine::fights_until(corrections, self.now)
    }
}
