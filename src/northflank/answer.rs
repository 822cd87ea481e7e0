//! What the headers of an answer say: the quota that is left, how long to wait, and whether the call is on its way out.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::error::Wait;

/// The longest wait that a header can bring about: two of the API's windows.
pub const MAX_WAIT: Duration = Duration::from_secs(2 * 60 * 60);

/// A longer wait than a day was not meant, and counts as not said.
const BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait where a server limits calls and does not say for how long.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// The shortest wait after a limit: an answer that says "now" while it refuses must not be asked in a loop.
const MIN_WAIT: Duration = Duration::from_secs(1);

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The answer to a call that did what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What the call asks for.
    pub value: T,
    /// The HTTP status: 200 to 299, or what says that the call is not served, where that is an answer too.
    pub status: u16,
    /// The quota, where the API reported it in full.
    pub quota: Option<Quota>,
    /// From the beginning of the call to the end of the answer.
    pub elapsed: Duration,
    /// What the answer says of the call's own end.
    pub deprecated: Option<Deprecation>,
    /// When the server wrote the answer, by its clock, in whole seconds.
    pub server_time: Option<Timestamp>,
}

/// The provider means to take this call away: what `Deprecation` (RFC 9745) and `Sunset` (RFC 8594) say. Only the times
/// are kept, so that nothing of it needs to be distrusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// From when on it should not be used; nothing where the answer does not say, or not in a form that can be read.
    pub since: Option<Timestamp>,
    /// When it is expected to be gone.
    pub sunset: Option<Timestamp>,
}

/// What the headers of any answer say, of success or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) quota: Option<Quota>,
    pub(super) deprecated: Option<Deprecation>,
    /// When the server wrote the answer, by its clock.
    pub(super) server_time: Option<Timestamp>,
}

impl Heard {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            quota: Quota::from_headers(headers, now(headers)),
            deprecated: Deprecation::from_headers(headers),
            server_time: server_time(headers),
        }
    }
}

/// The time that dates in an answer count from: the answer's own, so that a clock that is wrong here changes nothing.
fn now(headers: &HeaderMap) -> Timestamp {
    server_time(headers).unwrap_or_else(Timestamp::now)
}

fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    date(headers.get(DATE)?.to_str().ok()?)
}

impl Deprecation {
    /// What is said, where anything is. `Deprecation: false` of an old draft says that nothing is.
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        let deprecation = text(&DEPRECATION).filter(|text| !matches!(*text, "false" | "?0"));
        let sunset = text(&SUNSET).and_then(date);
        if deprecation.is_none() && sunset.is_none() {
            return None;
        }
        Some(Self { since: deprecation.and_then(|text| unix_time(text).or_else(|| date(text))), sunset })
    }
}

impl fmt::Display for Deprecation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deprecated")?;
        if let Some(since) = self.since {
            write!(f, " since {since}")?;
        }
        match self.sunset {
            Some(sunset) => write!(f, ", gone from {sunset} on"),
            None => Ok(()),
        }
    }
}

/// `@1688169599`, the date of a structured field.
fn unix_time(text: &str) -> Option<Timestamp> {
    let seconds = text.split(';').next()?.trim().strip_prefix('@')?.parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

/// How many calls the token has left, as the last answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Calls in a window; never 0.
    pub limit: u32,
    /// Calls left in this window; at most `limit`.
    pub remaining: u32,
    /// From the answer to the end of the window; at most [`MAX_WAIT`].
    pub resets_in: Duration,
}

impl Quota {
    /// The quota, if all three headers are there and make sense.
    fn from_headers(headers: &HeaderMap, now: Timestamp) -> Option<Self> {
        let limit = u32::try_from(number(headers, &LIMIT)?).ok().filter(|limit| *limit > 0)?;
        let remaining = u32::try_from(number(headers, &REMAINING)?).ok().filter(|remaining| *remaining <= limit)?;
        Some(Self { limit, remaining, resets_in: reset(headers, now)? })
    }
}

/// How long an answer asks to wait before another call.
pub(super) fn wait(status: StatusCode, headers: &HeaderMap) -> Wait {
    let now = now(headers);
    match (status, retry_after(headers, now)) {
        (StatusCode::TOO_MANY_REQUESTS, asked) => limited(headers, asked, reset(headers, now)),
        (_, Some(asked)) => Wait::AtLeast(asked),
        (_, None) => Wait::Unsaid,
    }
}

/// How long a limit (429) lasts: until the window's reset or what `Retry-After` asks for, the longer of both, as a
/// wait that is too short costs a call. Where calls are left in the window, the limit is another one than the window's,
/// and `Retry-After` alone counts. A minute where nothing is said.
fn limited(headers: &HeaderMap, asked: Option<Duration>, reset: Option<Duration>) -> Wait {
    let remaining = number(headers, &REMAINING);
    let calls_left = remaining.is_some_and(|remaining| remaining > 0);
    let wait = match (asked, reset) {
        (Some(asked), Some(_)) if calls_left => asked,
        (asked, reset) => asked.max(reset).unwrap_or(DEFAULT_WAIT),
    };
    let told = !calls_left && (reset.is_some() || remaining.is_some());
    Wait::Limited { wait: wait.max(MIN_WAIT), told }
}

