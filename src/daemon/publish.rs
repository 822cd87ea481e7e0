//! Writes down the state of each service when it changed, so that everybody who reads the ledger sees what the engine
//! decided and has to guess nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::FutureExt;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::engine::Engine;
use crate::error::chain;
use crate::ledger::{Ledger, StateRecord, WriteError};
use crate::model::{ServiceKey, ServiceState};
use crate::runner::{LAST, StateChange, decider, record_of, write_last};

/// How long changes are gathered. A service goes through several states within a call.
const GATHER: Duration = Duration::from_millis(500);

/// How long to wait before states that the disk did not take are written again.
const AGAIN: Duration = Duration::from_secs(5);

/// What was written, and what may have changed since.
#[derive(Debug, Default)]
pub(super) struct Published {
    written: BTreeMap<ServiceKey, StateRecord>,
    stale: Stale,
    due: Option<Instant>,
    writing: Option<Writing>,
    /// The ledger did not take the last ones: what was written is not known.
    failed: bool,
}

/// States on their way to the disk.
#[derive(Debug)]
struct Writing {
    began: Instant,
    task: JoinHandle<Result<(), WriteError>>,
}

/// A write that takes longer says nothing good of the disk.
const QUICK: Duration = Duration::from_secs(2);

/// Whose state may have changed.
#[derive(Debug)]
enum Stale {
    These(BTreeSet<ServiceKey>),
    All,
}

impl Default for Stale {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Published {
    /// What an earlier process wrote: what did not change since keeps its time.
    pub(super) fn taken_over(written: BTreeMap<ServiceKey, StateRecord>) -> Self {
        Self { written, stale: Stale::All, ..Self::default() }
    }

    /// The state of this service may have changed.
    pub(super) fn touch(&mut self, key: &ServiceKey, now: Instant) {
        if let Stale::These(keys) = &mut self.stale {
            keys.insert(key.clone());
        }
        self.due.get_or_insert(now + GATHER);
    }

    /// The state of every service may have changed.
    pub(super) fn touch_all(&mut self, now: Instant) {
        self.stale = Stale::All;
        self.due.get_or_insert(now + GATHER);
    }

    /// When something is to be written, or it is to be seen how that went.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes what changed, beside the loop: a disk that hangs must not stop it. `invalid` is why the manifests of some
    /// services cannot be used. Says whether what was written before is on disk, and came there without delay.
    pub(super) fn publish(
        &mut self,
        ledger: &Ledger,
        engine: &Engine,
        invalid: &BTreeMap<ServiceKey, String>,
        now: Timestamp,
    ) -> bool {
        let mut is_on_disk = false;
        match self.writing.as_mut().map(|writing| (writing.began, (&mut writing.task).now_or_never())) {
            Some((_, None)) => {
                self.due = Some(Instant::now() + GATHER);
                return false;
            }
            Some((began, Some(Ok(Ok(()))))) => {
                is_on_disk = began.elapsed() < QUICK;
                (self.writing, self.failed) = (None, false);
            }
            Some((_, Some(written))) => {
                if let Ok(Err(error)) = written
                    && !self.failed
                {
                    warn!(error = chain(&error), "cannot record the states of services; `status` shows older ones");
                }
                (self.writing, self.failed, self.stale) = (None, true, Stale::All);
                self.due = Some(Instant::now() + AGAIN);
                return false;
            }
            None => {}
        }
        self.due = None;
        let states = self.take(engine, invalid, now);
        if !states.is_empty() {
            let (ledger, decider) = (ledger.clone(), decider(engine, now));
            let task = tokio::spawn(async move { ledger.set_states(states, decider, now).await });
            self.writing = Some(Writing { began: Instant::now(), task });
            self.due = Some(Instant::now() + GATHER);
        }
        is_on_disk
    }

    /// Writes what there is to say at the end, also that nothing changed: then it is known until when.
    pub(super) async fn end(
        mut self,
        ledger: &Ledger,
        engine: &Engine,
        invalid: &BTreeMap<ServiceKey, String>,
        now: Timestamp,
    ) {
        let until = Instant::now() + LAST;
        if let Some(writing) = &mut self.writing {
            let written = timeout_at(until, &mut writing.task).await;
            self.failed |= !matches!(written, Ok(Ok(Ok(()))));
        }
        self.stale = Stale::All;
        let states = self.take(engine, invalid, now);
        write_last(ledger, states, decider(engine, now), now, until).await;
    }

    /// Takes out what changed.
    fn take(&mut self, engine: &Engine, invalid: &BTreeMap<ServiceKey, String>, now: Timestamp) -> Vec<StateChange> {
        let record = |key: &ServiceKey| match invalid.get(key) {
            Some(problem) => Some(invalid_record(problem, now)),
            None => engine.standing(key, now).map(|standing| record_of(&standing, now)),
        };
        let keys: BTreeSet<ServiceKey> = match std::mem::take(&mut self.stale) {
            Stale::These(keys) => keys,
            Stale::All => {
                let engines = engine.keys().cloned();
                engines.chain(invalid.keys().cloned()).chain(self.written.keys().cloned()).collect()
            }
        };
        let mut changed = Vec::new();
        for key in keys {
            let new = record(&key).map(|new| match self.written.get(&key) {
                Some(old) if old.state == new.state && old.digest == new.digest => {
                    StateRecord { since: old.since, ..new }
                }
                _ => new,
            });
            if self.failed || self.written.get(&key) != new.as_ref() {
                match &new {
                    Some(new) => drop(self.written.insert(key.clone(), new.clone())),
                    None => drop(self.written.remove(&key)),
                }
                changed.push((key, new));
            }
        }
        changed
    }
}

fn invalid_record(problem: &str, now: Timestamp) -> StateRecord {
    let (state, reason) = (ServiceState::Invalid, Some(problem.into()));
    StateRecord { state, since: now, until: None, reason, digest: None, attempts: 0 }
}
