//! The first move of a pass: what the folder says, what the ledger knows, and what follows from both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::thread;

use jiff::Timestamp;
use thiserror::Error;

use crate::ledger::{FailedRollout, ReadError, Reader};
use crate::model::{
    Cause, DependencyGate, Desired, Diagnostic, HeldBy, Known, Quarantine, Rollout, RolloutState, ServiceKey, in_order,
};
use crate::plan::{
    self, Case, Change, Closures, Fuse, Named, Outcome, Plan, PlanReport, Rules, ServiceReport, Step, Suspension,
    UnnamedCredentials, Windows,
};
use crate::runner::MayForget;
use crate::source::{Folder, Snapshot, Unreadable};
use crate::text::command::Commands;
use crate::text::short;
use crate::views::Observed;

/// What a pass knows before it sends anything.
#[derive(Debug)]
pub struct Observation {
    /// What the folder says.
    pub snapshot: Snapshot,
    /// What the ledger knows.
    pub known: HashMap<ServiceKey, Known>,
    pub steps: BTreeMap<ServiceKey, Step>,
    /// Known services that no valid manifest names, but one that cannot be read may, with the file that named them last.
    pub unproven: BTreeMap<ServiceKey, Box<str>>,
    /// What holds the updates that are due, where something does.
    pub held: HashMap<ServiceKey, Vec<HeldBy>>,
    pub closures: Closures,
    /// Content whose rollout failed.
    pub quarantines: HashMap<ServiceKey, Quarantine>,
    /// Rollouts that did not go well, of what is desired and was accepted last.
    failed: HashMap<ServiceKey, Rollout>,
    /// When the rollout failed of content that is due again.
    failed_before: HashMap<ServiceKey, Timestamp>,
    /// New services that have the content of an orphaned one, each with that one.
    moved: BTreeMap<ServiceKey, ServiceKey>,
    /// What was applied last of those that are due, as the ledger keeps it.
    applied: HashMap<ServiceKey, String>,
    /// How commands stand in what is told of it.
    pub commands: Commands,
}

/// Reading one row by its name costs about as much as this many in a row.
const MANY: usize = 8;

/// Why a pass cannot begin. Nothing was sent.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// The folder cannot be read.
    #[error(transparent)]
    Folder(#[from] Unreadable),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] ReadError),
}

/// By what an observation goes, beside the folder and the ledger.
#[derive(Clone, Copy)]
pub struct Bounds<'b> {
    /// What is done where a manifest alone does not decide.
    pub rules: &'b Rules,
    /// When updates may be sent.
    pub windows: &'b Windows,
    /// Finds the token in a text.
    pub is_secret: &'b dyn Fn(&str) -> bool,
}

/// Observes with a ledger, which is read while the folder is; an absent one knows nothing. Blocks on the disk.
///
/// # Errors
/// The folder or the ledger cannot be read.
pub fn observe_with(
    folder: &mut Folder,
    ledger: Option<&Reader>,
    bounds: Bounds<'_>,
) -> Result<Observation, ObserveError> {
    let (snapshot, known) = thread::scope(|scope| {
        let known = scope.spawn(|| ledger.map_or_else(|| Ok(HashMap::new()), Reader::known));
        (folder.look(), known.join())
    });
    // A thread that panicked has told the panic hook; here its message is passed on.
    let known = known.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let mut snapshot = snapshot?;
    snapshot.withhold(bounds.is_secret);
    Observation::new(snapshot, known, ledger, bounds)
}

