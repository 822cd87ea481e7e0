//! The time as the engine sees it: the wall clock at the start, moved on by a clock that never jumps.

use jiff::Timestamp;
use tokio::time::Instant;

/// A clock that starts at the wall clock's time and runs evenly, whatever is done to the wall clock later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
    wall: Timestamp,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), wall: Timestamp::now() }
    }

    /// Now, for the engine.
    pub(super) fn now(&self) -> Timestamp {
        self.wall.checked_add(self.started.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// A time of the engine, for a timer.
    pub(super) fn instant(&self, at: Timestamp) -> Instant {
        let wait = at.duration_since(self.now());
        Instant::now() + wait.try_into().unwrap_or_default()
    }
}
