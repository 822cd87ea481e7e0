//! What holds an update that is due.

use super::{Step, UnnamedCredentials};
use crate::model::{Cause, DeploymentUpdate, Desired, External, HeldBy, HoldKind, ServiceKey, Unnamed};

/// What holds the update that this step would send; empty where nothing does. `unnamed` is what the newest read showed
/// of credentials that live uses and the manifest of then named none of.
#[must_use]
pub fn held_by(step: Step, desired: &Desired, unnamed: Option<&UnnamedCredentials>, awaited: &[HeldBy]) -> Vec<HeldBy> {
    let awaited = awaited.iter().filter(|_| is_new(step)).cloned();
    credentials(step, desired, unnamed).into_iter().chain(awaited).collect()
}

/// Whether something new would be sent, and not what the service had already.
fn is_new(step: Step) -> bool {
    matches!(step, Step::Update(Cause::New | Cause::Changed | Cause::InDoubt))
}

/// What a service waits for that depends on this one.
#[must_use]
pub fn awaits(dependency: &ServiceKey) -> HeldBy {
    let what = format!("waits for {dependency} (policy.dependsOn)").into();
    HeldBy { kind: HoldKind::Dependency, what, until: None }
}

/// An update that names no credentials drops those that live uses. A pull that fails for that shows only at the next
/// restart, so somebody has to say that it is meant.
fn credentials(step: Step, desired: &Desired, unnamed: Option<&UnnamedCredentials>) -> Option<HeldBy> {
    let Step::Update(cause) = step else { return None };
    if cause == Cause::NotInEffect || !may_drop_credentials(desired) {
        return None;
    }
    Some(HeldBy { kind: HoldKind::Credentials, what: unnamed?.to_string().into(), until: None })
}

/// Whether an update by this manifest would drop the credentials that live uses, if it uses some.
#[must_use]
pub fn may_drop_credentials(desired: &Desired) -> bool {
    desired.policy.credentials == Unnamed::Forgotten
        && matches!(&*desired.update, DeploymentUpdate::External { external: External { credentials: None, .. }, .. })
}
