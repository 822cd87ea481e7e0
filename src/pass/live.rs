//! `plan --live`: reads what runs, and says what a pass would do by that. Records nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::observe::Observation;
use crate::model::{ApiPlace, Cause, DeploymentUpdate, Desired, Diagnostic, ServiceKey};
use crate::northflank::{Answered, CallError, Client, Disposition, Quota};
use crate::plan::{self, ApiUse, Change, Comparison, Cost, Outcome, PlanReport, Reading, Report, Rules, Seen, Step};

/// What is to be compared with live.
struct Asked {
    key: ServiceKey,
    update: Arc<DeploymentUpdate>,
}

/// What became of a read.
type Answer = (ServiceKey, Result<Comparison, CallError>, Spent);

/// The requests of one read.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    requests: u32,
    /// What the newest answer said of the rate limit.
    quota: Option<Quota>,
}

impl Spent {
    /// Counts a request by its answer, and gives that back.
    fn on<T>(&mut self, answer: Result<Answered<T>, CallError>) -> Result<T, CallError> {
        let quota = match &answer {
            Ok(answer) => answer.quota,
            Err(error) => error.quota(),
        };
        self.requests += 1;
        self.quota = quota.or(self.quota);
        Ok(answer?.value)
    }
}

/// What is known of live, service by service, and why the rest was not read.
#[derive(Debug, Default)]
struct Views {
    read: BTreeMap<ServiceKey, Comparison>,
    failed: BTreeMap<ServiceKey, Diagnostic>,
    spent: ApiUse,
    resets_in: Option<Duration>,
}

/// What a pass would do, by what live has now: one read a service that is neither suspended nor orphaned nor to be
/// rolled back, so many at once. Where the rate limit or the token refuses a read, no other is begun. `show` sees how
/// many are done, of all.
///
/// # Errors
/// The token opens another account than the one of the ledger's place: the place that it opens.
pub async fn plan_live(
    observation: Observation,
    plan: PlanReport,
    place: &ApiPlace,
    client: &Client,
    concurrency: usize,
    rules: &Rules,
    mut show: impl FnMut(usize, usize),
) -> Result<Report, ApiPlace> {
    // What a person had taken back is replaced, whatever live has of what the manifest says.
    let is_compared = |step: &Step| *step != Step::Suspended && step.cause() != Some(Cause::Rollback);
    let mut waiting: VecDeque<Asked> = observation
        .snapshot
        .desired
        .iter()
        .filter(|(key, _)| observation.steps.get(*key).is_some_and(is_compared))
        .map(|(key, desired)| Asked { key: key.clone(), update: desired.update.clone() })
        .collect();
    let all = waiting.len();
    let mut views = Views::default();
    let place = if all > 0 { opened(place, client, &mut views).await? } else { place.clone() };
    let mut reads: JoinSet<Answer> = JoinSet::new();
    loop {
        while reads.len() < concurrency.max(1)
            && let Some(asked) = waiting.pop_front()
        {
            let client = client.clone();
            reads.spawn(async move {
                let mut spent = Spent::default();
                let answer = compare(&asked.key, &asked.update, &client, &mut spent).await;
                (asked.key, answer, spent)
            });
        }
        let Some(ended) = reads.join_next().await else { break };
        // A task that broke down has told the panic hook; its service counts as not read.
        let Ok((key, answer, spent)) = ended else { continue };
        views.spend(&spent);
        match answer {
            Ok(comparison) => drop(views.read.insert(key, comparison)),
            Err(error) => {
                let stop = matches!(
                    error.disposition(),
                    Disposition::Limited { .. } | Disposition::Denied | Disposition::Forbidden
                );
                let error = error.diagnostic();
                if stop {
                    for asked in waiting.drain(..) {
                        views.failed.insert(asked.key, error.clone().after("not read: "));
                    }
                }
                views.failed.insert(key, error);
            }
        }
        show(views.read.len() + views.failed.len(), all);
    }
    Ok(views.report(observation, plan, place, rules))
}

/// The place with the account that the token opens. An API that does not tell is no fault.
async fn opened(place: &ApiPlace, client: &Client, views: &mut Views) -> Result<ApiPlace, ApiPlace> {
    let mut spent = Spent::default();
    let answered = spent.on(client.account().await);
    // Of the calls for services it is none.
    views.spend(&Spent { requests: 0, ..spent });
    let Ok(Some(account)) = answered else { return Ok(place.clone()) };
    let opened = ApiPlace { account: Some(account.name().into()), ..place.clone() };
    if place.agrees_with(&opened) { Ok(opened) } else { Err(opened) }
}

/// Reads what one service runs now, and compares it with what it should run.
///
/// # Errors
/// The read failed.
pub async fn compare_live(
    key: &ServiceKey,
    update: &DeploymentUpdate,
    client: &Client,
) -> Result<Comparison, CallError> {
    compare(key, update, client, &mut Spent::default()).await
}

