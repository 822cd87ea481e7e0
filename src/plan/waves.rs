//! In which order updates go out, where services depend on each other.

use std::collections::{BTreeMap, HashMap};

use super::Step;
use crate::model::{Desired, ServiceKey, in_order};

/// The services that are due, in waves: each waits for some of the wave before it. Nothing where all can go at once.
#[must_use]
pub fn waves(desired: &BTreeMap<ServiceKey, Desired>, steps: &BTreeMap<ServiceKey, Step>) -> Vec<Vec<ServiceKey>> {
    let is_due = |key: &ServiceKey| matches!(steps.get(key), Some(Step::Update(_) | Step::ReadLive(_)));
    let mut wave_of: HashMap<&ServiceKey, usize> = HashMap::new();
    for key in in_order(desired).into_iter().flatten().filter(|key| is_due(key)) {
        let Some(policy) = desired.get(key).map(|of| &of.policy) else { continue };
        let before = policy.awaited().filter_map(|dependency| wave_of.get(dependency)).max();
        wave_of.insert(key, before.map_or(0, |wave| wave + 1));
    }
    let last = wave_of.values().copied().max().unwrap_or(0);
    if last == 0 {
        return Vec::new();
    }
    let mut waves = vec![Vec::new(); last + 1];
    for key in steps.keys().filter(|key| is_due(key)) {
        waves[wave_of.get(key).copied().unwrap_or(0)].push(key.clone());
    }
    waves
}
