//! `truenorth status`: what the ledger and the folder say of every service, beside a running daemon or without one.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::args::{Output, StatusArgs};
use super::attempt::{Attempt, Word};
use super::exit::Exit;
use super::live::Lately;
use super::status_table::{self, View};
use super::table::Size;
use super::{ledger_error, observe_error, print, read_error, settings, tell_missing, watch};
use crate::daemon::{self, Observation};
use crate::ledger::{AppliedMark, ReadError, Reader};
use crate::manifest::Problem;
use crate::model::{Cause, Known, Revision, ServiceKey};
use crate::plan::{ApiUse, Rules, Step, Suspension};
use crate::source::Folder;
use crate::status::{Look, Paused, Quota, ServiceStatus};
use crate::text::command::Commands;

/// What `--output json` prints: the JSON of the daemon's `/status`, and what only the ledger knows.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Page {
    pub(super) version: &'static str,
    /// There is no daemon behind this.
    pub(super) since: Option<Timestamp>,
    pub(super) revision: Option<Revision>,
    pub(super) converged: bool,
    pub(super) look: Look,
    pub(super) paused: Option<Paused>,
    pub(super) services: Vec<Service>,
    pub(super) problems: Vec<Problem>,
    pub(super) api: ApiUse,
    /// What the rate limit leaves, by the newest answer that the ledger has.
    pub(super) quota: Option<Quota>,
    pub(super) holder: Option<Holding>,
    /// Services of which only a problem is known, with its words.
    #[serde(skip)]
    pub(super) unread: Vec<(ServiceKey, String)>,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Service {
    #[serde(flatten)]
    pub(super) status: ServiceStatus,
    /// The snapshot that asked for what was accepted last.
    pub(super) applied_revision: Option<String>,
    /// When that was accepted.
    pub(super) applied_at: Option<Timestamp>,
    /// When the last attempt at the present content failed.
    pub(super) failed_at: Option<Timestamp>,
    /// Why an update is due, where one is.
    pub(super) cause: Option<Cause>,
}

/// A truenorth that has the ledger open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Holding {
    /// Its pid, where it could be read.
    pub(super) pid: Option<u32>,
}

impl Holding {
    pub(super) fn of(reader: Option<&Reader>) -> Result<Option<Self>, ReadError> {
        let holder = match reader {
            Some(reader) => reader.holder()?,
            None => None,
        };
        Ok(holder.map(|holder| Self { pid: holder.pid }))
    }
}

/// Who works on the ledger.
pub(super) fn told(holder: Option<Holding>) -> String {
    match holder.map(|holder| holder.pid) {
        None => "no truenorth has the ledger open".to_owned(),
        Some(None) => "another process has the ledger open".to_owned(),
        Some(Some(pid)) => format!("process {pid} has the ledger open"),
    }
}

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let mut folder = args.folder.folder();
    if let Some(every) = args.watch {
        return watch::run(folder, state_dir, every, args.output);
    }
    let page = look(&mut folder, &state_dir)?;
    if matches!(Reader::open(&state_dir), Ok(None)) {
        tell_missing(&state_dir);
    }
    match args.output {
        Output::Json => print::json(&page)?,
        Output::Text => {
            print::problems(&page.problems, folder.path(), Commands::Hidden)?;
            let width = Size::of_stdout().map(|size| size.columns);
            let lines = status_table::lines(&View::of(&page), Timestamp::now(), width);
            anstream::stdout().write_all((lines.join("\n") + "\n").as_bytes())?;
        }
    }
    Ok(Exit::Converged)
}

/// Reads the folder and the ledger.
pub(super) fn look(folder: &mut Folder, state_dir: &Path) -> anyhow::Result<Page> {
    let observation = daemon::observe(folder, state_dir, &Rules::default()).map_err(observe_error)?;
    let reader = Reader::open(state_dir).map_err(|error| ledger_error(&error))?;
    page(observation, reader.as_ref(), Timestamp::now()).map_err(read_error)
}

