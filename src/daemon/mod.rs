//! The driver: carries out what the engine decides. It owns the clock, the random numbers, the ledger and the client.
//!
//! [`run()`] does so for months, [`reconcile_once`] for one pass to its end; [`plan`] says what a pass would do and sends
//! nothing.

mod call;
mod clock;
mod driver;
mod looks;
mod observe;
mod pass;
mod run;
mod stop;
mod systemd;
mod view;

pub use driver::Api;
pub use observe::{Observation, ObserveError, observe};
pub use pass::{PassError, PassSettings, Progress, Waiting, reconcile_once};
pub use run::{DaemonSettings, RunError, run};
pub use stop::{Request, Stop, Stopping};

use crate::plan::{ApiUse, Outcome, Report, ServiceReport};

/// What a pass would do now.
#[must_use]
pub fn plan(observation: Observation) -> Report {
    let services: Vec<ServiceReport> = observation.services(|_, step| (Outcome::from(step), 0, None));
    let Observation { snapshot, .. } = observation;
    Report::new(snapshot.revision, services, snapshot.problems, ApiUse::default())
}
