//! The rate limit: so many requests in a window that begins with its first request.

use std::time::Duration;

use tokio::time::Instant;

/// What the headers of an answer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// Requests allowed in a window.
    pub(super) limit: u32,
    /// Requests left in this window.
    pub(super) remaining: u32,
    /// Seconds until the window ends, rounded up.
    pub(super) reset: u64,
}

/// A request past the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exceeded(pub(super) Quota);

/// Counts the requests of the present window.
#[derive(Debug)]
pub(super) struct Window {
    limit: u32,
    length: Duration,
    began: Option<Instant>,
    taken: u32,
}

impl Window {
    /// No request yet.
    pub(super) fn new(limit: u32, length: Duration) -> Self {
        Self { limit, length, began: None, taken: 0 }
    }

    /// Takes one request out of the quota.
    ///
    /// # Errors
    /// The window has none left.
    pub(super) fn take(&mut self, now: Instant) -> Result<Quota, Exceeded> {
        self.roll(now);
        self.began.get_or_insert(now);
        if self.taken >= self.limit {
            return Err(Exceeded(self.quota(now)));
        }
        self.taken += 1;
        Ok(self.quota(now))
    }

    /// The quota as it stands, with nothing taken.
    pub(super) fn peek(&mut self, now: Instant) -> Quota {
        self.roll(now);
        self.quota(now)
    }

    /// Changes the limit; what was taken in this window stays taken.
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Ends the window: the next request begins a new one.
    pub(super) fn end(&mut self) {
        self.began = None;
        self.taken = 0;
    }

    fn roll(&mut self, now: Instant) {
        if self.began.is_some_and(|began| now.duration_since(began) >= self.length) {
            self.end();
        }
    }

    fn quota(&self, now: Instant) -> Quota {
        let passed = self.began.map_or(Duration::ZERO, |began| now.duration_since(began));
        let left = self.length.saturating_sub(passed);
        let reset = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Quota { limit: self.limit, remaining: self.limit.saturating_sub(self.taken), reset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_with_its_first_request_and_ends_after_its_length() {
        let start = Instant::now();
        let mut window = Window::new(2, Duration::from_secs(60));
        let late = start + Duration::from_secs(500);
        assert_eq!(window.peek(late), Quota { limit: 2, remaining: 2, reset: 60 });
        assert_eq!(window.take(late), Ok(Quota { limit: 2, remaining: 1, reset: 60 }));
        let later = late + Duration::from_millis(20_500);
        assert_eq!(window.take(later), Ok(Quota { limit: 2, remaining: 0, reset: 40 }));
        assert_eq!(window.take(later), Err(Exceeded(Quota { limit: 2, remaining: 0, reset: 40 })));
        assert_eq!(window.take(late + Duration::from_secs(60)).map(|quota| quota.remaining), Ok(1));
    }
}
