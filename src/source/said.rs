//! What a folder said, to be said again: where only the content of a few files changed, the rest is not put together anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::file::Found;
use super::folder::Files;
use super::permits::Permits;
use crate::model::{Desired, ServiceKey};

/// Most files whose manifests are put in one by one.
const MOST_CHANGED: usize = 64;

/// What the files of a folder said in which nothing was wrong, and each file counted.
#[derive(Debug)]
pub(super) struct Said {
    files: Files,
    desired: Arc<BTreeMap<ServiceKey, Desired>>,
}

impl Said {
    pub(super) fn new(files: &Files, desired: &Arc<BTreeMap<ServiceKey, Desired>>) -> Self {
        Self { files: Arc::clone(files), desired: Arc::clone(desired) }
    }

    /// What these files say, where they are the same but for the content of a few, each of which names the services that
    /// it named, and nothing is wrong in any. `None` where that is not so, or not sure.
    pub(super) fn again(&mut self, files: &Files, permits: &Permits) -> Option<Arc<BTreeMap<ServiceKey, Desired>>> {
        let changed = self.changed(files)?;
        if !changed.iter().all(|(before, after)| is_like(before, after, permits)) || are_reached_twice(&changed, files)
        {
            return None;
        }
        let changed: Vec<Arc<Found>> = changed.into_iter().map(|(_, after)| Arc::clone(after)).collect();
        // Nobody has the last one any more, as a rule: then it is not copied.
        let says = Arc::make_mut(&mut self.desired);
        for (key, desired) in changed.iter().flat_map(|found| &found.contents.parsed.manifests) {
            says.insert(key.clone(), desired.clone());
        }
        self.files = Arc::clone(files);
        Some(Arc::clone(&self.desired))
    }

    /// The files that are not what they were, before and after.
    fn changed<'f>(&'f self, files: &'f Files) -> Option<Vec<(&'f Arc<Found>, &'f Arc<Found>)>> {
        if files.len() != self.files.len() {
            return None;
        }
        let changed = self.files.iter().zip(files.iter()).filter(|(before, after)| !Arc::ptr_eq(before, after));
        let changed: Vec<_> = changed.take(MOST_CHANGED + 1).collect();
        (changed.len() <= MOST_CHANGED).then_some(changed)
    }
}

/// Whether a file names the services that it named, with what they depend on, and nothing is wrong in it.
fn is_like(before: &Found, after: &Found, permits: &Permits) -> bool {
    let (was, is) = (&before.contents.parsed, &after.contents.parsed);
    let same = |((key, before), (other, after)): (&(ServiceKey, Desired), &(ServiceKey, Desired))| {
        key == other
            && (&before.policy.depends_on, before.policy.gate) == (&after.policy.depends_on, after.policy.gate)
            && permits.refusal(key, &after.place).is_none()
    };
    before.path() == after.path()
        && (before.by, is.count(), is.claimed.len()) == (after.by, 0, 0)
        && was.manifests.len() == is.manifests.len()
        && was.manifests.iter().zip(&is.manifests).all(same)
}

/// Whether one of the changed files has another path among the files, by a link.
fn are_reached_twice(changed: &[(&Arc<Found>, &Arc<Found>)], files: &Files) -> bool {
    let inodes: BTreeSet<_> = changed.iter().map(|(_, after)| after.stamp.inode()).collect();
    files.iter().filter(|found| inodes.contains(&found.stamp.inode())).count() > changed.len()
        || inodes.len() < changed.len()
}
