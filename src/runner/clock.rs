//! Two clocks. What the program waits for goes by one that never jumps; what people wrote down goes by the wall clock.

use jiff::Timestamp;
use tokio::time::Instant;

/// A clock that starts at the wall clock's time and runs evenly, whatever is done to the wall clock later.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    wall: Timestamp,
}

impl Clock {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), wall: Timestamp::now() }
    }

    /// Now, by the clock that never jumps.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.wall.checked_add(self.started.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// Now, by the wall clock, read anew.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    /// A time of the clock that never jumps, for a timer.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        let wait = at.duration_since(self.now());
        Instant::now() + wait.try_into().unwrap_or_default()
    }
}
