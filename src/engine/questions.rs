//! Questions to the lists of deployments: whose a rollout is that failed or that times alone cannot tell, and who changed
//! a service that was not changed from here. A question is asked where a decision hangs on it, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::follow::Project;
use super::later;
use crate::model::{DeploymentStatus, ServiceKey};

/// How often a list is asked about one rollout that it does not show yet.
const TRIES: u32 = 3;

/// The wait from one such try to the next.
const AGAIN: Duration = Duration::from_secs(5);

/// How long it counts that the API shows no deployments of a project to this token.
const REFUSED: Duration = Duration::from_secs(60 * 60);

/// A question whose a rollout is.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// What was shown of the service. It is taken in when it is known whose it is.
    status: DeploymentStatus,
    due: Timestamp,
    tries: u32,
}

/// The questions that are open.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Whether any can be asked: rollouts are followed.
    are_asked: bool,
    open: BTreeMap<ServiceKey, Question>,
    /// Rollouts of which the list said nothing, however often it was asked.
    unanswered: BTreeSet<ServiceKey>,
    /// Services that somebody else changed.
    strangers: BTreeSet<ServiceKey>,
    /// Where the API does not show deployments to this token, and until when that counts.
    refused: BTreeMap<Project, Timestamp>,
}

impl Questions {
    pub(super) fn new(are_asked: bool) -> Self {
        Self { are_asked, ..Self::default() }
    }

    /// Asks whose a rollout is of which this was shown. `false` where nobody can say.
    pub(super) fn ask(&mut self, key: &ServiceKey, status: DeploymentStatus, now: Timestamp) -> bool {
        if !self.may_ask(key, now) || self.unanswered.contains(key) {
            return false;
        }
        let new = Question { status, due: now, tries: 0 };
        self.open.entry(key.clone()).and_modify(|question| question.status = status).or_insert(new);
        true
    }

    /// Asks who changed a service. `false` where nobody can say.
    pub(super) fn ask_who(&mut self, key: &ServiceKey, now: Timestamp) -> bool {
        let may = self.may_ask(key, now);
        if may {
            self.strangers.insert(key.clone());
        }
        may
    }

    fn may_ask(&self, key: &ServiceKey, now: Timestamp) -> bool {
        self.are_asked && self.refused.get(&Project::of(key)).is_none_or(|until| *until <= now)
    }

    /// The service whose deployments are to be listed now.
    pub(super) fn next(&self, now: Timestamp) -> Option<&ServiceKey> {
        let due = self.open.iter().find(|(_, question)| question.due <= now).map(|(key, _)| key);
        due.or_else(|| self.strangers.first())
    }

    /// When that is next.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let stranger = self.strangers.first().map(|_| Timestamp::MIN);
        self.open.values().map(|question| question.due).chain(stranger).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.strangers.is_empty()
    }

    /// What was shown of a service whose rollout is asked about.
    pub(super) fn status(&self, key: &ServiceKey) -> Option<DeploymentStatus> {
        self.open.get(key).map(|question| question.status)
    }

    /// Whether it was asked who changed this service; it is answered now, or never.
    pub(super) fn take_stranger(&mut self, key: &ServiceKey) -> bool {
        self.strangers.remove(key)
    }

    /// The list does not show it yet, or cannot be had now: it is asked once more in a while, or no more.
    pub(super) fn put_off(
        &mut self,
        key: &ServiceKey,
        wait: impl FnOnce(Duration) -> Duration,
        now: Timestamp,
    ) -> bool {
        let Some(question) = self.open.get_mut(key) else { return false };
        question.tries += 1;
        question.due = later(now, wait(AGAIN));
        question.tries < TRIES
    }

    /// It is asked once more then, unless something else is shown until that time.
    pub(super) fn wait(&mut self, key: &ServiceKey, until: Timestamp) {
        if let Some(question) = self.open.get_mut(key) {
            question.due = until;
        }
    }

    /// The question is answered, or of no more interest.
    pub(super) fn close(&mut self, key: &ServiceKey) {
        self.open.remove(key);
    }

    /// Nobody can answer it: times alone decide.
    pub(super) fn give_up(&mut self, key: &ServiceKey) -> Option<DeploymentStatus> {
        let status = self.open.remove(key).map(|question| question.status);
        self.unanswered.extend(status.map(|_| key.clone()));
        status
    }

    /// The API does not show the deployments of this project's services.
    pub(super) fn refuse(&mut self, project: Project, now: Timestamp) {
        self.refused.insert(project, later(now, REFUSED));
    }

    /// All that could be asked now, where no call may be made for it.
    pub(super) fn asked(&self) -> Vec<ServiceKey> {
        self.open.keys().chain(&self.strangers).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Another rollout takes the place of the one that was asked about.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.open.remove(key);
        self.unanswered.remove(key);
    }
}
