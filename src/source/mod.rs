//! Disk in: reads a folder into a [`Snapshot`], what all valid manifests say at one moment.
//!
//! A look reads and parses in parallel (`walk`) what it finds on the way from folder to folder (`list`, `disk`), and
//! remembers each file's stamp, so that the next look reads only what changed. It starts over when the folder changed
//! under it: a file vanished half-way, a link on the way to the folder was swapped, or the checkout moved on. What could
//! not be read is a problem, never an absence; where somebody is in the middle of something (`busy`), it is waited for.

mod busy;
mod checkout;
mod disk;
mod editors;
mod file;
mod ignored;
mod list;
mod near;
mod order;
mod permits;
mod problems;
mod share;
mod stamp;
mod standing;
mod walk;
mod watch;
mod withheld;
mod writers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::error;
use crate::manifest::{MAX_BYTES, Parsed, Problem, Warning};
use crate::model::{Desired, Headline, Place, Revision, ServiceKey};
use crate::plain_file::PlainFile;

pub use busy::Busy;
pub use checkout::Operation;
use checkout::{CheckoutError, Committed};
use disk::Disk;
use file::Found;
pub use permits::{Allowed, InvalidAllowed, Layout, Permits};
use stamp::Stamp;
use standing::{Moment, Standing, Stillness};
use walk::{Proof, Walked};
use watch::QUIET_AFTER;
pub use watch::{Watch, Watching, Writers, Writing};
use withheld::Withheld;

/// Most files, folders and links that a folder may hold.
pub const MAX_ENTRIES: usize = 100_000;

/// Most problems of a folder that are kept; the rest is counted.
const MAX_PROBLEMS: usize = 10_000;

/// Looks that may be broken off by changes before a read gives up.
const MAX_TRIES: usize = 10;

/// How often it is looked whether git let go of its lock, and how often the files are read while it has it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const READ_EVERY: Duration = Duration::from_secs(1);

/// A file that is younger than this is looked at twice.
const LOOKED_AT_TWICE: Duration = Duration::from_millis(5);

/// How long a look waits for writers that go on and on.
const WRITERS_AT_MOST: Duration = Duration::from_secs(30);

/// How often a look trusts no stamp: what is written through a memory map may change no time.
const READ_ALL_EVERY: Duration = Duration::from_secs(3600);

/// A folder of manifests, and what is remembered of it from look to look.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    permits: Permits,
    /// The files of the last read, sorted by name, whether or not it counted.
    seen: Vec<Arc<Found>>,
    /// The files of the last read that counted.
    told: Vec<Arc<Found>>,
    /// What the last read that counted rests on beside them, where that can be proven without another walk.
    rests_on: Option<RestsOn>,
    committed: Committed,
    /// The kind of git's ids that the files of the last look have.
    ids: gix_hash::Kind,
    /// How long nothing moved, where git was in the middle of something at the last look.
    stillness: Option<Stillness>,
    /// When stamps were last not trusted.
    all_read: Instant,
    uncommitted: Uncommitted,
    /// Who knows which files are being written to; without one it is looked for at each read.
    writers: Option<Writers>,
    withheld: Option<Withheld>,
}

/// What is read of a folder in a checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncommitted {
    /// What the folder has.
    Apply,
    /// What HEAD has, whatever lies there.
    Ignore,
}

/// Which file it is, whatever its path: device and inode.
type Inode = (u64, u64);

/// What has to hold still so that a folder says what it said: where it stands, the stamps of all files that were read
/// and of all folders that were listed. It proves nothing where something could not be read, which has no stamp, or
/// where a link was met, which may lead through folders that were not listed.
#[derive(Debug)]
struct RestsOn {
    standing: Standing,
    folders: Vec<(PathBuf, Stamp)>,
    /// What that read showed, where it was read ahead and nobody has asked for it yet.
    ahead: Option<Box<Snapshot>>,
}

