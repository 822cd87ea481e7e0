//! Seen: what a read of live showed.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Change, Comparison, UnnamedCredentials};
use crate::model::{Digest, Unnamed};

/// How live compares with one update, field by field, as far as it is not the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Fields in which live differs: from what runs, to what is desired.
    pub differences: Arc<[Change]>,
    /// Fields of which live cannot be told, with the reason: `external.credentials (live does not name them)`.
    pub undecided: Arc<[String]>,
    /// Credentials that live uses and the update names none of: it would take them away.
    pub unnamed_credentials: Option<UnnamedCredentials>,
}

impl Reading {
    /// What of a comparison is kept and shown.
    #[must_use]
    pub fn of(comparison: &Comparison) -> Self {
        let undecided = comparison.undecided().map(|field| format!("{}: {}", field.path, field.rule));
        Self {
            differences: comparison.differences().into(),
            undecided: undecided.collect(),
            unnamed_credentials: comparison.unnamed_credentials.clone(),
        }
    }

    /// What a person should know before an update by this manifest is sent.
    pub fn warnings(&self, unnamed: Unnamed) -> Vec<String> {
        let unnamed = self.unnamed_credentials.as_ref().filter(|_| unnamed == Unnamed::Forgotten);
        unnamed.map(ToString::to_string).into_iter().collect()
    }
}

/// What the newest read of a service showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What live was compared with.
    pub compared: Digest,
    /// When it was read.
    pub at: Timestamp,
    pub reading: Reading,
}

impl Seen {
    /// Whether live is something else than this content. What cannot be told never counts as drift.
    pub fn has_drifted_from(&self, applied: Digest) -> bool {
        self.compared == applied && !self.reading.differences.is_empty()
    }

    /// Whether live was found to be something else than this content, by this read or by one before it: after a change
    /// only what drifted is compared with anything else than what was applied.
    pub(super) fn shows_drift_from(&self, applied: Digest) -> bool {
        self.compared != applied || self.has_drifted_from(applied)
    }
}
