//! What systemd is told: ready, reloading, stopping, a sentence of status, and that the loop lives. Without systemd
//! (`NOTIFY_SOCKET` is not set) all of it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;
use tracing::debug;

use crate::text::{Printable, printable};

/// Says something to systemd.
type Tell = dyn Fn(&[NotifyState<'_>]) + Send;

/// Least time between two sentences of status.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// The line to systemd. The watchdog is fed by whoever asks [`Systemd::next_feed`] and calls [`Systemd::feed`]: the
/// loop that works, so that a loop that hangs is noticed.
pub(super) struct Systemd {
    tell: Box<Tell>,
    /// Whether systemd wants to be told anything.
    listens: bool,
    watchdog: Option<(Duration, Instant)>,
    said: Printable,
    asked_at: Option<Instant>,
}

impl Systemd {
    pub(super) fn new(now: Instant) -> Self {
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some();
        // Half of the interval, as sd_watchdog_enabled(3) recommends.
        let watchdog = sd_notify::watchdog_enabled().map(|interval| (interval / 2, now));
        Self { tell: Box::new(tell), listens, watchdog, said: Printable::default(), asked_at: None }
    }

    /// One that tells a test what systemd would be told.
    #[cfg(test)]
    pub(super) fn telling(tell: impl Fn(&[NotifyState<'_>]) + Send + 'static) -> Self {
        Self { tell: Box::new(tell), listens: false, watchdog: None, said: Printable::default(), asked_at: None }
    }

    /// Ready, at the start and after a reload.
    pub(super) fn ready(&self) {
        (self.tell)(&[NotifyState::Ready]);
    }

    /// A reload begins; systemd wants to know when, to tell its end from an earlier one's.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => (self.tell)(&[NotifyState::Reloading, now]),
            Err(_) => (self.tell)(&[NotifyState::Reloading]),
        }
    }

    pub(super) fn stopping(&self) {
        (self.tell)(&[NotifyState::Stopping]);
    }

    /// When the watchdog wants to be fed.
    pub(super) fn next_feed(&self) -> Option<Instant> {
        self.watchdog.map(|(_, next)| next)
    }

    /// Feeds the watchdog if it is time.
    pub(super) fn feed(&mut self, now: Instant) {
        if let Some((every, next)) = &mut self.watchdog
            && *next <= now
        {
            *next = now + *every;
            (self.tell)(&[NotifyState::Watchdog]);
        }
    }

    /// Whether systemd is there to show a sentence, and it is time for one: while calls are in flight at most once a
    /// second, as making it takes a look at every service.
    pub(super) fn wants_sentence(&self, busy: Busy, now: Instant) -> bool {
        let just_said = self.asked_at.is_some_and(|at| now.duration_since(at) < STATUS_EVERY);
        self.listens && !(busy == Busy::Yes && just_said)
    }

    /// Shows a sentence in `systemctl status`, if it is another one.
    /// A line break in it would begin another assignment, which systemd would act on.
    pub(super) fn say(&mut self, sentence: String, now: Instant) {
        self.asked_at = Some(now);
        let sentence = printable(&sentence);
        if sentence != self.said {
            (self.tell)(&[NotifyState::Status(sentence.as_str())]);
            self.said = sentence;
        }
    }
}

/// Whether calls are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    Yes,
    No,
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "systemd cannot be told");
    }
}
