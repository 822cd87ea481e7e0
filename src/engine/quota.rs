//! Quota: how many requests the rate limit leaves, and who may use them. It follows the headers of the answers, because
//! others may use the same token. Only where the answers say nothing of a limit it counts by itself, against a limit
//! that is assumed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::later;

/// Two answers whose windows end this close to each other are of the same window: resets come in whole seconds.
pub const SAME_WINDOW: SignedDuration = SignedDuration::from_secs(30);

/// How long a window lasts that no answer has spoken of yet. The provider's lasts an hour.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// What the answers say of the rate limit's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Calls that it has in all.
    pub limit: u32,
    /// Calls that are left in it.
    pub remaining: u32,
    /// When the next one may begin.
    pub resets_at: Timestamp,
}

/// What a call is for, as far as the quota cares: what comes first may use what is kept from what comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A change on its way to the service.
    Change,
    /// Whatever else: reads, and the correction of drift.
    Other,
}

/// The newest window, and what is kept back in each.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    window: Option<Window>,
    reserve_percent: u8,
    /// Requests of a window that are assumed while no answer speaks of one.
    assumed: u32,
    /// Reads for drift in this window.
    watched: u32,
    /// Looks at rollouts in this window.
    followed: u32,
    source: Source,
}

/// Where the window comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nothing is known: no answer came yet.
    Unknown,
    /// The headers of answers.
    Headers,
    /// A count of our own, because no answer speaks of a limit.
    Counted,
}

impl Quota {
    pub(super) fn new(reserve_percent: u8, assumed: u32) -> Self {
        let reserve_percent = reserve_percent.min(100);
        Self {
            window: None,
            reserve_percent,
            assumed: assumed.max(1),
            watched: 0,
            followed: 0,
            source: Source::Unknown,
        }
    }

