//! What must hold back all calls: the rate limit, a refused token, a ledger that cannot be written, an API that cannot be
//! reached. A picture of its own, by what the design says.

use std::time::Duration;

use truenorth::engine::{Delivery, Ending, Pace, Scope, Work};

use crate::clock::Moment;
use crate::content::Name;

/// The waits before the probes of an outage; the last one is that before all others.
const PROBES: [u64; 4] = [1, 3, 9, 28];
/// An outage's `Retry-After` is obeyed up to this.
const RETRY_AFTER: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
struct Outage {
    until: Moment,
    probes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gate {
    limited: Moment,
    denied: Option<Moment>,
    unwritable: Option<Moment>,
    outage: Option<Outage>,
    /// The service that failed last as if the API were down, with no good answer since.
    suspect: Option<Name>,
    /// The service that met a bare 429, and until when it waits.
    bare: Option<(Name, Moment)>,
    proven: bool,
    /// Whether somebody asked for one call past all of it.
    pub(crate) asked: bool,
}

/// What the end of a call showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Showed {
    Nothing,
    Outage,
    Recovered,
}

impl Gate {
    pub(crate) fn limited_until(&self) -> Moment {
        self.limited
    }

    pub(crate) fn limit(&mut self, until: Moment) {
        self.limited = self.limited.max(until);
    }

    pub(crate) fn ask(&mut self, now: Moment) {
        self.asked = self.opens() > now;
    }

    pub(crate) fn token_replaced(&mut self) {
        self.denied = None;
    }

    pub(crate) fn is_outage(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether one call at a time finds out whether the cause is gone.
    pub(crate) fn is_blocked(&self) -> bool {
        self.denied.is_some() || self.unwritable.is_some() || self.outage.is_some()
    }

    /// What was decided did not reach the disk.
    pub(crate) fn refused(&mut self, now: Moment, pace: &Pace) {
        self.unwritable = Some(now.after(pace.unwritable_retry));
    }

    /// A write reached the disk without delay.
    pub(crate) fn written(&mut self) {
        self.unwritable = None;
    }

    /// When it opens, or opened.
    pub(crate) fn opens(&self) -> Moment {
        let outage = self.outage.map(|outage| outage.until);
        [self.denied, self.unwritable, outage].into_iter().flatten().fold(self.limited, Moment::max)
    }

    /// How many calls there may be, reads for drift not counted, once it is open.
    pub(crate) fn room(&self, pace: &Pace) -> usize {
        let most = pace.concurrency;
        if self.asked || self.is_blocked() {
            1
        } else if self.proven {
            most + pace.ahead
        } else {
            most.min((most / 2).max(4))
        }
    }

    /// A call ended. `alone` is whether there is no other service.
    pub(crate) fn note(
        &mut self,
        (name, work): (Name, Work),
        ending: &Ending,
        alone: bool,
        (now, jitter): (Moment, f64),
        pace: &Pace,
    ) -> Showed {
        match (work, ending) {
            (Work::Send(_), Ending::Unrecorded { .. } | Ending::Withdrawn) => {}
            (Work::Send(_), _) | (_, Ending::Adopted { .. }) => self.unwritable = None,
            _ => {}
        }
        match ending {
            Ending::Accepted { .. } | Ending::Adopted { .. } | Ending::Read(_) | Ending::Rejected { .. } => {
                (self.denied, self.bare, self.proven) = (None, None, true);
            }
            Ending::Denied { .. } => self.denied = self.denied.max(Some(now.after(pace.denied_retry))),
            Ending::Unrecorded { .. } => {
                self.unwritable = Some(now.after(pace.unwritable_retry));
                return Showed::Nothing;
            }
            Ending::Limited { wait, told, .. } => {
                let until = now.after(*wait);
                match self.bare {
                    Some((other, held)) if other != name && held > now => self.limit(until),
                    _ if *told => self.limit(until),
                    _ => self.bare = Some((name, until)),
                }
            }
            Ending::Withdrawn => return Showed::Nothing,
            Ending::Transient { scope: Scope::Service, .. } => {}
            Ending::Transient { scope, wait, .. } => {
                let probes = match self.outage {
                    Some(outage) if outage.until > now => return Showed::Outage,
                    Some(outage) => outage.probes + 1,
                    None if *scope == Scope::Network || alone || self.suspect.is_some_and(|other| other != name) => 0,
                    None => {
                        self.suspect = Some(name);
                        return Showed::Nothing;
                    }
                };
                let planned = Duration::from_secs(PROBES[probes.min(3)]).mul_f64(1.0 - 0.1 * jitter);
                let until = now.after(planned.max((*wait).min(RETRY_AFTER)));
                self.outage = Some(Outage { until, probes });
                return Showed::Outage;
            }
        }
        // Whoever answers can be reached.
        self.suspect = None;
        if self.outage.take().is_some() { Showed::Recovered } else { Showed::Nothing }
    }
}

/// Whether a call that ended so may have had an effect.
pub(crate) fn leaves_doubt(ending: &Ending) -> bool {
    matches!(
        ending,
        Ending::Transient { delivery: Delivery::Unknown { .. }, .. }
            | Ending::Rejected { delivery: Delivery::Unknown { .. }, .. }
    )
}
