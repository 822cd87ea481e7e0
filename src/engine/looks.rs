//! Looks at rollouts, and what they mean for the services that wait for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::follow::{Follow, Look, Looked};
use super::quota::Class;
use super::service::{Service, later};
use super::{Engine, SOON};
use crate::model::{DeploymentEntry, DeploymentStatus, Rollout, RolloutState, ServiceKey};

impl Engine {
    /// The next look at rollouts, if one is due and there is quota for it. The caller makes it and says what it showed by
    /// [`Engine::looked`].
    pub fn next_look(&mut self, now: Timestamp, owed: usize) -> Option<Look> {
        let follow = self.pace.follow?;
        self.expire_rollouts(follow, now);
        if self.rollouts.due(follow)? > now || self.gate.opens(now).is_some() {
            return None;
        }
        if self.quota.follow_opens(now).is_some() {
            self.rollouts.starve(follow, now);
            // What was asked, and is not answered now, is decided.
            self.take_rollouts_in(now);
            return None;
        }
        if !self.quota.permits_follow(now, owed) {
            return None;
        }
        let look = self.rollouts.next(follow, now)?;
        self.quota.follow();
        Some(look)
    }

    /// A service that a look is about.
    #[must_use]
    pub fn service_of<'a>(&'a self, look: &'a Look) -> Option<&'a ServiceKey> {
        self.rollouts.service_of(look)
    }

    /// Takes in that rollouts took too long.
    pub(super) fn expire_rollouts(&mut self, follow: Follow, now: Timestamp) {
        if self.rollouts.expires(follow).is_some_and(|at| at <= now) {
            self.rollouts.expire(follow, now);
            self.judge_rollouts(now);
            self.want_rollouts(now);
        }
    }

    /// Takes in what a look at rollouts showed.
    pub fn looked(&mut self, looked: Looked, now: Timestamp) {
        match looked {
            Looked::Deployments(entries) => self.listed(&entries, now),
            looked => self.rollouts.looked(looked, now),
        }
        self.take_rollouts_in(now);
    }

    /// Any rollout may be another one by now: what follows from that.
    fn take_rollouts_in(&mut self, now: Timestamp) {
        self.judge_rollouts(now);
        self.let_dependents_go(None, now);
        self.want_rollouts(now);
    }

    /// Takes in what was deployed in a service.
    fn listed(&mut self, entries: &[DeploymentEntry], now: Timestamp) {
        let Some(follow) = self.pace.follow else { return };
        let content = self.rollouts.asked_about().and_then(|(key, digest)| {
            let Service { desired, back, .. } = self.services.get(key)?;
            let of = [back, desired].into_iter().flatten().find(|of| of.digest == digest)?;
            Some(Arc::clone(&of.update))
        });
        self.rollouts.listed(entries, content.as_deref(), follow, now);
    }

    /// Whose rollouts others wait for.
    pub(super) fn want_rollouts(&mut self, now: Timestamp) {
        let context = self.context(now);
        let is_held = |key: &ServiceKey| self.services.get(key).is_some_and(|of| of.waits_for_a_rollout(context));
        let is_wanted = |key: &&ServiceKey| self.dependents.get(*key).is_some_and(|of| of.iter().any(is_held));
        let wanted = self.rollouts.undeployed().filter(is_wanted).cloned().collect();
        self.rollouts.want(wanted);
    }

    /// A service was read: what that shows of its rollout costs nothing more.
    pub fn saw(&mut self, key: &ServiceKey, status: Option<DeploymentStatus>, paused: Option<bool>, now: Timestamp) {
        self.rollouts.saw(key, status, paused, now);
        self.judge_rollouts(now);
        self.let_dependents_go(Some(key), now);
    }

    /// Whether a rollout is worth waiting for: it has not ended, and can be looked at before its time is over.
    #[must_use]
    pub fn awaits_rollouts(&self, now: Timestamp) -> bool {
        let Some(follow) = self.pace.follow else { return false };
        self.rollouts.are_awaited(follow, self.looks_open(now).unwrap_or(now), now)
    }

    /// Whether something waits for the rollout of what it depends on: it goes when that completed.
    #[must_use]
    pub fn awaits_dependencies(&self, now: Timestamp) -> bool {
        let rolls = |key: &ServiceKey| self.rollouts.may_deploy(key);
        let waits = |service: &Service| {
            let awaited = service.desired.iter().flat_map(|desired| desired.policy.awaited());
            !service.awaited.is_empty() && awaited.into_iter().any(rolls)
        };
        self.awaits_rollouts(now) && self.services.values().any(waits)
    }

    /// The rollout of what was accepted last for a service, as far as it is known.
    #[must_use]
    pub fn rollout(&self, key: &ServiceKey) -> Option<&Rollout> {
        self.rollouts.of(key)
    }

    /// How many rollouts have not ended.
    #[must_use]
    pub fn rolling(&self) -> usize {
        self.rollouts.rolling()
    }

    /// How many rollouts are in each state.
    #[must_use]
    pub fn rollouts(&self) -> BTreeMap<RolloutState, u64> {
        self.rollouts.count()
    }

    /// When looks may be made that may not now.
    pub(super) fn looks_open(&self, now: Timestamp) -> Option<Timestamp> {
        self.gate.opens(now).max(self.quota.follow_opens(now)).max(self.quota.opens(Class::Other, now, 1))
    }

    /// When the next look is due, or a rollout takes too long: a moment after `now` where that is by now, and what keeps it
    /// from being made is no time.
    #[must_use]
    pub fn next_look_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let follow = self.pace.follow?;
        let due = self.rollouts.due(follow).map(|due| self.looks_open(now).map_or(due, |opens| opens.max(due)));
        let wake = [due, self.rollouts.expires(follow)].into_iter().flatten().min()?;
        Some(wake.max(later(now, SOON)))
    }

    /// How an earlier process's update ended matters no more where the manifest asks for something else by now.
    pub(super) fn disregard_rollouts(&mut self) {
        let Self { services, rollouts, .. } = self;
        let differs = |key: &&ServiceKey| {
            let wanted = services.get(*key).and_then(Service::target).map(|desired| desired.digest);
            wanted.is_some_and(|wanted| rollouts.of(key).is_some_and(|rollout| rollout.digest != wanted))
        };
        let other: Vec<ServiceKey> = rollouts.undeployed().filter(differs).cloned().collect();
        for key in other {
            rollouts.disregard(&key);
        }
    }
}
