//! A folder from look to look: what is remembered of it, and when a read of it counts.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::busy::Busy;
use super::checkout::{self, CheckoutError, Committed};
use super::disk::Disk;
use super::file::Found;
use super::permits::Permits;
use super::renew;
use super::said::Said;
use super::snapshot::{Snapshot, first_paths, snapshot};
use super::stamp::Stamp;
use super::standing::{self, Moment, Standing, Stillness};
use super::unreadable::{Broken, Unreadable};
use super::walk::{self, Proof, Walked};
use super::watch::{QUIET_AFTER, Writers};
use super::withheld::Withheld;
use super::{Inode, MAX_PROBLEMS, writers};
use crate::error;
use crate::manifest::{MAX_BYTES, Warning};
use crate::model::Revision;
use crate::plain_file::PlainFile;

/// Looks that may be broken off by changes before a read gives up.
pub(super) const MAX_TRIES: usize = 10;

/// How often it is looked whether git let go of its lock, and how often the files are read while it has it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const READ_EVERY: Duration = Duration::from_secs(1);

/// A file that is younger than this is looked at twice.
const LOOKED_AT_TWICE: Duration = Duration::from_millis(5);

/// How long a look waits for writers that go on and on.
const WRITERS_AT_MOST: Duration = Duration::from_secs(30);

/// How often a look trusts no stamp: what is written through a memory map may change no time.
const READ_ALL_EVERY: Duration = Duration::from_secs(3600);

/// Files of one read, sorted by name. A file that did not change is one in memory from read to read.
pub(super) type Files = Arc<[Arc<Found>]>;

/// A folder of manifests, and what is remembered of it from look to look.
#[derive(Debug)]
pub struct Folder {
    pub(super) path: PathBuf,
    pub(super) permits: Permits,
    /// The files of the last read, sorted by name, whether or not it counted.
    pub(super) seen: Files,
    /// The files of the last read that counted.
    pub(super) told: Files,
    /// What the folder said last, where nothing was wrong in it.
    pub(super) said: Option<Said>,
    /// What the last read that counted rests on beside them, where that can be proven without another walk.
    pub(super) rests_on: Option<RestsOn>,
    pub(super) committed: Committed,
    /// The kind of git's ids that the files of the last look have.
    pub(super) ids: gix_hash::Kind,
    /// How long nothing moved, where git was in the middle of something at the last look.
    pub(super) stillness: Option<Stillness>,
    /// When stamps were last not trusted.
    pub(super) all_read: Instant,
    pub(super) uncommitted: Uncommitted,
    /// Who knows which files are being written to; without one it is looked for at each read.
    pub(super) writers: Option<Writers>,
    pub(super) withheld: Option<Withheld>,
}

/// What is read of a folder in a checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncommitted {
    /// What the folder has.
    Apply,
    /// What HEAD has, whatever lies there.
    Ignore,
}

/// What has to hold still so that a folder says what it said: where it stands, the stamps of all files that were read
/// and of all folders that were listed. It proves nothing where something could not be read, which has no stamp, or
/// where a link was met, which may lead through folders that were not listed.
#[derive(Debug)]
pub(super) struct RestsOn {
    pub(super) standing: Standing,
    pub(super) folders: Vec<(PathBuf, Stamp)>,
    /// What that read showed, where it was read ahead and nobody has asked for it yet.
    pub(super) ahead: Option<Box<Snapshot>>,
}

