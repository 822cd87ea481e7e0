//! How long to wait after a failure: exponential growth with full jitter.

use std::time::Duration;

/// Doubling waits between attempts. The wait after attempt n is random between nothing and `first` × 2ⁿ⁻¹, at most
/// `longest`: full jitter, so that services that failed together do not come back together. See "Exponential Backoff
/// And Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait after any failure.
    pub longest: Duration,
}

impl Backoff {
    /// The longest wait after so many failures in a row.
    #[must_use]
    pub fn ceiling(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The wait after so many failures in a row; `jitter` is a random number from 0 to 1.
    #[must_use]
    pub fn wait(&self, failed: u32, jitter: f64) -> Duration {
        self.ceiling(failed).mul_f64(if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_takes_a_part() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(300) };
        let ceilings: Vec<u64> = (1..=11).map(|failed| backoff.wait(failed, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.wait(u32::MAX, 1.0), Duration::from_secs(300));
        assert_eq!(backoff.wait(3, 0.5), Duration::from_secs(2));
        assert_eq!(backoff.wait(3, 0.0), Duration::ZERO);
        assert_eq!(backoff.wait(3, f64::NAN), Duration::ZERO);
    }
}
