//! Following: the newest rollout of each service, and when the API is asked how far they are.
//!
//! One list of a project shows the status of a hundred services, so rollouts are looked at by project, however many
//! there are. A project where nothing rolls out is not asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::event::Event;
use super::later;
use super::questions::Questions;
use super::rollout::{self, Paused};
use super::traced::{self, Traced};
use crate::model::{
    Cause, DeploymentEntry, DeploymentStatus, DeploymentUpdate, Digest, Evidence, Id, OvertakenBy, Rollout,
    RolloutStage, RolloutState, ServiceKey, project_path,
};

/// How rollouts are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// How long a rollout may take, from its acceptance.
    pub timeout: Duration,
    /// How many times as often as usual looks are made: 1, or more where calls cost nothing.
    pub speed: u32,
}

impl Follow {
    /// Fifteen minutes, and looks as often as the provider's rate limit bears.
    pub const DEFAULT: Self = Self { timeout: Duration::from_secs(15 * 60), speed: 1 };

    fn paced(self, wait: Duration) -> Duration {
        wait / self.speed.max(1)
    }

    /// The wait from a look to the next one, by the age of the youngest rollout.
    fn interval(self, age: Duration) -> Duration {
        let steps = [(75, 10), (300, 20)];
        let paced = |seconds| self.paced(Duration::from_secs(seconds));
        steps.into_iter().find(|(until, _)| age < paced(*until)).map_or(paced(60), |(_, wait)| paced(wait))
    }

    /// How long after an acceptance the first look is made.
    fn first(self) -> Duration {
        self.paced(Duration::from_secs(5))
    }
}

/// Where services live whose rollouts are looked at together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Project {
    /// The team, where an organisation's token is used.
    pub team: Option<Id>,
    /// The project.
    pub project: Id,
}

impl Project {
    pub(super) fn of(key: &ServiceKey) -> Self {
        Self { team: key.team.clone(), project: key.project.clone() }
    }
}

/// A request that shows how far rollouts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// One page of the services of a project, with their status.
    List {
        /// Which project.
        project: Project,
        /// Where the page begins; nothing: the first one.
        cursor: Option<String>,
    },
    /// The deployments of a service: whose the rollout is that is shown, or who changed it.
    Deployments(ServiceKey),
    /// The containers of a service whose rollout failed.
    Containers(ServiceKey),
    /// One service, where its project may not be listed and others wait for it.
    Service(ServiceKey),
}

/// What a look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// A page of services.
    Page {
        /// Each by its id as the API wrote it.
        services: Vec<(String, Option<DeploymentStatus>)>,
        /// Where the next page begins; nothing where this is the last one.
        next: Option<String>,
    },
    /// The newest deployments of a service, newest first.
    Deployments(Vec<DeploymentEntry>),
    /// What the containers say of a failure, in words; nothing where they say nothing.
    Containers(Option<String>),
    /// One service.
    Service {
        /// Its status, where the answer has one.
        status: Option<DeploymentStatus>,
        /// Whether it is paused, where the answer says so.
        paused: Option<bool>,
    },
    /// It was not made, and nobody is at fault.
    Withdrawn,
    /// Nothing.
    Nothing {
        /// What went wrong.
        error: String,
        /// Whether it would be refused again: the token may not look.
        refused: bool,
    },
}

/// Most pages that are read in one look. A page can lead to itself.
const PAGES: u32 = 1000;

/// The first wait for a project where nothing rolls out and a rollout that failed may end well after all. Each wait is
/// twice the one before it.
const STUCK: Duration = Duration::from_secs(60);

/// How often the waits for what is stuck are doubled at most: to half an hour, about.
const DOUBLED: u32 = 5;

