//! The gate before all calls: closed while the rate limit is used up, the token is refused, the ledger cannot be
//! written, or the API cannot be reached.

use std::time::Duration;

use jiff::Timestamp;

use super::{Ending, Pace, Scope, Work, later};
use crate::model::{Diagnostic, ServiceKey, ServiceState};

/// Whether calls may be made at all.
///
/// The rate limit opens by time alone. A block opens by proof: when its time is over, one call at a time is let through
/// until one shows that the cause is gone. Blocks are kept apart: a full disk says nothing of the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    limited: Option<Pause>,
    denied: Option<Pause>,
    unwritable: Option<Pause>,
    unreachable: Option<Outage>,
    /// The service whose call failed last for a reason that may be the API's own, with no good answer since.
    suspect: Option<ServiceKey>,
    /// The service that was answered with a bare 429 last, and until when it waits.
    bare: Option<(ServiceKey, Timestamp)>,
    /// Whether the API has answered well in this process.
    proven: bool,
    /// Whether somebody asked for one call past whatever closes the gate.
    asked: bool,
}

/// What stops all calls beside the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// The API refused the token.
    Denied,
    /// The ledger could not record what is about to be sent.
    Unwritable,
    /// No call gets through to the API.
    Unreachable,
}

impl Block {
    /// The state of a service for which a call is due.
    #[must_use]
    pub fn state(self) -> ServiceState {
        match self {
            Self::Denied => ServiceState::Denied,
            Self::Unwritable => ServiceState::LedgerUnwritable,
            Self::Unreachable => ServiceState::Unreachable,
        }
    }
}

/// Until when, and what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When calls may be tried again.
    pub until: Timestamp,
    /// What went wrong.
    pub reason: Diagnostic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Outage {
    pause: Pause,
    /// Probes that failed.
    probes: u32,
}

/// The waits before the first probes of an outage. An outage costs few calls, and everything goes out within half a
/// minute of its end: 10 minutes are some 24 probes.
const PROBES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// The wait before each further probe.
const PROBE_EVERY: Duration = Duration::from_secs(28);

/// The longest wait that an outage's `Retry-After` is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// How many calls may be out before the first good answer, where half of them all is less.
const UNPROVEN: usize = 4;

/// What the end of a call showed of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing that matters to others.
    Nothing,
    /// The API cannot be reached; this service waits with all others.
    Outage,
    /// The API can be reached again: what waited for that goes on.
    Recovered,
}

impl Gate {
    /// The pause for the rate limit, if there is one at this time.
    #[must_use]
    pub fn limited(&self, now: Timestamp) -> Option<&Pause> {
        self.limited.as_ref().filter(|pause| pause.until > now)
    }

    /// What blocks all calls until a call proves that it is gone; of several blocks the one that lasts longest.
    #[must_use]
    pub fn blocked(&self) -> Option<(Block, &Pause)> {
        let denied = self.denied.as_ref().map(|pause| (Block::Denied, pause));
        let unwritable = self.unwritable.as_ref().map(|pause| (Block::Unwritable, pause));
        let unreachable = self.unreachable.as_ref().map(|outage| (Block::Unreachable, &outage.pause));
        [denied, unwritable, unreachable].into_iter().flatten().max_by_key(|(_, pause)| pause.until)
    }