/// What the folder says at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which moment.
    pub revision: Revision,
    /// What valid manifests say, by service.
    pub desired: BTreeMap<ServiceKey, Desired>,
    /// Everything that is wrong in the folder, by place.
    pub problems: Vec<Problem>,
    /// Why it could not be told whether the folder has what its commit has; then it counts as not.
    pub uncompared: Option<String>,
    /// Whether files are being written to, of which this has what they had before.
    pub unfinished: bool,
    /// Services that a manifest with a problem names, with the files of those manifests.
    claimed: BTreeMap<ServiceKey, BTreeSet<Arc<str>>>,
    /// The files and folders that have problems, also those that are only counted.
    unread: BTreeSet<Box<str>>,
}

impl Snapshot {
    /// What people know its commit by, where there is one.
    #[must_use]
    pub fn headline(&self) -> Option<&Headline> {
        self.revision.headline()
    }

    /// Whether the snapshot proves that no manifest names a service any more. It does not where a manifest with
    /// problems names it, or where the file that named it last, or a folder above that, has a problem.
    #[must_use]
    pub fn proves_absence(&self, key: &ServiceKey, last: &str) -> bool {
        let above = last.match_indices('/').map(|(end, _)| &last[..end]);
        let is_unread = ["", last].into_iter().chain(above).any(|path| self.unread.contains(path));
        !self.desired.contains_key(key) && !self.claimed.contains_key(key) && !is_unread
    }

    /// The problems that may keep a service from being applied: those of the files in which a manifest with a problem
    /// names it, and those of the file that named it `last`, or of a folder above that.
    pub fn problems_of(&self, key: &ServiceKey, last: Option<&str>) -> impl Iterator<Item = &Problem> {
        let claimed = self.claimed.get(key);
        self.problems.iter().filter(move |problem| {
            claimed.is_some_and(|files| files.contains(&problem.file))
                || last.is_some_and(|last| keeps_unread(problem, last))
        })
    }

    /// The same services as [`Snapshot::claimed`], each with the first problem of those manifests.
    pub fn claims(&self) -> impl Iterator<Item = (&ServiceKey, Option<&Problem>)> {
        let mut first: HashMap<&str, &Problem> = HashMap::new();
        for problem in &self.problems {
            first.entry(&problem.file).or_insert(problem);
        }
        let of = move |files: &BTreeSet<Arc<str>>| files.iter().find_map(|file| first.get(&**file).copied());
        self.claimed.iter().map(move |(key, files)| (key, of(files)))
    }

    /// Services that a manifest with a problem names, in the order of their names; a valid one may name them too.
    pub fn claimed(&self) -> impl Iterator<Item = &ServiceKey> {
        self.claimed.keys()
    }
}

/// Whether a problem is one of a file, or of a folder above it.
fn keeps_unread(problem: &Problem, file: &str) -> bool {
    let scope = problems::scope(problem);
    scope.is_empty() || file.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Why a folder could not be read at all.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It cannot be opened, or is no folder.
    #[error("cannot read the manifests folder `{}`", path.display())]
    Folder {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It holds more than [`MAX_ENTRIES`].
    #[error("the manifests folder `{}` holds more than {MAX_ENTRIES} files and folders", path.display())]
    TooLarge {
        /// As it was given.
        path: PathBuf,
    },
    /// Somebody is in the middle of something there: what it holds is nothing that was finished.
    #[error("the manifests folder `{}` is held: {busy}", path.display())]
    Busy {
        /// As it was given.
        path: PathBuf,
        /// In the middle of what.
        busy: Busy,
        /// How long nothing moved there.
        still: Duration,
    },
    /// It is in a checkout, of which it cannot be told what is checked out.
    #[error("cannot tell what is checked out in the manifests folder `{}`: {why}", path.display())]
    Checkout {
        /// As it was given.
        path: PathBuf,
        /// What cannot be read, causes included.
        why: String,
    },
    /// What HEAD has is asked for, and there is no commit.
    #[error("the manifests folder `{}` is not in a git checkout that has a commit", path.display())]
    Uncommitted {
        /// As it was given.
        path: PathBuf,
    },
    /// It changed during each of several reads.
    #[error("the manifests folder `{}` changed during each of {MAX_TRIES} reads", path.display())]
    Unsteady {
        /// As it was given.
        path: PathBuf,
    },
}

impl Unreadable {
    /// Whether it may come to an end by itself: then there is nothing to tell yet.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Busy { busy, still, .. } if *still < busy.stands_still_after())
    }

    /// Whether somebody is in the middle of something.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// The way out, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { busy, .. } => Some(busy.hint()),
            Self::Checkout { .. } => Some(
                "let the user that runs truenorth read all of `.git`; clone it anew where it is damaged".to_owned(),
            ),
            Self::Uncommitted { .. } => Some("commit it, or take what it has: --uncommitted apply".to_owned()),
            Self::Folder { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("name the folder with --manifests, or begin with `truenorth init`".to_owned())
            }
            Self::Folder { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
                Some("name the folder that the manifests are in with --manifests".to_owned())
            }
            Self::Folder { .. } | Self::TooLarge { .. } | Self::Unsteady { .. } => None,
        }
    }
}

