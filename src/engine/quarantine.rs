//! Content whose rollout failed: it is kept from being sent again until its manifest changes, a person lets it out, or its
//! rollout is seen to have ended well after all. Where that is asked for, what ran before is sent in its place, once: which
//! content that is, is decided once for each that failed, and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Engine;
use super::service::Quarantined;
use crate::model::{DeploymentUpdate, Desired, Digest, Evidence, OnFailure, Quarantine, RolloutState, ServiceKey};
use crate::plan;

/// What is quarantined, and what of that is not written down yet.
#[derive(Debug, Default)]
pub(super) struct Quarantines {
    /// What follows a failure where a manifest does not say.
    on_failure: OnFailure,
    of: BTreeMap<ServiceKey, Quarantine>,
    /// What is sent in the place of what failed.
    good: BTreeMap<ServiceKey, (Digest, Arc<DeploymentUpdate>)>,
    /// Services for which that was asked for, whatever the answer.
    asked: BTreeSet<ServiceKey>,
    /// What was asked for and has no answer.
    seeking: BTreeMap<ServiceKey, Sought>,
    sought: Vec<Sought>,
    /// Where what was sent in its place failed as well.
    back_failed: BTreeSet<ServiceKey>,
    /// Content that went in, or came out.
    changed: BTreeSet<(ServiceKey, Digest)>,
}

/// Content is looked for that can be sent in the place of some that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// For which service.
    pub key: ServiceKey,
    /// What failed.
    pub failed: Digest,
    /// Which content it is, where that was decided before; else the last one whose rollout completed.
    pub back: Option<Digest>,
    /// Whether a person chose that.
    pub is_chosen: bool,
}

/// The manifest of a service says something else than when a person took it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedSince;

impl Quarantines {
    fn put(&mut self, key: &ServiceKey, quarantine: Quarantine) {
        if self.of.get(key).is_some_and(|before| before.digest != quarantine.digest) {
            self.forget(key);
        }
        self.changed.insert((key.clone(), quarantine.digest));
        self.of.insert(key.clone(), quarantine);
    }

    /// The ledger forgets it as well.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.of.remove(key);
        self.good.remove(key);
        self.asked.remove(key);
        self.seeking.remove(key);
        self.back_failed.remove(key);
    }

    /// Ends the quarantine of this content.
    fn lift(&mut self, key: &ServiceKey, content: Digest) -> bool {
        let is_held = self.of.get(key).is_some_and(|quarantine| quarantine.digest == content);
        if is_held {
            self.forget(key);
            self.changed.insert((key.clone(), content));
        }
        is_held
    }
}

impl Engine {
    /// What follows a rollout that failed, where a manifest does not say; before the first [`Engine::observe`].
    pub fn set_on_failure(&mut self, on_failure: OnFailure) {
        self.quarantines.on_failure = on_failure;
    }

    /// Takes over what an earlier process quarantined. It may have ended between the failure and that.
    pub(super) fn recall_quarantine(&mut self, key: &ServiceKey, quarantine: Option<Quarantine>) {
        self.quarantines.of.extend(quarantine.map(|quarantine| (key.clone(), quarantine)));
        self.judge_rollout(key);
        self.quarantine_service(key);
    }

    /// What is quarantined of a service.
    #[must_use]
    pub fn quarantine(&self, key: &ServiceKey) -> Option<&Quarantine> {
        self.quarantines.of.get(key)
    }

    /// A person lets the content of a service out: what failed is sent once more. `false` where none is quarantined.
    pub fn release(&mut self, key: &ServiceKey, now: Timestamp) -> bool {
        let Some(quarantine) = self.quarantines.of.get(key).cloned() else { return false };
        let content = quarantine.digest;
        match quarantine.let_out(self.rollouts.of(key)) {
            Some(left) => self.quarantines.put(key, left),
            None => drop(self.quarantines.lift(key, content)),
        }
        self.quarantine_anew([key.clone()], now);
        true
    }

    /// A person takes content of a service back, and chooses what is sent in its place.
    ///
    /// # Errors
    /// The manifest says something else by now.
    pub fn take_back(&mut self, key: &ServiceKey, taken: Quarantine, now: Timestamp) -> Result<(), ChangedSince> {
        let desired = self.services.get(key).and_then(|service| service.desired.as_ref());
        if desired.is_some_and(|desired| desired.digest != taken.digest) {
            return Err(ChangedSince);
        }
        self.quarantines.forget(key);
        self.quarantines.put(key, taken);
        self.quarantine_anew([key.clone()], now);
        Ok(())
    }

