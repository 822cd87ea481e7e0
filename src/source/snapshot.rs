//! A snapshot: what all valid manifests say at one moment, and what is wrong in the folder.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::file::Found;
use super::folder::Files;
use super::permits::Permits;
use super::said::Said;
use super::standing::Moment;
use super::{MAX_PROBLEMS, order, problems};
use crate::manifest::{Parsed, Problem};
use crate::model::{Desired, Headline, Place, Revision, ServiceKey};

/// What the folder says at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub revision: Revision,
    /// What valid manifests say, by service.
    pub desired: Arc<BTreeMap<ServiceKey, Desired>>,
    /// Everything that is wrong in the folder, by place.
    pub problems: Vec<Problem>,
    /// Why it could not be told whether the folder has what its commit has; then it counts as not.
    pub uncompared: Option<String>,
    /// Whether files are being written to, of which this has what they had before.
    pub unfinished: bool,
    /// Services that a manifest with a problem names, with the files of those manifests.
    pub(super) claimed: BTreeMap<ServiceKey, BTreeSet<Arc<str>>>,
    /// The files and folders that have problems, also those that are only counted.
    pub(super) unread: BTreeSet<Box<str>>,
}

impl Snapshot {
    /// What people know its commit by, where there is one.
    pub fn headline(&self) -> Option<&Headline> {
        self.revision.headline()
    }

    /// Whether the snapshot proves that no manifest names a service any more. It does not where a manifest with
    /// problems names it, or where the file that named it last, or a folder above that, has a problem.
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

/// Puts together what the files of a folder say, in the order of their names.
pub(super) fn snapshot(
    moment: Moment,
    files: &Files,
    mut problems: Vec<Problem>,
    permits: &Permits,
    said: &mut Option<Said>,
) -> Snapshot {
    let Moment { revision, uncompared, problem } = moment;
    problems.extend(problem);
    if problems.is_empty()
        && let Some(desired) = said.as_mut().and_then(|said| said.again(files, permits))
    {
        let (claimed, unread) = (BTreeMap::new(), BTreeSet::new());
        return Snapshot { revision, desired, problems, uncompared, unfinished: false, claimed, unread };
    }
    let mut claimed: BTreeMap<ServiceKey, BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut named: Vec<(&ServiceKey, &Desired)> = Vec::with_capacity(files.len());
    let (mut parsed, mut refused, mut more_refused) = (Vec::new(), Vec::new(), 0);
    let mut counted = 0;
    for found in first_paths(files, permits) {
        counted += 1;
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
    let desired = Arc::new(desired);
    let is_plain = problems.is_empty() && claimed.is_empty() && counted == files.len();
    *said = is_plain.then(|| Said::new(files, &desired));
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
            Problem::of_document(place, message, "keep one of them")
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
pub(super) fn first_paths<'f>(files: &'f [Arc<Found>], permits: &Permits) -> impl Iterator<Item = &'f Arc<Found>> {
    let is_misplaced = |found: &Found| {
        let mut manifests = found.contents.parsed.manifests.iter();
        manifests.any(|(key, desired)| !permits.is_in_place(key, &desired.place))
    };
    let mut inodes: Vec<_> = files.iter().enumerate().map(|(index, found)| (found.stamp.inode(), index)).collect();
    inodes.sort_unstable();
    let mut second = BTreeSet::new();
    for of_one in inodes.chunk_by(|(a, _), (b, _)| a == b).filter(|of_one| of_one.len() > 1) {
        let ranked = |index: usize| (files[index].contents.blob, is_misplaced(&files[index]), files[index].by, index);
        let mut ranked: Vec<_> = of_one.iter().map(|(_, index)| ranked(*index)).collect();
        ranked.sort_unstable();
        second.extend(ranked.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].3));
    }
    files.iter().enumerate().filter(move |(index, _)| !second.contains(index)).map(|(_, found)| found)
}