/// Why one look has to begin again or give up.
enum Broken {
    Changed,
    TooLarge,
    Folder(io::Error),
    Busy(Busy),
    Git(CheckoutError),
    Uncommitted,
}

impl Folder {
    /// A folder, not read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            permits: Permits::default(),
            seen: Vec::new(),
            told: Vec::new(),
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
    #[must_use]
    pub fn with(self, uncommitted: Uncommitted) -> Self {
        Self { uncommitted, ..self }
    }

    /// The same folder, whose manifests may do only that.
    #[must_use]
    pub fn permitting(self, permits: Permits) -> Self {
        Self { permits, ..self }
    }

    /// Its path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is worth a look in the files of the last look, by place; no more than problems are kept. What would show the
    /// API's token is left out: its manifest is a problem.
    #[must_use]
    pub fn warnings(&self, is_secret: &dyn Fn(&str) -> bool) -> Vec<Warning> {
        first_paths(&self.seen, &self.permits)
            .flat_map(|found| &found.contents.parsed.warnings)
            .filter(|warning| !warning.0.shows(is_secret))
            .take(MAX_PROBLEMS)
            .cloned()
            .collect()
    }

    /// The files of git that say where the folder stands: their changes matter too.
    #[must_use]
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
    #[must_use]
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
        self.rests_on.is_some().then_some(*ahead)
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
                    self.withheld.iter().for_each(|withheld| withheld.take_out_of(&mut snapshot));
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
    fn forget_changed(&mut self) {
        self.all_read = Instant::now();
        let mut buffer = Vec::new();
        let ids = self.ids;
        let disk = self.path.canonicalize().and_then(|root| Disk::open(&root));
        self.seen.retain(|found| {
            let opened = disk.as_ref().ok().and_then(|disk| disk.reach(found.path()).ok());
            let read = opened.and_then(|opened| PlainFile::opened(Ok(opened)).ok()?.read(MAX_BYTES, &mut buffer).ok());
            read.is_some() && checkout::blob_id(ids, &buffer) == found.contents.blob
        });
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
        let snapshot =
            snapshot(Moment::of(commit, false, Some(headline.into()), None), &found, problems, &self.permits);
        self.seen = found;
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
            if !walk::holds(root, &young, &[], Proof::Steady) {
                return Err(Broken::Changed);
            }
        }
        match &self.writers {
            Some(writers) if is_among(found, &writers.unfinished()) => Err(Broken::Changed),
            Some(_) => Ok(()),
            None => {
                let written = writers::open_for_writing(&young.iter().map(|found| found.stamp.inode()).collect());
                match young.iter().find(|found| written.contains(&found.stamp.inode())) {
                    Some(found) => Err(Broken::Busy(Busy::Written { file: root.join(found.path()) })),
                    None => Ok(()),
                }
            }
        }
    }

    /// Takes out the files that are being written to, and gives for each what it had before, if it was there.
    fn keep(&self, found: &mut Vec<Arc<Found>>, unfinished: &BTreeSet<Inode>) -> Vec<Option<Arc<Found>>> {
        if !is_among(found, unfinished) {
            return Vec::new();
        }
        let before = |found: Arc<Found>| Found::of(found.path(), &self.told).cloned();
        found.extract_if(.., |found| unfinished.contains(&found.stamp.inode())).map(before).collect()
    }

    /// One read, which counts only if the folder stood still from before the first byte until after the last.
    fn read(&mut self, before: Standing) -> Result<Snapshot, Broken> {
        self.rests_on = None;
        if self.ids != before.ids() {
            // What git calls the files that are known is of another repository.
            self.seen.clear();
            self.ids = before.ids();
        }
        let Walked { mut found, problems, folders, links } = walk::walk(&before.root, self.ids, &self.seen)?;
        let kept = match &self.writers {
            Some(writers) => self.keep(&mut found, &writers.unfinished()),
            None => Vec::new(),
        };
        let whole = found.clone();
        let unfinished = !kept.is_empty();
        found.extend(kept.into_iter().flatten());
        found.sort_by(|a, b| a.file.cmp(&b.file));
        // Even of a read that does not count, what was parsed is parsed.
        self.seen = found;
        let proves = problems.is_empty() && !links && !unfinished;
        let (seen, committed, permits) = (&self.seen, &mut self.committed, &self.permits);
        let snapshot = thread::scope(|scope| {
            let holds = || walk::holds(&before.root, &whole, &folders, Proof::Steady);
            // What the files say is put together while it is looked whether they hold still. Submodules have locks of
            // their own, which must be free before.
            let holding = (!committed.has_submodules()).then(|| scope.spawn(holds));
            let moment = before.moment(seen, committed);
            let again = committed.has_submodules();
            let snapshot = moment.map(|moment| Snapshot { unfinished, ..snapshot(moment, seen, problems, permits) });
            // A thread that panicked has shown nothing.
            let holds = holding.is_none_or(|thread| thread.join().unwrap_or(false)) && (!again || holds());
            if holds && before.is_like(&Standing::now(&self.path)?) { snapshot } else { Err(Broken::Changed) }
        })?;
        if !matches!(snapshot.revision, Revision::Git { dirty: false, .. }) {
            self.check_writers(&before.root, &whole)?;
        }
        self.told.clone_from(&self.seen);
        self.rests_on = proves.then_some(RestsOn { standing: before, folders, ahead: None });
        Ok(snapshot)
    }
}

