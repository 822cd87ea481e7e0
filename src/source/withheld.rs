//! What no snapshot may hold or show: the API's token.

use std::fmt;
use std::sync::Arc;

use super::{Folder, Snapshot};
use crate::manifest::Problem;
use crate::model::{Desired, ServiceKey, Suspend};

/// Finds the token in a text.
#[derive(Clone)]
pub(super) struct Withheld(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Withheld")
    }
}

impl Folder {
    /// The same folder, whose snapshots [withhold](Snapshot::withhold) what `is_secret` finds.
    pub fn withholding(self, is_secret: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { withheld: Some(Withheld(Arc::new(is_secret))), ..self }
    }

    /// Takes out of a snapshot what is to be withheld.
    pub(super) fn withhold_from(&self, snapshot: &mut Snapshot) {
        if let Some(Withheld(is_secret)) = &self.withheld {
            snapshot.withhold(&**is_secret);
        }
    }
}

impl Snapshot {
    /// Takes out what would send or keep the API's token, and hides it in what is told: such a manifest is a problem.
    pub fn withhold(&mut self, is_secret: &dyn Fn(&str) -> bool) {
        if self.desired.iter().any(|(key, desired)| tells(key, desired, is_secret)) {
            let desired = Arc::make_mut(&mut self.desired);
            for (key, desired) in desired.extract_if(.., |key, desired| tells(key, desired, is_secret)) {
                self.unread.insert((*desired.place.file).into());
                self.claimed.entry(key).or_default().insert(Arc::clone(&desired.place.file));
                self.problems.push(Problem::with_token(&desired.place));
            }
        }
        if self.headline().is_some_and(|headline| is_secret(&headline.subject) || is_secret(&headline.author)) {
            self.revision.drop_headline();
        }
        self.problems = std::mem::take(&mut self.problems).into_iter().map(|one| one.withheld(is_secret)).collect();
        self.problems.sort();
        self.claimed.retain(|key, _| !is_named(key, is_secret));
        // They are found by the names that their problems show.
        for files in self.claimed.values_mut().filter(|files| files.iter().any(|file| is_secret(file))) {
            *files = files.iter().map(|file| Problem::shown_file(file, is_secret)).collect();
        }
    }
}

/// Whether what would be sent or kept of a manifest holds the token.
fn tells(key: &ServiceKey, desired: &Desired, is_secret: &dyn Fn(&str) -> bool) -> bool {
    let reason = match &desired.policy.suspend {
        Suspend::Yes { reason, .. } => reason.as_deref(),
        Suspend::No => None,
    };
    is_named(key, is_secret)
        || desired.policy.depends_on.iter().any(|key| is_named(key, is_secret))
        || desired.update.texts().chain(reason).chain([&*desired.place.file]).any(is_secret)
}

/// Whether a service is called like the token.
fn is_named(key: &ServiceKey, is_secret: &dyn Fn(&str) -> bool) -> bool {
    key.team.iter().chain([&key.project, &key.service]).any(|id| is_secret(id.as_str()))
}
