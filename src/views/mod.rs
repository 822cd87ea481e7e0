//! Read models: what a command line and a page both show, from the ledger and one look at the folder, without a call.
//!
//! In which state a service is was decided by the engine and written to the ledger; here it is read ([`state`]), and
//! compared with what the folder says by now. Nothing here guesses what a daemon does next.
//!
//! Reading order: `service` (what is shown of one), `recorded` (what the ledger knows), `people` (what they asked for),
//! `state`, `calls` and `history`, `status`, `why`.

mod calls;
mod history;
mod people;
mod recorded;
mod service;
mod state;
mod status;
mod why;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::manifest::Problem;
use crate::model::{HeldBy, Known, ServiceKey};
use crate::plan::Step;
use crate::source::Snapshot;

pub(crate) use calls::{Attempt, Word};
pub(crate) use history::{Asked, Decided, History};
pub(crate) use people::Untaken;
pub(crate) use recorded::{Recorded, who};
pub use service::{Drift, Look, Paused, Quota, ServiceStatus};
pub(crate) use state::Finding;
pub(crate) use status::{IMAGE, LedgerPlace, Page, Selection, Service, Versions};
pub(crate) use why::{Explanation, Facts, LiveNow, UNDO, next, not_sent, sentence, suspension, waits_for};

/// What one look at the folder and the ledger showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed<'a> {
    /// What the folder says.
    pub(crate) snapshot: &'a Snapshot,
    /// What was applied.
    pub(crate) known: &'a HashMap<ServiceKey, Known>,
    /// What a pass would do.
    pub(crate) steps: &'a BTreeMap<ServiceKey, Step>,
    /// What holds the updates that are due, where something does.
    pub(crate) held: &'a HashMap<ServiceKey, Vec<HeldBy>>,
    /// Known services that no valid manifest names, but one that cannot be read may, with the file that named them last.
    pub(crate) unproven: &'a BTreeMap<ServiceKey, Box<str>>,
    /// When the rollout failed of content that is due again.
    pub(crate) failed_before: &'a HashMap<ServiceKey, Timestamp>,
}

impl<'a> Observed<'a> {
    /// The services that no manifest names any more.
    pub(crate) fn orphaned(self) -> impl Iterator<Item = &'a ServiceKey> {
        self.steps.iter().filter(|(_, step)| **step == Step::Orphaned).map(|(key, _)| key)
    }
}

/// Why drift is left alone.
pub(crate) const FLAPS: &str = "it came back after three corrections";

/// A problem in a line.
pub(crate) fn told(problem: &Problem) -> String {
    format!("{}:{}: {}", problem.file, problem.line, problem.message)
}