impl Folder {
    /// A folder, not read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            permits: Permits::default(),
            seen: Arc::default(),
            told: Arc::default(),
            said: None,
            rests_on: None,
            committed: Committed::default(),
            ids: gix_hash::Kind::Sha1,
            stillness: None,
            all_read: Instant::now(),
            uncommitted: Uncommitted::Apply,
            withheld: None,
            writers: None,
        }
    }

    /// The same folder, with what is done about work that is not committed.
    pub fn with(self, uncommitted: Uncommitted) -> Self {
        Self { uncommitted, ..self }
    }

    /// The same folder, whose manifests may do only that.
    pub fn permitting(self, permits: Permits) -> Self {
        Self { permits, ..self }
    }

    /// Its path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is worth a look in the files of the last look, by place; no more than problems are kept. What would show the
    /// API's token is left out: its manifest is a problem.
    pub fn warnings(&self, is_secret: &dyn Fn(&str) -> bool) -> Vec<Warning> {
        first_paths(&self.seen, &self.permits)
            .flat_map(|found| &found.contents.parsed.warnings)
            .filter(|warning| !warning.0.shows(is_secret))
            .take(MAX_PROBLEMS)
            .cloned()
            .collect()
    }

    /// The files of git that say where the folder stands: their changes matter too.
    pub fn git_files(&self) -> Vec<PathBuf> {
        Standing::now(&self.path).map_or_else(|_| Vec::new(), |standing| standing.files().to_vec())
    }

    /// From now on files that are being written to keep what they had, by what a watch of the folder hears. Without this
    /// a look waits for them.
    pub fn heed(&mut self, writers: Writers) {
        self.writers = Some(writers);
    }

    /// Whether the folder says what it said at the last look, as far as the times of files and folders prove it: then
    /// nothing is listed and nothing read. `false` where that cannot be told; then [`Folder::look`] can.
    ///
    /// Not for file systems whose folders' times may be old, such as those of another machine.
    pub fn is_unchanged(&self) -> bool {
        let trusted = self.all_read.elapsed() < READ_ALL_EVERY;
        self.rests_on
            .as_ref()
            .is_some_and(|last| trusted && last.ahead.is_none() && self.holds_still(last, &self.seen, Proof::Unchanged))
    }

    /// Reads what changed before a look is due, so that little is left to do for [`Folder::confirm`]. Does nothing where
    /// nothing changed, while git holds its lock, or where the last read could not be proven to stand; a read that
    /// fails is left to the look. Blocks on the disk. For the same file systems as [`Folder::is_unchanged`].
    pub fn read_ahead(&mut self) {
        // What was read ahead before is older than the change that this is for.
        if !self.forget_ahead() && (self.rests_on.is_none() || self.is_unchanged()) {
            return;
        }
        if let Ok(snapshot) = self.look_once()
            && let Some(last) = &mut self.rests_on
        {
            last.ahead = Some(Box::new(snapshot));
        }
    }

    /// From here on all folders are listed at the next look: their times cannot be relied on.
    pub fn distrust(&mut self) {
        self.rests_on = None;
    }

    /// Drops what was read ahead; whether there was something. What it rests on goes too: only what somebody was told
    /// can be unchanged.
    pub fn forget_ahead(&mut self) -> bool {
        self.rests_on.take_if(|last| last.ahead.is_some()).is_some()
    }

    /// What was read ahead. It is one moment's state already, so this only asks whether that is still the present one:
    /// the commit, the links on the way, the entries of all folders, and the files that were changed lately are looked
    /// at. That no other file was written in place since is for the caller to know, who had no event. `None` where it
    /// is not, or nothing was read ahead.
    pub fn confirm(&mut self) -> Option<Snapshot> {
        let ahead = self.rests_on.as_mut()?.ahead.take()?;
        let recent: Vec<_> = self.seen.iter().filter(|found| found.stamp.is_racy()).cloned().collect();
        self.rests_on = self.rests_on.take().filter(|last| self.holds_still(last, &recent, Proof::Steady));
        let mut snapshot = *ahead;
        self.withhold_from(&mut snapshot);
        self.rests_on.is_some().then_some(snapshot)
    }

    /// Whether these files and all else that a read rests on are as they were.
    fn holds_still(&self, last: &RestsOn, files: &[Arc<Found>], proof: Proof) -> bool {
        if self.uncommitted == Uncommitted::Ignore {
            let now = Standing::now(&self.path);
            return now.is_ok_and(|now| now.operation().is_none() && now.head() == last.standing.head());
        }
        let stands = || Standing::now(&self.path).is_ok_and(|now| last.standing.is_same(&now));
        stands() && walk::holds(&last.standing.root, files, &last.folders, proof) && stands()
    }

    /// Reads what changed since the last look, and says what the folder says now. Blocks on the disk. Where git is in
    /// the middle of something, it is waited for as long as something moves there.
    ///
    /// # Errors
    /// Where the folder as a whole cannot be read; a single file or subfolder that cannot is a problem instead.
    pub fn look(&mut self) -> Result<Snapshot, Unreadable> {
        let until = Instant::now() + WRITERS_AT_MOST;
        self.look_while(|unreadable| {
            let is_written = matches!(unreadable, Unreadable::Busy { busy: Busy::Written { .. }, .. });
            unreadable.may_pass() && (!is_written || Instant::now() < until)
        })
    }

    /// The same, and waits at most so long for git.
    ///
    /// # Errors
    /// As [`Folder::look`]. What [may pass](Unreadable::may_pass) is to be tried again soon.
    pub fn look_within(&mut self, wait: Duration) -> Result<Snapshot, Unreadable> {
        let until = Instant::now() + wait;
        self.look_while(|unreadable| unreadable.may_pass() && Instant::now() < until)
    }

    fn look_while(&mut self, waits: impl Fn(&Unreadable) -> bool) -> Result<Snapshot, Unreadable> {
        self.forget_ahead();
        if self.all_read.elapsed() >= READ_ALL_EVERY {
            self.forget_changed();
        }
        loop {
            let unreadable = match self.look_now() {
                Ok(mut snapshot) => {
                    self.withhold_from(&mut snapshot);
                    return Ok(snapshot);
                }
                Err(unreadable) => unreadable,
            };
            if !waits(&unreadable) {
                return Err(unreadable);
            }
            let (before, began) = (Standing::now(&self.path), Instant::now());
            let stands =
                || matches!((&before, Standing::now(&self.path)), (Ok(before), Ok(now)) if before.is_like(&now));
            while began.elapsed() < READ_EVERY && stands() && waits(&unreadable) {
                thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Reads all files and forgets those that do not have what they had, whatever their stamps say.
    pub(super) fn forget_changed(&mut self) {
        self.all_read = Instant::now();
        let mut buffer = Vec::new();
        let ids = self.ids;
        let disk = self.path.canonicalize().and_then(|root| Disk::open(&root));
        let has_what_it_had = |found: &&Arc<Found>| {
            let opened = disk.as_ref().ok().and_then(|disk| disk.reach(found.path()).ok());
            let read = opened.and_then(|opened| PlainFile::opened(Ok(opened)).ok()?.read(MAX_BYTES, &mut buffer).ok());
            read.is_some() && checkout::blob_id(ids, &buffer) == found.contents.blob
        };
        self.seen = self.seen.iter().filter(has_what_it_had).cloned().collect();
        self.rests_on = None;
    }

    /// Looks without waiting for git.
    fn look_now(&mut self) -> Result<Snapshot, Unreadable> {
        let mut broken = None;
        for _ in 0..MAX_TRIES {
            match self.look_once() {
                Ok(snapshot) => {
                    self.stillness = None;
                    return Ok(snapshot);
                }
                Err(Broken::Busy(busy)) => return Err(self.busy(busy)),
                Err(Broken::Changed) => broken = None,
                // Perhaps only for the moment between two links, or while git replaces something.
                Err(Broken::Folder(source)) if source.kind() == io::ErrorKind::NotFound => {
                    broken = Some(Unreadable::Folder { path: self.path.clone(), source });
                }
                Err(Broken::Git(source)) => {
                    broken = Some(Unreadable::Checkout { path: self.path.clone(), why: error::chain(&source) });
                }
                Err(Broken::Uncommitted) => return Err(Unreadable::Uncommitted { path: self.path.clone() }),
                Err(Broken::TooLarge) => return Err(Unreadable::TooLarge { path: self.path.clone() }),
                Err(Broken::Folder(source)) => return Err(Unreadable::Folder { path: self.path.clone(), source }),
            }
        }
        Err(broken.unwrap_or_else(|| Unreadable::Unsteady { path: self.path.clone() }))
    }

    /// What is told of a folder in which git has not finished.
    fn busy(&mut self, busy: Busy) -> Unreadable {
        let trace = Standing::now(&self.path).map_or(0, |standing| standing.trace(&self.seen));
        let mut stillness = Stillness::of(trace, self.stillness.take());
        let is_held = |lock: &Path| {
            let inode = lock.symlink_metadata().map(|lock| BTreeSet::from([(lock.dev(), lock.ino())]));
            inode.is_ok_and(|inode| !writers::open_for_writing(&inode).is_empty())
        };
        // A git that waits for a filter moves nothing, and keeps its lock open.
        if let Busy::Locked { lock } = &busy
            && stillness.lasts() >= busy.stands_still_after()
            && is_held(lock)
        {
            stillness = Stillness::of(trace, None);
        }
        let still = stillness.lasts();
        self.stillness = Some(stillness);
        Unreadable::Busy { path: self.path.clone(), busy, still }
    }

    fn look_once(&mut self) -> Result<Snapshot, Broken> {
        let before = Standing::now(&self.path)?;
        match before.operation() {
            Some(operation) => Err(Broken::Busy(operation)),
            None if self.uncommitted == Uncommitted::Ignore => self.read_head(before),
            None => self.read(before),
        }
    }

    /// Reads what HEAD has. A commit does not change, so nothing has to hold still, not even while git holds its lock.
    fn read_head(&mut self, standing: Standing) -> Result<Snapshot, Broken> {
        let (checkout, commit) = standing.head().ok_or(Broken::Uncommitted)?;
        let not_made = |source| Broken::Git(CheckoutError::LaidOut { path: std::env::temp_dir(), source });
        let room = tempfile::Builder::new().prefix("truenorth-").tempdir().map_err(not_made)?;
        let root = room.path().canonicalize().map_err(Broken::Folder)?;
        let headline = standing::guarded(|| checkout.lay_out(commit, &root)).map_err(Broken::Git)?;
        let Walked { found, problems, .. } = walk::walk(&root, commit.ids(), &[])?;
        self.seen = found.into();
        let moment = Moment::of(commit, false, Some(headline.into()), None);
        let snapshot = snapshot(moment, &self.seen, problems, &self.permits, &mut None);
        self.rests_on = Some(RestsOn { standing, folders: Vec::new(), ahead: None });
        Ok(snapshot)
    }

    /// Whether the files that were changed just now are whole. What is as committed is, whoever has it open.
    fn check_writers(&self, root: &Path, found: &[Arc<Found>]) -> Result<(), Broken> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = |found: &Found| {
            let (seconds, nanoseconds) = found.stamp.modified;
            now.saturating_sub(Duration::from_secs(seconds.max(0).unsigned_abs()) + Duration::from_nanos(nanoseconds))
        };
        let young: Vec<_> = found.iter().filter(|found| age(found) < QUIET_AFTER).cloned().collect();
        let Some(youngest) = young.iter().map(|found| age(found)).min() else { return Ok(()) };
        // A writer goes on, or is heard of, within this time as a rule.
        if let Some(rest) = LOOKED_AT_TWICE.checked_sub(youngest) {
            thread::sleep(rest);
        }
        match &self.writers {
            Some(writers) if is_among(found, &writers.unfinished()) => return Err(Broken::Changed),
            Some(_) => {}
            None => {
                let written = writers::open_for_writing(&young.iter().map(|found| found.stamp.inode()).collect());
                if let Some(found) = young.iter().find(|found| written.contains(&found.stamp.inode())) {
                    return Err(Broken::Busy(Busy::Written { file: root.join(found.path()) }));
                }
            }
        }
        // Who came to an end after they were read is not found, and wrote the rest.
        if walk::holds(root, &young, &[], Proof::Steady) { Ok(()) } else { Err(Broken::Changed) }
    }

    /// The files that nobody is writing to, and the same with what the others had before, where they were there.
    fn keep(&self, found: Vec<Arc<Found>>) -> (Files, Files) {
        let unfinished = self.writers.as_ref().map(Writers::unfinished).unwrap_or_default();
        if !is_among(&found, &unfinished) {
            let whole: Files = found.into();
            return (Arc::clone(&whole), whole);
        }
        let is_unfinished = |found: &Arc<Found>| unfinished.contains(&found.stamp.inode());
        let before = |found: &Arc<Found>| match is_unfinished(found) {
            true => Found::of(found.path(), &self.told).cloned(),
            false => Some(Arc::clone(found)),
        };
        let whole = found.iter().filter(|found| !is_unfinished(found)).cloned().collect();
        (whole, found.iter().filter_map(before).collect())
    }

    /// Finds and reads all files; where the last read still tells which folders there are, without listing all of them.
    fn walk(&self, before: &Standing, last: Option<RestsOn>) -> Result<Walked, Broken> {
        let last = last.filter(|last| last.standing.root == before.root && last.standing.ids() == before.ids());
        let renewed = match last {
            Some(last) => renew::renew(&before.root, self.ids, &self.seen, last.folders)?,
            None => None,
        };
        renewed.map_or_else(|| walk::walk(&before.root, self.ids, &self.seen), Ok)
    }

    /// One read, which counts only if the folder stood still from before the first byte until after the last.
    fn read(&mut self, before: Standing) -> Result<Snapshot, Broken> {
        let last = self.rests_on.take();
        if self.ids != before.ids() {
            // What git calls the files that are known is of another repository.
            self.seen = Arc::default();
            self.ids = before.ids();
        }
        let Walked { found, problems, folders, links } = self.walk(&before, last)?;
        let count = found.len();
        let (whole, seen) = self.keep(found);
        let unfinished = whole.len() < count;
        // Even of a read that does not count, what was parsed is parsed.
        self.seen = seen;
        let proves = problems.is_empty() && !links && !unfinished;
        let (seen, committed, permits, said) = (&self.seen, &mut self.committed, &self.permits, &mut self.said);
        let snapshot = thread::scope(|scope| {
            let holds = || walk::holds(&before.root, &whole, &folders, Proof::Steady);
            // What the files say is put together while it is looked whether they hold still. Submodules have locks of
            // their own, which must be free before.
            let holding = (!committed.has_submodules()).then(|| scope.spawn(holds));
            let moment = before.moment(seen, committed);
            let again = committed.has_submodules();
            let put = |moment| snapshot(moment, seen, problems, permits, said);
            let snapshot = moment.map(|moment| Snapshot { unfinished, ..put(moment) });
            // A thread that panicked has shown nothing.
            let holds = holding.is_none_or(|thread| thread.join().unwrap_or(false)) && (!again || holds());
            if holds && before.is_like(&Standing::now(&self.path)?) { snapshot } else { Err(Broken::Changed) }
        })?;
        if !matches!(snapshot.revision, Revision::Git { dirty: false, .. }) {
            self.check_writers(&before.root, &whole)?;
        }
        self.told = Arc::clone(&self.seen);
        self.rests_on = proves.then_some(RestsOn { standing: before, folders, ahead: None });
        Ok(snapshot)
    }
}

/// Whether one of the files is one of these.
fn is_among(found: &[Arc<Found>], inodes: &BTreeSet<Inode>) -> bool {
    !inodes.is_empty() && found.iter().any(|found| inodes.contains(&found.stamp.inode()))
}
