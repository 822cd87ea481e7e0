//! Reading the ledger: beside a writer in the same process, beside a running daemon, or with nobody there.
//!
//! Takes nothing that a writer would wait for, and makes no file; only the index of a log that a crash left behind may
//! come into being again. Beside a write-ahead log SQLite reads the usual way.
//! With no log the file alone is read, as if it were immutable, because the usual way would make a log and an index
//! beside it. A daemon that starts in that moment could make such a read a wrong one, so the file's stamp is compared
//! after each, and the read done again where it moved.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;

use super::folder::beside;
use super::mark::{Left, Stamp};
use super::open::{self, Found};
use super::{
    AppliedMark, AppliedRecord, Decider, HistoryEntry, Holder, OpenError, Pause, People, ReadError, RequestRecord,
    Sighting, States, Turned, folder, lock, schema, sql,
};
use crate::engine::{Unsettled, Window};
use crate::model::{ApiPlace, Decision, Digest, Known, Quarantine, Rollout, ServiceKey, ServiceKind};
use crate::plan::{Freeze, Fuse, LetOut, MaxChanges, UnnamedCredentials};

/// How often a read is done again because the file moved. Once is the rule: then the log is there.
const ROUNDS: usize = 5;

/// The ledger, opened to read. Each answer is one moment of it; two answers may be of two moments.
///
/// It stays on the file that it was opened on: where a state folder is replaced, open it anew.
#[derive(Debug)]
pub struct Reader {
    store: PathBuf,
    view: Mutex<View>,
    /// Whether it may be another ledger than the last one here, which the next writer will write down.
    is_suspect: bool,
}

#[derive(Debug)]
struct View {
    connection: Connection,
    format: i64,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// SQLite sees the log and sorts out who sees what.
    Beside,
    /// The file alone, right while its stamp is this one.
    Alone(Seen),
}

/// What changes when somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    file: (u64, u64, u64, i64, i64),
    log: bool,
}

impl Reader {
    /// Opens the ledger in the folder `dir`; `None` where there is none yet.
    ///
    /// # Errors
    /// The folder or the file cannot be read, or the file is corrupt, foreign or newer.
    pub fn open(dir: &Path) -> Result<Option<Self>, OpenError> {
        match fs::metadata(dir) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(OpenError::NotAFolder { path: dir.to_owned() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Folder { action: "look at", path: dir.to_owned(), source }),
        }
        let dir = fs::canonicalize(dir).map_err(|source| OpenError::Folder {
            action: "look at",
            path: dir.to_owned(),
            source,
        })?;
        let store = folder::store(&dir);
        folder::refuse_links(&dir)?;
        if open::look(&store)? == Found::Nothing {
            return Ok(None);
        }
        // A writer has judged it, and wrote down what it found.
        let held = lock::holder(&dir).ok().flatten().is_some();
        let left = (!held).then(|| Left::look(&store, Stamp::of(&dir.join(lock::NAME))));
        let view = view(&store)?;
        let suspicion = |left: Left| {
            let suspicion = open::suspicion(&view.connection, view.format, &left);
            suspicion.map_err(|source| open::failed(&store, "read", source))
        };
        let is_suspect = left.map_or(Ok(None), suspicion)?.is_some();
        Ok(Some(Self { store, view: Mutex::new(view), is_suspect }))
    }

    /// The writer's own reader: the log is there.
    pub(super) fn beside_writer(store: PathBuf) -> Result<Self, OpenError> {
        let view =
            View { connection: open::read_only(&store)?, format: schema::newest(schema::STEPS), way: Way::Beside };
        Ok(Self { store, view: Mutex::new(view), is_suspect: false })
    }