    /// Whether no call gets through to the API.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.unreachable.is_some()
    }

    /// Which kind of call is to find out whether an outage is over: as a rule one that failed before, because what a new
    /// update does during an outage would have to be read afterwards. One in three is another, in case that the fault
    /// is with the services that failed.
    pub(super) fn probes_what_failed(&self) -> bool {
        self.unreachable.as_ref().is_some_and(|outage| outage.probes % 3 != 2)
    }

    /// How many calls may be in flight: on the wire, and `ahead` more on their way to it or to the disk.
    pub(super) fn room(&self, now: Timestamp, concurrency: usize, ahead: usize) -> usize {
        let concurrency = concurrency.max(1);
        if self.asked {
            1
        } else if self.opens(now).is_some() {
            0
        } else if self.blocked().is_some() {
            1
        } else if self.proven {
            concurrency + ahead
        } else {
            // An API that is down must not be met with all calls at once.
            concurrency.min(UNPROVEN.max(concurrency / 2))
        }
    }

    /// Whether the next call goes past whatever closes the gate, because somebody asked for that.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// When a gate that is closed now opens.
    #[must_use]
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        if self.asked {
            return None;
        }
        let blocked = self.blocked().map(|(_, pause)| pause.until).filter(|until| *until > now);
        self.limited(now).map(|pause| pause.until).max(blocked)
    }

    /// Lets one call through, whatever closes the gate.
    pub(super) fn ask(&mut self, now: Timestamp) {
        self.asked = self.opens(now).is_some();
    }

    /// A call begins.
    pub(super) fn began(&mut self) {
        self.asked = false;
    }

    /// Takes what the end of a call shows. `alone` says that no other service could be called.
    pub(super) fn note(
        &mut self,
        (key, work): (&ServiceKey, Work),
        ending: &Ending,
        alone: bool,
        (now, jitter): (Timestamp, f64),
        pace: &Pace,
    ) -> Shown {
        let block = |wait, error: &Diagnostic| Some(Pause { until: later(now, wait), reason: error.clone() });
        // An update that was sent had its intent recorded; a read proves nothing of the ledger.
        let recorded = match work {
            Work::Send(_) => !matches!(ending, Ending::Unrecorded { .. } | Ending::Withdrawn),
            Work::Decide(_) | Work::Watch => matches!(ending, Ending::Adopted { .. }),
        };
        if recorded {
            self.unwritable = None;
        }
        match ending {
            Ending::Accepted { .. } | Ending::Adopted { .. } | Ending::Read(_) | Ending::Rejected { .. } => {
                self.denied = None;
                self.bare = None;
                self.proven = true;
                self.reached()
            }
            Ending::Transient { scope: Scope::Service, .. } => self.reached(),
            Ending::Transient { error, wait, scope, .. } => {
                self.failed(key, *scope, alone, (error, *wait), (now, jitter))
            }
            Ending::Limited { error, wait, told } => {
                let another = self.bare.as_ref().is_some_and(|(other, until)| other != key && *until > now);
                if *told || another {
                    self.limit(later(now, *wait), error.clone());
                } else {
                    self.bare = Some((key.clone(), later(now, *wait)));
                }
                self.reached()
            }
            Ending::Denied { error } => {
                self.denied = block(pace.denied_retry, error);
                self.reached()
            }
            Ending::Unrecorded { error } => {
                self.unwritable = block(pace.unwritable_retry, error);
                Shown::Nothing
            }
            Ending::Withdrawn => Shown::Nothing,
        }
    }

    /// The API answered, well or not.
    fn reached(&mut self) -> Shown {
        self.suspect = None;
        if self.unreachable.take().is_some() { Shown::Recovered } else { Shown::Nothing }
    }

    /// A call failed in a way that may be the API's own. One service's failures say nothing of the others', unless there
    /// was no connection at all.
    fn failed(
        &mut self,
        key: &ServiceKey,
        scope: Scope,
        alone: bool,
        (error, wait): (&Diagnostic, Duration),
        (now, jitter): (Timestamp, f64),
    ) -> Shown {
        let probes = match &self.unreachable {
            // What was out already when the outage began says nothing new.
            Some(outage) if outage.pause.until > now => return Shown::Outage,
            Some(outage) => outage.probes + 1,
            None if scope == Scope::Network || alone || self.suspect.as_ref().is_some_and(|other| other != key) => 0,
            None => {
                self.suspect = Some(key.clone());
                return Shown::Nothing;
            }
        };
        let planned = usize::try_from(probes).ok().and_then(|probes| PROBES.get(probes)).unwrap_or(&PROBE_EVERY);
        // A little apart from other daemons that met the same outage.
        let planned = planned.mul_f64(1.0 - 0.1 * jitter.clamp(0.0, 1.0));
        let until = later(now, planned.max(wait.min(LONGEST_RETRY_AFTER)));
        self.unreachable = Some(Outage { pause: Pause { until, reason: error.clone() }, probes });
        Shown::Outage
    }

    /// Pauses for the rate limit; the longer of two pauses holds.
    pub(super) fn limit(&mut self, until: Timestamp, reason: Diagnostic) {
        if self.limited.as_ref().is_none_or(|pause| pause.until < until) {
            self.limited = Some(Pause { until, reason });
        }
    }

    /// The ledger takes no records.
    pub(super) fn refuse(&mut self, until: Timestamp, reason: Diagnostic) {
        self.unwritable = Some(Pause { until, reason });
    }

    /// The ledger takes records again.
    pub(super) fn written(&mut self) {
        self.unwritable = None;
    }

    /// A new token may be good.
    pub(super) fn token_replaced(&mut self) {
        self.denied = None;
    }
}
