//! One look at the folder and the ledger, and what follows from it.
//!
//! [`reconcile_once`] makes a pass to its end; [`plan`] says what one would do, and [`plan_live`] also by what runs. Both
//! send nothing.

mod live;
mod observe;
mod once;

pub use live::{compare_live, plan_live};
pub use observe::{Bounds, Observation, ObserveError, observe_with};
pub use once::{PassError, PassSettings, Progress, Shown, Waiting, reconcile_once};

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::Window;
use crate::model::ApiPlace;
use crate::plan::{ApiUse, Outcome, PlanReport, Report, ServiceReport};

/// What a pass would do now, and what that would cost. `quota` is the rate limit's window as the ledger has it.
#[must_use]
pub fn plan(
    observation: Observation,
    plan: PlanReport,
    place: ApiPlace,
    quota: Option<Window>,
    now: Timestamp,
) -> Report {
    let services: Vec<ServiceReport> =
        observation.services(observation.changes(), |_, step| (Outcome::from(step), 0, None));
    let waves = observation.waves();
    let Observation { snapshot, .. } = observation;
    let quota = quota.filter(|window| window.resets_at > now);
    let resets_in = quota.and_then(|window| Duration::try_from(window.resets_at.duration_since(now)).ok());
    let cost = live::cost(&services, &snapshot.desired, quota.map(|window| window.remaining), resets_in);
    let report = Report::new(place, snapshot.revision, plan, services, snapshot.problems, ApiUse::default());
    Report { cost: Some(cost), waves, ..report }
}