/// Whether one of the files is one of these.
fn is_among(found: &[Arc<Found>], inodes: &BTreeSet<Inode>) -> bool {
    !inodes.is_empty() && found.iter().any(|found| inodes.contains(&found.stamp.inode()))
}

/// Puts together what the files of a folder say, in the order of their names.
fn snapshot(moment: Moment, files: &[Arc<Found>], mut problems: Vec<Problem>, permits: &Permits) -> Snapshot {
    let Moment { revision, uncompared, problem } = moment;
    problems.extend(problem);
    let mut claimed: BTreeMap<ServiceKey, BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut named: Vec<(&ServiceKey, &Desired)> = Vec::with_capacity(files.len());
    let (mut parsed, mut refused, mut more_refused) = (Vec::new(), Vec::new(), 0);
    for found in first_paths(files, permits) {
        let Found { file, contents, .. } = &**found;
        if !contents.parsed.problems.is_empty() {
            parsed.push(&contents.parsed);
        }
        for key in &contents.parsed.claimed {
            claimed.entry(key.clone()).or_default().insert(Arc::clone(file));
        }
        for (key, desired) in &contents.parsed.manifests {
            match permits.refusal(key, &desired.place) {
                None => named.push((key, desired)),
                Some(refusal) => {
                    claimed.entry(key.clone()).or_default().insert(Arc::clone(file));
                    if refused.len() < MAX_PROBLEMS { refused.push(refusal) } else { more_refused += 1 }
                }
            }
        }
    }
    let mut problems = Problems::new(problems, &parsed);
    problems.refused(refused, more_refused);
    // Stable: of one service, the manifests stay in the order of their files.
    named.sort_by_key(|(key, _)| *key);
    let mut desired = Vec::with_capacity(named.len());
    for manifests in named.chunk_by(|(a, _), (b, _)| a == b) {
        match manifests {
            [(key, only)] => desired.push(((*key).clone(), (*only).clone())),
            several => {
                problems.named_twice(several);
                for (key, Desired { place, .. }) in several {
                    claimed.entry((*key).clone()).or_default().insert(Arc::clone(&place.file));
                }
            }
        }
    }
    let mut desired: BTreeMap<ServiceKey, Desired> = desired.into_iter().collect();
    let refused = order::refuse(&mut desired, |key| claimed.contains_key(key));
    for (key, Desired { place, .. }, problem) in refused {
        claimed.entry(key).or_default().insert(place.file);
        problems.refused(vec![problem], 0);
    }
    let (problems, unread) = problems.shown();
    Snapshot { revision, desired, problems, uncompared, unfinished: false, claimed, unread }
}