impl Observation {
    fn new(
        snapshot: Snapshot,
        mut known: HashMap<ServiceKey, Known>,
        ledger: Option<&Reader>,
        Bounds { rules, windows, .. }: Bounds<'_>,
    ) -> Result<Self, ObserveError> {
        // What the daemon saw of drift is the daemon's to act on.
        let quarantines = ledger.map_or_else(|| Ok(HashMap::new()), Reader::quarantines_as_asked)?;
        let mut steps = plan::plan(&snapshot.desired, &known, &HashMap::new(), rules, Timestamp::now());
        for (key, quarantine) in &quarantines {
            if let (Some(step), Some(desired)) = (steps.get_mut(key), snapshot.desired.get(key)) {
                *step = plan::released(*step, desired.digest, Some(quarantine), known.get(key).and_then(Known::digest));
            }
        }
        // Of a new service the ledger has nothing.
        let of_known = |step: &Step| step.cause().is_some_and(|cause| cause != Cause::New);
        let changed = steps.values().filter(|step| of_known(step)).count();
        // One query for all is worth it where many of them are needed.
        let all_at_once = changed > MANY && changed * MANY > known.len();
        let mut last = match ledger.filter(|_| all_at_once) {
            Some(ledger) => ledger.specs()?,
            None => HashMap::new(),
        };
        let closures = Closures { freezes: ledger.map_or(Ok(Vec::new()), Reader::freezes)?, windows: windows.clone() };
        let held = hold(&snapshot.desired, &mut steps, ledger, (&closures, &quarantines))?;
        let (mut unproven, mut orphaned) = (BTreeMap::new(), Vec::new());
        for (key, step) in &steps {
            let applied = || ledger.map_or(Ok(None), |ledger| ledger.applied(key));
            if of_known(step) && !all_at_once {
                last.extend(applied()?.and_then(|applied| Some((key.clone(), applied.spec?))));
            } else if *step == Step::Orphaned {
                let (last, spec) = applied()?.map(|applied| (applied.place.file, applied.spec)).unzip();
                let last = last.unwrap_or_default();
                if !snapshot.proves_absence(key, &last) {
                    unproven.insert(key.clone(), Box::from(&*last));
                } else if let Some(content) = spec.flatten().and_then(|spec| serde_json::from_str(&spec).ok()) {
                    orphaned.push(Named { service: key.clone(), file: last.to_string(), content });
                }
            }
        }
        // Of these only their problem is known; to call them orphaned would be a guess.
        for key in unproven.keys() {
            steps.remove(key);
            known.remove(key);
        }
        let (mut failed, mut failed_before) = (HashMap::new(), HashMap::new());
        for FailedRollout { key, rollout, is_present } in ledger.map_or(Ok(Vec::new()), Reader::failed_rollouts)? {
            let is_desired = snapshot.desired.get(&key).is_some_and(|desired| desired.digest == rollout.digest);
            match steps.get(&key).and_then(|step| step.cause()) {
                _ if !is_desired => {}
                // That is why it is sent once more, or is not.
                Some(Cause::Released | Cause::Rollback) => {}
                Some(_) if !is_present && rollout.state == RolloutState::Failed => {
                    failed_before.insert(key, rollout.since);
                }
                Some(_) | None if is_present => drop(failed.insert(key, rollout)),
                Some(_) | None => {}
            }
        }
        let moved = moved(&snapshot, &steps, &orphaned);
        let (applied, commands) = (last, Commands::Hidden);
        Ok(Self {
            snapshot,
            known,
            steps,
            unproven,
            held,
            closures,
            quarantines,
            failed,
            failed_before,
            moved,
            applied,
            commands,
        })
    }

    /// Patterns of windows that no service of the folder has, each in words.
    pub(crate) fn idle_windows(&self) -> BTreeSet<String> {
        self.closures.windows.idle(self.snapshot.desired.keys().chain(self.snapshot.claimed()))
    }

