//! When to look at the folder: after a change and a little quiet, at times without one, and when somebody asks.
//!
//! While the quiet time runs, the folder is read ahead. If no event follows, the look at its end takes that, which makes
//! the way from a change to its call short however many manifests there are.

use std::time::Duration;

use tokio::time::Instant;

use crate::source::Writing;
use crate::text::words;

/// Under constant change, a look comes after this many quiet times at the latest.
const AT_MOST: u32 = 20;

/// The quiet time after a change that is whole by itself, and the longest: while files are being written, or more and
/// more changes come.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(100);
/// What is noticed within this time is one change: a rename alone gives several events.
const ONE_CHANGE: Duration = Duration::from_millis(1);

/// The folder is read ahead after this part of the quiet time: what is written file by file is mostly whole by then.
/// After twice as much each time that more came, so that constant change costs a few reads and not one after the other.
const AHEAD: u32 = 10;

/// A look that takes longer than this hangs: git is waited for 2 s, and a disk that answers is faster.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// A look that takes longer than this is slow, for it also waits for git: the next one waits for so many times what it took
/// beyond that, so that a folder that is slow to read leaves the machine to others.
const SLOW: Duration = Duration::from_secs(5);
const RESTS: u32 = 2;

/// How soon to look again after a look that failed.
const FAILED_AGAIN: Duration = Duration::from_secs(5);

/// How long it has to be quiet after a change before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debounce {
    /// By what happened: shortly after what is whole by itself, longer while a writer or a burst goes on.
    Adaptive,
    Fixed(Duration),
}

/// What was noticed since the last look began.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    first: Instant,
    last: Instant,
    /// How many changes came one after the other.
    changes: u32,
    writing: Writing,
}

words! {
    /// Why a look begins. It reaches logs and metrics, and decides nothing.
    pub(super) enum Trigger {
        Start = "start",
        /// Something changed in the folder, as an event says.
        Event = "event",
        Resync = "resync",
        /// SIGHUP.
        Reload = "hup",
        /// SIGUSR1.
        Asked = "usr1",
        /// Another token is in place, which a manifest may contain.
        Token = "token",
    }
}

/// What is to be done with the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Read it ahead of the look that will come, which alone counts.
    Ahead,
    Look(Trigger),
    /// Look at it for an event; none came since it was read ahead.
    Confirm,
}

impl Aim {
    /// Why a look begins; nothing where none does.
    pub(super) fn trigger(self) -> Option<Trigger> {
        match self {
            Self::Ahead => None,
            Self::Look(trigger) => Some(trigger),
            Self::Confirm => Some(Trigger::Event),
        }
    }
}

/// The times of the looks. One look runs at a time.
#[derive(Debug)]
pub(super) struct Looks {
    debounce: Debounce,
    resync: Duration,
    events: Option<Noticed>,
    /// The last event before the folder was read ahead.
    ahead: Option<Instant>,
    /// How often it was read ahead since the last look began.
    aheads: u32,
    asked: Option<Trigger>,
    /// When to look without a reason.
    next: Instant,
    running: Option<Instant>,
    /// How long the last look took, and what was read ahead of it.
    spent: Duration,
    /// Before this, nothing but a request makes a look begin.
    rests_until: Instant,
}

impl Looks {
    /// The first look is due at once.
    pub(super) fn new(debounce: Debounce, resync: Duration, now: Instant) -> Self {
        Self {
            debounce,
            resync,
            events: None,
            ahead: None,
            aheads: 0,
            asked: Some(Trigger::Start),
            next: now,
            running: None,
            spent: Duration::ZERO,
            rests_until: now,
        }
    }

    /// Something changed in the folder.
    pub(super) fn event(&mut self, now: Instant, writing: Writing) {
        let new = Noticed { first: now, last: now, changes: 1, writing };
        self.events = Some(self.events.map_or(new, |Noticed { first, last, changes, .. }| {
            let changes = match writing {
                // What git wrote is whole now, however many files it were.
                Writing::GitEnded => 1,
                Writing::Ended | Writing::GoesOn => changes + u32::from(now >= last + ONE_CHANGE),
            };
            Noticed { first, last: now, changes, writing }
        }));
    }

    /// Somebody asks for a look now.
    pub(super) fn ask(&mut self, trigger: Trigger) {
        self.asked = Some(trigger);
    }

