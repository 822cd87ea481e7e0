//! `truenorth status`: what the ledger and the folder say of every service, beside a running daemon or without one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;

use super::args::{Output, StatusArgs};
use super::exit::Exit;
use super::{configuration, ledger_error, observe_error, print, settings};
use crate::daemon;
use crate::ledger::{End, Outcome, Reader};
use crate::model::{Cause, Known};
use crate::plan::{ApiUse, Rules, Step, Suspension, counted};
use crate::source::Folder;
use crate::status::{Drift, Look, Paused, Quota, ServiceStatus, Status};

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let state_dir = settings::state_dir(&args.state, &settings::environment)?;
    let mut folder = Folder::new(&args.folder.manifests);
    let observation = daemon::observe(&mut folder, &state_dir, &Rules::default()).map_err(observe_error)?;
    let reader = Reader::open(&state_dir).map_err(|error| ledger_error(&error))?;
    let status = status(observation, reader.as_ref()).map_err(configuration)?;
    match args.output {
        Output::Json => print::json(&status)?,
        Output::Text => {
            print::problems(&status.problems, folder.path())?;
            anstream::stdout().write_all(table(&status).as_bytes())?;
        }
    }
    Ok(Exit::Converged)
}

fn status(observation: daemon::Observation, ledger: Option<&Reader>) -> Result<Status, crate::ledger::ReadError> {
    let now = Timestamp::now();
    let sightings = match ledger {
        Some(ledger) => ledger.sightings()?,
        None => HashMap::new(),
    };
    let mut services = Vec::with_capacity(observation.steps.len());
    for (key, step) in &observation.steps {
        let desired = observation.snapshot.desired.get(key);
        let newest = match (step, ledger) {
            (Step::Update(_) | Step::ReadLive(_), Some(ledger)) => ledger.history(Some(key), 1)?.pop(),
            (Step::Update(_) | Step::ReadLive(_) | Step::Unchanged | Step::Suspended | Step::Orphaned, _) => None,
        };
        let newest = newest.filter(|newest| desired.is_some_and(|desired| desired.digest == newest.digest));
        let error = newest.as_ref().and_then(|newest| match &newest.end {
            End::Recorded { outcome: Outcome::Accepted { .. }, .. } | End::Adopted { .. } => None,
            End::Recorded { outcome: Outcome::Rejected { message, .. }, .. }
            | End::Recorded { outcome: Outcome::Unsent { message }, .. }
            | End::Recorded { outcome: Outcome::Unknown { message, .. }, .. } => Some(message.clone()),
            End::Open => Some("a call is being made, or its process is gone".to_owned()),
            End::Interrupted { .. } => Some("the process ended before the answer came".to_owned()),
        });
        let stalled = newest.as_ref().is_some_and(|newest| {
            matches!(&newest.end, End::Recorded { outcome: Outcome::Rejected { status, .. }, .. } if *status != 429)
        });
        let known = observation.known.get(key);
        let drift = Drift::of(known, sightings.get(key).and_then(|saw| saw.seen.as_ref()), None, None);
        services.push(ServiceStatus {
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
            desired: desired.map(|desired| desired.digest),
            applied: known.and_then(Known::digest),
            manifest: desired.map(|desired| desired.place.clone()),
            attempts: newest.map_or(0, |newest| newest.attempt),
            since: None,
            next_attempt: None,
            error,
            drift,
            suspension: desired.filter(|_| *step == Step::Suspended).and_then(Suspension::of),
        });
    }
    let pause = match ledger {
        Some(ledger) => ledger.pause()?.filter(|pause| pause.until > now),
        None => None,
    };
    let converged = observation.snapshot.problems.is_empty()
        && observation.steps.values().all(|step| !matches!(step, Step::Update(_) | Step::ReadLive(_)))
        && services.iter().all(|service| service.state != "drifted");
    let quota = match ledger {
        Some(ledger) => ledger.quota()?.filter(|window| window.resets_at > now),
        None => None,
    };
    let holder = match ledger {
        Some(ledger) => ledger.holder()?,
        None => None,
    };
    let watching = match holder.map(|holder| holder.pid) {
        None => "no truenorth has the ledger open".to_owned(),
        Some(None) => "another process has the ledger open".to_owned(),
        Some(Some(pid)) => format!("process {pid} has the ledger open"),
    };
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        since: None,
        revision: Some(observation.snapshot.revision),
        converged,
        look: Look { succeeded: Some(now), age_seconds: Some(0.0), error: None, watching },
        paused: pause.map(|pause| Paused { by: "rate-limit", until: pause.until, reason: pause.reason }),
        services,
        problems: observation.snapshot.problems,
        api: ApiUse::default(),
        quota: quota.map(|window| Quota {
            limit: window.limit,
            remaining: window.remaining,
            resets_at: Some(window.resets_at),
            reserve: 0,
            reads_wait_until: None,
        }),
        drift: None,
    })
}

/// A line a service, and who works on it.
fn table(status: &Status) -> String {
    let mut text = String::new();
    let names: Vec<String> = status.services.iter().map(|service| service.service.to_string()).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (service, name) in status.services.iter().zip(&names) {
        let place = service.manifest.as_ref().map(ToString::to_string).unwrap_or_default();
        let error = service.error.as_deref().unwrap_or_default();
        let line = format!("{name:<width$}  {:<11}  {place}  {error}", service.state);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if let Some(paused) = &status.paused {
        let _ = writeln!(text, "all calls wait until {}: {}", paused.until, paused.reason);
    }
    let revision = status.revision.as_ref().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "{}; {}  {revision}", counted(names.len(), "service"), status.look.watching);
    text
}
