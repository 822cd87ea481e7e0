//! What the headers of an answer say: the quota that is left, how long to wait, and whether the call is on its way out.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The longest wait that a server can ask for.
pub const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait where a server limits calls and does not say for how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// The shortest wait after a limit: an answer that says "now" while it refuses must not be asked in a loop.
const MIN_WAIT: Duration = Duration::from_secs(1);

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// An answer that the API gave to a call that it accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What the call asks for.
    pub value: T,
    /// The HTTP status, 200 to 299.
    pub status: u16,
    /// The quota, where the API reported it in full.
    pub quota: Option<Quota>,
    /// From the beginning of the call to the end of the answer.
    pub elapsed: Duration,
    /// What the answer says of the call's own end.
    pub deprecated: Option<Deprecation>,
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
}

impl Heard {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        Self { quota: Quota::from_headers(headers), deprecated: Deprecation::from_headers(headers) }
    }
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
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let limit = u32::try_from(number(headers, &LIMIT)?).ok().filter(|limit| *limit > 0)?;
        let remaining = u32::try_from(number(headers, &REMAINING)?).ok().filter(|remaining| *remaining <= limit)?;
        Some(Self { limit, remaining, resets_in: seconds(headers, &RESET)? })
    }
}

/// How long a limit (429) lasts: until the window's reset or what `Retry-After` asks for, the longer of both, as a
/// wait that is too short costs a call. Where calls are left in the window, the limit is another one than the window's,
/// and `Retry-After` alone counts. A minute where nothing is said.
pub(super) fn limited_for(headers: &HeaderMap, now: Timestamp) -> Duration {
    let asked = retry_after(headers, now);
    let reset = seconds(headers, &RESET);
    let calls_left = number(headers, &REMAINING).is_some_and(|remaining| remaining > 0);
    let wait = match (asked, reset) {
        (Some(asked), Some(_)) if calls_left => asked,
        (asked, reset) => asked.max(reset).unwrap_or(DEFAULT_WAIT),
    };
    wait.clamp(MIN_WAIT, MAX_WAIT)
}

/// `Retry-After`, in seconds or as a date; a date that is past is no wait. A date counts from the answer's own `Date`
/// where it has one, so that a clock that is wrong here changes nothing.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    seconds(headers, &RETRY_AFTER).or_else(|| {
        let until = date(headers.get(RETRY_AFTER)?.to_str().ok()?)?;
        let from = headers.get(DATE).and_then(|value| date(value.to_str().ok()?)).unwrap_or(now);
        let wait = until.duration_since(from);
        Some(Duration::try_from(wait).unwrap_or(Duration::ZERO).min(MAX_WAIT))
    })
}

/// A whole number of seconds, at most [`MAX_WAIT`].
fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    number(headers, name).map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT))
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

    fn wait(lines: &[(&'static str, &str)]) -> u64 {
        let wait = limited_for(&headers(lines), Timestamp::from_second(NOW).expect("in range"));
        assert_eq!(wait.subsec_nanos(), 0);
        wait.as_secs()
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
        assert_eq!(wait(&[("retry-after", "Sat, 06 Nov 2094 08:00:00 GMT")]), 86_400, "at most a day");
        let date = ("date", "Sun, 06 Nov 1994 10:00:00 GMT");
        assert_eq!(wait(&[date, ("retry-after", "Sun, 06 Nov 1994 10:00:30 GMT")]), 30, "by the server's clock");
    }

    #[test]
    fn nonsense_is_as_good_as_nothing() {
        for text in ["", "soon", "-5", "+5", "1e3", "12.5", "0x10", "\u{fc}", "12, 12"] {
            assert_eq!(wait(&[("retry-after", text), ("x-ratelimit-reset", text)]), 60, "{text:?}");
        }
        assert_eq!(wait(&[("retry-after", &"9".repeat(100))]), 86_400);
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
            Quota::from_headers(&names.into_iter().zip(values).collect())
        };
        let of = |seconds| Quota { limit: 1000, remaining: 998, resets_in: Duration::from_secs(seconds) };
        assert_eq!(quota("1000", "998", "3599"), Some(of(3599)));
        assert_eq!(quota("1000", "998", "99999999999999999999999"), Some(of(86_400)));
        for (limit, remaining, reset) in [
            ("0", "0", "1"),
            ("1000", "1001", "1"),
            ("-1", "1", "1"),
            ("5000000000", "1", "1"),
            ("1000", "", "1"),
            ("1000", "1", "soon"),
        ] {
            assert_eq!(quota(limit, remaining, reset), None, "{limit} {remaining} {reset}");
        }
        assert_eq!(Quota::from_headers(&headers(&[("x-ratelimit-limit", "1000")])), None);
    }
}