    /// The window by the newest answer; `None` before the first one. Its end may be past.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.window
    }

    /// Calls that are left by now; `None` before the first answer. A window that is over leaves a whole new one.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Option<u32> {
        self.window.map(|window| if window.resets_at <= now { window.limit } else { window.remaining })
    }

    /// Calls of a window that only changes may use, a part of its limit; nothing before the first answer.
    #[must_use]
    pub fn reserve(&self) -> u32 {
        self.window.map_or(0, |window| window.reserve(self.reserve_percent))
    }

    /// Takes in that a request was answered, or lost, and nothing was said of a limit.
    pub(super) fn count_one(&mut self, now: Timestamp) {
        if self.source == Source::Headers {
            return;
        }
        self.source = Source::Counted;
        let whole = Window { limit: self.assumed, remaining: self.assumed, resets_at: later(now, WINDOW) };
        let window = self.window.filter(|window| window.resets_at > now).unwrap_or_else(|| {
            (self.watched, self.followed) = (0, 0);
            whole
        });
        self.window = Some(Window { remaining: window.remaining.saturating_sub(1), ..window });
    }

    /// Takes in the headers of an answer.
    pub(super) fn note(&mut self, said: Window) {
        // Answers overtake each other: within a window the lowest count is the newest. A count of our own is no answer.
        let same = self.window.filter(|window| {
            self.source == Source::Headers && said.resets_at.duration_since(window.resets_at).abs() < SAME_WINDOW
        });
        self.source = Source::Headers;
        if same.is_none() {
            (self.watched, self.followed) = (0, 0);
        }
        let remaining = same.map_or(said.remaining, |window| window.remaining.min(said.remaining));
        self.window = Some(Window { remaining, ..said });
    }

    /// Whether so many more requests may be made beside those that are owed already: begun or still to come of calls in
    /// flight, which the API may not have counted yet.
    pub(super) fn permits(&self, class: Class, now: Timestamp, requests: u32, owed: usize) -> bool {
        let needed = u32::try_from(owed).unwrap_or(u32::MAX).saturating_add(requests);
        match (self.left(now), class) {
            (Some(left), _) => left >= self.kept_from(class).saturating_add(needed),
            (None, Class::Change) => true,
            // The first answer tells how many there may be.
            (None, Class::Other) => owed == 0,
        }
    }

    /// When calls of a class may be made that may not now, whatever the calls in flight show. `None` where they may.
    pub(super) fn opens(&self, class: Class, now: Timestamp, requests: u32) -> Option<Timestamp> {
        let used_up = self.left(now).is_some_and(|left| left < self.kept_from(class).saturating_add(requests));
        self.window.filter(|_| used_up).map(|window| window.resets_at).filter(|resets_at| *resets_at > now)
    }

    /// A read for drift begins.
    pub(super) fn watch(&mut self) {
        self.watched = self.watched.saturating_add(1);
    }

    /// Whether a look at rollouts may be made: all of them use at most a quarter of what the window has left, and
    /// nothing of what is kept for changes.
    pub(super) fn permits_follow(&self, now: Timestamp, owed: usize) -> bool {
        self.permits(Class::Other, now, 1, owed) && self.follow_opens(now).is_none()
    }

    /// When looks may be made again that may not now, whatever the calls in flight show. `None` where they may.
    pub(super) fn follow_opens(&self, now: Timestamp) -> Option<Timestamp> {
        let window = self.window.filter(|window| window.resets_at > now)?;
        // What was used for looks is part of what was left before them.
        let share = window.remaining.saturating_add(self.followed) / 4;
        let used_up = self.followed >= share || window.remaining <= self.reserve();
        used_up.then_some(window.resets_at)
    }

    /// A look at rollouts begins.
    pub(super) fn follow(&mut self) {
        self.followed = self.followed.saturating_add(1);
    }

    /// The wait between two reads for drift, so that they use at most half of what a window leaves over, evenly.
    pub(super) fn watch_interval(&self, now: Timestamp) -> Duration {
        let Some(window) = self.window else { return Duration::ZERO };
        let rest = Duration::try_from(window.resets_at.duration_since(now)).ok().filter(|rest| !rest.is_zero());
        let watched = rest.map_or(0, |_| self.watched);
        // What was used for it is part of what was left over; half of that, and not half again of each rest.
        let left_over = (self.left(now).unwrap_or(0).saturating_add(watched)).saturating_sub(self.reserve());
        let reads = (left_over / 2).saturating_sub(watched);
        rest.unwrap_or(WINDOW) / reads.max(1)
    }

    fn kept_from(&self, class: Class) -> u32 {
        match class {
            Class::Change => 0,
            Class::Other => self.reserve(),
        }
    }
}

impl Window {
    /// A window from what an answer says.
    #[must_use]
    pub fn new(limit: u32, remaining: u32, resets_in: Duration, now: Timestamp) -> Self {
        Self { limit, remaining, resets_at: later(now, resets_in) }
    }

