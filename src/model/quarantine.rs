//! Quarantine: content whose rollout failed is not sent again by itself.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Digest, Rollout, RolloutState};

/// The content of a service whose rollout failed, or that a person took back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    pub digest: Digest,
    pub since: Timestamp,
    /// Why its rollout failed, where that is known; or why a person took it back.
    pub reason: Option<Arc<str>>,
    /// Who took it back, where a person did.
    pub by: Option<Arc<str>>,
    /// Whether a person let it out: then it is sent once more.
    pub released: bool,
    /// The content that is sent in its place, or was.
    pub back: Option<Digest>,
}

impl Quarantine {
    /// Whether this content may not be sent.
    pub fn holds(&self, content: Digest) -> bool {
        !self.released && self.digest == content
    }

    /// What is left of it once a person lets the content out. What failed is sent once more. What a person only took back
    /// is as if they had not: where it still runs nothing is sent. `rollout` is the newest of the service.
    pub fn let_out(self, rollout: Option<&Rollout>) -> Option<Self> {
        let is_of_this = |rollout: &Rollout| rollout.digest == self.digest && rollout.state == RolloutState::Failed;
        let has_failed = self.by.is_none() || rollout.is_some_and(is_of_this);
        has_failed.then_some(Self { released: true, ..self })
    }

    /// Whether this content is to be sent once more.
    pub fn lets_out(&self, content: Digest) -> bool {
        self.released && self.digest == content
    }
}