/// `Retry-After`, in seconds or as a date; a date that is past asks for no wait.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let seconds = number(headers, &RETRY_AFTER).map(Duration::from_secs);
    seconds.or_else(|| Some(until(date(headers.get(RETRY_AFTER)?.to_str().ok()?)?, now))).and_then(believed)
}

/// From now to the end of the window. The header holds seconds; a number that only makes sense as a Unix time, in
/// seconds or milliseconds, is one. A time that was over long ago says nothing.
fn reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    const SECONDS: RangeInclusive<u64> = 1_000_000_000..=99_999_999_999;
    const MILLISECONDS: RangeInclusive<u64> = 1_000_000_000_000..=99_999_999_999_999;
    let number = number(headers, &RESET)?;
    let at = match i64::try_from(number).ok()? {
        seconds if SECONDS.contains(&number) => Timestamp::from_second(seconds).ok()?,
        milliseconds if MILLISECONDS.contains(&number) => Timestamp::from_millisecond(milliseconds).ok()?,
        _ => return believed(Duration::from_secs(number)),
    };
    let is_over = now.duration_since(at) > SignedDuration::from_mins(1);
    if is_over { None } else { believed(until(at, now)) }
}

/// What is left until then; nothing once it is past.
fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// A wait as it counts: nothing where it cannot have been meant, else at most [`MAX_WAIT`].
fn believed(wait: Duration) -> Option<Duration> {
    (wait <= BELIEVED).then(|| wait.min(MAX_WAIT))
}

