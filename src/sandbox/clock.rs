//! Clock: wall time that goes with tokio's, so that it moves with a paused one.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// One pair of wall time and tokio's time, taken when the sandbox starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: Timestamp,
    instant: Instant,
}

impl Clock {
    /// Takes the pair.
    pub(super) fn start() -> Self {
        Self { wall: Timestamp::now(), instant: Instant::now() }
    }

    /// The wall time of an instant; one before the start is the start.
    pub(super) fn wall(&self, at: Instant) -> Timestamp {
        let passed = SignedDuration::try_from(at.duration_since(self.instant)).unwrap_or_default();
        self.wall.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

/// A time as the provider writes it: UTC, with milliseconds.
pub(super) fn shown_time(at: Timestamp) -> String {
    format!("{at:.3}")
}
