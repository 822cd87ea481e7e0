//! The ledger's thread: owns the connection that writes, and commits what waits together.
//!
//! A commit costs a flush of the disk, some milliseconds on a plain one. While one is under way the queue fills, and
//! the next transaction takes all of it: so the number of flushes follows from the disk, not from the number of calls.
//! Nothing is answered before its transaction is on disk.

use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use jiff::Timestamp;

use super::sql::{self, NewCall, NewSighting};
use super::{CallId, Outcome, Pause, Turned, WriteError, open};
use crate::engine::Window;

/// The most operations in one transaction: bounds its memory and how long the first one waits.
pub(super) const BATCH: usize = 256;

#[cfg(test)]
pub(super) type Probe = Box<dyn FnMut(&Connection) -> rusqlite::Result<()> + Send>;

/// One operation with its place for the answer.
pub(super) enum Request {
    Intend {
        row: NewCall,
        slot: Slot<CallId>,
    },
    Record {
        call: CallId,
        outcome: Outcome,
        at: Timestamp,
        slot: Slot<()>,
    },
    Adopt {
        row: NewCall,
        slot: Slot<CallId>,
    },
    PutOff {
        row: NewCall,
        outcome: Outcome,
        slot: Slot<CallId>,
    },
    SetPause {
        pause: Option<Pause>,
        slot: Slot<()>,
    },
    Saw {
        row: NewSighting,
        slot: Slot<()>,
    },
    TurnToPatch {
        turned: Turned,
        slot: Slot<()>,
    },
    SetQuota {
        window: Window,
        slot: Slot<()>,
    },
    /// Nobody waits for it.
    KeepQuota {
        window: Window,
    },
    /// Lets a test act inside the transaction.
    #[cfg(test)]
    Probe {
        act: Probe,
        slot: Slot<()>,
    },
}

/// Where the answer of an operation goes, and the answer while its transaction is not on disk yet.
pub(super) struct Slot<T> {
    answer: oneshot::Sender<Result<T, WriteError>>,
    result: Option<Result<T, WriteError>>,
}

impl<T> Slot<T> {
    pub(super) fn new() -> (Self, oneshot::Receiver<Result<T, WriteError>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { answer, result: None }, receiver)
    }

    /// Keeps the answer until the commit. An error of the store is given back, because it may leave half a change; the
    /// other refusals come before anything is written.
    fn keep(&mut self, result: Result<T, WriteError>) -> Result<(), WriteError> {
        let failed = result.as_ref().err().filter(|error| matches!(error, WriteError::Store(_))).cloned();
        self.result = Some(result);
        failed.map_or(Ok(()), Err)
    }

    /// Sends the answer, and gives it back where nobody waits for it any more.
    fn send(self, committed: &Result<(), WriteError>) -> Option<T> {
        let result = match committed {
            Ok(()) => self.result.unwrap_or(Err(WriteError::Stopped)),
            Err(error) => Err(error.clone()),
        };
        self.answer.send(result).err().and_then(Result::ok)
    }
}

/// Why the store took nothing the last time; `None` where it did.
pub(super) type Failing = Arc<Mutex<Option<WriteError>>>;

/// Carries out what comes, until the queue is closed and empty.
pub(super) fn run(mut connection: Connection, mut queue: mpsc::Receiver<Request>, failing: &Failing) {
    let (mut batch, mut quota) = (Vec::new(), None);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        // A hint is worth no flush of its own: the newest goes along with what has to be written.
        let hints = batch.extract_if(.., |request| matches!(request, Request::KeepQuota { .. }));
        quota = hints.last().or(quota);
        if batch.is_empty() {
            continue;
        }
        batch.extend(quota.take());
        let unwanted = carry_out(&mut connection, &mut batch, failing);
        if !unwanted.is_empty() {
            withdraw(&mut connection, &unwanted);
        }
    }
    if let Some(quota) = quota {
        batch.push(quota);
        carry_out(&mut connection, &mut batch, failing);
    }
    // The log would be worked off at the next start as well.
    let _ = open::checkpoint(&connection);
}

