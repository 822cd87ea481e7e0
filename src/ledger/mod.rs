//! The ledger: what was sent to the API, and what it accepted; an embedded SQLite store in the state folder.
//!
//! It exists so that a crash anywhere repeats at most one call. What is about to be sent is on disk before the call
//! ([`Ledger::intend`]), and how it ended is on disk after it ([`Ledger::record`]). Between the two the service is *in
//! doubt*: nobody can tell what it has, so no digest is compared for it. The rules of doubt:
//!
//! - an intent puts its service in doubt;
//! - *rejected* and *unsent* take back the doubt of that one call: the service has what it had before;
//! - *unknown*, and a call that the process did not live to record, leave theirs for good;
//! - *accepted*, of whatever call, and *adopted* end all doubt: now it is known what the service has.
//!
//! So after an unknown call, a later rejected one changes nothing: the first may still have got through.
//!
//! ```text
//!  tasks ── intend, record … ──▶ bounded queue ──▶ one thread ──▶ one transaction for all that waits ──▶ answers
//!  tasks ── known, applied … ──▶ a connection that only reads (no waiting for the disk)
//!  other programs ── Reader ───▶ the same file, beside a running daemon
//! ```
//!
//! Reading order: `records` (the nouns), this file and `reader` (the face, which names no database), `shared` (the one way
//! to write), `writer` (the thread), `sql` (every statement), `view` (the file as a reader finds it), `schema` and `steps`
//! (migration and tables), `keep` (what was decided), `requests` (what people ask for), `open` (what a file must be before it is touched), `mark`
//! (whether it is the last one), `folder` and `lock`.
//!
//! No token ever comes here, and no body of an answer beyond a bounded message.

mod decisions;
mod error;
mod folder;
mod keep;
mod lock;
mod mark;
mod open;
mod reader;
mod records;
mod requests;
mod schema;
mod shared;
mod shown;
mod sql;
#[cfg(test)]
mod tests;
mod traces;
mod view;
mod writer;

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

use crate::engine::Window;
use crate::model::{ApiPlace, ServiceKey};

pub use decisions::{Word, decide};
pub use error::{OpenError, ReadError, StoreError, WriteError};
pub use keep::Keep;
pub use lock::{Holder, identity};
pub use reader::Reader;
pub use records::{
    Adoption, AppliedMark, AppliedRecord, Before, CallId, Decider, End, FailedRollout, Halt, HistoryEntry, Intent,
    Outcome, Pause, Sighting, StateRecord, States, Turned,
};
pub use requests::{Bell, People, PersonRequest, RequestId, RequestKind, RequestRecord, TakenRequest, WayBack, ask};
pub use shown::{keep_shown, shown};
pub use traces::Traces;

use lock::Lock;
use shared::Shared;

/// The ledger, opened to write. Cheap to clone; all clones share one queue, one thread and one lock. When the last one
/// is dropped, what is queued is finished, the store is tidied and the lock is let go; that blocks for as long as the
/// disk takes, three seconds at most.
///
/// What is written is durable when a method returns. Where the store could not take it nothing was written, what was
/// there stays, and the next try may work.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

impl Ledger {
    /// Opens the ledger in the folder `dir` for calls at a place, and makes both where there is nothing yet. A folder that is ours and holds
    /// nothing but the ledger is closed to everybody else. Calls that an earlier process left open are marked as
    /// interrupted at `now`.
    ///
    /// Blocks for a few milliseconds; up to five seconds where another program holds on to the file.
    ///
    /// # Errors
    /// Another truenorth has it, the folder cannot be used, or the file is corrupt, foreign, newer or of another place; in
    /// the last four cases the file is as it was. Nothing can be sent then: exit 78.
    pub fn open(dir: &Path, place: ApiPlace, now: Timestamp) -> Result<Self, OpenError> {
        let dir = folder::prepare(dir)?;
        let mut lock = Lock::take(&dir)?;
        let store = folder::store(&dir);
        let (connection, mark) = open::for_writing(&store, &mut lock, &place, now)?;
        let known = sql::api_place(&connection).ok().flatten();
        let place = Mutex::new(known.filter(|_| place.account.is_none()).unwrap_or(place));
        Ok(Self { shared: Arc::new(Shared::start(connection, mark, lock, place, store)?) })
    }

    /// The reading side. It sees everything that was answered, and waits for no write.
    pub fn reader(&self) -> &Reader {
        self.shared.reader()
    }