/// Digits and nothing else; more than fit are the greatest number.
fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The three forms of a date in HTTP; a recipient has to read them all.
fn date(text: &str) -> Option<Timestamp> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| strtime::parse(form, text.trim()).ok()?.to_datetime().ok())
        .and_then(|date| TimeZone::UTC.to_timestamp(date).ok())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    /// `Sun, 06 Nov 1994 08:49:37 GMT`, the example of the standard.
    const NOW: i64 = 784_111_777;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("a header value");
        lines.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
    }

    /// How long a 429 with these headers, of the time `NOW`, holds calls, and whether it speaks of the window.
    fn limit(lines: &[(&'static str, &str)]) -> (u64, bool) {
        let mut headers = headers(lines);
        headers.entry(DATE).or_insert(HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        let limited = super::wait(StatusCode::TOO_MANY_REQUESTS, &headers);
        let Wait::Limited { wait, told } = limited else { panic!("{limited:?}") };
        assert_eq!(wait.subsec_nanos(), 0);
        (wait.as_secs(), told)
    }

    fn wait(lines: &[(&'static str, &str)]) -> u64 {
        limit(lines).0
    }

    #[test]
    fn a_limit_lasts_as_long_as_its_headers_say() {
        let (reset, after, left) = ("x-ratelimit-reset", "retry-after", "x-ratelimit-remaining");
        assert_eq!(wait(&[]), 60, "no header: the default");
        assert_eq!(wait(&[(reset, "900")]), 900);
        assert_eq!(wait(&[(after, " 7 ")]), 7);
        assert_eq!(wait(&[(reset, "900"), (after, "7")]), 900, "the longer of both");
        assert_eq!(wait(&[(reset, "7"), (after, "900")]), 900, "the longer of both");
        assert_eq!(wait(&[(reset, "900"), (after, "7"), (left, "0")]), 900, "the window is used up");
        assert_eq!(wait(&[(reset, "900"), (after, "7"), (left, "12")]), 7, "another limit than the window's");
        assert_eq!(wait(&[(reset, "900"), (left, "12")]), 900, "nothing else is said");
        assert_eq!(wait(&[(reset, "0")]), 1, "never in a loop");
    }

    #[test]
    fn a_date_is_read_in_its_three_forms() {
        for form in ["Sun, 06 Nov 1994 08:51:37 GMT", "Sunday, 06-Nov-94 08:51:37 GMT", "Sun Nov  6 08:51:37 1994"] {
            assert_eq!(wait(&[("retry-after", form)]), 120, "{form}");
        }
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), 1, "past");
        assert_eq!(wait(&[("retry-after", "Thu, 06 Nov 2094 08:00:00 GMT")]), 60, "Thursday is wrong: garbage");
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 12:00:00 GMT")]), 7_200, "at most two windows");
        assert_eq!(wait(&[("retry-after", "Sat, 06 Nov 2094 08:00:00 GMT")]), 60, "nobody means a hundred years");
        let date = ("date", "Sun, 06 Nov 1994 10:00:00 GMT");
        assert_eq!(wait(&[date, ("retry-after", "Sun, 06 Nov 1994 10:00:30 GMT")]), 30, "by the server's clock");
    }

    #[test]
    fn nonsense_is_as_good_as_nothing() {
        for text in ["", "soon", "-5", "+5", "1e3", "12.5", "0x10", "\u{fc}", "12, 12"] {
            assert_eq!(wait(&[("retry-after", text), ("x-ratelimit-reset", text)]), 60, "{text:?}");
        }
        for text in ["86401", "31536000", &"9".repeat(100)] {
            assert_eq!(wait(&[("retry-after", text), ("x-ratelimit-reset", text)]), 60, "{text:?}");
        }
        assert_eq!(wait(&[("retry-after", "86400")]), 7_200, "meant, and not waited for as a whole");
    }

    #[test]
    fn a_reset_that_reads_like_a_unix_time_is_one() {
        let reset = |number: i64| limit(&[("x-ratelimit-reset", &number.to_string())]);
        // The time of these tests is too early to be told from a wait: they move to 2026.
        let now = 1_785_000_000;
        let later = |number: i64| {
            let date = Timestamp::from_second(now).expect("in range").strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            limit(&[("date", &date), ("x-ratelimit-reset", &number.to_string())])
        };
        assert_eq!(later(now + 5), (5, true), "seconds");
        assert_eq!(later((now + 5) * 1000), (5, true), "milliseconds");
        assert_eq!(later(now + 3600), (3600, true));
        assert_eq!(later(now + 10_000), (7_200, true), "at most two windows");
        assert_eq!(later(now), (1, true), "never in a loop");
        assert_eq!(later(now - 30), (1, true), "just over");
        assert_eq!(later(now - 3600), (60, false), "long over: says nothing");
        assert_eq!(later(now + 100_000), (60, false), "days ahead: says nothing");
        assert_eq!(later(now * 1_000_000), (60, false), "microseconds: not in use");
        assert_eq!(reset(3600), (3600, true));
        assert_eq!(reset(7201), (7_200, true));
    }

    #[test]
    fn only_a_header_of_the_window_tells_of_the_window() {
        let (reset, after, left) = ("x-ratelimit-reset", "retry-after", "x-ratelimit-remaining");
        for (lines, told) in [
            (&[][..], false),
            (&[(after, "7")], false),
            (&[(reset, "900"), (left, "12")], false),
            (&[(reset, "soon")], false),
            (&[(left, "0")], true),
            (&[(reset, "900")], true),
            (&[(reset, "900"), (left, "0"), (after, "7")], true),
        ] {
            assert_eq!(limit(lines).1, told, "{lines:?}");
        }
    }

    #[test]
    fn a_deprecation_is_read_in_every_form_that_is_in_use() {
        let heard = |lines: &[(&'static str, &str)]| Deprecation::from_headers(&headers(lines));
        let at = |second| Timestamp::from_second(second).ok();
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let both = Some(Deprecation { since: at(1_780_272_000), sunset: at(NOW) });
        assert_eq!(heard(&[("deprecation", "@1780272000"), ("sunset", date)]), both);
        assert_eq!(heard(&[("deprecation", "@1780272000;a=1")]).and_then(|said| said.since), at(1_780_272_000));
        assert_eq!(heard(&[("deprecation", date)]), Some(Deprecation { since: at(NOW), sunset: None }));
        assert_eq!(heard(&[("sunset", date)]), Some(Deprecation { since: None, sunset: at(NOW) }));
        for unclear in ["true", "@", "@soon", "@99999999999999999", "", "\u{fc}"] {
            assert_eq!(
                heard(&[("deprecation", unclear)]),
                Some(Deprecation { since: None, sunset: None }),
                "{unclear}"
            );
        }
        for nothing in [&[][..], &[("deprecation", "false")], &[("sunset", "soon")]] {
            assert_eq!(heard(nothing), None, "{nothing:?}");
        }
        let shown = both.map(|said| said.to_string()).unwrap_or_default();
        assert_eq!(shown, "deprecated since 2026-06-01T00:00:00Z, gone from 1994-11-06T08:49:37Z on");
    }

    #[test]
    fn a_quota_is_whole_or_absent() {
        let quota = |limit, remaining, reset| {
            let (names, texts) = (["limit", "remaining", "reset"], [limit, remaining, reset]);
            let names = names.map(|name| HeaderName::try_from(format!("x-ratelimit-{name}")).expect("a name"));
            let values = texts.map(HeaderValue::from_static);
            Quota::from_headers(&names.into_iter().zip(values).collect(), Timestamp::now())
        };
        let of = |seconds| Quota { limit: 1000, remaining: 998, resets_in: Duration::from_secs(seconds) };
        assert_eq!(quota("1000", "998", "3599"), Some(of(3599)));
        assert_eq!(quota("1000", "998", "86400"), Some(of(7_200)));
        for (limit, remaining, reset) in [
            ("0", "0", "1"),
            ("1000", "1001", "1"),
            ("-1", "1", "1"),
            ("5000000000", "1", "1"),
            ("1000", "", "1"),
            ("1000", "1", "soon"),
            ("1000", "1", "99999999999999999999999"),
        ] {
            assert_eq!(quota(limit, remaining, reset), None, "{limit} {remaining} {reset}");
        }
        assert_eq!(Quota::from_headers(&headers(&[("x-ratelimit-limit", "1000")]), Timestamp::now()), None);
    }
}
