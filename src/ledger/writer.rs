//! The ledger's thread: owns the connection that writes, and commits what waits together.
//!
//! A commit costs a flush of the disk, some milliseconds on a plain one. While one is under way the queue fills, and
//! the next transaction takes all of it: so the number of flushes follows from the disk, not from the number of calls.
//! Nothing is answered before its transaction is on disk.

use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::lock::Lock;
use super::mark::Mark;
use super::{WriteError, open, sql};

/// The most writes in one transaction: bounds its memory and how long the first one waits.
pub(super) const BATCH: usize = 256;

/// One thing to write. A closure says what, so that a new kind of record is one function in `sql` and one method of the
/// ledger.
pub(super) enum Request {
    /// Its caller waits for the commit.
    Write(Box<dyn Write>),
    /// Nobody waits for it, and it is worth no flush of its own: it goes along with the next write. A newer one takes
    /// its place.
    Hint(Box<dyn Act>),
}

/// What is done inside the transaction. It may run twice: with others, and alone where that failed.
pub(super) trait Act: FnMut(&Connection) -> Result<(), WriteError> + Send {}

impl<F: FnMut(&Connection) -> Result<(), WriteError> + Send> Act for F {}

/// A write without the type of its answer.
pub(super) trait Write: Send {
    /// Inside the transaction. An error of the store is given back, because it may leave half a change; other refusals
    /// come before anything is written, and are kept for the caller.
    fn carry_out(&mut self, connection: &Connection) -> Result<(), WriteError>;

    /// After the transaction: tells the caller. Gives back how to undo the write where the caller is gone and that
    /// matters.
    fn answer(self: Box<Self>, committed: &Result<(), WriteError>) -> Option<Box<dyn Act>>;
}

/// What undoes a write whose caller went away before it was answered.
pub(super) type Undo<T> = fn(&Connection, &T) -> Result<(), WriteError>;

/// A write, what it gave back, and who waits for it.
struct Waiting<T, F> {
    act: F,
    given: Option<Result<T, WriteError>>,
    caller: oneshot::Sender<Result<T, WriteError>>,
    undo: Option<Undo<T>>,
}

/// A write, and where its answer will come.
pub(super) fn write<T, F>(act: F, undo: Option<Undo<T>>) -> (Request, oneshot::Receiver<Result<T, WriteError>>)
where
    T: Send + 'static,
    F: FnMut(&Connection) -> Result<T, WriteError> + Send + 'static,
{
    let (caller, answer) = oneshot::channel();
    (Request::Write(Box::new(Waiting { act, given: None, caller, undo })), answer)
}

impl<T, F> Write for Waiting<T, F>
where
    T: Send + 'static,
    F: FnMut(&Connection) -> Result<T, WriteError> + Send,
{
    fn carry_out(&mut self, connection: &Connection) -> Result<(), WriteError> {
        let given = (self.act)(connection);
        let failed = given.as_ref().err().filter(|error| matches!(error, WriteError::Store(_))).cloned();
        self.given = Some(given);
        failed.map_or(Ok(()), Err)
    }

    fn answer(self: Box<Self>, committed: &Result<(), WriteError>) -> Option<Box<dyn Act>> {
        let Self { given, caller, undo, .. } = *self;
        let given = match committed {
            Ok(()) => given.unwrap_or(Err(WriteError::Stopped)),
            Err(error) => Err(error.clone()),
        };
        let (unwanted, undo) = (caller.send(given).err()?.ok()?, undo?);
        Some(Box::new(move |connection: &Connection| undo(connection, &unwanted)))
    }
}

impl Request {
    fn carry_out(&mut self, connection: &Connection) -> Result<(), WriteError> {
        match self {
            Self::Write(write) => write.carry_out(connection),
            Self::Hint(act) => act(connection),
        }
    }

    fn answer(self, committed: &Result<(), WriteError>) -> Option<Box<dyn Act>> {
        match self {
            Self::Write(write) => write.answer(committed),
            Self::Hint(..) => None,
        }
    }
}

/// Why the store took nothing the last time; `None` where it did.
pub(super) type Failing = Arc<Mutex<Option<WriteError>>>;

/// How long SQLite waits at a time for another program that holds on to the file, and how long that goes on for one
/// batch. In between it is looked whether the ledger is to be closed.
const BUSY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(2);