    /// Reads beside the runtime's threads: a disk that does not answer holds up nobody but who waits for this.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let ledger = self.clone();
        let read = tokio::task::spawn_blocking(move || query(ledger.reader())).await;
        read.unwrap_or_else(|ended| {
            ended.try_into_panic().map_or(Err(ReadError::Stopped), |panic| resume_unwind(panic))
        })
    }

    /// The API and the account that calls are recorded of; the account once it is known.
    pub fn place(&self) -> ApiPlace {
        self.place_now().clone()
    }

    /// Whose the token is, where the ledger does not know yet: it belongs to that account with the next good answer.
    pub fn set_account(&self, account: Arc<str>) {
        self.place_now().account.get_or_insert(account);
    }

    /// That this ledger does not belong to an account.
    pub fn is_not_of(&self, account: Arc<str>) -> OpenError {
        let theirs = self.place();
        let ours = ApiPlace { account: Some(account), ..theirs.clone() };
        OpenError::OtherPlace { path: self.shared.path.clone(), theirs, ours }
    }

    fn place_now(&self) -> MutexGuard<'_, ApiPlace> {
        self.shared.place()
    }

    /// Puts on disk that a call is about to be made; durable when it returns. An earlier call of this service that is
    /// still open is closed as interrupted, its doubt stays.
    ///
    /// Make the call only after `Ok`. If the future is dropped before, no call must be made; the intent is then closed
    /// as unsent where the ledger sees that nobody waits, else it stays in doubt.
    ///
    /// # Errors
    /// The store could not take it (a full disk, say). Nothing was written, and the next try may work.
    pub async fn intend(&self, intent: Intent) -> Result<CallId, WriteError> {
        let row = sql::NewCall::from_intent(&intent)?;
        let act = move |connection: &_| Ok(sql::intend(connection, &row)?);
        self.shared.write_or_undo(act, |connection, call| sql::withdraw(connection, *call)).await
    }

    /// Puts on disk how a call ended; durable when it returns. Once it was handed over it is carried out, even if the
    /// future is dropped.
    ///
    /// # Errors
    /// The store could not take it: the call stays open and its service in doubt, and it can be recorded again.
    /// [`WriteError::NotOpen`] where the call was closed already.
    pub async fn record(&self, call: CallId, outcome: Outcome, at: Timestamp) -> Result<(), WriteError> {
        self.record_at(call, outcome, at, None).await
    }

    /// The same, with when it happened by the server's clock, where the answer said so. With an acceptance begins a
    /// rollout, which takes the place of an older one.
    pub async fn record_at(
        &self,
        call: CallId,
        outcome: Outcome,
        at: Timestamp,
        server_at: Option<Timestamp>,
    ) -> Result<(), WriteError> {
        // An address that nobody answers at is no place, and may be a mistake that is put right next.
        let answered = matches!(outcome, Outcome::Accepted { .. } | Outcome::Rejected { .. });
        let place = answered.then(|| self.place());
        self.shared
            .write(move |connection| {
                sql::record(connection, call, &outcome, (at, server_at))?;
                Ok(place.iter().try_for_each(|place| sql::belong(connection, place))?)
            })
            .await
    }

    /// Records as applied what is live already, without a call; durable when it returns. Ends all doubt about the
    /// service.
    pub async fn adopt(&self, adoption: Adoption) -> Result<CallId, WriteError> {
        let row = sql::NewCall::from_adoption(&adoption)?;
        let place = self.place();
        self.shared
            .write(move |connection| {
                sql::belong(connection, &place)?;
                Ok(sql::adopt(connection, &row)?)
            })
            .await
    }

    /// Puts into history that an update was not sent because live, which decides about it, could not be read; durable
    /// when it returns. What the service has is as certain as before.
    pub async fn put_off(&self, intent: Intent, outcome: Outcome) -> Result<CallId, WriteError> {
        let row = sql::NewCall::from_intent(&intent)?;
        self.shared.write(move |connection| Ok(sql::put_off(connection, &row, &outcome)?)).await
    }

    /// Keeps the pause of all calls over a restart, or ends it.
    pub async fn set_pause(&self, pause: Option<Pause>) -> Result<(), WriteError> {
        self.shared.write(move |connection| Ok(sql::set_pause(connection, pause.as_ref())?)).await
    }

    /// Puts on disk that a service was read, and what that showed.
    pub async fn saw(&self, key: &ServiceKey, sighting: Sighting) -> Result<(), WriteError> {
        let row = sql::NewSighting::new(key, &sighting)?;
        let place = sighting.failure.is_none().then(|| self.place());
        self.shared
            .write(move |connection| {
                sql::saw(connection, &row)?;
                Ok(place.iter().try_for_each(|place| sql::belong(connection, place))?)
            })
            .await
    }

    /// Puts on disk whether updates go out as PATCH.
    pub async fn set_turned(&self, turned: Option<Turned>) -> Result<(), WriteError> {
        self.shared.write(move |connection| Ok(sql::set_turned(connection, turned.as_ref())?)).await
    }

    /// Writes the states of services that changed, and by what they were decided, for whoever reads the ledger; `None`
    /// takes one out. Durable when it returns.
    pub async fn set_states(
        &self,
        states: Vec<(ServiceKey, Option<StateRecord>)>,
        decider: Decider,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.shared.write(move |connection| Ok(sql::set_states(connection, &states, &decider, at)?)).await
    }

    /// Puts the rate limit's window on disk, for whoever reads beside this process.
    pub async fn set_quota(&self, window: Window, at: Timestamp) -> Result<(), WriteError> {
        self.shared.write(move |connection| Ok(sql::keep_quota(connection, &window, at)?)).await
    }

    /// Keeps the rate limit's window over a restart, with whatever is written next. It is a hint: where the queue is
    /// full or the disk fails it is lost, and the next answer says it again.
    pub fn keep_quota(&self, window: Window, at: Timestamp) {
        self.shared.hint(move |connection| Ok(sql::keep_quota(connection, &window, at)?));
    }

    /// Listens for requests of people that are written beside.
    pub fn bell(&self) -> Bell {
        Bell::listen(self.reader().dir())
    }

    /// Why the store took nothing the last time that something was to be written; `None` where it did.
    pub fn failing(&self) -> Option<WriteError> {
        self.shared.failing()
    }
}
