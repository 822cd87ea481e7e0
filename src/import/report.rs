//! The report of an import: what became of each service, and whether a first pass would find anything to do.

use serde::Serialize;

use super::describe::Untold;
use super::place::Place;
use super::{Fate, Request};
use crate::model::{DeploymentUpdate, ServiceKey, Unnamed};
use crate::plan::{ApiUse, CREDENTIALS, Change, FieldVerdict, compare};
use crate::source::Snapshot;
use crate::text::words;

/// What an import did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every service that is deployed has a manifest, and each says what runs: a first pass would send nothing.
    pub empty: bool,
    /// Every service, by name.
    pub services: Vec<Imported>,
    /// What the import spent.
    pub api: ApiUse,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// `project/service`, or `team/project/service`.
    pub service: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Its manifest, from the folder's top.
    pub file: Option<String>,
    /// What live does not give, and the manifest lacks therefore.
    pub untold: Vec<Untold>,
    /// Where its manifest says something else than what runs; from live to the manifest.
    pub differences: Vec<Change>,
    /// What the manifest says and live does not show, credentials aside: a first pass would send the update.
    pub undecided: Vec<FieldVerdict>,
    /// Why it was skipped or failed.
    pub message: Option<String>,
}

words! {
    /// What became of a service.
    pub enum Outcome {
        /// A manifest was written.
        Written = "written",
        /// The folder had one already, which stays.
        Kept = "kept",
        /// It deploys nothing that a manifest could be about.
        Skipped = "skipped",
        /// It has no manifest; the message says why.
        Failed = "failed",
    }
}

impl Report {
    pub(super) fn new(services: Vec<Imported>, api: ApiUse) -> Self {
        let empty = services.iter().all(|service| service.outcome != Outcome::Failed && service.matches());
        Self { empty, services, api }
    }

    /// How many services ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.services.iter().filter(|service| service.outcome == outcome).count()
    }
}

impl Imported {
    /// Whether its manifest, if it has one, says what runs.
    pub fn matches(&self) -> bool {
        self.differences.is_empty() && self.undecided.is_empty()
    }
}

/// Puts together what is told of a service, by what the folder says of it now.
pub(super) fn imported(
    service: String,
    key: Option<&ServiceKey>,
    request: &Request,
    fate: Fate,
    after: &Snapshot,
) -> Imported {
    let named = match (key, &request.team) {
        (Some(key), _) => key.to_string(),
        (None, Some(team)) => format!("{team}/{}/{service}", request.project),
        (None, None) => format!("{}/{service}", request.project),
    };
    let mut imported = Imported {
        service: named,
        outcome: Outcome::Failed,
        file: None,
        untold: Vec::new(),
        differences: Vec::new(),
        undecided: Vec::new(),
        message: None,
    };
    match (fate, key) {
        (Fate::Has { written, live, untold }, Some(key)) => {
            let Some(desired) = after.desired.get(key) else {
                imported.untold = untold;
                imported.file = Some(Place::of(key).to_string());
                imported.message = Some(unread(key, after));
                return imported;
            };
            imported.untold = untold.into_iter().filter(|untold| !names(&desired.update, untold.path)).collect();
            let comparison = compare(&desired.update, &live);
            let is_told = imported.untold.iter().any(|untold| untold.path == CREDENTIALS);
            if comparison.unnamed_credentials.is_some() && !is_told {
                imported.untold.push(Untold { path: CREDENTIALS, why: "live uses some, and the manifest names none" });
            }
            if desired.policy.credentials == Unnamed::OnPurpose {
                imported.untold.retain(|untold| untold.path != CREDENTIALS);
            }
            imported.outcome = if written { Outcome::Written } else { Outcome::Kept };
            imported.file = Some(desired.place.file.to_string());
            imported.differences = comparison.differences();
            if !comparison.is_adoptable() {
                imported.undecided = comparison.undecided().cloned().collect();
            }
        }
        (Fate::Skipped(why), _) => {
            imported.outcome = Outcome::Skipped;
            imported.message = Some(why.to_owned());
        }
        (Fate::Failed(why), _) => imported.message = Some(why),
        // Without a valid id nothing can have been read.
        (Fate::Has { .. }, None) => {}
    }
    imported
}

/// Whether an update has this field: somebody wrote in what live does not give.
fn names(update: &DeploymentUpdate, path: &str) -> bool {
    serde_json::to_value(update).is_ok_and(|body| body.pointer(&format!("/{}", path.replace('.', "/"))).is_some())
}

/// Why a look at the folder does not find a manifest that was written.
fn unread(key: &ServiceKey, after: &Snapshot) -> String {
    let file = Place::of(key).to_string();
    match after.problems.iter().find(|problem| *problem.file == *file) {
        Some(problem) => format!("`{file}` is not valid: {}", problem.message),
        None => format!("`{file}` is not read again; hint: does a .truenorthignore leave it out?"),
    }
}
