//! What was decided, or came to its end, and has to outlive the process.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::{Ledger, TakenRequest, WriteError, keep_shown, sql};
use crate::engine::Findings;
use crate::model::{Digest, Quarantine, Rollout, ServiceKey, Stranger};

/// Something that has to outlive the process.
#[derive(Clone, Debug)]
pub enum Keep {
    /// How far a rollout is, where it is that of what was accepted last.
    Rollout(ServiceKey, Rollout),
    /// Somebody else who changed a service.
    Stranger(ServiceKey, Stranger),
    /// Content that is not sent again by itself, or once more because a person let it out.
    Quarantine(ServiceKey, Quarantine),
    /// Content that may be sent again.
    Lifted(ServiceKey, Digest),
    /// What rulings on plans found out, and where people look it up the plan that is held.
    Findings(Findings),
    /// What came of a request of a person, and what it lets be forgotten.
    Taken(TakenRequest),
}

impl Keep {
    /// Whether a call may depend on it.
    pub fn is_decision(&self) -> bool {
        !matches!(self, Self::Rollout(..) | Self::Stranger(..))
    }

    fn write(&self, connection: &Connection, dir: &Path) -> rusqlite::Result<()> {
        match self {
            Self::Rollout(key, rollout) => sql::set_rollout(connection, key, rollout),
            Self::Stranger(key, stranger) => sql::meet(connection, key, stranger),
            Self::Quarantine(key, quarantine) => sql::quarantine(connection, key, quarantine),
            Self::Lifted(key, content) => sql::lift(connection, key, *content),
            Self::Findings(findings) => {
                findings.held.iter().for_each(|plan| keep_shown(dir, plan));
                sql::let_out(connection, &findings.let_out)?;
                sql::add_denied(connection, &findings.denied)
            }
            Self::Taken(taken) => sql::take_request(connection, taken),
        }
    }
}

impl Ledger {
    /// Puts on disk what was decided: in this order, all of it or nothing; durable when it returns. So what came of a
    /// request of a person is there with what follows from it, or neither is.
    ///
    /// # Errors
    /// The store could not take it. What was there stays.
    pub async fn keep(&self, all: Arc<[Keep]>) -> Result<(), WriteError> {
        let dir = self.reader().dir().to_owned();
        self.shared.write(move |connection| Ok(all.iter().try_for_each(|one| one.write(connection, &dir))?)).await
    }
}
