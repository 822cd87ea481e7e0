//! What follows from a look at the folder.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::look::{Look, Looked, Saw, Searched};
use super::state::{Daemon, Phase};
use super::tell::{tell_problems, tell_watching};
use crate::error::chain;
use crate::model::{Desired, Diagnostic, Revision, ServiceKey};
use crate::source::{Snapshot, Unreadable, Watching};

/// How soon to look again for files that were being written: those that are left open count as finished some day.
const UNFINISHED_AGAIN: Duration = Duration::from_secs(1);

impl Daemon {
    /// A look that is due begins, unless one runs.
    pub(super) fn begin_look(&mut self, now: Instant) -> Option<Look> {
        let eyes = self.eyes.take()?;
        let (aim, event) = self.looks.begin(now);
        if let Some(trigger) = aim.trigger() {
            self.noticed = event;
            self.meters.pass(trigger.as_str());
            if let Phase::Reloading { looks } = &mut self.phase {
                *looks = true;
            }
            debug!(trigger = trigger.as_str(), "looking at the folder");
        }
        let token = Searched { token: self.carrier.machine().token(), finds: Box::new(self.carrier.finds_token()) };
        Some(Look { eyes, aim, searched: self.searched_for == token.token, token })
    }

    /// Takes in what a look brought back.
    pub(super) fn take(&mut self, looked: Looked, now: Instant) {
        let Looked { eyes, saw, token, news } = looked;
        self.eyes = Some(eyes);
        if let Some(watching) = news {
            tell_watching(&watching);
            self.seen.watching = watching;
        }
        match saw {
            Saw::Ahead => self.looks.read_ahead(now),
            Saw::Unchanged => self.succeed(now),
            Saw::Snapshot(snapshot) => {
                let unfinished = snapshot.unfinished;
                let mut snapshot = *snapshot;
                // It may be another one by now. Then it is looked again: what held only the old one is free to go.
                if token != self.carrier.machine().token() {
                    snapshot.withhold(&self.carrier.finds_token());
                }
                self.searched_for = token;
                self.see(snapshot);
                self.succeed(now);
                if unfinished {
                    self.looks.soon(now + UNFINISHED_AGAIN);
                }
            }
            // git is at work: as a rule for a moment.
            Saw::Nothing(unreadable) if unreadable.may_pass() => self.looks.held(now),
            Saw::Nothing(unreadable) => self.fail(&unreadable, now),
        }
    }

    /// A look ended well.
    fn succeed(&mut self, now: Instant) {
        let every = match &self.seen.watching {
            Watching::Events => self.resync,
            Watching::Polling { every, .. } => *every,
        };
        self.looks.ended(now, every);
        // In case that the bell was not heard.
        self.carrier.read_people();
        if self.seen.error.take().is_some() {
            info!("the folder can be read again");
        }
        self.seen.succeeded = Some((now, self.carrier.clock().now()));
        if matches!(self.phase, Phase::Starting | Phase::Reloading { looks: true }) {
            self.systemd.ready();
            self.phase = Phase::Running;
        }
    }

    fn see(&mut self, mut snapshot: Snapshot) {
        let desired = std::mem::take(&mut snapshot.desired);
        let before = self.seen.snapshot.as_ref();
        if before.is_none_or(|before| before.revision != snapshot.revision) {
            let (revision, manifests, problems) = (&snapshot.revision, desired.len(), snapshot.problems.len());
            let (subject, author) = snapshot.headline().map(|headline| (&*headline.subject, &*headline.author)).unzip();
            info!(%revision, subject, author, manifests, problems, "the folder was read");
        }
        if desired.is_empty() && snapshot.problems.is_empty() && before.is_none() {
            info!("the folder has no manifests: `truenorth init` writes them from what runs");
        }
        let told = before.map_or(&[][..], |before| &before.problems);
        tell_problems(told, &snapshot.problems);
        if let Some(why) = &snapshot.uncompared
            && before.is_none_or(|before| before.uncompared != snapshot.uncompared)
        {
            warn!(why, "cannot compare the folder with its commit");
        }
        let is_uncommitted = matches!(&snapshot.revision, Revision::Git { dirty: true, .. });
        if is_uncommitted && snapshot.uncompared.is_none() && !std::mem::replace(&mut self.told_uncommitted, true) {
            warn!(
                "the folder has changes that are not committed, and they are applied; --uncommitted ignore applies HEAD"
            );
        }
        self.carrier.observe(&desired, snapshot.revision.clone());
        self.note_absent(&desired);
        self.seen.snapshot = Some(snapshot);
        let asked = std::mem::take(&mut self.asked_early);
        self.take_requests(asked);
        self.tell_idle_windows();
        self.published.touch_all(Instant::now());
    }

    /// Notes which file named a service last, where none does now: a problem in that file may be its manifest's.
    fn note_absent(&mut self, desired: &BTreeMap<ServiceKey, Desired>) {
        self.last_files.retain(|key, _| !desired.contains_key(key));
        self.last_files.extend(self.carrier.engine().lost().iter().cloned());
    }

    fn fail(&mut self, unreadable: &Unreadable, now: Instant) {
        self.looks.failed(now);
        let error = Diagnostic { hint: unreadable.hint().map(Into::into), ..Diagnostic::from(chain(unreadable)) };
        if self.seen.error.as_ref() != Some(&error) {
            let Diagnostic { message, hint, .. } = &error;
            error!(error = message, hint, "the folder cannot be read: what was applied stays, and it is tried again");
            self.seen.error = Some(error);
        }
        // A reload that failed is over all the same; a start is not.
        if self.phase == (Phase::Reloading { looks: true }) {
            self.systemd.ready();
            self.phase = Phase::Running;
        }
    }
}
