//! What the handles of a ledger share: the reader, and the one way to write.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::lock::Lock;
use super::mark::Mark;
use super::writer::{self, Failing, Request, Undo, Writer};
use super::{OpenError, Reader, WriteError};
use crate::model::ApiPlace;

/// How many operations may wait for the disk before the next one waits for a place.
const QUEUE: usize = 1024;

/// How long the last handle waits for the thread: an end of the process must not hang on a disk or on another program
/// that holds on to the file. What is not finished by then is as after a crash.
const CLOSING: Duration = Duration::from_secs(3);

/// Taken apart in order: nothing reads, nothing can be queued, the thread ends, and with it the lock.
#[derive(Debug)]
pub(super) struct Shared {
    reader: Option<Reader>,
    queue: Option<mpsc::Sender<Request>>,
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
    closing: Arc<AtomicBool>,
    failing: Failing,
    place: Mutex<ApiPlace>,
    pub(super) path: PathBuf,
}

impl Shared {
    /// Starts the thread that writes.
    pub(super) fn start(
        connection: Connection,
        mark: Mark,
        lock: Lock,
        place: Mutex<ApiPlace>,
        path: PathBuf,
    ) -> Result<Self, OpenError> {
        let reader = Reader::beside_writer(path.clone())?;
        let (queue, requests) = mpsc::channel(QUEUE);
        let (failing, closing) = (Failing::default(), Arc::new(AtomicBool::new(false)));
        let writer = Writer { connection, mark, lock, failing: Arc::clone(&failing), closing: Arc::clone(&closing) };
        let (ending, ended) = std::sync::mpsc::channel();
        let run = move || {
            writer.run(requests);
            // Nobody waits for it where that took too long.
            let _ = ending.send(());
        };
        thread::Builder::new().name("ledger".to_owned()).spawn(run).map_err(OpenError::Thread)?;
        let ended = Mutex::new(ended);
        Ok(Self { reader: Some(reader), queue: Some(queue), ended, closing, failing, place, path })
    }

    #[allow(clippy::expect_used, reason = "taken only by Drop")]
    pub(super) fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("the reader is there until the last handle is dropped")
    }

    pub(super) fn place(&self) -> MutexGuard<'_, ApiPlace> {
        // Whoever panicked left a whole value.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failing(&self) -> Option<WriteError> {
        // As above.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one way to write: what `act` does is committed with whatever else waits, and its answer comes when that is
    /// on disk. `act` runs inside the transaction, on the ledger's thread, and again where the transaction failed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        act: impl FnMut(&Connection) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        self.ask(writer::write(act, None)).await
    }

    /// The same; where nobody waits for the answer any more, it is undone.
    pub(super) async fn write_or_undo<T: Send + 'static>(
        &self,
        act: impl FnMut(&Connection) -> Result<T, WriteError> + Send + 'static,
        undo: Undo<T>,
    ) -> Result<T, WriteError> {
        self.ask(writer::write(act, Some(undo))).await
    }

    /// The same, for a caller without a runtime.
    pub(super) fn write_blocking(
        &self,
        act: impl FnMut(&Connection) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<(), WriteError> {
        let (request, answer) = writer::write(act, None);
        self.queue()?.blocking_send(request).map_err(|_| WriteError::Stopped)?;
        answer.blocking_recv().map_err(|_| WriteError::Stopped)?
    }

    /// Writes with whatever is written next; lost where the queue is full or the disk fails.
    pub(super) fn hint(&self, act: impl FnMut(&Connection) -> Result<(), WriteError> + Send + 'static) {
        if let Ok(queue) = self.queue() {
            let _ = queue.try_send(Request::Hint(Box::new(act)));
        }
    }

    async fn ask<T>(
        &self,
        (request, answer): (Request, oneshot::Receiver<Result<T, WriteError>>),
    ) -> Result<T, WriteError> {
        self.queue()?.send(request).await.map_err(|_| WriteError::Stopped)?;
        answer.await.map_err(|_| WriteError::Stopped)?
    }

    fn queue(&self) -> Result<&mpsc::Sender<Request>, WriteError> {
        self.queue.as_ref().ok_or(WriteError::Stopped)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last connection to close is the one that can clear the write-ahead log away: the writer's.
        self.reader = None;
        self.closing.store(true, Ordering::Relaxed);
        self.queue = None;
        // A panic in there was reported by the panic hook, and each caller has its WriteError::Stopped.
        let _ = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(CLOSING);
    }
}
