//! Values as they are typed: durations, ids, states.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{Span, SpanRelativeTo};

use crate::model::{Id, ServiceState};
use crate::northflank::Settings;

/// Reads the state of a service.
pub(in crate::cli) fn state() -> impl TypedValueParser<Value = ServiceState> {
    let words = PossibleValuesParser::new(ServiceState::ALL.map(ServiceState::as_str));
    words.try_map(|word| ServiceState::from_word(&word).ok_or("not a state"))
}

/// Reads an id of a team, a project or a service.
pub(in crate::cli) fn id(text: &str) -> Result<Id, String> {
    Id::new(text).map_err(|error| format!("the id {error}"))
}

/// Reads how many calls may be in flight at once.
pub(in crate::cli) fn concurrency(text: &str) -> Result<u16, String> {
    let read = text.parse().ok().filter(|number| (1..=1024).contains(number));
    read.ok_or_else(|| "expected a whole number from 1 to 1024".to_owned())
}

/// Reads a number of things, one at least.
pub(in crate::cli) fn count(text: &str) -> Result<u32, String> {
    let read = text.parse().ok().filter(|number| *number > 0);
    read.ok_or_else(|| format!("expected a whole number from 1 to {}", u32::MAX))
}

/// The longest duration that an option takes.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads a duration such as `30s`, `1m30s`, `100ms` or `2d`; a day has 24 hours.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse().and_then(|span: Span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let read = read.map_err(|_| "expected a number with a unit, such as 30s, 1m30s or 100ms".to_owned())?;
    let duration = Duration::try_from(read).map_err(|_| "must not be negative".to_owned())?;
    match duration {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        longer if longer > LONGEST => Err("must be at most 168h".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a number of seconds, or a duration with its unit.
pub(in crate::cli) fn seconds(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    duration(&if is_number { format!("{text}s") } else { text.to_owned() })
}

/// Reads the deadline of a call.
pub(in crate::cli) fn request_timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        longer if longer > Settings::MAX_TIMEOUT => Err("must be at most 1h".to_owned()),
        timeout => Ok(timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!((concurrency("1024"), count("4294967295")), (Ok(1024), Ok(u32::MAX)));
        for text in ["", "0", "-1", "1025", "x", "1.5"] {
            assert_eq!(concurrency(text), Err("expected a whole number from 1 to 1024".to_owned()), "{text:?}");
        }
        for text in ["", "0", "-1", "x", "4294967296"] {
            assert!(count(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn durations_need_a_unit_and_have_bounds() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(48 * 60 * 60)));
        for text in ["", "5", "0s", "-1s", "169h", "8d", "1mo", "1y", "soon"] {
            assert!(duration(text).is_err(), "{text:?} was accepted");
        }
    }
}
