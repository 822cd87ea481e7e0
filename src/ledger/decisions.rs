//! What people decided about plans: written like their requests, beside a running daemon as well, which hears the bell.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::requests::tell;
use super::{OpenError, sql};
use crate::model::{Answer, ApiPlace, Digest, PlanId, ServiceKey};

/// A yes or a no to a plan, as somebody says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub plan: PlanId,
    /// What that changes, as far as it is known.
    pub content: Vec<(ServiceKey, Digest)>,
    pub answer: Answer,
    pub by: Option<Arc<str>>,
    pub reason: Option<Arc<str>>,
    pub at: Timestamp,
    /// Until when it counts; without it always.
    pub until: Option<Timestamp>,
}

/// Writes down what somebody decided. A daemon that has the ledger open takes it at once; without one it is there for the
/// next pass. Blocks on the disk.
///
/// # Errors
/// The ledger cannot be opened or written.
pub fn decide(dir: &Path, place: ApiPlace, word: Word) -> Result<(), OpenError> {
    let at = word.at;
    tell(dir, place, at, move |connection, _| sql::decide(connection, &word)).map(drop)
}