/// The rollouts.
#[derive(Debug, Default)]
pub(super) struct Rollouts {
    newest: BTreeMap<ServiceKey, Rollout>,
    /// When the update before the newest one was accepted by the server's clock, where its rollout had ended by then.
    calm: BTreeMap<ServiceKey, Timestamp>,
    paused: BTreeSet<ServiceKey>,
    /// Those that others wait for: they are looked at also when they have failed for long.
    wanted: BTreeSet<ServiceKey>,
    /// Those that failed in an earlier process: they are looked at once by this one.
    recalled: BTreeSet<ServiceKey>,
    /// Services that are read one by one, because their project may not be listed.
    singles: VecDeque<ServiceKey>,
    /// Services that may not even be read.
    unreadable: BTreeSet<ServiceKey>,
    /// Where something is looked at.
    projects: BTreeMap<Project, Open>,
    /// What is still to be asked of lists of deployments.
    questions: Questions,
    /// Failed ones whose containers are still to be asked.
    unexplained: BTreeSet<ServiceKey>,
    /// The request that is out.
    out: Option<Look>,
    /// The look at a project that goes on over several pages.
    walk: Option<Walk>,
    events: Vec<Event>,
    /// Those that ended, or of whose end more is known, since that was asked.
    ended: Vec<ServiceKey>,
}

/// A project where something is looked at.
#[derive(Debug)]
struct Open {
    rolling: BTreeSet<ServiceKey>,
    /// What failed or took too long, and may end well after all.
    stuck: BTreeSet<ServiceKey>,
    /// How often it was looked at since something rolled out.
    idle: u32,
    /// When the oldest update was accepted that no look came after.
    new_since: Option<Timestamp>,
    /// When the newest and the oldest were accepted.
    newest: Timestamp,
    oldest: Timestamp,
    looked_at: Option<Timestamp>,
    /// What keeps it from being looked at, once that was told.
    kept: Option<Kept>,
}

/// What keeps a project from being looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// A look failed, and may work the next time.
    Failed,
    /// The API refuses to show it.
    Refused,
    /// The rate limit leaves no call for it.
    NoCalls,
}

/// A look that goes on.
#[derive(Debug)]
struct Walk {
    project: Project,
    /// Who was not on a page yet.
    left: BTreeSet<ServiceKey>,
    cursor: String,
    pages: u32,
}

impl Open {
    fn new(accepted: Timestamp) -> Self {
        Self {
            rolling: BTreeSet::new(),
            stuck: BTreeSet::new(),
            idle: 0,
            new_since: None,
            newest: accepted,
            oldest: accepted,
            looked_at: None,
            kept: None,
        }
    }

    /// When it is looked at next.
    fn due(&self, follow: Follow) -> Timestamp {
        let first = follow.first();
        let Some(looked_at) = self.looked_at else { return self.first_due(first).unwrap_or(self.newest) };
        let age = Duration::try_from(looked_at.duration_since(self.newest)).unwrap_or_default();
        let interval = match self.rolling.is_empty() {
            true => follow.paced(STUCK * 2_u32.pow(self.idle.saturating_sub(1).min(DOUBLED))),
            false => follow.interval(age),
        };
        let fresh = self.first_due(first).map(|due| due.max(later(looked_at, first)));
        let again = later(looked_at, interval);
        fresh.map_or(again, |fresh| fresh.min(again))
    }

    /// It is looked at now.
    fn looked(&mut self, now: Timestamp) {
        self.looked_at = Some(now);
        self.idle = if self.rolling.is_empty() { self.idle.saturating_add(1) } else { 0 };
    }

    /// Puts a service where it belongs by the state of its rollout; `stays`: it is looked at at all.
    fn put(&mut self, key: &ServiceKey, state: RolloutState, stays: bool) {
        self.rolling.remove(key);
        if !stays {
            self.stuck.remove(key);
        } else if state.is_open() {
            self.stuck.remove(key);
            self.rolling.insert(key.clone());
        } else if self.stuck.insert(key.clone()) {
            self.idle = 0;
        }
    }

    fn is_empty(&self) -> bool {
        self.rolling.is_empty() && self.stuck.is_empty()
    }

    /// When the updates are looked at that no look came after. Those of one burst share their first look.
    fn first_due(&self, first: Duration) -> Option<Timestamp> {
        self.new_since.map(|oldest| later(self.newest, first).min(later(oldest, first * 2)))
    }
}

impl Rollouts {
    /// Rollouts that are followed, or are not.
    pub(super) fn new(are_followed: bool) -> Self {
        Self { questions: Questions::new(are_followed), ..Self::default() }
    }

