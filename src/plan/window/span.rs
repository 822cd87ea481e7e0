//! A span of time as a clock on a wall shows it: some hours of some days of each week, or once from one moment to another.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A span of time, by some clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    times: Times,
    /// As somebody wrote it.
    text: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Times {
    /// In each week.
    Weekly {
        /// Monday to Sunday.
        days: [bool; 7],
        /// From which minute of the day.
        from: u16,
        /// To which minute, without it; one that is not later than `from` is one of the next day.
        to: u16,
    },
    /// From one moment to another, without that.
    Once { from: DateTime, to: DateTime },
}

const DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// What a text should have been.
const FORMS: &str =
    "expected days and hours such as Mon-Thu 09:00-17:00, or dates such as 2026-12-20 or 2026-12-20..2027-01-03";

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let times = match text.split_once("..") {
            Some((from, to)) => once(from.trim(), to.trim())?,
            // A day alone is that one.
            None if is_date(text) => once(text, text)?,
            None => weekly(text)?,
        };
        Ok(Self { times, text: text.into() })
    }
}

/// Whether a text is written as a date, whether there is such a day or not.
fn is_date(text: &str) -> bool {
    let is_written = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == "2026-12-20".len() && text.bytes().enumerate().all(is_written)
}

fn once(from: &str, to: &str) -> Result<Times, String> {
    let midnight = |date: Date| date.to_datetime(Time::midnight());
    for day in [from, to].into_iter().filter(|text| is_date(text)) {
        day.parse::<Date>().map_err(|_| format!("the calendar has no day {day}"))?;
    }
    let date = |text: &str| text.parse::<Date>().ok().filter(|_| is_date(text));
    // A time with a zone of its own would be read without it.
    let time = |text: &str| text.parse::<DateTime>().ok().filter(|_| !is_date(text) && !text.contains(['Z', '+', '[']));
    let begins = date(from).map(midnight).or_else(|| time(from));
    // A day that is named is in it, to its end.
    let ends = match date(to) {
        Some(last) => last.tomorrow().ok().map(midnight),
        None => time(to),
    };
    match (begins, ends) {
        (Some(from), Some(to)) if from < to => Ok(Times::Once { from, to }),
        (Some(_), Some(_)) => Err("it ends before it begins".to_owned()),
        _ => Err(FORMS.to_owned()),
    }
}

fn weekly(text: &str) -> Result<Times, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, hours) = match words.as_slice() {
        [hours] if hours.starts_with(|c: char| c.is_ascii_digit()) => ([true; 7], Some(*hours)),
        [named] => (days(named)?, None),
        [named, hours] => (days(named)?, Some(*hours)),
        _ => return Err(FORMS.to_owned()),
    };
    let (from, to) = match hours {
        None => (0, DAY),
        Some(hours) => {
            let (from, to) = hours.split_once('-').ok_or(FORMS)?;
            (minute(from)?, minute(to)?)
        }
    };
    if from == DAY || from == to {
        return Err("it ends where it begins".to_owned());
    }
    Ok(Times::Weekly { days, from, to: if to == 0 { DAY } else { to } })
}

fn days(text: &str) -> Result<[bool; 7], String> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|day| name.eq_ignore_ascii_case(day));
        found.ok_or_else(|| format!("`{name}` is not a day; the days are Mon, Tue, Wed, Thu, Fri, Sat, Sun"))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // Fri-Mon goes over the end of the week.
        let length = (last + 7 - first) % 7;
        (first..=first + length).for_each(|day| days[day % 7] = true);
    }
    Ok(days)
}

/// The minute of the day that `09:00` is; `24:00` is its end.
fn minute(text: &str) -> Result<u16, String> {
    let parts = text.split_once(':').filter(|(hour, minute)| (1..=2).contains(&hour.len()) && minute.len() == 2);
    let parts = parts.and_then(|(hour, minute)| Some((hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?)));
    match parts {
        Some((24, 0)) => Ok(DAY),
        Some((hour @ 0..24, minute @ 0..60)) => Ok(hour * 60 + minute),
        _ => Err(format!("`{text}` is not a time of the day such as 09:00")),
    }
}

