//! When to look at the folder: after a change and a little quiet, at times without one, and when somebody asks.
//!
//! While the quiet time runs, the folder is read ahead. If no event follows, the look at its end takes that, which makes
//! the way from a change to its call short however many manifests there are.

use std::time::Duration;

use tokio::time::Instant;

/// Under constant change, a look comes after this many quiet times at the latest.
const AT_MOST: u32 = 20;

/// The folder is read ahead after this part of the quiet time: what is written file by file is mostly whole by then.
/// After twice as much each time that more came, so that constant change costs a few reads and not one after the other.
const AHEAD: u32 = 10;

/// A look that takes longer than this hangs: git is waited for 5 s, and a disk that answers is faster.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// A look that takes longer than this is slow, for it also waits for git: the next one waits for so many times what it took
/// beyond that, so that a folder that is slow to read leaves the machine to others.
const SLOW: Duration = Duration::from_secs(5);
const RESTS: u32 = 4;

/// How soon to look again after a look that failed.
const FAILED_AGAIN: Duration = Duration::from_secs(5);

/// Why a look begins. It reaches logs and metrics, and decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The daemon began.
    Start,
    /// Something changed in the folder, as an event says.
    Event,
    /// It is time.
    Resync,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    Asked,
}

impl Trigger {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Event => "event",
            Self::Resync => "resync",
            Self::Reload => "hup",
            Self::Asked => "usr1",
        }
    }
}

/// What is to be done with the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Read it ahead of the look that will come, which alone counts.
    Ahead,
    /// Look at it.
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
    quiet: Duration,
    resync: Duration,
    /// The first and the last event since the last look began.
    events: Option<(Instant, Instant)>,
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
    pub(super) fn new(quiet: Duration, resync: Duration, now: Instant) -> Self {
        Self {
            quiet,
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
    pub(super) fn event(&mut self, now: Instant) {
        let first = self.events.map_or(now, |(first, _)| first);
        self.events = Some((first, now));
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
        let quiet = self.events.map(|(first, last)| (last + self.quiet).min(first + self.quiet * AT_MOST));
        quiet.map_or(self.next, |quiet| quiet.min(self.next)).max(self.rests_until)
    }

    /// When the folder is to be read ahead: once after the newest event.
    fn ahead_due(&self) -> Option<Instant> {
        let (_, last) = self.events?;
        let due = last + self.quiet.saturating_mul(1 << self.aheads.min(AHEAD)) / AHEAD;
        (self.ahead != Some(last)).then(|| due.max(self.rests_until))
    }

    /// What was due begins. With a look comes when the change was noticed that it is to see.
    pub(super) fn begin(&mut self, now: Instant) -> (Aim, Option<Instant>) {
        self.running = Some(now);
        let last = self.events.map(|(_, last)| last);
        if self.look_due(now) > now {
            (self.ahead, self.aheads) = (last, self.aheads + 1);
            return (Aim::Ahead, None);
        }
        let event = self.events.take().map(|(first, _)| first);
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

    /// The look failed.
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
        let mut looks = Looks::new(QUIET, RESYNC, start);
        assert_eq!(looks.due(start), Some(start));
        assert_eq!(looks.begin(start).0, Aim::Look(Trigger::Start));
        assert_eq!(looks.due(start), None, "one look at a time");
        looks.ended(start, RESYNC);
        looks
    }

    /// Being read ahead of a change.
    fn reading_ahead(start: Instant) -> Looks {
        let mut looks = looked(start);
        looks.event(start);
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
        looks.event(start);
        looks.event(start + QUIET / 2);
        assert_eq!(looks.look_due(start), start + QUIET / 2 + QUIET);
        assert_eq!(looks.begin(start + QUIET * 2), (Aim::Look(Trigger::Event), Some(start)));
    }

    #[test]
    fn a_change_is_read_ahead_once_and_confirmed_when_it_was_quiet() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.event(start);
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
        looks.event(start + QUIET / 2);
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
            looks.event(now);
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
            looks.event(start + QUIET / 2 * step);
        }
        assert_eq!(looks.look_due(start), start + QUIET * 20);
        assert_eq!(looks.begin(start + QUIET * 20).0, Aim::Look(Trigger::Event));
    }

    #[test]
    fn a_change_during_a_look_causes_another_one() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.event(start);
        looks.begin(start + QUIET);
        looks.event(start + QUIET);
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
        looks.event(start + RESYNC);
        let slow = start + RESYNC + SLOW + second * 20;
        looks.failed(slow);
        assert_eq!(looks.due(slow), Some(slow + second * 80));
        looks.ask(Trigger::Asked);
        assert_eq!(looks.due(slow), Some(slow));

        // What reading ahead took counts as well.
        let mut looks = reading_ahead(start);
        looks.read_ahead(start + QUIET / 2 + SLOW + second);
        let ended = start + SLOW + second * 2;
        assert_eq!(looks.begin(ended).0, Aim::Confirm);
        looks.ended(ended, RESYNC);
        looks.event(ended);
        assert_eq!(looks.due(ended), Some(ended + second * 4));
        assert_eq!(looks.begin(ended + second * 4).0, Aim::Look(Trigger::Event));
        looks.ended(ended + second * 4, RESYNC);
        looks.event(ended + second * 4);
        assert_eq!(looks.look_due(ended + second * 4), ended + second * 4 + QUIET, "it was fast");
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
}