    /// An update was accepted: its rollout replaces the one before. `shown` is what the answer shows of the service.
    pub(super) fn accepted(
        &mut self,
        key: &ServiceKey,
        digest: Digest,
        server_at: Option<Timestamp>,
        shown: Option<DeploymentStatus>,
        now: Timestamp,
    ) {
        let new = Rollout::accepted(digest, now, server_at);
        self.unexplained.remove(key);
        self.questions.forget(key);
        self.recalled.remove(key);
        self.unreadable.remove(key);
        let before = self.newest.insert(key.clone(), new);
        let has_ended = |before: &Rollout| before.state.is_deployed() || before.state == RolloutState::Failed;
        match before.filter(has_ended).and_then(|before| before.server_at) {
            Some(at) => drop(self.calm.insert(key.clone(), at)),
            None => drop(self.calm.remove(key)),
        }
        self.arrange(key, true);
        if shown.is_some() {
            self.change(key, |new| rollout::seen(new, shown, Paused::No, now));
        }
    }

    /// Content was found live. What goes on there is followed; what failed is told, and no call is made for it.
    pub(super) fn found(
        &mut self,
        key: &ServiceKey,
        (cause, digest): (Cause, Digest),
        status: Option<DeploymentStatus>,
        now: Timestamp,
    ) {
        let found = rollout::found(cause, digest, status, now).filter(|_| !self.newest.contains_key(key));
        let Some(found) = found else { return };
        let goes_on = found.state.is_open();
        self.newest.insert(key.clone(), found.clone());
        if goes_on {
            self.arrange(key, true);
            self.change(key, |found| rollout::seen(found, status, Paused::No, now));
        } else {
            self.ended.push(key.clone());
            self.events.push(Event::Rollout { key: key.clone(), was: RolloutState::Unseen, rollout: found });
        }
    }

    /// Takes over what an earlier process followed. Times that are still to come are those of a clock that was wrong.
    pub(super) fn recall(&mut self, key: &ServiceKey, rollout: Rollout, now: Timestamp) {
        let (accepted_at, since) = (rollout.accepted_at.min(now), rollout.since.min(now));
        if rollout.state.has_failed() {
            self.recalled.insert(key.clone());
        }
        self.newest.insert(key.clone(), Rollout { accepted_at, since, ..rollout });
        self.arrange(key, true);
    }

    /// The manifest has other content by now: how the rollout of an earlier process ended matters to nobody.
    pub(super) fn disregard(&mut self, key: &ServiceKey) {
        if self.recalled.remove(key) {
            self.arrange(key, false);
        }
    }

    /// Others wait for these, and for no more.
    pub(super) fn want(&mut self, wanted: BTreeSet<ServiceKey>) {
        let before = std::mem::replace(&mut self.wanted, wanted);
        let changed: Vec<ServiceKey> = before.symmetric_difference(&self.wanted).cloned().collect();
        for key in changed {
            self.arrange(&key, false);
        }
    }

    /// The services whose newest rollout is not known to have ended well.
    pub(super) fn undeployed(&self) -> impl Iterator<Item = &ServiceKey> {
        self.newest.iter().filter(|(_, rollout)| !rollout.state.is_deployed()).map(|(key, _)| key)
    }

    /// Whether a look may show by and by that it is deployed.
    pub(super) fn may_deploy(&self, key: &ServiceKey) -> bool {
        self.recalled.contains(key) || self.of(key).is_some_and(|rollout| rollout.state.is_open())
    }