    /// What is known of every service; one query, some milliseconds for 10,000. A service of which nothing was ever
    /// accepted, and nothing is in doubt, has no entry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn known(&self) -> Result<HashMap<ServiceKey, Known>, ReadError> {
        let mut known = self.read(sql::known)?;
        if self.is_suspect {
            known.values_mut().for_each(|known| *known = known.suspected());
        }
        Ok(known)
    }

    /// What was accepted last for a service, even if it is in doubt by now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn applied(&self, key: &ServiceKey) -> Result<Option<AppliedRecord>, ReadError> {
        self.read(|connection| sql::applied(connection, key))
    }

    /// When each service was applied last; one query. A service of which nothing was ever accepted has no entry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn marks(&self) -> Result<HashMap<ServiceKey, AppliedMark>, ReadError> {
        self.read(sql::marks)
    }

    /// Every service that was ever called or adopted, in no order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn services(&self) -> Result<Vec<ServiceKey>, ReadError> {
        self.read(sql::services)
    }

    /// The body that was accepted last, of every service: in one query, for whoever needs many of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn specs(&self) -> Result<HashMap<ServiceKey, String>, ReadError> {
        self.read(sql::specs)
    }

    /// The newest `limit` entries, newest first, of one service or of all.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn history(&self, of: Option<&ServiceKey>, limit: u32) -> Result<Vec<HistoryEntry>, ReadError> {
        self.read(|connection| sql::history(connection, of, limit))
    }

    /// The newest entry of every service, without its body: in one query, for whoever needs many of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newest(&self) -> Result<HashMap<ServiceKey, HistoryEntry>, ReadError> {
        self.read(sql::newest)
    }

    /// The pause that was set last and not ended, even if its time is past.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pause(&self) -> Result<Option<Pause>, ReadError> {
        self.read(sql::pause)
    }

    /// Services whose manifest named no credentials where live used some, by the newest read, with no update since.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn unnamed(&self) -> Result<Vec<(ServiceKey, UnnamedCredentials)>, ReadError> {
        self.read(sql::unnamed)
    }

    /// What every service that was read showed then.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sightings(&self) -> Result<HashMap<ServiceKey, Sighting>, ReadError> {
        self.read(sql::sightings)
    }

    /// The type of a service, if it was read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kind(&self, key: &ServiceKey) -> Result<Option<ServiceKind>, ReadError> {
        self.read(|connection| sql::kind(connection, key))
    }

    /// When drift was corrected since a time, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn corrections(&self, since: Timestamp) -> Result<Vec<(ServiceKey, Timestamp)>, ReadError> {
        self.read(|connection| sql::corrections(connection, since))
    }

    /// The rate limit's window by the newest answer that was kept; it may be over.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quota(&self) -> Result<Option<Window>, ReadError> {
        Ok(self.kept_quota()?.map(|(window, _)| window))
    }

    /// The same, with when it was kept.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kept_quota(&self) -> Result<Option<(Window, Timestamp)>, ReadError> {
        self.read(sql::quota)
    }

    /// Services for which a call was begun whose end is not recorded.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open_calls(&self) -> Result<Vec<ServiceKey>, ReadError> {
        self.read(sql::open_calls)
    }

    /// The newest rollout of each service, where it is of what the service has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rollouts(&self) -> Result<HashMap<ServiceKey, Rollout>, ReadError> {
        self.read(sql::rollouts)
    }

    /// The content of a service that is known to have run last, beside some that failed: its digest and its body; nothing
    /// where there is none, or the body had to go.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_good(&self, key: &ServiceKey, failed: Digest) -> Result<Option<(Digest, String)>, ReadError> {
        self.read(|connection| sql::last_good(connection, key, failed))
    }

    /// The body of some content of a service, where it is kept.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn body(&self, key: &ServiceKey, content: Digest) -> Result<Option<(Digest, String)>, ReadError> {
        self.read(|connection| sql::body(connection, key, content))
    }

    /// Content whose rollout failed, or that a person took back, for whoever takes up what people ask for.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantines(&self) -> Result<HashMap<ServiceKey, Quarantine>, ReadError> {
        self.read(sql::quarantines)
    }

    /// The same as it is once everything was taken up that people asked for, for whoever shows or plans by it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantines_as_asked(&self) -> Result<HashMap<ServiceKey, Quarantine>, ReadError> {
        self.read(sql::quarantines_as_asked)
    }

    /// The state of each service as an engine decided it last; nothing where none wrote any.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn states(&self) -> Result<Option<States>, ReadError> {
        self.read(sql::states)
    }

    /// By what the states of services were decided, and when they were written last; nothing where none were.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn decider(&self) -> Result<Option<(Timestamp, Decider)>, ReadError> {
        self.read(sql::decider)
    }

    /// Requests whose end is not known, and that may still take effect.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn unsettled(&self) -> Result<Vec<(ServiceKey, Unsettled)>, ReadError> {
        self.read(sql::unsettled)
    }

    /// The bodies that a service may have instead of what is desired: what was applied last (`None` where nothing was),
    /// and what may still arrive.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn others(&self, key: &ServiceKey) -> Result<Vec<Option<String>>, ReadError> {
        self.read(|connection| sql::others(connection, key))
    }

    /// Services of whose last accepted update no read has shown the effect, and whether that was the missing part alone.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn unread(&self) -> Result<Vec<(ServiceKey, bool)>, ReadError> {
        self.read(sql::unread)
    }

    /// What decides whether content may be sent, with what people decided and what was let out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fuse(&self, limit: Option<MaxChanges>) -> Result<Fuse, ReadError> {
        let mut fuse = Fuse::new(limit);
        fuse.recall(self.let_out()?);
        fuse.decide(self.decisions()?);
        Ok(fuse)
    }

    /// What people decided about plans, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn decisions(&self) -> Result<Vec<Decision>, ReadError> {
        self.read(sql::decisions)
    }

    /// The newest decisions first, at most so many: of all plans, or of those that may be about a service.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newest_decisions(&self, service: Option<&ServiceKey>, limit: u32) -> Result<Vec<Decision>, ReadError> {
        self.read(|connection| sql::newest_decisions(connection, service, limit))
    }

    /// Content that was let out, the newest of each service.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn let_out(&self) -> Result<Vec<(ServiceKey, LetOut)>, ReadError> {
        self.read(sql::all_let_out)
    }

    /// Whether the API was found to serve no other update call than PATCH.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn turned(&self) -> Result<Option<Turned>, ReadError> {
        self.read(sql::turned)
    }

    /// What people decided and ask for.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn people(&self) -> Result<People, ReadError> {
        Ok(People { decisions: self.decisions()?, freezes: self.freezes()?, requests: self.open_requests()? })
    }

    /// The freezes that were not ended by somebody; their time may be over.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn freezes(&self) -> Result<Vec<Freeze>, ReadError> {
        self.read(sql::freezes)
    }

    /// Requests of people that nobody took up yet, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open_requests(&self) -> Result<Vec<RequestRecord>, ReadError> {
        self.read(sql::open_requests)
    }

    /// The newest requests of people, newest first: all, or those that are about a service.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn requests(&self, service: Option<&ServiceKey>, limit: u32) -> Result<Vec<RequestRecord>, ReadError> {
        self.read(|connection| sql::newest_requests(connection, service, limit))
    }

    /// The API and the account that the ledger belongs to; nothing before its first answer.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn place(&self) -> Result<Option<ApiPlace>, ReadError> {
        self.read(sql::api_place)
    }

    /// The state folder.
    pub(super) fn dir(&self) -> &Path {
        self.store.parent().unwrap_or(Path::new("/"))
    }

    /// Who has the ledger open to write, if anybody has.
    ///
    /// # Errors
    /// The lock file cannot be read.
    pub fn holder(&self) -> Result<Option<Holder>, ReadError> {
        lock::holder(self.dir())
    }

    fn read<T>(&self, query: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, ReadError> {
        let mut now = self.view();
        for _ in 0..ROUNDS {
            let answer = query(&now.connection);
            match now.way {
                Way::Alone(then) if stamp(&self.store) != Some(then) => {
                    *now = view(&self.store).map_err(|error| ReadError::Reopen(Box::new(error)))?;
                }
                _ => {
                    return answer
                        .map_err(|source| ReadError::Store { path: self.store.clone(), source: source.into() });
                }
            }
        }
        Err(ReadError::Unsteady { path: self.store.clone() })
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // Whoever panicked only read.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn view(store: &Path) -> Result<View, OpenError> {
    // Taken before the file is opened: what changes from here on is seen.
    let before = stamp(store);
    let alone = |stamp| -> Result<View, OpenError> {
        let connection = open::immutable(store)?;
        let format = open::identify(&connection, store)?;
        Ok(View { connection, format, way: Way::Alone(stamp) })
    };
    if let Some(stamp) = before.filter(|stamp| !stamp.log) {
        return alone(stamp);
    }
    let beside = open::read_only(store).and_then(|connection| {
        let format = open::identify(&connection, store)?;
        Ok(View { connection, format, way: Way::Beside })
    });
    match (beside, before) {
        // The folder is not writable for us, and what the usual way needs is not there. An empty log says nothing
        // that the file does not.
        (Err(OpenError::Store { source, .. }), Some(stamp))
            if source.needs_writing() && open::look(store)? == Found::Settled =>
        {
            alone(stamp)
        }
        (beside, _) => beside,
    }
}

fn stamp(store: &Path) -> Option<Seen> {
    let found = fs::metadata(store).ok()?;
    Some(Seen {
        file: (found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()),
        log: fs::exists(beside(store, "-wal")).ok()?,
    })
}
