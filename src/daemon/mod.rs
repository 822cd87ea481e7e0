//! The driver: carries out what the engine decides. It owns the clock, the random numbers, the ledger and the client.
//!
//! [`reconcile_once`] makes one pass to its end; [`plan`] says what a pass would do and sends nothing. Both begin with
//! the same observation.

mod call;
mod clock;
mod observe;
mod pass;
mod stop;

pub use observe::{Observation, ObserveError, observe};
pub use pass::{PassError, PassSettings, Progress, Waiting, reconcile_once};
pub use stop::{Stop, Stopping};

use crate::plan::{ApiUse, Outcome, Report, ServiceReport};

/// What a pass would do now.
#[must_use]
pub fn plan(observation: Observation) -> Report {
    let services: Vec<ServiceReport> = observation.services(|_, step| (Outcome::from(step), 0, None));
    let Observation { snapshot, .. } = observation;
    Report::new(snapshot.revision, services, snapshot.problems, ApiUse::default())
}