    /// Calls of this window that only changes may use, so many percent of its limit.
    #[must_use]
    pub fn reserve(&self, percent: u8) -> u32 {
        // Rounded down, so that a limit of a few calls leaves some for reads.
        let reserve = u64::from(self.limit) * u64::from(percent) / 100;
        u32::try_from(reserve).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn quota(limit: u32, remaining: u32, resets: i64) -> Quota {
        let mut quota = Quota::new(10, 1000);
        quota.note(Window { limit, remaining, resets_at: at(resets) });
        quota
    }

    #[test]
    fn the_reserve_is_for_changes_alone() {
        for (remaining, change, other) in [(1000, true, true), (101, true, true), (100, true, false), (0, false, false)]
        {
            let quota = quota(1000, remaining, 60);
            assert_eq!(quota.permits(Class::Change, at(0), 1, 0), change, "{remaining}");
            assert_eq!(quota.permits(Class::Other, at(0), 1, 0), other, "{remaining}");
            assert_eq!(quota.opens(Class::Other, at(0), 1), (!other).then(|| at(60)), "{remaining}");
        }
    }

    #[test]
    fn calls_in_flight_count_as_used() {
        let quota = quota(1000, 103, 60);
        assert!(quota.permits(Class::Other, at(0), 1, 2) && !quota.permits(Class::Other, at(0), 1, 3));
        assert!(quota.permits(Class::Change, at(0), 1, 102) && !quota.permits(Class::Change, at(0), 1, 103));
        assert_eq!(quota.opens(Class::Other, at(0), 1), None, "an answer decides, not the time");
    }

    #[test]
    fn before_the_first_answer_one_read_asks_and_changes_go() {
        let quota = Quota::new(10, 1000);
        assert!(quota.permits(Class::Change, at(0), 1, 7));
        assert!(quota.permits(Class::Other, at(0), 1, 0) && !quota.permits(Class::Other, at(0), 1, 1));
    }

    #[test]
    fn an_api_that_speaks_of_no_limit_is_counted_against_an_assumed_one_until_it_does() {
        let mut quota = Quota::new(10, 20);
        for _ in 0..18 {
            quota.count_one(at(0));
        }
        assert!(quota.permits(Class::Change, at(9), 1, 1) && !quota.permits(Class::Other, at(9), 1, 0));
        assert_eq!(quota.opens(Class::Other, at(9), 1), Some(at(3600)), "an hour from the first request");
        quota.note(Window { limit: 1000, remaining: 900, resets_at: at(3610) });
        assert_eq!(quota.left(at(9)), Some(900), "the API speaks of a limit after all");
        quota.count_one(at(10));
        assert_eq!(quota.left(at(10)), Some(900), "an answer without it in between");
        assert_eq!(self::quota(5, 1, 60).reserve(), 0, "a few calls are for all");
    }

    #[test]
    fn what_was_read_in_one_assumed_window_does_not_slow_the_next() {
        let mut quota = Quota::new(10, 1000);
        quota.count_one(at(0));
        let fresh = quota.watch_interval(at(0));
        for _ in 0..400 {
            quota.watch();
            quota.count_one(at(1));
        }
        assert!(quota.watch_interval(at(1)) > fresh * 2);
        quota.count_one(at(3600));
        assert_eq!(quota.watch_interval(at(3600)), fresh);
    }

    #[test]
    fn a_call_of_two_requests_needs_both() {
        let quota = quota(5, 1, 60);
        assert!(quota.permits(Class::Change, at(0), 1, 0) && !quota.permits(Class::Change, at(0), 2, 0));
        assert_eq!(quota.opens(Class::Change, at(0), 2), Some(at(60)));
    }

    #[test]
    fn within_a_window_the_lowest_count_is_the_newest() {
        let mut quota = quota(1000, 500, 600);
        quota.note(Window { limit: 1000, remaining: 501, resets_at: at(601) });
        assert_eq!(quota.left(at(0)), Some(500), "an answer that was overtaken");
        quota.note(Window { limit: 1000, remaining: 999, resets_at: at(4200) });
        assert_eq!(quota.left(at(0)), Some(999), "a new window");
        assert_eq!(quota.left(at(4200)), Some(1000), "a window that is over");
        assert!(quota.permits(Class::Other, at(4200), 1, 0));
    }

    #[test]
    fn reads_for_drift_use_half_of_what_is_left_over() {
        // 900 - 100 left over, half of it in 3,600 s.
        assert_eq!(quota(1000, 900, 3600).watch_interval(at(0)), Duration::from_secs(9));
        assert_eq!(quota(1000, 100, 3600).watch_interval(at(0)), Duration::from_secs(3600), "nothing is left over");
        assert_eq!(quota(1000, 17, 0).watch_interval(at(0)), Duration::from_secs(8), "a new window of an hour");
        assert_eq!(Quota::new(10, 1000).watch_interval(at(0)), Duration::ZERO);
    }
}
