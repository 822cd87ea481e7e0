//! What holds an update that is due.

use super::{Step, UnnamedCredentials};
use crate::model::{
    Cause, DeploymentUpdate, Desired, Digest, External, HeldBy, HoldKind, Quarantine, ServiceKey, Unnamed,
};
use crate::text::short;

/// What holds the update that this step would send; empty where nothing does. `unnamed` is what the newest read showed
/// of credentials that live uses and the manifest of then named none of.
#[must_use]
pub fn held_by(step: Step, desired: &Desired, unnamed: Option<&UnnamedCredentials>, awaited: &[HeldBy]) -> Vec<HeldBy> {
    let awaited = awaited.iter().filter(|_| is_new(step)).cloned();
    credentials(step, desired, unnamed).into_iter().chain(awaited).collect()
}

/// Whether something new would be sent, and not what the service had already; also after a read.
fn is_new(step: Step) -> bool {
    matches!(step, Step::Update(Cause::New | Cause::Changed | Cause::InDoubt) | Step::ReadLive(Cause::Changed))
}

/// What a service waits for that depends on this one.
#[must_use]
pub fn awaits(dependency: &ServiceKey) -> HeldBy {
    let what = format!("waits for {dependency} (policy.dependsOn)").into();
    HeldBy { kind: HoldKind::Dependency, what, until: None }
}

/// What keeps content back whose rollout failed.
#[must_use]
pub fn quarantined(key: &ServiceKey, quarantine: &Quarantine) -> HeldBy {
    let why = quarantine.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let back = match quarantine.back {
        Some(back) => format!("; it has {} instead", short::digest(back)),
        None => String::new(),
    };
    let because = match &quarantine.by {
        Some(by) => format!("rolled back by {by}"),
        None => "quarantined, because its rollout failed".to_owned(),
    };
    let what = format!("{because}{why}{back} (change its manifest; `truenorth release {key}` sends it once more)");
    HeldBy { kind: HoldKind::Quarantine, what: what.into(), until: None }
}

/// The step where content may have been let out of quarantine, and is sent once more, though it was accepted before; or where
/// a person took it back, and what they chose is not there yet.
#[must_use]
pub fn released(step: Step, desired: Digest, quarantine: Option<&Quarantine>, known: Option<Digest>) -> Step {
    let taken_back = quarantine.filter(|one| one.by.is_some() && one.holds(desired));
    match step {
        Step::Unchanged | Step::Update(Cause::Changed | Cause::Drifted)
            if taken_back.is_some_and(|one| one.back.is_some() && one.back != known) =>
        {
            Step::Update(Cause::Rollback)
        }
        Step::Unchanged | Step::Update(Cause::Drifted) if quarantine.is_some_and(|one| one.lets_out(desired)) => {
            Step::Update(Cause::Released)
        }
        step => step,
    }
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

/// The warning that content is due once more whose rollout failed before, and when.
#[must_use]
pub fn failed_before(when: &str) -> String {
    format!("the same content was sent before, and its rollout failed {when}")
}