/// The problems of a folder, and how many there are beyond those that are kept.
struct Problems {
    kept: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// Where there are too many, the first of each file are kept: so none hides the others.
    fn new(mut kept: Vec<Problem>, files: &[&Parsed]) -> Self {
        let count = kept.len() + files.iter().map(|parsed| parsed.count()).sum::<usize>();
        let of_each = if count > MAX_PROBLEMS { 1 } else { usize::MAX };
        kept.extend(files.iter().flat_map(|parsed| parsed.problems.iter().take(of_each)).cloned());
        Self { more: count - kept.len(), kept }
    }

    /// The problems of manifests that may not be where they are. Their files are known to claim the services.
    fn refused(&mut self, refused: Vec<Problem>, more: usize) {
        let room = MAX_PROBLEMS.saturating_sub(self.kept.len());
        self.more += more + refused.len().saturating_sub(room);
        self.kept.extend(refused.into_iter().take(room));
    }

    /// A problem for each manifest of a service that has several, naming another place. Their files are known to claim
    /// the service, so what is only counted keeps it from being taken for absent too.
    fn named_twice(&mut self, several: &[(&ServiceKey, &Desired)]) {
        let other = |place: &Place| several.iter().map(|(_, desired)| &desired.place).find(|other| *other != place);
        let room = MAX_PROBLEMS.saturating_sub(self.kept.len());
        self.more += several.len().saturating_sub(room);
        self.kept.extend(several.iter().take(room).map(|(key, Desired { place, .. })| {
            let other = other(place).map_or_else(|| "another document".to_owned(), ToString::to_string);
            let message = format!("`{key}` has a second manifest at {other}; neither is applied");
            Problem::of_document(place, message, Some("keep one of them".to_owned()))
        }));
    }

    /// Those that are shown, by place, and the files and folders that have any.
    fn shown(mut self) -> (Vec<Problem>, BTreeSet<Box<str>>) {
        let unread = self.kept.iter().map(|problem| problems::scope(problem).into()).collect();
        self.kept.sort();
        self.more += self.kept.len().saturating_sub(MAX_PROBLEMS);
        self.kept.truncate(MAX_PROBLEMS);
        if self.more > 0 {
            self.kept.push(problems::more(self.more));
        }
        (self.kept, unread)
    }
}

/// The files, each once: one that is reached by a link too counts under its own path, and one that has two paths under the
/// first; but before all under one where its manifests may stand. So nobody takes a file from its place with a link to it.
fn first_paths<'f>(files: &'f [Arc<Found>], permits: &Permits) -> impl Iterator<Item = &'f Arc<Found>> {
    let is_misplaced = |found: &Found| {
        let mut manifests = found.contents.parsed.manifests.iter();
        manifests.any(|(key, desired)| !permits.is_in_place(key, &desired.place))
    };
    let identity = |found: &Found| (found.stamp.inode(), found.contents.blob);
    let ranked = |(index, found): (usize, &Arc<Found>)| (identity(found), is_misplaced(found), found.by, index);
    let mut by_identity: Vec<_> = files.iter().enumerate().map(ranked).collect();
    by_identity.sort_unstable();
    let second: BTreeSet<usize> =
        by_identity.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].3).collect();
    files.iter().enumerate().filter(move |(index, _)| !second.contains(index)).map(|(_, found)| found)
}

#[cfg(test)]
mod tests;