    /// Which content was quarantined, or no longer is, since the last time that this was asked.
    pub fn take_quarantines(&mut self) -> Vec<(ServiceKey, Digest, Option<Quarantine>)> {
        let now_of = |key: &ServiceKey, content| {
            self.quarantines.of.get(key).filter(|quarantine| quarantine.digest == content).cloned()
        };
        let changed = std::mem::take(&mut self.quarantines.changed).into_iter();
        changed.map(|(key, content)| (key.clone(), content, now_of(&key, content))).collect()
    }

    /// Content that is looked for since the last time that this was asked. Whoever finds it, or finds that there is none,
    /// says so by [`Engine::found`].
    pub fn take_sought(&mut self) -> Vec<Sought> {
        std::mem::take(&mut self.quarantines.sought)
    }

    /// Whether content is being looked for.
    #[must_use]
    pub fn is_seeking(&self) -> bool {
        !self.quarantines.seeking.is_empty()
    }

    /// What can be sent in the place of content that failed; nothing where no such thing is known. `false` where it is not
    /// looked for any more, and counts for nothing.
    pub fn found(&mut self, sought: &Sought, found: Option<(Digest, DeploymentUpdate)>, now: Timestamp) -> bool {
        let Sought { key, failed, .. } = sought;
        let Quarantines { of, good, changed, seeking, .. } = &mut self.quarantines;
        // Something else may have been decided since.
        if seeking.get(key) != Some(sought) {
            return false;
        }
        seeking.remove(key);
        let quarantine = of.get_mut(key).filter(|quarantine| quarantine.digest == *failed);
        let (Some(quarantine), Some((back, update))) = (quarantine, found) else { return true };
        if quarantine.back.replace(back) != Some(back) {
            changed.insert((key.clone(), *failed));
        }
        good.insert(key.clone(), (back, Arc::new(update)));
        self.quarantine_anew([key.clone()], now);
        true
    }

    /// Whether something rolls out that is followed by something else if it fails.
    #[must_use]
    pub fn may_return(&self, now: Timestamp) -> bool {
        let may = |key: &ServiceKey| {
            let desired = self.services.get(key).and_then(|service| service.desired.as_ref());
            let rollout = self.rollouts.of(key).filter(|rollout| rollout.state.is_open());
            desired.zip(rollout).is_some_and(|(desired, rollout)| {
                desired.digest == rollout.digest && self.on_failure(desired) == OnFailure::LastGood
            })
        };
        self.rollouts.undeployed().any(may) && self.awaits_rollouts(now)
    }

    fn on_failure(&self, desired: &Desired) -> OnFailure {
        desired.policy.on_failure.unwrap_or(self.quarantines.on_failure)
    }

    /// Takes in how rollouts ended since the last time.
    pub(super) fn judge_rollouts(&mut self, now: Timestamp) {
        let ended = self.rollouts.take_ended();
        let changed: Vec<ServiceKey> = ended.into_iter().filter(|key| self.judge_rollout(key)).collect();
        self.quarantine_anew(changed, now);
    }

    /// What the newest rollout of a service means for its content. Says whether that is another thing than before.
    fn judge_rollout(&mut self, key: &ServiceKey) -> bool {
        let Some(rollout) = self.rollouts.of(key) else { return false };
        let desired = self.services.get(key).and_then(|service| service.desired.as_ref()).map(|desired| desired.digest);
        let before = self.quarantines.of.get(key);
        match rollout.state {
            // What a person took back runs no worse for that.
            RolloutState::Completed if before.is_some_and(|before| before.by.is_some()) => false,
            RolloutState::Completed => {
                let content = rollout.digest;
                self.quarantines.lift(key, content)
            }
            RolloutState::Failed if before.is_some_and(|before| before.back == Some(rollout.digest)) => {
                self.quarantines.back_failed.insert(key.clone())
            }
            // What nobody asks for any more is not sent again in any case.
            RolloutState::Failed if before.is_some_and(|before| before.by.is_some()) => false,
            RolloutState::Failed if desired.is_none_or(|desired| desired == rollout.digest) => {
                let before = before.filter(|before| before.digest == rollout.digest);
                let quarantine = Quarantine {
                    digest: rollout.digest,
                    since: before.map_or(rollout.since, |before| before.since),
                    reason: rollout.reason.as_deref().map(Into::into),
                    by: None,
                    released: before.is_some_and(|before| before.released),
                    back: before.and_then(|before| before.back),
                };
                let is_news = before != Some(&quarantine);
                if is_news {
                    self.quarantines.put(key, quarantine);
                }
                is_news
            }
            _ => false,
        }
    }