/// The store, as its thread has it. The lock ends when the thread does: nobody else writes as long as it may.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) mark: Mark,
    pub(super) lock: Lock,
    pub(super) failing: Failing,
    /// The ledger is being closed: nothing is waited for.
    pub(super) closing: Arc<AtomicBool>,
}

impl Writer {
    /// Carries out what comes, until the queue is closed and empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        // Where it cannot be set, the longer time of the opening goes on to hold.
        let _ = self.connection.busy_timeout(BUSY);
        let (mut batch, mut hint) = (Vec::new(), None);
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let mut writes = Vec::with_capacity(batch.len());
            for request in batch.drain(..) {
                match request {
                    newer @ Request::Hint(_) => hint = Some(newer),
                    write @ Request::Write(_) => writes.push(write),
                }
            }
            if !writes.is_empty() {
                writes.extend(hint.take());
                let undone = self.carry_out(writes);
                self.withdraw(undone);
            }
        }
        if let Some(hint) = hint {
            self.carry_out(vec![hint]);
        }
        // The log would be worked off at the next start as well.
        let _ = open::checkpoint(&self.connection);
        let Self { connection, mark, lock, .. } = self;
        drop(connection);
        mark.close();
        drop(lock);
    }

    /// Carries out and answers all of a batch; gives back what undoes the writes that nobody waits for.
    ///
    /// Where the one transaction fails, each write gets one of its own, so that one that cannot be written spoils no
    /// other. (Savepoints would do that too, but cost every batch a copy of each page that it changes.)
    fn carry_out(&mut self, mut batch: Vec<Request>) -> Vec<Box<dyn Act>> {
        let mut together = self.commit(&mut batch);
        let until = Instant::now() + PATIENCE;
        while together.as_ref().is_err_and(is_busy) && Instant::now() < until && !self.closing.load(Ordering::Relaxed) {
            together = self.commit(&mut batch);
        }
        if together.as_ref().is_err_and(lacks_room) && self.make_room().is_ok() {
            together = self.commit(&mut batch);
        }
        // Before the answers: whoever has one sees this as well.
        self.tell(&together);
        let one_by_one = batch.len() > 1 && together.as_ref().is_err_and(|error| !is_busy(error));
        let mut undone = Vec::new();
        for mut request in batch {
            if one_by_one {
                let alone = self.commit(slice::from_mut(&mut request));
                self.tell(&alone);
                undone.extend(request.answer(&alone));
            } else {
                undone.extend(request.answer(&together));
            }
        }
        undone
    }

    fn tell(&self, committed: &Result<(), WriteError>) {
        self.lock.show(committed.is_ok());
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = committed.as_ref().err().cloned();
    }

    /// Moves the write-ahead log into the file, as far as readers allow, without giving its place on the disk back: the
    /// next transaction begins it again from the start. So a ledger that has its size goes on beside a full disk, and its
    /// own log cannot be what fills it.
    fn make_room(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Writes in one transaction. After an error none of them is in the store.
    fn commit(&mut self, requests: &mut [Request]) -> Result<(), WriteError> {
        self.transact(|connection| requests.iter_mut().try_for_each(|request| request.carry_out(connection)))
    }

    /// Undoes writes of tasks that went away before they were answered. What cannot be undone stays: an intent leaves its
    /// service in doubt, which is safe.
    fn withdraw(&mut self, undone: Vec<Box<dyn Act>>) {
        if !undone.is_empty() {
            let _ = self.transact(|connection| undone.into_iter().try_for_each(|mut act| act(connection)));
        }
    }

    fn transact(&mut self, act: impl FnOnce(&Connection) -> Result<(), WriteError>) -> Result<(), WriteError> {
        self.mark.hold();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        act(&transaction)?;
        let writes = sql::count(&transaction)?;
        transaction.commit()?;
        self.mark.advance(writes);
        Ok(())
    }
}

/// Whether the disk took no more: it is full, or a quota or limit is reached, which the store takes for an I/O error.
fn lacks_room(error: &WriteError) -> bool {
    matches!(error, WriteError::Store(source) if source.lacks_room())
}

fn is_busy(error: &WriteError) -> bool {
    matches!(error, WriteError::Store(source) if source.is_busy())
}