    /// The service got other content, or nobody asks for it any more.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.newest.remove(key);
        self.calm.remove(key);
        self.questions.forget(key);
        self.recalled.remove(key);
        self.arrange(key, false);
    }

    /// A service that a look is about.
    pub(super) fn service_of<'a>(&'a self, look: &'a Look) -> Option<&'a ServiceKey> {
        match look {
            Look::List { project, .. } => self.newest.keys().find(|key| Project::of(key) == *project),
            Look::Deployments(key) | Look::Containers(key) | Look::Service(key) => Some(key),
        }
    }

    pub(super) fn of(&self, key: &ServiceKey) -> Option<&Rollout> {
        self.newest.get(key)
    }

    /// Whether it is worth waiting: something rolls out, and can be looked at by the time at which `calls` are there. That
    /// is no reason to wait for calls only to learn more of what has failed.
    pub(super) fn are_awaited(&self, follow: Follow, calls: Timestamp, now: Timestamp) -> bool {
        let is_readable = |key: &&ServiceKey| self.wanted.contains(*key) && !self.unreadable.contains(*key);
        let awaited = |open: &Open| {
            !open.rolling.is_empty()
                && (open.kept != Some(Kept::Refused) || open.rolling.iter().any(|key| is_readable(&key)))
                && calls < later(open.oldest, follow.timeout)
        };
        let has_questions = !self.questions.is_empty() || !self.unexplained.is_empty() || !self.recalled.is_empty();
        self.out.is_some() || has_questions && calls <= now || self.projects.values().any(awaited)
    }

    /// What happened since the last time that this was asked.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The services whose rollouts ended, or of whose end more is known, since the last time that this was asked.
    pub(super) fn take_ended(&mut self) -> Vec<ServiceKey> {
        std::mem::take(&mut self.ended)
    }

    /// How many have not ended.
    pub(super) fn rolling(&self) -> usize {
        self.projects.values().map(|open| open.rolling.len()).sum()
    }

    /// How many rollouts are in each state.
    pub(super) fn count(&self) -> BTreeMap<RolloutState, u64> {
        let mut counts = BTreeMap::new();
        for rollout in self.newest.values() {
            *counts.entry(rollout.state).or_default() += 1;
        }
        counts
    }

    /// The next request, if one is due. Whoever makes it says what it showed.
    pub(super) fn next(&mut self, follow: Follow, now: Timestamp) -> Option<Look> {
        if self.out.is_some() {
            return None;
        }
        let look = if let Some(walk) = &self.walk {
            Look::List { project: walk.project.clone(), cursor: Some(walk.cursor.clone()) }
        } else if let Some(key) = self.questions.next(now) {
            Look::Deployments(key.clone())
        } else if let Some(key) = self.unexplained.first() {
            Look::Containers(key.clone())
        } else if let Some(key) = self.singles.pop_front() {
            Look::Service(key)
        } else {
            self.look_at_project(follow, now)?
        };
        self.out = Some(look.clone());
        Some(look)
    }

    fn look_at_project(&mut self, follow: Follow, now: Timestamp) -> Option<Look> {
        let (project, open) = self.projects.iter_mut().find(|(_, open)| open.due(follow) <= now)?;
        // What is accepted while the look is out is looked at once more.
        open.new_since = None;
        if open.kept == Some(Kept::Refused) {
            let is_single = |key: &&ServiceKey| self.wanted.contains(*key) && !self.unreadable.contains(*key);
            self.singles = open.rolling.union(&open.stuck).filter(is_single).cloned().collect();
            if let Some(key) = self.singles.pop_front() {
                open.looked(now);
                return Some(Look::Service(key));
            }
        }
        Some(Look::List { project: project.clone(), cursor: None })
    }

    /// When the next request is due; nothing while one is out.
    pub(super) fn due(&self, follow: Follow) -> Option<Timestamp> {
        if self.out.is_some() {
            return None;
        }
        if self.walk.is_some() || !self.unexplained.is_empty() || !self.singles.is_empty() {
            return Some(Timestamp::MIN);
        }
        self.projects.values().map(|open| open.due(follow)).chain(self.questions.due()).min()
    }

    /// When the first rollout takes too long.
    pub(super) fn expires(&self, follow: Follow) -> Option<Timestamp> {
        self.projects.values().map(|open| later(open.oldest, follow.timeout)).min()
    }

    /// Takes in that time has passed: what takes too long has failed, and what failed is looked at no longer, unless others
    /// wait for it.
    pub(super) fn expire(&mut self, follow: Follow, now: Timestamp) {
        let is_over = |open: &Open| later(open.oldest, follow.timeout) <= now;
        let projects = self.projects.iter().filter(|(_, open)| is_over(open));
        let projects: Vec<Project> = projects.map(|(project, _)| project.clone()).collect();
        for project in projects {
            let Some(open) = self.projects.get(&project) else { continue };
            let keys: Vec<ServiceKey> = open.rolling.union(&open.stuck).cloned().collect();
            let is_old = |rollout: &Rollout| later(rollout.accepted_at, follow.timeout) <= now;
            let (old, young): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|key| self.newest.get(key).is_none_or(is_old));
            if let Some(open) = self.projects.get_mut(&project) {
                let accepted = young.iter().filter_map(|key| self.newest.get(key)).map(|rollout| rollout.accepted_at);
                open.oldest = accepted.min().unwrap_or(Timestamp::MAX);
                let stays = |key: &ServiceKey| self.wanted.contains(key) || self.recalled.contains(key);
                let gone: BTreeSet<&ServiceKey> = old.iter().filter(|key| !stays(key)).collect();
                open.stuck.retain(|key| !gone.contains(key));
            }
            for key in &old {
                // Its time is over, and whose the end is that was shown is asked no more.
                if self.newest.get(key).is_some_and(|rollout| rollout.state.is_open()) {
                    self.decide_by_times(key, now);
                }
                self.change(key, |before| {
                    rollout::expired(before, follow.timeout, now).unwrap_or_else(|| before.clone())
                });
            }
            self.close_if_empty(&project);
        }
    }

    /// No call may be made for the look that is due.
    pub(super) fn starve(&mut self, follow: Follow, now: Timestamp) {
        for key in self.questions.asked() {
            self.give_up(&key, now);
        }
        self.unexplained.clear();
        self.singles.clear();
        self.walk = None;
        let due = self.projects.iter().filter(|(_, open)| open.due(follow) <= now && open.kept != Some(Kept::NoCalls));
        let due: Vec<Project> = due.map(|(project, _)| project.clone()).collect();
        for project in due {
            self.answer_recalled(&project);
            self.keep_from(&project, Kept::NoCalls, "unknown (quota): the rate limit leaves no call to look");
        }
    }

    /// Takes in what the request showed.
    pub(super) fn looked(&mut self, looked: Looked, now: Timestamp) {
        match (self.out.take(), looked) {
            (_, Looked::Withdrawn) => {}
            (Some(Look::Deployments(key)), Looked::Nothing { refused, .. }) => self.cannot_list(&key, refused, now),
            (Some(Look::Containers(key)), looked) => {
                self.unexplained.remove(&key);
                if let Looked::Containers(Some(reason)) = looked {
                    self.change(&key, |before| match before.state {
                        RolloutState::Failed => Rollout { reason: Some(reason), ..before.clone() },
                        _ => before.clone(),
                    });
                }
            }
            (Some(Look::Service(key)), Looked::Service { status, paused }) => {
                self.recalled.remove(&key);
                self.saw(&key, status, paused, now);
            }
            (Some(Look::Service(key)), Looked::Nothing { error, refused }) => {
                self.recalled.remove(&key);
                if refused {
                    self.unreadable.insert(key.clone());
                }
                let reason = format!("cannot read {key}: {error}");
                self.change(&key, |before| Rollout { reason: Some(reason), ..before.clone() });
            }
            (Some(Look::List { project, .. }), Looked::Page { services, next }) => {
                self.saw_page(project, services, next, now);
            }
            (Some(Look::List { project, .. }), Looked::Nothing { error, refused }) => {
                self.walk = None;
                self.end_look(&project, now);
                let kept = if refused { Kept::Refused } else { Kept::Failed };
                self.keep_from(&project, kept, &format!("cannot list the services of {project}: {error}"));
            }
            // An answer to another question than the one that was asked is never given.
            (Some(Look::List { .. } | Look::Deployments(_) | Look::Service(_)), _) | (None, _) => {}
        }
    }

    /// A service was read for another reason.
    pub(super) fn saw(
        &mut self,
        key: &ServiceKey,
        status: Option<DeploymentStatus>,
        paused: Option<bool>,
        now: Timestamp,
    ) {
        match paused {
            Some(true) => drop(self.paused.insert(key.clone())),
            Some(false) => drop(self.paused.remove(key)),
            None => {}
        }
        self.change_seen(key, status, now);
    }

    fn saw_page(
        &mut self,
        project: Project,
        services: Vec<(String, Option<DeploymentStatus>)>,
        next: Option<String>,
        now: Timestamp,
    ) {
        let (mut left, pages) = match self.walk.take() {
            Some(walk) => (walk.left, walk.pages),
            None => {
                let open = self.projects.get(&project);
                (open.map(|open| open.rolling.union(&open.stuck).cloned().collect()).unwrap_or_default(), 0)
            }
        };
        let shown: BTreeMap<String, Option<DeploymentStatus>> = services.into_iter().collect();
        left.retain(|key: &ServiceKey| match shown.get(key.service.as_str()) {
            Some(status) => {
                self.change_seen(key, *status, now);
                false
            }
            None => true,
        });
        match next {
            Some(cursor) if !left.is_empty() && pages + 1 < PAGES => {
                self.walk = Some(Walk { project, left, cursor, pages: pages + 1 });
            }
            _ => {
                for key in &left {
                    self.change(key, |before| {
                        // Why one ended is known already.
                        let unseen = "the project's list of services does not name it".to_owned();
                        let reason = if before.state.is_open() { Some(unseen) } else { before.reason.clone() };
                        Rollout { reason, ..before.clone() }
                    });
                }
                self.end_look(&project, now);
            }
        }
    }

    /// A look at a project is over.
    fn end_look(&mut self, project: &Project, now: Timestamp) {
        if let Some(open) = self.projects.get_mut(project) {
            open.looked(now);
            open.kept = None;
        }
        self.answer_recalled(project);
    }

    /// What failed in an earlier process was looked at, or cannot be: it is treated as any other from now on.
    fn answer_recalled(&mut self, project: &Project) {
        let answered = self.recalled.extract_if(.., |key| Project::of(key) == *project).collect::<Vec<_>>();
        for key in answered {
            self.arrange(&key, false);
        }
    }

    fn close_if_empty(&mut self, project: &Project) {
        if self.projects.get(project).is_some_and(Open::is_empty) {
            self.projects.remove(project);
        }
    }

    /// Something keeps a project from being looked at: that is why nothing is known of its rollouts.
    fn keep_from(&mut self, project: &Project, kept: Kept, reason: &str) {
        let Some(open) = self.projects.get_mut(project) else { return };
        open.kept = Some(kept);
        let rolling: Vec<ServiceKey> = open.rolling.iter().cloned().collect();
        let mut news = false;
        for key in rolling {
            news |= self.change(&key, |before| Rollout { reason: Some(reason.to_owned()), ..before.clone() });
        }
        if news {
            self.events.push(Event::NotFollowed { reason: reason.to_owned() });
        }
    }

    fn change_seen(&mut self, key: &ServiceKey, status: Option<DeploymentStatus>, now: Timestamp) {
        let paused = if self.paused.contains(key) { Paused::Yes } else { Paused::No };
        let Some(before) = self.newest.get(key) else { return };
        let after = rollout::seen(before, status, paused, now);
        let asks = status.filter(|status| rollout::asks_whose(before, &after, *status));
        if asks.is_some_and(|status| self.questions.ask(key, status, now)) {
            return;
        }
        self.questions.close(key);
        self.change(key, |_| after);
    }

    /// Lets a rollout go on. Says whether it is another one by now.
    fn change(&mut self, key: &ServiceKey, next: impl FnOnce(&Rollout) -> Rollout) -> bool {
        let Some(before) = self.newest.get(key) else { return false };
        let after = next(before);
        if after == *before {
            return false;
        }
        let was = before.state;
        // The containers of somebody else's deployment say nothing of ours.
        if after.state == RolloutState::Failed && was != RolloutState::Failed && after.overtaken.is_none() {
            self.unexplained.insert(key.clone());
        }
        if after.evidence != Evidence::None {
            // It rolls out, so that it is not paused.
            self.paused.remove(key);
        }
        if !after.state.is_open() {
            self.ended.push(key.clone());
        }
        self.events.push(Event::Rollout { key: key.clone(), was, rollout: after.clone() });
        self.newest.insert(key.clone(), after);
        self.arrange(key, false);
        true
    }

    /// Puts a service among those that are looked at, or takes it out.
    fn arrange(&mut self, key: &ServiceKey, fresh: bool) {
        let project = Project::of(key);
        let may_recover = self.newest.get(key).is_some_and(|rollout| rollout.overtaken.is_none());
        let rollout = self.newest.get(key).map(|rollout| (rollout.state, rollout.accepted_at));
        if rollout.is_none_or(|(state, _)| state != RolloutState::Failed) {
            self.unexplained.remove(key);
        }
        let asked = self.wanted.contains(key) || self.recalled.contains(key);
        match rollout {
            Some((state, accepted)) if state.is_open() || state.has_failed() => {
                let stays = state.is_open() || state == RolloutState::Failed && may_recover || asked;
                if !stays && !self.projects.contains_key(&project) {
                    return;
                }
                let open = self.projects.entry(project.clone()).or_insert_with(|| Open::new(accepted));
                open.put(key, state, stays);
                open.oldest = open.oldest.min(accepted);
                if fresh {
                    open.new_since = Some(open.new_since.map_or(accepted, |since| since.min(accepted)));
                    open.newest = open.newest.max(accepted);
                }
            }
            _ => {
                if let Some(open) = self.projects.get_mut(&project) {
                    open.rolling.remove(key);
                    open.stuck.remove(key);
                }
            }
        }
        self.close_if_empty(&project);
    }
}

