//! Which services wait for others, by what their manifests depend on.

use std::collections::{BTreeMap, BTreeSet};

use super::follow::Rollouts;
use super::service::{Context, Service};
use crate::model::{Applied, DependencyGate, HeldBy, Known, ServiceKey};
use crate::plan;

/// Who depends on a service.
pub(super) type Dependents = BTreeMap<ServiceKey, BTreeSet<ServiceKey>>;

/// Who depends on whom, by what is desired.
pub(super) fn dependents(services: &BTreeMap<ServiceKey, Service>) -> Dependents {
    let mut dependents = Dependents::new();
    for (key, service) in services {
        for dependency in service.desired.iter().flat_map(|of| of.policy.awaited()) {
            dependents.entry(dependency.clone()).or_default().insert(key.clone());
        }
    }
    dependents
}

/// What a service waits for, of what it depends on. Without `rollouts` they are not followed: what was accepted is then
/// all that can be waited for.
pub(super) fn awaited(
    services: &BTreeMap<ServiceKey, Service>,
    rollouts: Option<&Rollouts>,
    key: &ServiceKey,
    context: Context,
) -> Vec<HeldBy> {
    let Some(policy) = services.get(key).and_then(|service| service.desired.as_ref()).map(|of| &of.policy) else {
        return Vec::new();
    };
    let has_reached = |key: &ServiceKey| {
        let service = services.get(key);
        let runs = || rollouts.and_then(|rollouts| rollouts.of(key)).is_none_or(|rollout| rollout.state.is_deployed());
        service.is_some_and(|service| has_its_content(service, context))
            && (policy.gate != DependencyGate::Deployed || runs())
    };
    let is_awaited = |key: &&ServiceKey| !has_reached(key);
    policy.awaited().filter(is_awaited).map(plan::awaits).collect()
}

/// Whether a service has what its manifest says. One without a manifest, or that is left alone, has not: what it runs is
/// not what anybody wrote down.
fn has_its_content(service: &Service, context: Context) -> bool {
    let Some(desired) = service.desired.as_ref().filter(|of| !of.policy.suspend.holds(context.wall)) else {
        return false;
    };
    let has = |applied: &Applied| applied.digest == desired.digest && !applied.unverified;
    matches!(&service.known, Some(Known::Applied(applied) | Known::Suspect(applied)) if has(applied))
        && !service.effect.is_missing()
}