/// Asks for the service, and for the id of its build where nothing else is left to decide.
async fn compare(
    key: &ServiceKey,
    update: &DeploymentUpdate,
    client: &Client,
    spent: &mut Spent,
) -> Result<Comparison, CallError> {
    // What is shown of live may be a command that holds the token.
    let live = spent.on(client.read_service(key).await)?.map_texts(|text| client.conceal(text));
    let comparison = plan::compare(update, &live);
    if !comparison.wants_build_id() {
        return Ok(comparison);
    }
    match spent.on(client.read_build_id(key).await) {
        Ok(id) => Ok(plan::compare(update, &live.with_build_id(id))),
        // The deprecated call may be gone, or closed to this token: then the build cannot be told.
        Err(error)
            if matches!(error.disposition(), Disposition::Rejected | Disposition::Denied | Disposition::Forbidden) =>
        {
            Ok(comparison)
        }
        Err(error) => Err(error),
    }
}

impl Views {
    fn spend(&mut self, spent: &Spent) {
        self.spent.calls += spent.requests;
        if let Some(quota) = spent.quota {
            let least = self.spent.remaining.unwrap_or(u32::MAX);
            self.spent.remaining = Some(quota.remaining.min(least));
            self.resets_in = Some(quota.resets_in);
        }
    }

    fn report(self, observation: Observation, plan: PlanReport, place: ApiPlace, rules: &Rules) -> Report {
        let mut services = observation.services(observation.changes(), |_, step| (Outcome::from(step), 0, None));
        let now = Timestamp::now();
        let mut closures = observation.closures.at(now);
        for service in &mut services {
            service.error = self.failed.get(&service.service).cloned();
            let (Some(comparison), Some(desired)) =
                (self.read.get(&service.service), observation.snapshot.desired.get(&service.service))
            else {
                continue;
            };
            let reading = Reading::of(comparison);
            let differences: Vec<Change> = reading.differences.to_vec();
            service.undecided = reading.undecided.to_vec();
            service.warnings.extend(reading.warnings(desired.policy.credentials));
            let unnamed = reading.unnamed_credentials.clone();
            let known = observation.known.get(&service.service);
            let seen = Seen { compared: desired.digest, at: Timestamp::UNIX_EPOCH, reading };
            let quarantine = observation.quarantines.get(&service.service);
            let step = plan::step(Some(desired), known, Some(&seen), rules, now);
            let step = step.map(|step| {
                plan::released(step, desired.digest, quarantine, known.and_then(crate::model::Known::digest))
            });
            let first = observation.steps.get(&service.service);
            let held_by = step.map(|step| {
                let awaited = observation.awaited(desired);
                let mut held_by = plan::held_by(step, desired, unnamed.as_ref(), &awaited);
                held_by.extend(closures.held_by(&service.service, step));
                held_by.extend(observation.quarantined(&service.service));
                held_by
            });
            match (first, step) {
                // What it shows lets nothing out.
                (Some(Step::Held(_)), Some(Step::Update(_) | Step::ReadLive(_))) => service.changes = differences,
                (Some(Step::ReadLive(_)), _) if comparison.is_adoptable() => {
                    service.outcome = Outcome::Adopted;
                    service.changes = Vec::new();
                }
                (_, Some(Step::Update(cause))) if held_by.as_ref().is_some_and(|held_by| !held_by.is_empty()) => {
                    (service.outcome, service.cause) = (Outcome::Held, Some(cause));
                    service.held_by = held_by.unwrap_or_default();
                    service.changes = differences;
                }
                (_, Some(Step::Update(cause))) => {
                    (service.outcome, service.cause) = (Outcome::Update, Some(cause));
                    service.changes = differences;
                }
                (_, Some(Step::Unchanged)) => service.drift = differences,
                _ => {}
            }
        }
        let waves = observation.waves();
        let Observation { snapshot, .. } = observation;
        let cost = cost(&services, &snapshot.desired, self.spent.remaining, self.resets_in);
        let report = Report::new(place, snapshot.revision, plan, services, snapshot.problems, self.spent);
        Report { cost: Some(cost), waves, ..report }
    }
}

/// What carrying out a plan costs at most: an update a call, and before it a read of what is not known or in doubt;
/// the id of a build takes a read of its own.
pub(super) fn cost(
    services: &[plan::ServiceReport],
    desired: &BTreeMap<ServiceKey, Desired>,
    remaining: Option<u32>,
    resets_in: Option<Duration>,
) -> Cost {
    let calls = services.iter().map(|service| {
        let update = desired.get(&service.service).map(|desired| &*desired.update);
        let names_build =
            matches!(update, Some(DeploymentUpdate::Internal { internal, .. }) if internal.build_id.is_some());
        let read = 1 + u32::from(names_build);
        match (service.outcome, service.cause) {
            (Outcome::ReadLive, _) | (Outcome::Update, Some(Cause::InDoubt)) => read + 1,
            // A plan that read it already knows it to be sent; a pass reads it anew.
            (Outcome::Update, Some(Cause::New))
                if !service.undecided.is_empty() || service.changes.iter().any(|change| change.from.is_some()) =>
            {
                read + 1
            }
            (Outcome::Update, _) => 1,
            (Outcome::Adopted, _) => read,
            _ => 0,
        }
    });
    Cost { calls: calls.sum(), remaining, resets_in }
}
