//! Times, revisions and digests in few characters, for tables and sentences.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How many hexadecimal digits of a commit or a digest are shown.
const DIGITS: usize = 12;

/// How long ago a time is: `12 s ago`. One that is still to come tells of a wrong clock: `in 2 d`.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if is_to_come(at, now) { age(at, now) } else { format!("{} ago", age(at, now)) }
}

/// The same for a column of ages: `12 s`, `in 2 d`.
#[must_use]
pub fn age(at: Timestamp, now: Timestamp) -> String {
    if is_to_come(at, now) { format!("in {}", span(now, at)) } else { span(at, now) }
}

/// Two clocks that differ by less than a second are as good as one.
fn is_to_come(at: Timestamp, now: Timestamp) -> bool {
    now.duration_until(at).as_secs() > 0
}

/// How long it is from one time to a later one: `12 s`, `3 min`, `7 h`, `2 d`.
#[must_use]
pub fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = from.duration_until(to).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long something took: `85 ms`, `1.2 s`, `41 s`, `3 min`.
#[must_use]
pub fn took(duration: SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..10_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        10_000..120_000 => format!("{} s", millis / 1000),
        _ => format!("{} min", millis / 60_000),
    }
}

/// A time to the second, in UTC: `2027-01-31T18:00:00Z`.
#[must_use]
pub fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// A time within the next hours: `17:33 UTC`.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M UTC").to_string()
}

/// A revision as the ledger has it: `git:4f2a91c07be7+dirty`, `tree:de75de5a3096`.
#[must_use]
pub fn revision(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("git:") {
        let (commit, dirty) = rest.strip_suffix("+dirty").map_or((rest, ""), |commit| (commit, "+dirty"));
        format!("git:{}{dirty}", start(commit))
    } else if let Some(digits) = text.strip_prefix("tree:sha256:") {
        format!("tree:{}", start(digits))
    } else {
        text.to_owned()
    }
}

/// How long there is to wait, rounded up: `40 s`, `18 min`.
#[must_use]
pub fn wait(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

/// A digest: `de75de5a3096`.
#[must_use]
pub fn digest(digest: impl fmt::Display) -> String {
    start(digest.to_string().trim_start_matches("sha256:")).to_owned()
}

fn start(digits: &str) -> &str {
    digits.get(..DIGITS).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_one_unit() {
        let told = |seconds| span(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).expect("is a time"));
        for (seconds, words) in [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(told(seconds), words, "{seconds}");
        }
        assert_eq!(span(Timestamp::MIN, Timestamp::MAX), "7304481 d");
        let told = |millis| took(SignedDuration::from_millis(millis));
        assert_eq!([told(-1), told(85), told(1234), told(41_900)], ["0 ms", "85 ms", "1.2 s", "41 s"]);
        assert_eq!([told(119_999), told(200_000)], ["119 s", "3 min"]);
    }

    #[test]
    fn what_is_still_to_come_is_not_told_as_past() {
        let now = Timestamp::UNIX_EPOCH;
        let told = |seconds| ago(Timestamp::from_second(seconds).expect("is a time"), now);
        assert_eq!([told(-90), told(0), told(1), told(172_800)], ["1 min ago", "0 s ago", "in 1 s", "in 2 d"]);
        assert_eq!(ago(Timestamp::from_millisecond(999).expect("is a time"), now), "0 s ago");
        assert_eq!(age(Timestamp::from_second(-90).expect("is a time"), now), "1 min");
    }

    #[test]
    fn a_revision_is_short_and_still_says_that_it_is_dirty() {
        let commit = "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f";
        assert_eq!(revision(&format!("git:{commit}")), "git:4f2a91c07be7");
        assert_eq!(revision(&format!("git:{commit}+dirty")), "git:4f2a91c07be7+dirty");
        assert_eq!(revision(&format!("tree:sha256:{commit}")), "tree:4f2a91c07be7");
        assert_eq!(revision("git:é"), "git:é");
        assert_eq!(revision("something"), "something");
    }
}
