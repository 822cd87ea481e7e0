//! What a process takes over from the one before it: what the ledger kept, as far as its clock can be believed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::machine::{Machine, Settings};
use crate::engine::{Engine, Memory, Pace, Window};
use crate::ledger::{Pause, Turned};
use crate::model::{Known, ServiceKey};
use crate::plan::Rules;

/// The longest pause that is taken over from an earlier process: no limit asks for more, but a clock may have been wrong.
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 60 * 60);

/// What the ledger kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// What is known of each service.
    pub known: Vec<(ServiceKey, Known)>,
    /// What was seen of it beside that.
    pub memories: HashMap<ServiceKey, Memory>,
    /// The rate limit's window, and when it was kept.
    pub quota: Option<(Window, Timestamp)>,
    /// The pause for the rate limit.
    pub pause: Option<Pause>,
    /// Which call carries updates.
    pub turned: Option<Turned>,
    /// The account that the ledger belongs to.
    pub account: Option<Arc<str>>,
}

impl Kept {
    /// A machine that knows all of it.
    #[must_use]
    pub fn begin(self, pace: Pace, rules: Rules, settings: Settings, now: Timestamp) -> Machine {
        let mut engine = Engine::new(pace, rules, self.known);
        if let Some((window, set_at)) = self.quota
            && let Some(resets_at) = still_to_come(window.resets_at, set_at, now)
        {
            engine.note_quota(Window { resets_at, ..window });
        }
        if let Some(pause) = self.pause
            && let Some(until) = still_to_come(pause.until, pause.set_at, now)
        {
            engine.pause(until, pause.reason.into());
        }
        // No request takes effect later than this, whatever the clock was when it was sent.
        let settled = now.checked_add(settings.settle).unwrap_or(Timestamp::MAX);
        for (key, mut memory) in self.memories {
            for unsettled in &mut memory.unsettled {
                unsettled.until = unsettled.until.min(settled);
            }
            engine.recall(&key, memory, now);
        }
        Machine::new(engine, settings, self.turned, self.account, now)
    }
}

/// When something ends that was kept over a restart: never later from now than it was to last when it was set, because
/// the clock may have been wrong then or may be now. Nothing where it is over.
fn still_to_come(until: Timestamp, set_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let length = Duration::try_from(until.duration_since(set_at)).ok().filter(|length| !length.is_zero());
    let longest = length.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
    let left = Duration::try_from(until.duration_since(now)).ok()?.min(longest);
    now.checked_add(left).ok().filter(|until| *until > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn what_was_kept_is_never_longer_than_it_was_set_for_whatever_the_clock_does() {
        const DAY: i64 = 24 * 3600;
        for (until, set_at, now, left) in [
            (63, 60, 61, Some(2)),
            (63, 60, 64, None),
            // Set by a clock that was two days ahead; the clock is right by now.
            (2 * DAY + 3, 2 * DAY, 0, Some(3)),
            // Set by the right clock; the clock is years behind by now.
            (60, 0, -DAY, Some(60)),
            // An old ledger does not say when it was set.
            (60, 60, 0, Some(60)),
            (DAY, DAY, 0, Some(2 * 3600)),
        ] {
            let ends = still_to_come(at(until), at(set_at), at(now));
            assert_eq!(ends, left.map(|left| at(now + left)), "{until} {set_at} {now}");
        }
    }
}