    /// The same for whoever shows it.
    pub(crate) fn observed(&self) -> Observed<'_> {
        let Self { snapshot, known, steps, unproven, held, failed_before, .. } = self;
        Observed { snapshot, known, steps, unproven, held, failed_before }
    }

    /// Whether nothing needs to be remembered of a service.
    pub(super) fn may_forget(&self, key: &ServiceKey) -> MayForget {
        if self.unproven.contains_key(key) || self.snapshot.claimed().any(|claimed| claimed == key) {
            return MayForget::MAY_HAVE_ONE;
        }
        match self.steps.get(key) {
            Some(Step::Orphaned) | None => MayForget::Yes,
            Some(_) => MayForget::HAS_A_MANIFEST,
        }
    }

    /// What is to change.
    pub(crate) fn plan(&self) -> Plan {
        let is_quarantined = |key: &ServiceKey| self.quarantined(key).is_some();
        let mut plan = Plan::of(&self.steps, &self.snapshot.desired, &self.known);
        plan.leave_out(is_quarantined);
        plan
    }

    /// What keeps the content of a service from being sent because its rollout failed.
    pub(super) fn quarantined(&self, key: &ServiceKey) -> Option<HeldBy> {
        quarantined(&self.snapshot.desired, &self.quarantines, key)
    }

    /// How many services were deployed before and are desired.
    pub(super) fn deployed(&self) -> usize {
        self.known.keys().filter(|key| self.snapshot.desired.contains_key(*key)).count()
    }

    /// Holds what this fuse would hold, and gives how the plan stands.
    pub fn guard(&mut self, mut fuse: Fuse, now: Timestamp) -> PlanReport {
        let (plan, deployed) = (self.plan(), self.deployed());
        let Self { snapshot, known, steps, held, .. } = self;
        let wants = |key: &ServiceKey| snapshot.desired.get(key).is_some_and(|desired| desired.policy.wants_approval());
        let case = Case {
            outstanding: &plan,
            known: deployed,
            is_known: &|key| known.contains_key(key),
            wants_approval: &wants,
        };
        let ruling = fuse.rule(case, now);
        for (key, held_by) in ruling.held {
            if let Some(step) = steps.get_mut(&key)
                && let Some(cause) = step.cause()
            {
                *step = Step::Held(cause);
                held.entry(key).or_default().push(held_by);
            }
        }
        PlanReport::of(&plan, &fuse, ruling.state)
    }

    /// What a service waits for that is not to come, as far as that is known.
    pub(super) fn awaited(&self, of: &Desired) -> Vec<HeldBy> {
        awaited(of, &self.snapshot.desired, &self.steps, &self.quarantines)
    }

    /// In which order, where some wait for others.
    pub(super) fn waves(&self) -> Vec<Vec<ServiceKey>> {
        plan::waves(&self.snapshot.desired, &self.steps)
    }

    /// What is desired and known of the services for which an update is due, and of what they depend on: all that a single
    /// pass has to do with.
    pub(super) fn due(&self) -> (BTreeMap<ServiceKey, Desired>, HashMap<ServiceKey, Known>) {
        let of = |key: &ServiceKey| self.snapshot.desired.get(key);
        // What these depend on says whether they may go.
        let awaited = self.keys_due().filter_map(of).flat_map(|of| of.policy.awaited());
        // What ran before may have to be sent in the place of what failed; and a manifest that says something else ends that.
        let failed = self.quarantines.keys();
        let keys: BTreeSet<&ServiceKey> = self.keys_due().chain(awaited).chain(failed).collect();
        let desired = keys.iter().filter_map(|key| Some(((*key).clone(), of(key)?.clone())));
        let known = keys.iter().filter_map(|key| Some(((*key).clone(), *self.known.get(*key)?)));
        (desired.collect(), known.collect())
    }

    fn keys_due(&self) -> impl Iterator<Item = &ServiceKey> {
        self.steps.iter().filter(|(_, step)| step.cause().is_some()).map(|(key, _)| key)
    }

    /// What each update changes against what was applied last.
    pub(super) fn changes(&self) -> HashMap<ServiceKey, Vec<Change>> {
        let change = |key: &ServiceKey| {
            let applied = self.applied.get(key).and_then(|spec| serde_json::from_str(spec).ok());
            let desired = self.snapshot.desired.get(key)?;
            Some((key.clone(), plan::changes(applied.as_ref(), &desired.update, self.commands)))
        };
        self.keys_due().filter_map(change).collect()
    }

    /// A line for each service; how it ended, after how many attempts and with which error, says `ended`.
    pub(super) fn services(
        &self,
        mut changes: HashMap<ServiceKey, Vec<Change>>,
        ended: impl Fn(&ServiceKey, Step) -> (Outcome, u32, Option<Diagnostic>),
    ) -> Vec<ServiceReport> {
        let moved_to: HashMap<&ServiceKey, &ServiceKey> = self.moved.iter().map(|(new, old)| (old, new)).collect();
        // Both are in the order of the keys, and whatever is desired has a step.
        let mut desired = self.snapshot.desired.iter().peekable();
        self.steps
            .iter()
            .map(|(key, step)| {
                let (outcome, attempts, error) = ended(key, *step);
                let desired = desired.next_if(|(desired, _)| *desired == key).map(|(_, desired)| desired);
                ServiceReport {
                    service: key.clone(),
                    outcome,
                    digest: desired.map(|desired| desired.digest),
                    manifest: desired.map(|desired| desired.place.clone()),
                    cause: step.cause(),
                    changes: changes.remove(key).unwrap_or_default(),
                    attempts,
                    error,
                    undecided: Vec::new(),
                    warnings: self.failed_before.get(key).map(failed_at).into_iter().collect(),
                    drift: Vec::new(),
                    held_by: self.held.get(key).cloned().unwrap_or_default(),
                    suspension: desired.filter(|_| *step == Step::Suspended).and_then(Suspension::of),
                    moved_from: self.moved.get(key).cloned(),
                    moved_to: moved_to.get(key).map(|new| (*new).clone()),
                    rollout: self.failed.get(key).cloned(),
                    awaited: false,
                }
            })
            .collect()
    }
}

/// That content is due once more that failed before.
fn failed_at(at: &Timestamp) -> String {
    plan::failed_before(&short::time(*at))
}