/// Questions to the lists of deployments.
impl Rollouts {
    /// Somebody else changed a service: who?
    pub(super) fn ask_who(&mut self, key: &ServiceKey, now: Timestamp) {
        if !self.questions.ask_who(key, now) {
            self.events.push(Event::SomebodyElse { key: key.clone(), by: None, at: now });
        }
    }

    /// The rollout about which the list was asked that is out.
    pub(super) fn asked_about(&self) -> Option<(&ServiceKey, Digest)> {
        match &self.out {
            Some(Look::Deployments(key)) => Some((key, self.newest.get(key)?.digest)),
            _ => None,
        }
    }

    /// Takes in what was deployed in a service, newest first. `content` is what was accepted there.
    pub(super) fn listed(
        &mut self,
        entries: &[DeploymentEntry],
        content: Option<&DeploymentUpdate>,
        follow: Follow,
        now: Timestamp,
    ) {
        let Some(Look::Deployments(key)) = self.out.take() else { return };
        let rollout = self.newest.get(&key);
        let last = traced::last(rollout, entries);
        let traced = rollout.and_then(|rollout| traced::trace(rollout, content, entries));
        self.name(&key, last, now);
        match (self.questions.status(&key), traced) {
            (None, _) => {}
            (Some(status), Some(traced)) => {
                if let Some(until) = self.lingers(&key, status, traced, follow).filter(|until| now < *until) {
                    return self.questions.wait(&key, until);
                }
                self.questions.close(&key);
                self.change(&key, |before| rollout::judged(before, status, traced, now));
            }
            (Some(_), None) if self.questions.put_off(&key, |wait| follow.paced(wait), now) => {}
            (Some(_), None) => self.decide_by_times(&key, now),
        }
    }

