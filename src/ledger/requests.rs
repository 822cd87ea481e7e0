//! What people ask for: written into the ledger by whoever asks, whether a daemon holds it or nobody does.
//!
//! Nobody but the holder of the lock writes what is known of services. A request is a row of a table of its own, so it
//! may come from beside: SQLite lets one of two writers wait for the other, the ledger's count of its transactions stays
//! as it is, and the files' times are the holder's to write down when it ends. Where nobody holds the ledger, whoever
//! asks opens it as a pass does, and leaves it as a pass leaves it.
//!
//! After the row comes the [`Bell`]: a daemon reads the table when that rings, and not every second.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use notify::{Config, Event, EventKind, INotifyWatcher, RecursiveMode, Watcher as _};
use rusqlite::Connection;
use tokio::sync::Notify;

use super::folder::{self, BELL, NO_LINK};
use super::{Ledger, OpenError, Reader, open, sql};
use crate::model::{ApiPlace, Decision, Digest, Quarantine, ServiceKey};
use crate::plan::Freeze;
use crate::text::words;

/// Names one request in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub i64);

words! {
    /// What a person asks for.
    pub enum RequestKind {
        /// Try again now what waits after a failure.
        Retry = "retry",
        /// Send nothing new until a time.
        Freeze = "freeze",
        Thaw = "thaw",
        /// Remember nothing of a service that no manifest names.
        Forget = "forget",
        /// Send content once more whose rollout failed.
        Release = "release",
        /// Send what ran before in the place of what the manifest says.
        Rollback = "rollback",
    }
}

/// A request of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRequest {
    /// What is asked for.
    pub kind: RequestKind,
    /// For which service; `None`: for all.
    pub target: Option<ServiceKey>,
    pub reason: Option<String>,
    pub by: String,
    pub at: Timestamp,
    /// Until when it holds, where it ends by itself.
    pub until: Option<Timestamp>,
    /// What is taken back, where something is.
    pub way_back: Option<WayBack>,
}

/// From which content to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayBack {
    /// What the manifest says.
    pub from: Digest,
    /// What is to be sent in its place.
    pub to: Digest,
}

impl PersonRequest {
    /// The content that is taken back by this.
    pub fn taken_back(&self) -> Option<Quarantine> {
        let WayBack { from, to } = self.way_back?;
        Some(Quarantine {
            digest: from,
            since: self.at,
            reason: self.reason.as_deref().map(Into::into),
            by: Some(self.by.as_str().into()),
            released: false,
            back: Some(to),
        })
    }
}

/// What people decided and ask for.
#[derive(Clone, Debug)]
pub struct People {
    /// About plans, oldest first.
    pub decisions: Vec<Decision>,
    /// The freezes that were not ended by somebody; their time may be over.
    pub freezes: Vec<Freeze>,
    /// Requests that nobody took up yet, oldest first.
    pub requests: Vec<RequestRecord>,
}

/// A request as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Which; later ones are greater.
    pub id: RequestId,
    /// What was asked for.
    pub request: PersonRequest,
    /// When it was taken up, if it was.
    pub taken_at: Option<Timestamp>,
    /// What came of it.
    pub result: Option<String>,
}

/// A request that was taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenRequest {
    pub id: RequestId,
    /// What came of it.
    pub result: String,
    /// The service that is forgotten with it.
    pub forgets: Option<ServiceKey>,
    pub at: Timestamp,
}

/// Writes requests into the ledger of a folder, and rings. What is to be forgotten is at once, where nobody has the ledger.
/// Says whether a running truenorth has it. Blocks on the disk.
///
/// # Errors
/// The ledger cannot be opened or written.
pub fn ask(dir: &Path, requests: &[PersonRequest], place: ApiPlace, now: Timestamp) -> Result<bool, OpenError> {
    let requests = requests.to_vec();
    tell(dir, place, now, move |connection, writer| match writer {
        Writer::Holder => sql::add_requests_alone(connection, &requests),
        Writer::Beside => sql::add_requests(connection, &requests).map(drop),
    })
}

/// Who writes what people say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// This process, which has the ledger.
    Holder,
    /// This process, beside another one that has it.
    Beside,
}

/// Writes what people say into the ledger of a folder: where nobody has it as its holder, else beside that, which is
/// rung for. Says whether somebody has it. A ledger that belongs to no API yet takes `place` for as long as it is open.
pub(super) fn tell(
    dir: &Path,
    place: ApiPlace,
    now: Timestamp,
    mut write: impl FnMut(&Connection, Writer) -> rusqlite::Result<()> + Send + 'static,
) -> Result<bool, OpenError> {
    // A ledger that belongs somewhere goes on to belong there: what people say has nothing to do with an API.
    let place = Reader::open(dir)?.and_then(|reader| reader.place().ok().flatten()).unwrap_or(place);
    match Ledger::open(dir, place, now) {
        Ok(ledger) => {
            ledger.shared.write_blocking(move |connection| Ok(write(connection, Writer::Holder)?))?;
            Ok(false)
        }
        Err(OpenError::InUse { .. }) => {
            let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
            beside(&real, |connection| write(connection, Writer::Beside))?;
            Bell::ring(dir);
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Writes beside the holder, all of it or nothing.
fn beside(dir: &Path, write: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<(), OpenError> {
    let store = folder::store(dir);
    folder::refuse_links(dir)?;
    let mut connection = open::beside_writer(&store)?;
    let writing = |source| open::failed(&store, "write to", source);
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(writing)?;
    write(&transaction).map_err(writing)?;
    transaction.commit().map_err(writing)
}

/// A file beside the ledger that is written to after a request was. Who holds the ledger watches that one file: its own
/// writes do not wake it, no port or socket has to be reached, and a daemon of another pid namespace hears it as well.
/// One that is not heard costs time and nothing else: the table is also read with every look at the folder.
#[derive(Debug)]
pub struct Bell {
    rung: Arc<Notify>,
    _watcher: Option<INotifyWatcher>,
}

impl Bell {
    /// Listens for the folder of a ledger.
    #[must_use]
    pub fn listen(dir: &Path) -> Self {
        let path = Self::path(dir);
        let rung = Arc::new(Notify::new());
        let ring = Arc::clone(&rung);
        let tell = move |event: notify::Result<Event>| {
            if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                ring.notify_one();
            }
        };
        let watcher = Self::open(&path).ok().and_then(|_| {
            let mut watcher = INotifyWatcher::new(tell, Config::default()).ok()?;
            watcher.watch(&path, RecursiveMode::NonRecursive).ok()?;
            Some(watcher)
        });
        Self { rung, _watcher: watcher }
    }

    /// Returns once it was rung. Cancel-safe.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    pub(super) fn ring(dir: &Path) {
        // Where it cannot be rung, the request is found with the next look.
        let _ = Self::open(&Self::path(dir)).and_then(|mut bell| bell.set_len(0).and_then(|()| bell.write_all(b"!")));
    }

    fn open(path: &Path) -> std::io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_LINK).open(path)
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join(BELL)
    }
}
