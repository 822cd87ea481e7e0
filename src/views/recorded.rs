//! What the ledger knows of all services: what a daemon or a pass decided, what live showed, and what the rate limit leaves.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Drift, Paused, Quota, Untaken};
use crate::engine::{Unsettled, Window};
use crate::ledger::{AppliedMark, Decider, Halt, Holder, ReadError, Reader, Sighting, StateRecord, States, Turned};
use crate::model::{Known, Rollout, ServiceKey, ServiceState};
use crate::plan::Freeze;

/// Who works on the ledger, in words.
pub(crate) fn who(holder: Option<Holder>) -> String {
    match holder.map(|holder| holder.pid) {
        None => "no daemon runs".to_owned(),
        Some(None) => "another process has the ledger open".to_owned(),
        Some(Some(pid)) => format!("process {pid} has the ledger open"),
    }
}

/// What the ledger knows of all services.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(super) now: Timestamp,
    /// Who has it open.
    pub(crate) holder: Option<Holder>,
    /// When each service was applied last.
    pub(super) marks: HashMap<ServiceKey, AppliedMark>,
    pub(super) states: Option<States>,
    sightings: HashMap<ServiceKey, Sighting>,
    /// How far the rollouts of what the services have are.
    pub(super) rollouts: HashMap<ServiceKey, Rollout>,
    /// What all calls wait for.
    pub(super) halt: Option<Halt>,
    /// What the rate limit leaves, by the newest answer that was kept.
    pub(super) quota: Option<Quota>,
    /// Since when updates go out as PATCH, and why.
    pub(super) turned: Option<Turned>,
    /// Requests that may still take effect.
    unsettled: Vec<(ServiceKey, Unsettled)>,
    /// What people froze.
    pub(super) freezes: Vec<Freeze>,
    /// Services for which a call was begun that has no end yet.
    pub(super) open: Vec<ServiceKey>,
    /// What people asked for and decided that nobody has taken up.
    pub(super) untaken: Untaken,
}

impl Recorded {
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn read(ledger: Option<&Reader>, now: Timestamp) -> Result<Self, ReadError> {
        let mut recorded = Self {
            now,
            holder: ledger.map(Reader::holder).transpose()?.flatten(),
            marks: HashMap::new(),
            states: None,
            sightings: HashMap::new(),
            rollouts: HashMap::new(),
            halt: None,
            quota: None,
            turned: None,
            unsettled: Vec::new(),
            freezes: Vec::new(),
            open: Vec::new(),
            untaken: Untaken::default(),
        };
        let Some(ledger) = ledger else { return Ok(recorded) };
        recorded.marks = ledger.marks()?;
        recorded.states = ledger.states()?;
        recorded.sightings = ledger.sightings()?;
        recorded.rollouts = ledger.rollouts()?;
        recorded.turned = ledger.turned()?;
        recorded.unsettled = ledger.unsettled()?.into_iter().filter(|(_, unsettled)| unsettled.until > now).collect();
        recorded.open = ledger.open_calls()?;
        let decided_at = recorded.states.as_ref().map(|states| states.at);
        recorded.untaken = Untaken::read(ledger, recorded.holder, decided_at, now)?;
        recorded.freezes = ledger.freezes()?.into_iter().filter(|freeze| freeze.holds_at(now)).collect();
        recorded.halt = match recorded.decider().and_then(|decider| decider.halt.clone()) {
            // A limit ends by itself, anything else by a call that goes well.
            Some(halt) if halt.state != ServiceState::RateLimited || halt.until > now => Some(halt),
            // Of a pause that was kept over a restart the next process knows too.
            Some(_) | None => ledger.pause()?.filter(|pause| pause.until > now).map(|pause| Halt {
                state: ServiceState::RateLimited,
                until: pause.until,
                reason: pause.reason,
            }),
        };
        recorded.quota = ledger.quota()?.filter(|window| window.resets_at > now).map(|window| {
            let reserve = recorded.decider().map_or(0, |decider| window.reserve(decider.reserve_percent));
            let Window { limit, remaining, resets_at } = window;
            let reads_wait_until = (reserve > 0 && remaining <= reserve).then_some(resets_at);
            Quota { limit, remaining, resets_at: Some(resets_at), reserve, reads_wait_until }
        });
        Ok(recorded)
    }

    /// By what the states were decided that the ledger has; nothing where it has none.
    pub(crate) fn decider(&self) -> Option<&Decider> {
        self.states.as_ref().map(|states| &states.decider)
    }

    /// As of when everything is that is shown, where nobody runs who would write something newer: when states were
    /// decided last, or something was accepted since.
    pub(crate) fn as_of(&self) -> Option<Timestamp> {
        let accepted = self.marks.values().map(|mark| mark.at).max();
        self.states.as_ref().map(|states| states.at).max(accepted).filter(|_| self.holder.is_none())
    }

    /// The state of a service as it was decided last.
    pub(super) fn state(&self, key: &ServiceKey) -> Option<&StateRecord> {
        self.states.as_ref()?.of.get(key)
    }

    /// What all calls wait for: a rate limit holds for the next process too, anything else for who runs.
    pub(super) fn paused(&self) -> Option<Paused> {
        let runs = self.holder.is_some();
        let halt = self.halt.as_ref().filter(|halt| runs || halt.state == ServiceState::RateLimited)?;
        Paused::of(halt.state, halt.until, &halt.reason)
    }

    /// Whether somebody runs who makes a call for a service.
    pub(super) fn is_called(&self, key: &ServiceKey) -> bool {
        self.holder.is_some() && self.open.contains(key)
    }

    /// Until when requests for a service may still take effect whose end is not known.
    pub(super) fn unsettled(&self, key: &ServiceKey) -> impl Iterator<Item = &Unsettled> {
        self.unsettled.iter().filter(move |(of, _)| of == key).map(|(_, unsettled)| unsettled)
    }

    /// How live compares with what was applied.
    pub(super) fn drift(
        &self,
        key: &ServiceKey,
        known: Option<&Known>,
        left_alone_until: Option<Timestamp>,
    ) -> Option<Drift> {
        let sighting = self.sightings.get(key);
        let error = sighting.and_then(|sighting| sighting.failure.as_ref());
        let seen = sighting.and_then(|sighting| sighting.seen.as_ref());
        let drift = Drift::of(known, seen, error, left_alone_until)?;
        // The ledger has the time of the newest read, also of one that failed.
        Some(Drift { read_at: drift.read_at.filter(|_| error.is_none()), ..drift })
    }

    /// Whether the newest read that went well showed something else than what was applied.
    pub(super) fn has_drifted(&self, key: &ServiceKey, known: Option<&Known>) -> bool {
        let seen = self.sightings.get(key).and_then(|sighting| sighting.seen.as_ref());
        let applied = known.and_then(Known::digest);
        seen.zip(applied).is_some_and(|(seen, applied)| seen.has_drifted_from(applied))
    }

    /// When the newest read failed, if it did.
    pub(super) fn failed_at(&self, key: &ServiceKey) -> Option<Timestamp> {
        self.sightings.get(key).filter(|sighting| sighting.failure.is_some()).map(|sighting| sighting.at)
    }
}
