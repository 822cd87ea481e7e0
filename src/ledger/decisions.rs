//! What people decided about plans: written like their requests, beside a running daemon as well, which hears the bell.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::requests::Bell;
use super::{Ledger, OpenError, WriteError, folder, open, sql};
use crate::model::{Answer, ApiPlace, Digest, PlanId, ServiceKey};

/// A yes or a no to a plan, as somebody says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// To which plan.
    pub plan: PlanId,
    /// What that changes, as far as it is known.
    pub content: Vec<(ServiceKey, Digest)>,
    /// Yes or no.
    pub answer: Answer,
    /// Who says so.
    pub by: Option<Arc<str>>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
    /// Until when it counts; without it always.
    pub until: Option<Timestamp>,
}

/// Why a decision was not written down.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The ledger cannot be opened, or not be written beside its holder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be written.
    #[error("cannot write the decision to the ledger")]
    Write(#[from] WriteError),
}

/// Writes down what somebody decided. A daemon that has the ledger open takes it at once; without one it is there for the
/// next pass.
///
/// # Errors
/// The ledger cannot be opened or written.
pub async fn decide(dir: &Path, place: ApiPlace, word: Word) -> Result<(), DecideError> {
    match Ledger::open(dir, place, word.at) {
        Ok(ledger) => Ok(ledger.write(move |connection| Ok(sql::decide(connection, &word)?)).await?),
        Err(OpenError::InUse { .. }) => {
            beside(dir, |connection| sql::decide(connection, &word))?;
            Bell::ring(dir);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes beside the holder, all of it or nothing.
pub(super) fn beside(
    dir: &Path,
    write: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    let store = folder::store(dir);
    folder::refuse_links(dir)?;
    let mut connection = open::beside_writer(&store)?;
    let writing = |source| open::failed(&store, "write to", source);
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(writing)?;
    write(&transaction).map_err(writing)?;
    transaction.commit().map_err(writing)
}
