//! Content whose rollout failed: it is kept from being sent again until its manifest changes, a person lets it out, or its
//! rollout is seen to have ended well after all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Engine;
use super::service::Quarantined;
use crate::model::{Digest, Quarantine, RolloutState, ServiceKey};
use crate::plan;

/// What is quarantined, and what of that is not written down yet.
#[derive(Debug, Default)]
pub(super) struct Quarantines {
    of: BTreeMap<ServiceKey, Quarantine>,
    /// Content that went in, or came out.
    changed: BTreeSet<(ServiceKey, Digest)>,
}

impl Quarantines {
    fn put(&mut self, key: &ServiceKey, quarantine: Quarantine) {
        self.changed.insert((key.clone(), quarantine.digest));
        self.of.insert(key.clone(), quarantine);
    }

    /// The ledger forgets it as well.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.of.remove(key);
    }

    /// Ends the quarantine of this content.
    fn lift(&mut self, key: &ServiceKey, content: Digest) -> bool {
        let is_held = self.of.get(key).is_some_and(|quarantine| quarantine.digest == content);
        if is_held {
            self.of.remove(key);
            self.changed.insert((key.clone(), content));
        }
        is_held
    }
}

impl Engine {
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

    /// A person lets the content of a service out: it is sent once more. `false` where none is quarantined.
    pub fn release(&mut self, key: &ServiceKey, now: Timestamp) -> bool {
        let Some(quarantine) = self.quarantines.of.get_mut(key) else { return false };
        // That is in the ledger already, with who asked for it.
        quarantine.released = true;
        self.quarantine_anew([key.clone()], now);
        true
    }

    /// Which content was quarantined, or no longer is, since the last time that this was asked.
    pub fn take_quarantines(&mut self) -> Vec<(ServiceKey, Digest, Option<Quarantine>)> {
        let now_of = |key: &ServiceKey, content| {
            self.quarantines.of.get(key).filter(|quarantine| quarantine.digest == content).cloned()
        };
        let changed = std::mem::take(&mut self.quarantines.changed).into_iter();
        changed.map(|(key, content)| (key.clone(), content, now_of(&key, content))).collect()
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
        match rollout.state {
            RolloutState::Completed => {
                let content = rollout.digest;
                self.quarantines.lift(key, content)
            }
            // What nobody asks for any more is not sent again in any case.
            RolloutState::Failed if desired.is_none_or(|desired| desired == rollout.digest) => {
                let before = self.quarantines.of.get(key).filter(|before| before.digest == rollout.digest);
                let quarantine = Quarantine {
                    digest: rollout.digest,
                    since: before.map_or(rollout.since, |before| before.since),
                    reason: rollout.reason.as_deref().map(Into::into),
                    released: before.is_some_and(|before| before.released),
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

    /// Content was accepted. Who let it out meant that.
    pub(super) fn sent_quarantined(&mut self, key: &ServiceKey, content: Digest) {
        // The ledger forgets it with the acceptance.
        if self.quarantines.of.get(key).is_some_and(|quarantine| quarantine.digest == content) {
            self.quarantines.of.remove(key);
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

    /// Lets a service know what of it is quarantined.
    fn quarantine_service(&mut self, key: &ServiceKey) {
        let Some(service) = self.services.get_mut(key) else { return };
        service.quarantined = self
            .quarantines
            .of
            .get(key)
            .map(|quarantine| Quarantined { held: plan::quarantined(key, quarantine), quarantine: quarantine.clone() });
    }
}

#[cfg(test)]
mod tests;