    /// When the folder is to be read next; `None` while it is, as the end of that is waited for.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.running.is_some() {
            return None;
        }
        let look = self.look_due(now);
        Some(self.ahead_due().map_or(look, |ahead| ahead.min(look)))
    }

    /// When a look is due.
    fn look_due(&self, now: Instant) -> Instant {
        if self.asked.is_some() {
            return now;
        }
        let quiet = self.events.map(|noticed| (noticed.last + self.quiet(noticed)).min(noticed.first + self.at_most()));
        quiet.map_or(self.next, |quiet| quiet.min(self.next)).max(self.rests_until)
    }

    fn quiet(&self, noticed: Noticed) -> Duration {
        match (self.debounce, noticed.writing) {
            (Debounce::Fixed(quiet), _) => quiet,
            (Debounce::Adaptive, Writing::GoesOn) => LONGEST,
            (Debounce::Adaptive, Writing::Ended | Writing::GitEnded) => {
                SHORTEST.saturating_mul(1 << (noticed.changes - 1).min(10)).min(LONGEST)
            }
        }
    }

    fn at_most(&self) -> Duration {
        match self.debounce {
            Debounce::Fixed(quiet) => quiet.saturating_mul(AT_MOST),
            Debounce::Adaptive => LONGEST * AT_MOST,
        }
    }

    /// When the folder is to be read ahead: once after the newest event.
    fn ahead_due(&self) -> Option<Instant> {
        let noticed = self.events?;
        let ahead = self.quiet(noticed).saturating_mul(1 << self.aheads.min(AHEAD)) / AHEAD;
        // Where the quiet time is as short as that, the look itself is as soon.
        (self.ahead != Some(noticed.last) && ahead >= SHORTEST).then(|| (noticed.last + ahead).max(self.rests_until))
    }

    /// What was due begins. With a look comes when the change was noticed that it is to see.
    pub(super) fn begin(&mut self, now: Instant) -> (Aim, Option<Instant>) {
        self.running = Some(now);
        let last = self.events.map(|noticed| noticed.last);
        if self.look_due(now) > now {
            (self.ahead, self.aheads) = (last, self.aheads + 1);
            return (Aim::Ahead, None);
        }
        let event = self.events.take().map(|noticed| noticed.first);
        let ahead = self.ahead.take();
        self.aheads = 0;
        let aim = match (self.asked.take(), event) {
            (Some(asked), _) => Aim::Look(asked),
            (None, Some(_)) if ahead == last => Aim::Confirm,
            (None, Some(_)) => Aim::Look(Trigger::Event),
            (None, None) => Aim::Look(Trigger::Resync),
        };
        (aim, event)
    }

    /// When the look that runs counts as hanging.
    pub(super) fn hangs_at(&self) -> Option<Instant> {
        self.running.map(|began| began + HANGS_AFTER)
    }

    /// The folder was read ahead.
    pub(super) fn read_ahead(&mut self, now: Instant) {
        self.stop(now);
    }

    fn stop(&mut self, now: Instant) {
        self.spent += self.running.take().map_or(Duration::ZERO, |began| now - began);
    }

    fn rest(&mut self, now: Instant) {
        self.stop(now);
        let took = std::mem::take(&mut self.spent);
        self.rests_until = now + took.saturating_sub(SLOW) * RESTS;
    }

    /// The look ended well.
    pub(super) fn ended(&mut self, now: Instant, resync: Duration) {
        self.rest(now);
        self.next = now + resync.min(self.resync);
    }

    /// git was at work on the folder: there is another look at once.
    pub(super) fn held(&mut self, now: Instant) {
        self.running = None;
        self.next = now;
    }

    /// Something is to be looked at soon without an event.
    pub(super) fn soon(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.rest(now);
        self.next = now + FAILED_AGAIN.min(self.resync);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(100);
    const RESYNC: Duration = Duration::from_secs(60);

    fn looked(start: Instant) -> Looks {
        let mut looks = Looks::new(Debounce::Fixed(QUIET), RESYNC, start);
        assert_eq!(looks.due(start), Some(start));
        assert_eq!(looks.begin(start).0, Aim::Look(Trigger::Start));
        assert_eq!(looks.due(start), None, "one look at a time");
        looks.ended(start, RESYNC);
        looks
    }

    /// Being read ahead of a change.
    fn reading_ahead(start: Instant) -> Looks {
        let mut looks = looked(start);
        looks.event(start, Writing::Ended);
        assert_eq!(looks.begin(start + QUIET / 2).0, Aim::Ahead);
        looks
    }

    #[test]
    fn without_a_change_the_next_look_is_a_resync() {
        let start = Instant::now();
        let mut looks = looked(start);
        assert_eq!(looks.due(start), Some(start + RESYNC));
        assert_eq!(looks.begin(start + RESYNC), (Aim::Look(Trigger::Resync), None));
    }

    #[test]
    fn a_change_is_looked_at_after_a_quiet_time() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.event(start, Writing::Ended);
        looks.event(start + QUIET / 2, Writing::Ended);
        assert_eq!(looks.look_due(start), start + QUIET / 2 + QUIET);
        assert_eq!(looks.begin(start + QUIET * 2), (Aim::Look(Trigger::Event), Some(start)));
    }

    #[test]
    fn a_change_is_read_ahead_once_and_confirmed_when_it_was_quiet() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.event(start, Writing::Ended);
        let ahead = start + QUIET / AHEAD;
        assert_eq!(looks.due(start), Some(ahead));
        assert_eq!(looks.begin(ahead), (Aim::Ahead, None));
        assert_eq!(looks.due(ahead), None, "one read at a time");
        looks.read_ahead(start);
        assert_eq!(looks.due(ahead), Some(start + QUIET));
        assert_eq!(looks.begin(start + QUIET), (Aim::Confirm, Some(start)));
    }

    #[test]
    fn what_was_read_ahead_of_a_further_change_is_read_again() {
        let start = Instant::now();
        let mut looks = reading_ahead(start);
        looks.event(start + QUIET / 2, Writing::Ended);
        looks.read_ahead(start);
        let again = start + QUIET / 2 + QUIET * 2 / AHEAD;
        assert_eq!(looks.due(again), Some(again));
        assert_eq!(looks.begin(again + QUIET), (Aim::Look(Trigger::Event), Some(start)));
        looks.ended(again, RESYNC);
        assert_eq!(looks.due(again), Some(again + RESYNC), "nothing is left to read");
    }

    #[test]
    fn a_read_ahead_that_outlasts_the_quiet_time_is_confirmed_at_once() {
        let start = Instant::now();
        let mut looks = reading_ahead(start);
        looks.read_ahead(start);
        assert_eq!(looks.due(start + QUIET * 3), Some(start + QUIET));
        assert_eq!(looks.begin(start + QUIET * 3).0, Aim::Confirm);
    }

    #[test]
    fn constant_change_is_read_ahead_a_few_times_only() {
        let start = Instant::now();
        let mut looks = looked(start);
        let mut aheads = 0;
        for step in 0..100 {
            let now = start + QUIET / 5 * step;
            looks.event(now, Writing::Ended);
            let due = looks.due(now).unwrap();
            if due < now + QUIET / 5 {
                assert_eq!(looks.begin(due).0, Aim::Ahead);
                looks.read_ahead(start);
                aheads += 1;
            }
        }
        assert_eq!(aheads, 1);
        assert_eq!(looks.due(start), Some(start + QUIET * 20));
    }

    #[test]
    fn who_asks_for_a_look_gets_a_whole_one() {
        let start = Instant::now();
        let mut looks = reading_ahead(start);
        looks.read_ahead(start);
        looks.ask(Trigger::Asked);
        assert_eq!(looks.due(start + QUIET / 2), Some(start + QUIET / 2));
        assert_eq!(looks.begin(start + QUIET / 2), (Aim::Look(Trigger::Asked), Some(start)));
    }

    #[test]
    fn constant_change_holds_a_look_up_for_twenty_quiet_times_at_most() {
        let start = Instant::now();
        let mut looks = looked(start);
        for step in 0..100 {
            looks.event(start + QUIET / 2 * step, Writing::Ended);
        }
        assert_eq!(looks.look_due(start), start + QUIET * 20);
        assert_eq!(looks.begin(start + QUIET * 20).0, Aim::Look(Trigger::Event));
    }

    #[test]
    fn a_change_during_a_look_causes_another_one() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.event(start, Writing::Ended);
        looks.begin(start + QUIET);
        looks.event(start + QUIET, Writing::Ended);
        looks.ended(start + QUIET, RESYNC);
        assert_eq!(looks.look_due(start), start + QUIET * 2);
    }

    #[test]
    fn a_look_that_does_not_end_is_known() {
        let start = Instant::now();
        let mut looks = looked(start);
        assert_eq!(looks.hangs_at(), None);
        looks.begin(start + RESYNC);
        assert_eq!(looks.hangs_at(), Some(start + RESYNC + HANGS_AFTER));
        looks.failed(start);
        assert_eq!(looks.hangs_at(), None);
    }

    #[test]
    fn after_a_slow_look_the_next_waits_in_proportion_unless_somebody_asks() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut looks = looked(start);
        looks.begin(start + RESYNC);
        looks.event(start + RESYNC, Writing::Ended);
        let slow = start + RESYNC + SLOW + second * 20;
        looks.failed(slow);
        assert_eq!(looks.due(slow), Some(slow + second * 20 * RESTS));
        looks.ask(Trigger::Asked);
        assert_eq!(looks.due(slow), Some(slow));

        // What reading ahead took counts as well.
        let mut looks = reading_ahead(start);
        looks.read_ahead(start + QUIET / 2 + SLOW + second);
        let ended = start + SLOW + second * 2;
        assert_eq!(looks.begin(ended).0, Aim::Confirm);
        looks.ended(ended, RESYNC);
        looks.event(ended, Writing::Ended);
        assert_eq!(looks.due(ended), Some(ended + second * RESTS));
        assert_eq!(looks.begin(ended + second * RESTS).0, Aim::Look(Trigger::Event));
        looks.ended(ended + second * RESTS, RESYNC);
        looks.event(ended + second * RESTS, Writing::Ended);
        assert_eq!(looks.look_due(ended + second * RESTS), ended + second * RESTS + QUIET, "it was fast");
    }

    #[test]
    fn a_failed_look_is_tried_again_soon_and_a_request_goes_first() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.begin(start + RESYNC);
        looks.failed(start);
        assert_eq!(looks.due(start), Some(start + FAILED_AGAIN));
        looks.ask(Trigger::Asked);
        assert_eq!(looks.due(start), Some(start));
        assert_eq!(looks.begin(start).0, Aim::Look(Trigger::Asked));
    }

    /// When it is looked at after these events, in milliseconds from the first.
    fn adaptive(events: &[(u64, Writing)]) -> u128 {
        let start = Instant::now();
        let mut looks = Looks::new(Debounce::Adaptive, RESYNC, start);
        looks.begin(start);
        looks.ended(start, RESYNC);
        for (at, writing) in events {
            looks.event(start + Duration::from_millis(*at), *writing);
        }
        looks.look_due(start).duration_since(start).as_millis()
    }

    #[test]
    fn what_is_whole_by_itself_is_looked_at_within_milliseconds() {
        use Writing::{Ended, GoesOn};
        assert_eq!(adaptive(&[(0, Ended)]), 2);
        assert_eq!(adaptive(&[(0, Ended), (0, Ended), (0, Ended)]), 2, "a rename gives several events at once");
        assert_eq!(adaptive(&[(0, GoesOn), (0, GoesOn), (0, Ended)]), 2, "written and closed");
        assert_eq!(adaptive(&[(0, GoesOn), (40, Ended)]), 44, "closed after a while");
    }

    #[test]
    fn a_writer_and_a_burst_are_waited_for_longer_and_never_more_than_before() {
        use Writing::{Ended, GitEnded, GoesOn};
        assert_eq!(adaptive(&[(0, GoesOn)]), 100);
        assert_eq!(adaptive(&[(0, Ended), (1, GoesOn)]), 101);
        assert_eq!(adaptive(&[(0, Ended), (1, Ended)]), 5);
        let burst: Vec<_> = (0..50).map(|at| (at, Ended)).collect();
        assert_eq!(adaptive(&burst), 149);
        let endless: Vec<_> = (0..5000).map(|at| (at, Ended)).collect();
        assert_eq!(adaptive(&endless), 2000);
        assert_eq!(adaptive(&[&burst[..], &[(50, GitEnded)]].concat()), 52, "git has written all of it");
        assert_eq!(adaptive(&[&burst[..], &[(50, GitEnded), (51, Ended)]].concat()), 55, "and moved HEAD");
    }

    #[test]
    fn a_quiet_time_that_was_given_is_kept_whatever_happens() {
        for writing in [Writing::Ended, Writing::GoesOn, Writing::GitEnded] {
            let start = Instant::now();
            let mut looks = looked(start);
            looks.event(start, writing);
            assert_eq!(looks.look_due(start), start + QUIET);
        }
    }

    #[test]
    fn after_git_was_at_work_there_is_another_look_at_once() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.begin(start + RESYNC);
        looks.held(start + RESYNC);
        assert_eq!(looks.due(start + RESYNC), Some(start + RESYNC));
    }
}