fn page(observation: Observation, ledger: Option<&Reader>, now: Timestamp) -> Result<Page, ReadError> {
    let holder = Holding::of(ledger)?;
    let (marks, pause) = match ledger {
        Some(ledger) => (ledger.marks()?, ledger.pause()?.filter(|pause| pause.until > now)),
        None => (HashMap::new(), None),
    };
    let lately = Lately::of(ledger, now)?;
    let mut services = Vec::with_capacity(observation.steps.len());
    for (key, step) in &observation.steps {
        services.push(service(key, *step, &observation, (marks.get(key), &lately), (ledger, holder))?);
    }
    let snapshot = observation.snapshot;
    let unread = snapshot
        .claimed()
        .filter(|key| !observation.steps.contains_key(key))
        .map(|key| {
            let problem = snapshot.problems_of(key, None).next();
            (key.clone(), problem.map(|problem| problem.message.clone()).unwrap_or_default())
        })
        .collect();
    let converged = snapshot.problems.is_empty() && services.iter().all(|service| is_in_order(service.status.state));
    Ok(Page {
        version: env!("CARGO_PKG_VERSION"),
        since: None,
        revision: Some(snapshot.revision),
        converged,
        look: Look { succeeded: Some(now), age_seconds: Some(0.0), error: None, watching: told(holder) },
        paused: pause.map(|pause| Paused { by: "rate-limit", until: pause.until, reason: pause.reason }),
        services,
        problems: snapshot.problems,
        api: ApiUse::default(),
        quota: lately.quota,
        holder,
        unread,
    })
}

fn service(
    key: &ServiceKey,
    step: Step,
    observation: &Observation,
    (mark, lately): (Option<&AppliedMark>, &Lately),
    (ledger, holder): (Option<&Reader>, Option<Holding>),
) -> Result<Service, ReadError> {
    let desired = observation.snapshot.desired.get(key);
    let digest = desired.map(|desired| desired.digest);
    let known = observation.known.get(key);
    let newest = match ledger.filter(|_| step.cause().is_some()) {
        Some(ledger) => ledger.history(Some(key), 1)?.pop(),
        None => None,
    };
    // What was said of other content says nothing of this.
    let newest = newest
        .map(|entry| Attempt::new(entry, holder.is_some()))
        .filter(|newest| desired.is_some_and(|desired| desired.digest == newest.digest));
    let stalled = newest.as_ref().is_some_and(Attempt::stalls);
    let failed = newest.as_ref().filter(|newest| !newest.outcome.is_good());
    let drift = lately.drift(key, known, digest);
    let status = ServiceStatus {
        service: key.clone(),
        state: match step {
            Step::Update(_) | Step::ReadLive(_) if stalled => "stalled",
            Step::Update(Cause::InDoubt) | Step::ReadLive(Cause::InDoubt) => "in-doubt",
            Step::Update(_) | Step::ReadLive(_) => "queued",
            Step::Unchanged if drift.as_ref().is_some_and(|drift| !drift.differences.is_empty()) => "drifted",
            Step::Unchanged => "unchanged",
            Step::Suspended => "suspended",
            Step::Orphaned => "orphaned",
        },
        desired: digest,
        applied: known.and_then(Known::digest),
        manifest: desired.map(|desired| desired.place.clone()),
        attempts: newest.as_ref().map_or(0, |newest| newest.attempt),
        since: None,
        // Only who has the ledger open waits: a single pass keeps nothing back for later changes.
        next_attempt: holder.filter(|_| !stalled).and_then(|_| lately.waits_until(step)),
        error: failed.map(|failed| match failed.outcome {
            Word::InFlight => "a call is being made".to_owned(),
            _ => failed.message.clone().unwrap_or_else(|| failed.ending()),
        }),
        drift,
        suspension: desired.filter(|_| step == Step::Suspended).and_then(Suspension::of),
    };
    Ok(Service {
        status,
        applied_revision: mark.map(|mark| mark.revision.clone()),
        applied_at: mark.map(|mark| mark.at),
        failed_at: failed.and_then(|failed| failed.ended),
        cause: step.cause(),
    })
}

/// Whether a service in this state has what its manifest says.
fn is_in_order(state: &str) -> bool {
    matches!(state, "unchanged" | "suspended" | "orphaned")
}
