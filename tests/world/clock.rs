//! The world's time, and what is to happen when. The clock jumps from event to event.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// Where the world begins on the engine's clock, in microseconds.
const BEGINNING: i64 = 1_700_000_000_000_000;

/// Microseconds since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// By a clock that is right.
    pub(crate) fn timestamp(self) -> Timestamp {
        Skew::default().timestamp(self)
    }

    /// The first moment at which a time of a right clock has come.
    pub(crate) fn reaching(at: Timestamp) -> Self {
        Skew::default().reaching(at)
    }
}

/// How far a clock is ahead of the world's time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skew(pub(crate) i64);

impl Skew {
    pub(crate) fn timestamp(self, at: Moment) -> Timestamp {
        Timestamp::from_microsecond(BEGINNING + self.0 + i64::try_from(at.0).unwrap()).unwrap()
    }

    /// The first moment at which a time of this clock has come.
    pub(crate) fn reaching(self, at: Timestamp) -> Moment {
        let micros = (at.as_nanosecond() + 999).div_euclid(1000) - i128::from(BEGINNING) - i128::from(self.0);
        Moment(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
    }
}

/// As the ledger keeps a time: to the millisecond.
pub(crate) fn kept(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap()
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        write!(f, "{:3}:{:02}.{micros:06}", seconds / 60, seconds % 60)
    }
}

/// What is to happen, in order of time; at one moment, in the order in which it was put down.
#[derive(Debug)]
pub(crate) struct Future<E> {
    events: BTreeMap<(Moment, u64), E>,
    issued: u64,
}

impl<E> Future<E> {
    pub(crate) fn new() -> Self {
        Self { events: BTreeMap::new(), issued: 0 }
    }

    pub(crate) fn at(&mut self, at: Moment, event: E) {
        self.issued += 1;
        self.events.insert((at, self.issued), event);
    }

    pub(crate) fn next(&mut self) -> Option<(Moment, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