    /// Content was accepted. Who let it out meant that; what was on its way when it was quarantined, nobody did.
    pub(super) fn sent_quarantined(&mut self, key: &ServiceKey, content: Digest) {
        // The ledger forgets it with the acceptance, and once more after whatever was on its way there of it.
        if self.quarantines.of.get(key).is_some_and(|quarantine| quarantine.digest == content && quarantine.released) {
            self.quarantines.lift(key, content);
            self.quarantine_service(key);
        }
    }

    /// A manifest that says something else lifts the quarantine of what it said before. One that is absent does not.
    pub(super) fn lift_by_manifests(&mut self) {
        let keys: Vec<ServiceKey> = self.quarantines.of.keys().cloned().collect();
        for key in keys {
            let desired = self.services.get(&key).and_then(|service| service.desired.as_ref());
            let quarantine = self.quarantines.of.get(&key).map(|quarantine| quarantine.digest);
            if let (Some(desired), Some(content)) = (desired, quarantine)
                && desired.digest != content
            {
                self.quarantines.lift(&key, content);
            }
            self.quarantine_service(&key);
        }
    }

    fn quarantine_anew(&mut self, keys: impl IntoIterator<Item = ServiceKey>, now: Timestamp) {
        let keys: Vec<ServiceKey> = keys.into_iter().collect();
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            self.quarantine_service(key);
        }
        self.rule_anew(now);
        self.reconsider(keys, now);
    }

    /// Lets a service know what of it is quarantined, and what it is to have instead.
    fn quarantine_service(&mut self, key: &ServiceKey) {
        let quarantines = &self.quarantines;
        let quarantine = quarantines.of.get(key);
        let held = quarantine.map(|quarantine| Quarantined {
            held: plan::quarantined(key, quarantine),
            quarantine: quarantine.clone(),
            back_failed: quarantines.back_failed.contains(key),
        });
        let desired = self.services.get(key).and_then(|service| service.desired.as_ref());
        let held_back = desired.zip(quarantine).filter(|(desired, quarantine)| quarantine.holds(desired.digest));
        let back = held_back.and_then(|(desired, _)| {
            let (digest, update) = quarantines.good.get(key)?;
            Some(Desired { digest: *digest, update: Arc::clone(update), ..desired.clone() })
        });
        let sought = held_back.filter(|_| back.is_none() && !quarantines.asked.contains(key));
        let sought = sought.filter(|(desired, quarantine)| quarantine.back.is_some() || self.returns(key, desired));
        let sought = sought.map(|(_, quarantine)| Sought {
            key: key.clone(),
            failed: quarantine.digest,
            back: quarantine.back,
            is_chosen: quarantine.by.is_some(),
        });
        if let Some(sought) = sought {
            self.quarantines.asked.insert(key.clone());
            self.quarantines.seeking.insert(key.clone(), sought.clone());
            self.quarantines.sought.push(sought);
        }
        if let Some(service) = self.services.get_mut(key) {
            (service.quarantined, service.back) = (held, back);
        }
    }

    /// Whether something else is sent in the place of what failed: only upon a failure that is known to be of just this
    /// content, and where nobody has deployed something else since.
    fn returns(&self, key: &ServiceKey, desired: &Desired) -> bool {
        let is_proven = |evidence| matches!(evidence, Evidence::Time | Evidence::DeploymentId);
        let rollout = self.rollouts.of(key).filter(|rollout| rollout.digest == desired.digest);
        self.on_failure(desired) == OnFailure::LastGood
            && rollout.is_some_and(|rollout| is_proven(rollout.evidence) && rollout.overtaken.is_none())
    }
}

#[cfg(test)]
mod tests;
