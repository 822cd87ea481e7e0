//! What the loop counts and logs.

use std::collections::BTreeSet;

use tracing::{debug, error, warn};

use crate::engine::Ending;
use crate::manifest::Problem;
use crate::runner::Finished;
use crate::source::Watching;
use crate::web::Meters;

pub(super) fn count(meters: &Meters, finished: &Finished) {
    if finished.spent.deprecation.is_some() {
        meters.deprecated();
    }
    let outcome = match finished.ending {
        Ending::Accepted { .. } => "accepted",
        Ending::Adopted { .. } | Ending::Read(_) => "read",
        Ending::Transient { .. } => "transient",
        Ending::Limited { .. } => "limited",
        Ending::Denied { .. } | Ending::Withdrawn => "denied",
        Ending::Rejected { .. } => "rejected",
        Ending::Unrecorded { .. } => return meters.unrecorded(),
    };
    if finished.spent.requests > 0 {
        meters.call(outcome, finished.spent.elapsed);
    }
}

/// Most problems that are logged one by one after a look.
const TOLD_PROBLEMS: usize = 20;

/// Tells the problems that are new since the last look: one file that changes does not repeat all the others.
pub(super) fn tell_problems(told: &[Problem], problems: &[Problem]) {
    let told: BTreeSet<&Problem> = told.iter().collect();
    let new: Vec<&Problem> = problems.iter().filter(|problem| !told.contains(problem)).collect();
    for Problem { file, line, column, path, message, hint, .. } in new.iter().take(TOLD_PROBLEMS) {
        let hint = hint.as_deref().unwrap_or_default();
        error!(place = format!("{file}:{line}:{column}"), path, hint, "{message}");
    }
    if let Some(more) = new.len().checked_sub(TOLD_PROBLEMS).filter(|more| *more > 0) {
        error!("and {more} more problems; `truenorth validate` shows all");
    }
}

pub(super) fn tell_watching(watching: &Watching) {
    match watching {
        Watching::Events => debug!("changes of the folder are noticed by events"),
        Watching::Polling { every, reason } => {
            warn!(every_seconds = every.as_secs_f64(), reason, "changes cannot be noticed by events; looking at times");
        }
    }
}
