//! When to look at the folder: after a change and a little quiet, at times without one, and when somebody asks.

use std::time::Duration;

use tokio::time::Instant;

/// Under constant change, a look comes after this many quiet times at the latest.
const AT_MOST: u32 = 20;

/// A look that takes longer than this hangs: git's lock is waited for 30 s, and a disk that answers is faster.
const HANGS_AFTER: Duration = Duration::from_secs(120);

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

/// The times of the looks. One look runs at a time.
#[derive(Debug)]
pub(super) struct Looks {
    quiet: Duration,
    resync: Duration,
    /// The first and the last event since the last look began.
    events: Option<(Instant, Instant)>,
    asked: Option<Trigger>,
    /// When to look without a reason.
    next: Instant,
    running: Option<Instant>,
}

impl Looks {
    /// The first look is due at once.
    pub(super) fn new(quiet: Duration, resync: Duration, now: Instant) -> Self {
        Self { quiet, resync, events: None, asked: Some(Trigger::Start), next: now, running: None }
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

    /// When the next look is due; `None` while one runs, whose end is waited for.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.running.is_some() {
            return None;
        }
        if self.asked.is_some() {
            return Some(now);
        }
        let quiet = self.events.map(|(first, last)| (last + self.quiet).min(first + self.quiet * AT_MOST));
        Some(quiet.map_or(self.next, |quiet| quiet.min(self.next)))
    }

    /// A look begins. Gives its reason, and when the change was noticed that it is to see.
    pub(super) fn begin(&mut self, now: Instant) -> (Trigger, Option<Instant>) {
        self.running = Some(now);
        let event = self.events.take().map(|(first, _)| first);
        let trigger = self.asked.take().unwrap_or(if event.is_some() { Trigger::Event } else { Trigger::Resync });
        (trigger, event)
    }

    /// When the look that runs counts as hanging.
    pub(super) fn hangs_at(&self) -> Option<Instant> {
        self.running.map(|began| began + HANGS_AFTER)
    }

    /// The look ended well.
    pub(super) fn ended(&mut self, now: Instant, resync: Duration) {
        self.running = None;
        self.next = now + resync.min(self.resync);
    }

    /// The look failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.running = None;
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
        assert_eq!(looks.begin(start).0, Trigger::Start);
        assert_eq!(looks.due(start), None, "one look at a time");
        looks.ended(start, RESYNC);
        looks
    }

    #[test]
    fn without_a_change_the_next_look_is_a_resync() {
        let start = Instant::now();
        let mut looks = looked(start);
        assert_eq!(looks.due(start), Some(start + RESYNC));
        assert_eq!(looks.begin(start + RESYNC), (Trigger::Resync, None));
    }

    #[test]
    fn a_change_is_looked_at_after_a_quiet_time() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.event(start);
        looks.event(start + QUIET / 2);
        assert_eq!(looks.due(start), Some(start + QUIET / 2 + QUIET));
        assert_eq!(looks.begin(start + QUIET * 2), (Trigger::Event, Some(start)));
    }

    #[test]
    fn constant_change_holds_a_look_up_for_twenty_quiet_times_at_most() {
        let start = Instant::now();
        let mut looks = looked(start);
        for step in 0..100 {
            looks.event(start + QUIET / 2 * step);
        }
        assert_eq!(looks.due(start), Some(start + QUIET * 20));
    }

    #[test]
    fn a_change_during_a_look_causes_another_one() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.event(start);
        looks.begin(start);
        looks.event(start + QUIET);
        looks.ended(start + QUIET, RESYNC);
        assert_eq!(looks.due(start), Some(start + QUIET * 2));
    }

    #[test]
    fn a_look_that_does_not_end_is_known() {
        let start = Instant::now();
        let mut looks = looked(start);
        assert_eq!(looks.hangs_at(), None);
        looks.begin(start);
        assert_eq!(looks.hangs_at(), Some(start + HANGS_AFTER));
        looks.failed(start);
        assert_eq!(looks.hangs_at(), None);
    }

    #[test]
    fn a_failed_look_is_tried_again_soon_and_a_request_goes_first() {
        let start = Instant::now();
        let mut looks = looked(start);
        looks.begin(start);
        looks.failed(start);
        assert_eq!(looks.due(start), Some(start + FAILED_AGAIN));
        looks.ask(Trigger::Asked);
        assert_eq!(looks.due(start), Some(start));
        assert_eq!(looks.begin(start).0, Trigger::Asked);
    }
}
