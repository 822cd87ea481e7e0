//! Reading the ledger: beside a writer in the same process, beside a running daemon, or with nobody there.
//!
//! Takes nothing that a writer would wait for, and makes no file; only the index of a log that a crash left behind may
//! come into being again. Beside a write-ahead log SQLite reads the usual way.
//! With no log the file alone is read, as if it were immutable, because the usual way would make a log and an index
//! beside it. A daemon that starts in that moment could make such a read a wrong one, so the file's stamp is compared
//! after each, and the read done again where it moved.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::mark::{Left, Stamp};
use super::open::{self, Found};
use super::sql::{Connection, Rows};
use super::view::View;
use super::{
    AppliedMark, AppliedRecord, Decider, FailedRollout, HistoryEntry, Holder, OpenError, Pause, People, ReadError,
    RequestRecord, Sighting, States, Turned, folder, lock, sql,
};
use crate::engine::{Unsettled, Window};
use crate::model::{ApiPlace, Decision, Digest, Known, Quarantine, Rollout, ServiceKey, ServiceKind, Stranger};
use crate::plan::{Freeze, Fuse, LetOut, MaxChanges, UnnamedCredentials};
use jiff::Timestamp;

/// The ledger, opened to read. Each answer is one moment of it; two answers may be of two moments. Each fails where the
/// file cannot be read, and each blocks on the disk.
///
/// It stays on the file that it was opened on: where a state folder is replaced, open it anew.
#[derive(Debug)]
pub struct Reader {
    store: PathBuf,
    view: Mutex<View>,
    /// Whether it may be another ledger than the last one here, which the next writer will write down.
    is_suspect: bool,
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
        let left = (!held).then(|| Left::look(&store, Stamp::of(&dir.join(folder::LOCK))));
        let view = View::open(&store)?;
        let suspicion = |left: Left| {
            let suspicion = open::suspicion(&view.connection, view.format, &left);
            suspicion.map_err(|source| open::failed(&store, "read", source))
        };
        let is_suspect = left.map_or(Ok(None), suspicion)?.is_some();
        Ok(Some(Self { store, view: Mutex::new(view), is_suspect }))
    }

    /// The writer's own reader: the log is there.
    pub(super) fn beside_writer(store: PathBuf) -> Result<Self, OpenError> {
        let view = Mutex::new(View::beside_writer(&store)?);
        Ok(Self { store, view, is_suspect: false })
    }

    /// What is known of every service; one query, some milliseconds for 10,000. A service of which nothing was ever
    /// accepted, and nothing is in doubt, has no entry.
    pub fn known(&self) -> Result<HashMap<ServiceKey, Known>, ReadError> {
        let mut known = self.read(sql::known)?;
        if self.is_suspect {
            known.values_mut().for_each(|known| *known = known.suspected());
        }
        Ok(known)
    }

    /// What was accepted last for a service, even if it is in doubt by now.
    pub fn applied(&self, key: &ServiceKey) -> Result<Option<AppliedRecord>, ReadError> {
        self.read(|connection| sql::applied(connection, key))
    }

    /// When each service was applied last; one query. A service of which nothing was ever accepted has no entry.
    pub fn marks(&self) -> Result<HashMap<ServiceKey, AppliedMark>, ReadError> {
        self.read(sql::marks)
    }

    /// Every service that was ever called or adopted, in no order.
    pub fn services(&self) -> Result<Vec<ServiceKey>, ReadError> {
        self.read(sql::services)
    }

    /// The body that was accepted last, of every service: in one query, for whoever needs many of them.
    pub fn specs(&self) -> Result<HashMap<ServiceKey, String>, ReadError> {
        self.read(sql::specs)
    }

    /// The newest `limit` entries, newest first, of one service or of all.
    pub fn history(&self, of: Option<&ServiceKey>, limit: u32) -> Result<Vec<HistoryEntry>, ReadError> {
        self.read(|connection| sql::history(connection, of, limit))
    }

    /// The newest entry of every service, without its body: in one query, for whoever needs many of them.
    pub fn newest(&self) -> Result<HashMap<ServiceKey, HistoryEntry>, ReadError> {
        self.read(sql::newest)
    }

    /// The pause that was set last and not ended, even if its time is past.
    pub fn pause(&self) -> Result<Option<Pause>, ReadError> {
        self.read(sql::pause)
    }

    /// The file of the manifest that each service was applied from last; one query.
    pub fn files(&self) -> Result<HashMap<ServiceKey, Arc<str>>, ReadError> {
        self.read(sql::files)
    }

    /// Services whose manifest named no credentials where live used some, by the newest read, with no update since.
    pub fn unnamed(&self) -> Result<Vec<(ServiceKey, UnnamedCredentials)>, ReadError> {
        self.read(sql::unnamed)
    }

    /// What every service that was read showed then.
    pub fn sightings(&self) -> Result<HashMap<ServiceKey, Sighting>, ReadError> {
        self.read(sql::sightings)
    }

    /// The type of a service, if it was read.
    pub fn kind(&self, key: &ServiceKey) -> Result<Option<ServiceKind>, ReadError> {
        self.read(|connection| sql::kind(connection, key))
    }

    /// When drift was corrected since a time, oldest first.
    pub fn corrections(&self, since: Timestamp) -> Result<Vec<(ServiceKey, Timestamp)>, ReadError> {
        self.read(|connection| sql::corrections(connection, since))
    }

    /// The rate limit's window by the newest answer that was kept; it may be over.
    pub fn quota(&self) -> Result<Option<Window>, ReadError> {
        Ok(self.kept_quota()?.map(|(window, _)| window))
    }

    /// The same, with when it was kept.
    pub fn kept_quota(&self) -> Result<Option<(Window, Timestamp)>, ReadError> {
        self.read(sql::quota)
    }

    /// Services for which a call was begun whose end is not recorded.
    pub fn open_calls(&self) -> Result<Vec<ServiceKey>, ReadError> {
        self.read(sql::open_calls)
    }

    /// The newest rollout of each service, where it is of what the service has.
    pub fn rollouts(&self) -> Result<HashMap<ServiceKey, Rollout>, ReadError> {
        self.read(sql::rollouts)
    }

    /// Who else was seen to change a service last, with no update accepted for it since.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stranger(&self, key: &ServiceKey) -> Result<Option<Stranger>, ReadError> {
        self.read(|connection| sql::stranger(connection, key))
    }

    /// The content of a service that is known to have run last, beside some that failed: its digest and its body; nothing
    /// where there is none, or the body had to go.
    pub fn last_good(&self, key: &ServiceKey, failed: Digest) -> Result<Option<(Digest, String)>, ReadError> {
        self.read(|connection| sql::last_good(connection, key, failed))
    }

    /// The body of some content of a service, where it is kept.
    pub fn body(&self, key: &ServiceKey, content: Digest) -> Result<Option<(Digest, String)>, ReadError> {
        self.read(|connection| sql::body(connection, key, content))
    }

    /// Content whose rollout failed, or that a person took back, for whoever takes up what people ask for.
    pub fn quarantines(&self) -> Result<HashMap<ServiceKey, Quarantine>, ReadError> {
        self.read(sql::quarantines)
    }

    /// The same as it is once everything was taken up that people asked for, for whoever shows or plans by it.
    pub fn quarantines_as_asked(&self) -> Result<HashMap<ServiceKey, Quarantine>, ReadError> {
        self.read(sql::quarantines_as_asked)
    }

    /// The state of each service as an engine decided it last; nothing where none wrote any.
    pub fn states(&self) -> Result<Option<States>, ReadError> {
        self.read(sql::states)
    }

    /// By what the states of services were decided, and when they were written last; nothing where none were.
    pub fn decider(&self) -> Result<Option<(Timestamp, Decider)>, ReadError> {
        self.read(sql::decider)
    }

    /// Requests whose end is not known, and that may still take effect.
    pub fn unsettled(&self) -> Result<Vec<(ServiceKey, Unsettled)>, ReadError> {
        self.read(sql::unsettled)
    }

    /// The bodies that a service may have instead of what is desired: what was applied last (`None` where nothing was),
    /// and what may still arrive.
    pub fn others(&self, key: &ServiceKey) -> Result<Vec<Option<String>>, ReadError> {
        self.read(|connection| sql::others(connection, key))
    }

    /// Services of whose last accepted update no read has shown the effect, and whether that was the missing part alone.
    pub fn unread(&self) -> Result<Vec<(ServiceKey, bool)>, ReadError> {
        self.read(sql::unread)
    }

    /// What decides whether content may be sent, with what people decided and what was let out.
    pub fn fuse(&self, limit: Option<MaxChanges>) -> Result<Fuse, ReadError> {
        let mut fuse = Fuse::new(limit);
        fuse.recall(self.let_out()?);
        fuse.decide(self.decisions()?);
        Ok(fuse)
    }

    /// What people decided about plans, oldest first.
    pub fn decisions(&self) -> Result<Vec<Decision>, ReadError> {
        self.read(sql::decisions)
    }

    /// The newest decisions first, at most so many: of all plans, or of those that may be about a service.
    pub fn newest_decisions(&self, service: Option<&ServiceKey>, limit: u32) -> Result<Vec<Decision>, ReadError> {
        self.read(|connection| sql::newest_decisions(connection, service, limit))
    }

    /// The decisions since a time, oldest first, each with what is known of its content.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn decisions_since(&self, at: Timestamp) -> Result<Vec<Decision>, ReadError> {
        self.read(|connection| sql::decisions_since(connection, at))
    }

    /// Rollouts that did not go well, oldest first, and whether each is of what its service has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn failed_rollouts(&self) -> Result<Vec<FailedRollout>, ReadError> {
        self.read(sql::failed_rollouts)
    }

    /// Content that was let out, the newest of each service.
    pub fn let_out(&self) -> Result<Vec<(ServiceKey, LetOut)>, ReadError> {
        self.read(sql::all_let_out)
    }

    /// Whether the API was found to serve no other update call than PATCH.
    pub fn turned(&self) -> Result<Option<Turned>, ReadError> {
        self.read(sql::turned)
    }

    /// What people decided and ask for.
    pub fn people(&self) -> Result<People, ReadError> {
        Ok(People { decisions: self.decisions()?, freezes: self.freezes()?, requests: self.open_requests()? })
    }

    /// The freezes that were not ended by somebody; their time may be over.
    pub fn freezes(&self) -> Result<Vec<Freeze>, ReadError> {
        self.read(sql::freezes)
    }

    /// Requests of people that nobody took up yet, oldest first.
    pub fn open_requests(&self) -> Result<Vec<RequestRecord>, ReadError> {
        self.read(sql::open_requests)
    }

    /// The newest requests of people, newest first: all, or those that are about a service.
    pub fn requests(&self, service: Option<&ServiceKey>, limit: u32) -> Result<Vec<RequestRecord>, ReadError> {
        self.read(|connection| sql::newest_requests(connection, service, limit))
    }

    /// The API and the account that the ledger belongs to; nothing before its first answer.
    pub fn place(&self) -> Result<Option<ApiPlace>, ReadError> {
        self.read(sql::api_place)
    }

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

    fn read<T>(&self, query: impl Fn(&Connection) -> Rows<T>) -> Result<T, ReadError> {
        // Whoever panicked only read.
        self.view.lock().unwrap_or_else(PoisonError::into_inner).read(&self.store, query)
    }

    /// As on a disk that does not answer: until this is dropped, no read returns.
    #[cfg(test)]
    pub(crate) fn hang(&self) -> impl Drop + '_ {
        self.view.lock().unwrap()
    }
}