/// Carries out and answers all of a batch; gives back the intents that nobody waits for.
///
/// Where the one transaction fails, each operation gets one of its own, so that one that cannot be written spoils no
/// other. (Savepoints would do that too, but cost every batch a copy of each page that it changes.)
fn carry_out(connection: &mut Connection, batch: &mut Vec<Request>, failing: &Failing) -> Vec<CallId> {
    let mut together = commit(connection, batch);
    if together.as_ref().is_err_and(lacks_room) && make_room(connection).is_ok() {
        together = commit(connection, batch);
    }
    // Before the answers: whoever has one sees this as well.
    *failing.lock().unwrap_or_else(PoisonError::into_inner) = together.as_ref().err().cloned();
    let one_by_one = together.is_err() && batch.len() > 1;
    let mut answer = |mut request: Request| {
        if one_by_one {
            let alone = commit(connection, slice::from_mut(&mut request));
            *failing.lock().unwrap_or_else(PoisonError::into_inner) = alone.as_ref().err().cloned();
            request.answer(&alone)
        } else {
            request.answer(&together)
        }
    };
    batch.drain(..).filter_map(&mut answer).collect()
}

/// Whether the disk took no more: it is full, or a quota or limit is reached, which the store takes for an I/O error.
fn lacks_room(error: &WriteError) -> bool {
    let WriteError::Store(source) = error else { return false };
    matches!(source.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

/// Moves the write-ahead log into the file, as far as readers allow, without giving its place on the disk back: the next
/// transaction begins it again from the start. So a ledger that has its size goes on beside a full disk, and its own log
/// cannot be what fills it.
fn make_room(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Operations in one transaction. After an error none of them is in the store.
fn commit(connection: &mut Connection, requests: &mut [Request]) -> Result<(), WriteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for request in requests {
        request.carry_out(&transaction)?;
    }
    Ok(transaction.commit()?)
}

/// Intents of tasks that went away before they were answered: their calls will never be made.
fn withdraw(connection: &mut Connection, calls: &[CallId]) {
    let close = |connection: &mut Connection| -> Result<(), WriteError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for &call in calls {
            let outcome = Outcome::Unsent { message: "given up before it was sent".to_owned() };
            // The moment is that of the intent: there is no clock here.
            let at = sql::began(&transaction, call)?;
            sql::record(&transaction, call, &outcome, at)?;
        }
        Ok(transaction.commit()?)
    };
    // If it cannot be written they stay in doubt, which is safe.
    let _ = close(connection);
}

impl Request {
    fn carry_out(&mut self, connection: &Connection) -> Result<(), WriteError> {
        match self {
            Self::Intend { row, slot } => slot.keep(sql::intend(connection, row).map_err(WriteError::from)),
            Self::Record { call, outcome, at, slot } => slot.keep(sql::record(connection, *call, outcome, *at)),
            Self::Adopt { row, slot } => slot.keep(sql::adopt(connection, row).map_err(WriteError::from)),
            Self::PutOff { row, outcome, slot } => {
                slot.keep(sql::put_off(connection, row, outcome).map_err(WriteError::from))
            }
            Self::SetPause { pause, slot } => {
                slot.keep(sql::set_pause(connection, pause.as_ref()).map_err(WriteError::from))
            }
            Self::Saw { row, slot } => slot.keep(sql::saw(connection, row).map_err(WriteError::from)),
            Self::TurnToPatch { turned, slot } => {
                slot.keep(sql::turn_to_patch(connection, turned).map_err(WriteError::from))
            }
            Self::SetQuota { window, slot } => slot.keep(sql::keep_quota(connection, window).map_err(WriteError::from)),
            Self::KeepQuota { window } => Ok(sql::keep_quota(connection, window)?),
            #[cfg(test)]
            Self::Probe { act, slot } => slot.keep(act(connection).map_err(WriteError::from)),
        }
    }

    /// Answers, and gives back the intent that nobody waits for.
    fn answer(self, committed: &Result<(), WriteError>) -> Option<CallId> {
        match self {
            Self::Intend { slot, .. } => slot.send(committed),
            Self::Adopt { slot, .. } | Self::PutOff { slot, .. } => {
                slot.send(committed);
                None
            }
            Self::Record { slot, .. }
            | Self::SetPause { slot, .. }
            | Self::Saw { slot, .. }
            | Self::SetQuota { slot, .. }
            | Self::TurnToPatch { slot, .. } => {
                slot.send(committed);
                None
            }
            Self::KeepQuota { .. } => None,
            #[cfg(test)]
            Self::Probe { slot, .. } => {
                slot.send(committed);
                None
            }
        }
    }
}