/// New services that have the content of an orphaned one.
fn moved(
    snapshot: &Snapshot,
    steps: &BTreeMap<ServiceKey, Step>,
    orphaned: &[Named],
) -> BTreeMap<ServiceKey, ServiceKey> {
    if orphaned.is_empty() {
        return BTreeMap::new();
    }
    let is_new = |key: &ServiceKey| steps.get(key).copied().and_then(Step::cause) == Some(Cause::New);
    let new = snapshot.desired.iter().filter(|(key, _)| is_new(key)).filter_map(|(key, desired)| {
        let content = serde_json::to_value(&*desired.update).ok()?;
        Some(Named { service: key.clone(), file: desired.place.file.to_string(), content })
    });
    plan::moved(&new.collect::<Vec<_>>(), orphaned)
}

/// Turns the updates that something holds into steps that say so, and gives what holds them.
fn hold(
    desired: &BTreeMap<ServiceKey, Desired>,
    steps: &mut BTreeMap<ServiceKey, Step>,
    ledger: Option<&Reader>,
    (closures, quarantines): (&Closures, &HashMap<ServiceKey, Quarantine>),
) -> Result<HashMap<ServiceKey, Vec<HeldBy>>, ReadError> {
    let unnamed = unnamed(desired, steps, ledger)?;
    let (mut held, mut closures) = (HashMap::new(), closures.at(Timestamp::now()));
    let closed: Vec<&ServiceKey> = desired.keys().filter(|key| !closures.of(key).updates.is_empty()).collect();
    // What a service depends on comes before it, and what holds that holds it too.
    let ordered: Vec<&ServiceKey> = in_order(desired).into_iter().flatten().collect();
    for key in unnamed.keys().chain(closed).chain(quarantines.keys()).chain(ordered) {
        let (Some(of), Some(step)) = (desired.get(key), steps.get(key).copied()) else { continue };
        let mut held_by = closures.held_by(key, step);
        // What is sent in its place is not what its manifest says.
        if step != Step::Update(Cause::Rollback) {
            let awaited = awaited(of, desired, steps, quarantines);
            held_by.splice(..0, plan::held_by(step, of, unnamed.get(key), &awaited));
            held_by.extend(quarantined(desired, quarantines, key));
        }
        if let (Step::Update(cause) | Step::ReadLive(cause @ Cause::Changed), false) = (step, held_by.is_empty()) {
            steps.insert(key.clone(), Step::Held(cause));
            held.insert(key.clone(), held_by);
        }
    }
    Ok(held)
}

/// What a service waits for that is not to come, as far as that is known.
fn awaited(
    of: &Desired,
    desired: &BTreeMap<ServiceKey, Desired>,
    steps: &BTreeMap<ServiceKey, Step>,
    quarantines: &HashMap<ServiceKey, Quarantine>,
) -> Vec<HeldBy> {
    let fails =
        |on: &ServiceKey| of.policy.gate == DependencyGate::Deployed && quarantined(desired, quarantines, on).is_some();
    let is_awaited = |on: &&ServiceKey| never_comes(steps, on) || fails(on);
    of.policy.awaited().filter(is_awaited).map(plan::awaits).collect()
}

fn quarantined(
    desired: &BTreeMap<ServiceKey, Desired>,
    quarantines: &HashMap<ServiceKey, Quarantine>,
    key: &ServiceKey,
) -> Option<HeldBy> {
    let content = desired.get(key)?.digest;
    quarantines.get(key).filter(|one| one.holds(content)).map(|one| plan::quarantined(key, one))
}

/// Whether nothing will be done for a service that another one waits for.
fn never_comes(steps: &BTreeMap<ServiceKey, Step>, key: &ServiceKey) -> bool {
    match steps.get(key) {
        Some(Step::Update(_) | Step::ReadLive(_) | Step::Unchanged) => false,
        Some(Step::Held(_) | Step::Suspended | Step::Orphaned) | None => true,
    }
}

/// The credentials that live uses, of services whose update would drop them. The ledger is asked only where there may be
/// some.
fn unnamed(
    desired: &BTreeMap<ServiceKey, Desired>,
    steps: &BTreeMap<ServiceKey, Step>,
    ledger: Option<&Reader>,
) -> Result<BTreeMap<ServiceKey, UnnamedCredentials>, ReadError> {
    let may_drop = |key: &ServiceKey| desired.get(key).is_some_and(plan::may_drop_credentials);
    let is_needed = steps.iter().any(|(key, step)| matches!(step, Step::Update(_)) && may_drop(key));
    match ledger.filter(|_| is_needed) {
        Some(ledger) => Ok(ledger.unnamed()?.into_iter().collect()),
        None => Ok(BTreeMap::new()),
    }
}