    /// Until when a failure may be that of the deployment before ours: nothing was seen of ours yet, and nobody knows that
    /// the other one had ended.
    fn lingers(
        &self,
        key: &ServiceKey,
        status: DeploymentStatus,
        traced: Traced<'_>,
        follow: Follow,
    ) -> Option<Timestamp> {
        let rollout = self.newest.get(key).filter(|rollout| rollout.state == RolloutState::Unseen)?;
        let may = status.stage == RolloutStage::Failed
            && traced.next.is_none()
            && traced.follows_closely(follow.timeout, self.calm.get(key).copied());
        may.then(|| later(rollout.accepted_at, follow.paced(rollout::LINGERS)))
    }

    /// The list of deployments cannot be had.
    fn cannot_list(&mut self, key: &ServiceKey, refused: bool, now: Timestamp) {
        if !refused {
            return self.give_up(key, now);
        }
        let project = Project::of(key);
        let asked = self.questions.asked().into_iter().filter(|key| Project::of(key) == project);
        for key in asked {
            self.give_up(&key, now);
        }
        self.questions.refuse(project, now);
    }

    /// What was asked about a service is not answered.
    fn give_up(&mut self, key: &ServiceKey, now: Timestamp) {
        self.name(key, None, now);
        self.decide_by_times(key, now);
    }

    /// What was shown of a rollout counts by its time alone.
    fn decide_by_times(&mut self, key: &ServiceKey, now: Timestamp) {
        if let Some(status) = self.questions.give_up(key) {
            self.change(key, |before| rollout::seen(before, Some(status), Paused::No, now));
        }
    }

    /// Tells who changed a service, where that was asked.
    fn name(&mut self, key: &ServiceKey, by: Option<OvertakenBy>, now: Timestamp) {
        if self.questions.take_stranger(key) {
            self.events.push(Event::SomebodyElse { key: key.clone(), by, at: now });
        }
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&project_path(self.team.as_ref(), &self.project))
    }
}

#[cfg(test)]
mod tests;
