//! When the token ends, and when people are told that it does.

use std::time::Duration;

use jiff::Timestamp;

/// How long before its end a token is warned of.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How often that is told.
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenEnd {
    at: Timestamp,
    told: Option<Timestamp>,
}

impl TokenEnd {
    pub(super) fn new(at: Timestamp) -> Self {
        Self { at, told: None }
    }

    /// The end, where it is to be told by now: it is near, and was not told for a day. A clock that was put back tells it
    /// again.
    pub(super) fn tell(&mut self, wall: Timestamp) -> Option<Timestamp> {
        let told_of_late = self.told.is_some_and(|told| wall.duration_since(told).unsigned_abs() < AGAIN);
        let tells = ends_soon(self.at, wall) && !told_of_late;
        if tells {
            self.told = Some(wall);
        }
        tells.then_some(self.at)
    }
}

/// Whether a token that ends then is worth a warning now.
#[must_use]
pub fn ends_soon(at: Timestamp, wall: Timestamp) -> bool {
    Duration::try_from(at.duration_since(wall)).map_or(true, |left| left <= SOON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_ends_within_two_weeks_is_told_once_a_day_and_after_its_end_as_well() {
        const DAY: i64 = 24 * 60 * 60;
        let at = |seconds| Timestamp::from_second(1_000_000_000 + seconds).unwrap();
        let mut end = TokenEnd::new(at(20 * DAY));
        assert_eq!(end.tell(at(6 * DAY - 1)), None);
        assert_eq!(end.tell(at(6 * DAY)), Some(at(20 * DAY)));
        assert_eq!(end.tell(at(7 * DAY - 1)), None);
        assert_eq!(end.tell(at(7 * DAY)), Some(at(20 * DAY)));
        assert_eq!(end.tell(at(21 * DAY)), Some(at(20 * DAY)));
    }
}
