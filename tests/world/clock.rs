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

    /// As the engine sees it.
    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(BEGINNING + i64::try_from(self.0).unwrap()).unwrap()
    }

    /// The first moment at which a time of the engine has come.
    pub(crate) fn reaching(at: Timestamp) -> Self {
        let micros = (at.as_nanosecond() + 999).div_euclid(1000) - i128::from(BEGINNING);
        Self(u64::try_from(micros.max(0)).unwrap())
    }

    /// As the ledger keeps it: to the millisecond.
    pub(crate) fn kept(self) -> Self {
        Self(self.0 / 1000 * 1000)
    }
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
