//! The ledger's thread: owns the connection that writes, and commits what waits together.
//!
//! A commit costs a flush of the disk, some milliseconds on a plain one. While one is under way the queue fills, and
//! the next transaction takes all of it: so the number of flushes follows from the disk, not from the number of calls.
//! Nothing is answered before its transaction is on disk.

use std::collections::BTreeMap;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{WriteError, open};

/// The most writes in one transaction: bounds its memory and how long the first one waits.
pub(super) const BATCH: usize = 256;

/// One thing to write. A closure says what, so that a new kind of record is one function in `sql` and one method of the
/// ledger.
pub(super) enum Request {
    /// Its caller waits for the commit.
    Write(Box<dyn Write>),
    /// Nobody waits for it, and it is worth no flush of its own: it goes along with the next write. A newer one of the
    /// same name takes its place.
    Hint(&'static str, Box<dyn Act>),
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
            Self::Hint(_, act) => act(connection),
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

/// Carries out what comes, until the queue is closed and empty.
pub(super) fn run(mut connection: Connection, mut queue: mpsc::Receiver<Request>, failing: &Failing) {
    let (mut batch, mut hints) = (Vec::new(), BTreeMap::new());
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let mut writes = Vec::with_capacity(batch.len());
        for request in batch.drain(..) {
            match request {
                Request::Hint(name, act) => drop(hints.insert(name, act)),
                write @ Request::Write(_) => writes.push(write),
            }
        }
        if !writes.is_empty() {
            writes.extend(take(&mut hints));
            let undone = carry_out(&mut connection, writes, failing);
            withdraw(&mut connection, undone);
        }
    }
    if !hints.is_empty() {
        carry_out(&mut connection, take(&mut hints).collect(), failing);
    }
    // The log would be worked off at the next start as well.
    let _ = open::checkpoint(&connection);
}

fn take(hints: &mut BTreeMap<&'static str, Box<dyn Act>>) -> impl Iterator<Item = Request> {
    std::mem::take(hints).into_iter().map(|(name, act)| Request::Hint(name, act))
}

/// Carries out and answers all of a batch; gives back what undoes the writes that nobody waits for.
///
/// Where the one transaction fails, each write gets one of its own, so that one that cannot be written spoils no
/// other. (Savepoints would do that too, but cost every batch a copy of each page that it changes.)
fn carry_out(connection: &mut Connection, mut batch: Vec<Request>, failing: &Failing) -> Vec<Box<dyn Act>> {
    let mut together = commit(connection, &mut batch);
    if together.as_ref().is_err_and(lacks_room) && make_room(connection).is_ok() {
        together = commit(connection, &mut batch);
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
    batch.into_iter().filter_map(&mut answer).collect()
}

/// Whether the disk took no more: it is full, or a quota or limit is reached, which the store takes for an I/O error.
fn lacks_room(error: &WriteError) -> bool {
    matches!(error, WriteError::Store(source) if source.lacks_room())
}

/// Moves the write-ahead log into the file, as far as readers allow, without giving its place on the disk back: the next
/// transaction begins it again from the start. So a ledger that has its size goes on beside a full disk, and its own log
/// cannot be what fills it.
fn make_room(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Writes in one transaction. After an error none of them is in the store.
fn commit(connection: &mut Connection, requests: &mut [Request]) -> Result<(), WriteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for request in requests {
        request.carry_out(&transaction)?;
    }
    Ok(transaction.commit()?)
}

/// Undoes writes of tasks that went away before they were answered. What cannot be undone stays: an intent leaves its
/// service in doubt, which is safe.
fn withdraw(connection: &mut Connection, undone: Vec<Box<dyn Act>>) {
    if undone.is_empty() {
        return;
    }
    let undo = || -> Result<(), WriteError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for mut act in undone {
            act(&transaction)?;
        }
        Ok(transaction.commit()?)
    };
    let _ = undo();
}