impl Span {
    /// Whether a clock of this zone shows a time inside.
    pub(super) fn has(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let wall = zone.to_datetime(now);
        match self.times {
            Times::Once { from, to } => (from..to).contains(&wall),
            Times::Weekly { days, from, to } => {
                let is_day = |day: Weekday| days[usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()];
                let time = wall.time();
                let now = u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).unwrap_or_default();
                let (today, yesterday) = (is_day(wall.weekday()), is_day(wall.weekday().previous()));
                if from < to {
                    today && (from..to).contains(&now)
                } else {
                    today && now >= from || yesterday && now < to
                }
            }
        }
    }

    /// When such a clock comes into it or leaves it next; `None` where it does neither any more.
    pub(super) fn next_change(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // In the hour that summer time repeats, the clock shows an edge twice; in the one that it leaves out, never.
        let of = |edge: DateTime| {
            let ambiguous = zone.to_ambiguous_timestamp(edge);
            [ambiguous.earlier().ok(), ambiguous.later().ok()]
        };
        let edges = self.edges(zone.to_datetime(now).date());
        // Within the days of the edges: what a clock does later than they are is looked at from there.
        let turns = zone.following(now).take(2).map(|turn| turn.timestamp());
        let mut moments: Vec<Timestamp> = edges.into_iter().flat_map(of).flatten().chain(turns).collect();
        moments.retain(|moment| *moment > now);
        moments.sort_unstable();
        let is_inside = self.has(now, zone);
        moments.into_iter().find(|moment| self.has(*moment, zone) != is_inside)
    }

    /// Where it begins and ends around a day, by the clock on the wall.
    fn edges(&self, today: Date) -> Vec<DateTime> {
        match self.times {
            Times::Once { from, to } => vec![from, to],
            Times::Weekly { from, to, .. } => {
                let midnight = |days: i32| Some(today.checked_add(days.days()).ok()?.to_datetime(Time::midnight()));
                let of = |start: DateTime| [from, to].map(|minute| start.checked_add(i64::from(minute).minutes()).ok());
                (-1..=8).filter_map(midnight).flat_map(of).flatten().collect()
            }
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_a_span_is_told() {
        for (text, told) in [
            ("Mon-Thu 09:00", "expected"),
            ("Mom 09:00-17:00", "`Mom` is not a day"),
            ("Mon 9-17", "`9` is not a time of the day"),
            ("Mon 09:00-25:00", "`25:00` is not a time of the day"),
            ("Mon 09:00-09:00", "it ends where it begins"),
            ("Mon 24:00-09:00", "it ends where it begins"),
            ("2027-01-03..2026-12-20", "it ends before it begins"),
            ("2026-12-20..", "expected"),
            ("2026-12-20T00:00Z..2026-12-21", "expected"),
            ("2026-13-20..2026-12-21", "the calendar has no day 2026-13-20"),
            ("2026-02-30", "the calendar has no day 2026-02-30"),
            ("2026-12-20 09:00-17:00", "`2026` is not a day"),
            ("", "expected"),
            ("always", "`always` is not a day"),
            ("Mon 09:00-17:00 UTC", "expected"),
        ] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_date_alone_is_that_day() {
        let times = |text: &str| text.parse::<Span>().unwrap().times;
        assert_eq!(times("2026-12-20"), times("2026-12-20..2026-12-20"));
    }

    /// The days of a span one by one, each from its beginning to its end.
    fn slow(span: &Span, wall: DateTime) -> bool {
        match span.times {
            Times::Once { from, to } => from <= wall && wall < to,
            Times::Weekly { days, from, to } => [0_i64, 1].into_iter().any(|ago| {
                let day = wall.date().checked_sub(ago.days()).unwrap();
                let start = day.to_datetime(Time::midnight());
                let length = if to > from { to - from } else { DAY - from + to };
                let begins = start.checked_add(i64::from(from).minutes()).unwrap();
                let ends = begins.checked_add(i64::from(length).minutes()).unwrap();
                days[usize::try_from(day.weekday().to_monday_zero_offset()).unwrap()] && begins <= wall && wall < ends
            }),
        }
    }

    #[test]
    fn a_hundred_thousand_moments_agree_with_a_slow_reference() {
        let spans = ["Mon-Thu 09:00-17:00", "Fri-Mon 22:30-05:15", "Sat,Sun", "02:00-03:00", "2026-03-20..2026-11-02"];
        let spans = spans.map(|span| span.parse::<Span>().unwrap());
        let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"];
        let zones = zones.map(|zone| TimeZone::get(zone).unwrap());
        let (first, year) = (at("2026-01-01T00:00:00Z").as_second(), 366 * 86_400);
        let mut chance = fastrand::Rng::with_seed(7);
        for round in 0..100_000 {
            let second = first + chance.i64(0..year);
            let now = Timestamp::from_second(second).unwrap();
            let (span, zone) = (&spans[round % 5], &zones[round / 5 % 5]);
            assert_eq!(span.has(now, zone), slow(span, zone.to_datetime(now)), "{span} at {now}");
            if round % 500 == 0 {
                // Until it changes nothing changes, minute by minute, and then it does.
                let next = span.next_change(now, zone).unwrap_or(at("2027-06-01T00:00:00Z"));
                let minutes = (next.as_second() - second - 1) / 60;
                let steady = |minute: i64| {
                    let at = Timestamp::from_second(second + minute * 60).unwrap();
                    span.has(at, zone) == span.has(now, zone)
                };
                assert!((0..=minutes.min(3000)).all(steady), "{span} from {now} to {next}");
                let before = next.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap();
                assert_eq!(span.has(before, zone), span.has(now, zone), "{span} from {now} to {next}");
                assert_ne!(span.has(next, zone), span.has(now, zone), "{span} from {now} to {next}");
            }
        }
    }
}
