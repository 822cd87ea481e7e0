//! What has to outlive the process, on its way to the disk: in the order in which it was decided, all that waits in one
//! transaction, and again until the ledger takes it. No call begins before that: one that goes by a decision which a
//! restart would not know might be made twice, or against what a person said.

use std::sync::Arc;

use jiff::Timestamp;

use crate::ledger::Keep;

#[derive(Debug, Default)]
pub(super) struct Keeping {
    waiting: Vec<Keep>,
    /// What is being written.
    out: Option<Arc<[Keep]>>,
    /// The ledger did not take it: when it is offered again.
    again_at: Option<Timestamp>,
}

impl Keeping {
    /// While the ledger takes nothing the folder may change again and again: of plans that are held one after the other
    /// only the newest is kept.
    pub(super) fn push(&mut self, keep: Keep) {
        match (self.waiting.last_mut(), keep) {
            (Some(Keep::Findings(before)), Keep::Findings(findings)) => before.add(findings),
            (_, keep) => self.waiting.push(keep),
        }
    }

    /// All that is to be written now, if anything is.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<Arc<[Keep]>> {
        let is_early = self.again_at.is_some_and(|at| at > now);
        if self.out.is_some() || self.waiting.is_empty() || is_early {
            return None;
        }
        self.out = Some(std::mem::take(&mut self.waiting).into());
        self.out.clone()
    }

    /// What was out is on disk. Says whether the ledger had refused it before.
    pub(super) fn written(&mut self) -> bool {
        self.out = None;
        self.again_at.take().is_some()
    }

    /// The ledger did not take what was out: it goes first the next time.
    pub(super) fn refused(&mut self, again_at: Timestamp) {
        let newer = std::mem::take(&mut self.waiting);
        let out = self.out.take();
        let older = out.iter().flat_map(|out| out.iter().cloned());
        older.chain(newer).for_each(|keep| self.push(keep));
        self.again_at = Some(again_at);
    }

    /// Offers what the ledger refused again at once.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        self.again_at = self.again_at.map(|at| at.min(now));
    }

    /// When something is offered again that the ledger refused.
    pub(super) fn again_at(&self) -> Option<Timestamp> {
        self.again_at.filter(|_| self.out.is_none())
    }

    pub(super) fn is_refused(&self) -> bool {
        self.again_at.is_some()
    }

    /// Whether something is being written.
    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Whether all of it is on disk.
    pub(super) fn is_done(&self) -> bool {
        self.out.is_none() && self.waiting.is_empty()
    }

    /// Whether calls wait until it is on disk.
    pub(super) fn holds_calls(&self) -> bool {
        self.is_refused()
            || self.waiting.iter().chain(self.out.iter().flat_map(|out| out.iter())).any(Keep::is_decision)
    }
}
