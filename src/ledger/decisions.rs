//! What people decided about plans: written like their requests, beside a running daemon as well, which hears the bell.

use std::path::Path;

use jiff::Timestamp;

use super::requests::Bell;
use super::{Ledger, OpenError, WriteError, folder, open, sql};
use crate::model::{ApiPlace, Decision};

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
pub async fn decide(dir: &Path, place: ApiPlace, decision: Decision, now: Timestamp) -> Result<(), DecideError> {
    match Ledger::open(dir, place, now) {
        Ok(ledger) => Ok(ledger.write(move |connection| Ok(sql::decide(connection, &decision, now)?)).await?),
        Err(OpenError::InUse { .. }) => {
            let store = folder::store(dir);
            folder::refuse_links(dir)?;
            let connection = open::beside_writer(&store)?;
            sql::decide(&connection, &decision, now).map_err(|source| open::failed(&store, "write to", source))?;
            Bell::ring(dir);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
