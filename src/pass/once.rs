//! One pass to its end: `--reconcile-once`.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::observe::{Bounds, Observation, ObserveError, observe_with};
use crate::engine::{Backoff, Ending, Follow, Pace, Phase, Work};
use crate::ledger::{Bell, Ledger, OpenError, Reader, RequestId, RequestRecord};
use crate::model::{Diagnostic, Digest, OnFailure, Rollout, RolloutState, ServiceKey};
use crate::plan::{MaxChanges, Outcome, Reading, Report, Rules, Windows};
use crate::runner::{Api, Carrier, Finished, Happened, LAST, decider, record_of, take_up, write_last};
use crate::source::Folder;
use crate::stop::{GRACE, Stop, Stopping};
use crate::text::command::Commands;

/// How often progress is shown at most.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// How often the loop turns while it only waits, so that progress counts down.
const SHOW_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// How a pass is made.
#[derive(Clone, Debug)]
pub struct PassSettings {
    /// Update calls in flight at once.
    pub concurrency: usize,
    /// Requests an hour that are assumed to be allowed while no answer speaks of a rate limit.
    pub rate_limit: u32,
    /// When to stop retrying, from the start of the pass.
    pub deadline: Duration,
    pub backoff: Backoff,
    /// What is done where a manifest alone does not decide.
    pub rules: Rules,
    /// How rollouts are followed to their end; nothing: they are not awaited.
    pub follow: Option<Follow>,
    /// How much one plan may change without an approval.
    pub max_changes: Option<MaxChanges>,
    /// When updates may be sent.
    pub windows: Windows,
    /// What follows a rollout that failed.
    pub on_failure: OnFailure,
    /// How commands stand in the report.
    pub commands: Commands,
}

/// Why a pass could not begin. Nothing was sent.
#[derive(Debug, Error)]
pub enum PassError {
    /// The folder or the ledger cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The pass ended before the folder was read.
    #[error("nothing was sent: {0} before the folder was read")]
    Unread(&'static str),
    /// The token opens another account than the one of the ledger.
    #[error(transparent)]
    Account(OpenError),
    /// A task of the runtime broke down.
    #[error("a task of the pass broke down")]
    Task(#[from] tokio::task::JoinError),
}

/// What people who wait for a pass are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// How far it is.
    Progress(Progress),
    /// An update was accepted.
    Sent(ServiceKey),
    /// A rollout went on.
    Rollout(ServiceKey, Rollout),
    /// It was told to stop, and waits for the answers in flight.
    Stopping {
        calls: usize,
        /// For so long at most.
        most: Duration,
    },
}

/// How far a pass is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Updates that are due.
    pub due: usize,
    /// Updates that ended, well or not.
    pub ended: usize,
    /// What the pass waits for.
    pub waiting: Waiting,
}

/// What a pass waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    Calls(usize),
    /// The rate limit's window.
    RateLimit {
        until: Timestamp,
    },
    /// Until failed updates may be tried again.
    Retries(usize),
    /// The ends of rollouts.
    Rollouts(usize),
}

/// What became of a service's calls in this pass.
#[derive(Debug, Default)]
struct Tally {
    attempts: u32,
    sent: Sent,
    settled: Settled,
    /// What live showed, where it was read.
    reading: Option<Reading>,
    /// The fields that were accepted and are not in effect.
    missing: Option<String>,
    error: Option<Diagnostic>,
    /// Which content was seen to fail, and how.
    failed: Option<(Digest, String)>,
}

/// Whether an update left in this pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sent {
    #[default]
    No,
    Yes,
}

/// Whether live has what is desired, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Settled {
    #[default]
    No,
    /// By an update of this pass.
    Updated,
    /// Before it.
    Adopted,
}

struct Pass {
    carrier: Carrier,
    /// What the folder and the ledger showed when it began.
    observation: Arc<Observation>,
    tally: BTreeMap<ServiceKey, Tally>,
    /// Orphaned services that people had it forget.
    forgotten: BTreeSet<ServiceKey>,
    /// Rings when somebody asks or decides something.
    bell: Bell,
    /// The request of a person that was taken up last.
    taken: Option<RequestId>,
    /// Whether people decided or asked for something since that was looked at last.
    asked: bool,
    /// Updates that are due.
    due: usize,
    /// For how long what fails is tried again.
    patience: Duration,
    deadline: Instant,
}

/// Why rollouts are not followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    /// They ended, or nobody wants to wait.
    ToTheEnd,
    /// Somebody asked or decided something, and calls are due now.
    Asked,
}

/// Why no more calls are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Settled,
    Deadline,
    Stopped,
    Denied,
    /// The token is that of another account.
    Elsewhere,
}

/// Reads the folder, sends what changed, retries what fails for a passing reason until the deadline, and says how each
/// service ended. What was accepted is recorded before this returns.
///
/// # Errors
/// The folder or the ledger cannot be read; nothing was sent then. Failures of single services are in the report.
pub async fn reconcile_once(
    folder: &mut Folder,
    ledger: Ledger,
    api: Api,
    settings: PassSettings,
    mut stop: Stop,
    mut show: impl FnMut(Shown),
) -> Result<Report, PassError> {
    let began = Instant::now();
    let deadline = began + settings.deadline;
    let (mut looking, reading) = (std::mem::replace(folder, Folder::new(folder.path())), ledger.clone());
    let (is_secret, rules, windows) = (api.client.finds_token(), settings.rules, settings.windows.clone());
    let look = tokio::task::spawn_blocking(move || {
        let bounds = Bounds { rules: &rules, windows: &windows, is_secret: &is_secret };
        let observation = observe_with(&mut looking, Some(reading.reader()), bounds);
        (looking, observation)
    });
    // A look that is given up goes on in its thread and changes nothing.
    let (looked, observation) = tokio::select! {
        biased;
        () = stop.reached(Stopping::Gracefully) => return Err(PassError::Unread("it was stopped")),
        () = sleep_until(deadline) => return Err(PassError::Unread("the deadline came")),
        looked = look => looked?,
    };
    *folder = looked;
    let mut observation = observation?;
    observation.commands = settings.commands;
    let observation = Arc::new(observation);
    let (desired, known) = observation.due();
    let (due, deployed) = (desired.len(), known.len());
    let problems = observation.snapshot.problems.len();
    let revision = observation.snapshot.revision.clone();
    let place = ledger.place();
    info!(trigger = "once", api = %place, %revision, services = observation.steps.len(), updates = due, problems, "pass began");
    observation.idle_windows().iter().for_each(|idle| warn!("{idle}"));
    if let Some(why) = &observation.snapshot.uncompared {
        warn!(why, "cannot compare the folder with its commit");
    }

    let pace = Pace {
        concurrency: settings.concurrency,
        ahead: settings.concurrency / 2,
        assumed_limit: settings.rate_limit,
        backoff: settings.backoff,
        // All that will come is there already: nothing is kept back for it, and nothing is watched.
        reserve_percent: 0,
        watch_period: None,
        // What was accepted is checked at the end, once nothing else is left.
        check_after: Duration::ZERO,
        follow: settings.follow,
        ..Pace::default()
    };
    let elsewhere = observation.deployed().saturating_sub(deployed);
    let (held, rules, max_changes) = (ledger.clone(), settings.rules, settings.max_changes);
    let carrier = ledger.read(move |_| {
        let mut carrier = Carrier::new(pace, rules, known, held, api)?;
        carrier.guard(max_changes, elsewhere)?;
        Ok(carrier)
    });
    let carrier = carrier.await.map_err(ObserveError::from)?;
    // Listened to before the ledger is read: what is asked from here on is heard.
    let bell = carrier.ledger().bell();
    let mut pass = Pass {
        carrier,
        observation: Arc::clone(&observation),
        tally: BTreeMap::new(),
        forgotten: BTreeSet::new(),
        bell,
        taken: None,
        asked: false,
        due,
        patience: settings.deadline,
        deadline,
    };
    pass.carrier.set_windows(settings.windows);
    pass.carrier.set_on_failure(settings.on_failure);
    let people = ledger.read(Reader::people).await.map_err(ObserveError::from)?;
    drop(ledger);
    let happened = pass.carrier.heed(people);
    pass.carrier.observe(&desired, revision.clone());
    pass.take(happened, &mut show);
    pass.asked = false;
    // Calls do not wait for what is only to be shown in the end.
    let changes = tokio::task::spawn_blocking({
        let observation = Arc::clone(&observation);
        move || observation.changes()
    });

    let over = loop {
        let over = pass.send(&mut stop, &mut show).await?;
        if !matches!(over, Over::Settled | Over::Deadline) {
            break over;
        }
        if pass.follow(&mut stop, &mut show, over).await? == Followed::ToTheEnd {
            break over;
        }
    };
    let last_calls = pass.carrier.machine().on_wire();
    if over == Over::Stopped && last_calls > 0 {
        info!(calls = last_calls, "stopping: waiting for the answers in flight; a second signal ends it at once");
        show(Shown::Stopping { calls: last_calls, most: GRACE });
    }
    let Pass { carrier, tally, .. } = &mut pass;
    let until = Instant::now() + GRACE;
    carrier.drain(until, stop.reached(Stopping::AtOnce), |finished| count(tally, finished)).await?;
    if let Some(error) = pass.carrier.another_account() {
        return Err(PassError::Account(error));
    }
    pass.publish().await;
    let forgotten = std::mem::take(&mut pass.forgotten);
    let mut report = pass.report(&observation, changes.await?, (over, settings.follow.is_some()));
    report.services.retain(|service| !forgotten.contains(&service.service));
    // Thousands of manifests take their time to be taken apart; nobody has to wait for it.
    tokio::task::spawn_blocking(move || drop(observation));
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (updated, adopted) = (report.count(Outcome::Updated), report.count(Outcome::Adopted));
    info!(calls = report.api.calls, updated, adopted, converged = report.converged, elapsed_ms, "pass ended");
    Ok(report)
}

/// Keeps what became of a service's calls.
fn count(tally: &mut BTreeMap<ServiceKey, Tally>, finished: Finished) {
    let tally = tally.entry(finished.key).or_default();
    // A read that went well is the first half of an attempt.
    let attempts =
        !matches!(finished.ending, Ending::Read(_)) && finished.work != Work::Watch && finished.spent.requests > 0;
    tally.attempts += u32::from(attempts);
    if matches!(finished.work, Work::Send(_)) && finished.spent.requests > 0 {
        tally.sent = Sent::Yes;
    }
    match finished.ending {
        // The answer was lost, the update was not.
        Ending::Adopted { .. } if tally.sent == Sent::Yes => (tally.settled, tally.error) = (Settled::Updated, None),
        Ending::Accepted { .. } => (tally.settled, tally.error) = (Settled::Updated, None),
        Ending::Adopted { .. } => (tally.settled, tally.error) = (Settled::Adopted, None),
        // A check of what was accepted says nothing of what was changed, only whether it is in effect.
        Ending::Read(reading) if finished.work == Work::Watch => {
            let fields: Vec<&str> = reading.differences.iter().map(|change| change.path.as_str()).collect();
            tally.missing = (!fields.is_empty()).then(|| fields.join(", "));
        }
        Ending::Read(reading) => tally.reading = Some(reading),
        Ending::Transient { error, .. }
        | Ending::Rejected { error, .. }
        | Ending::Limited { error, .. }
        | Ending::Denied { error }
        | Ending::Unrecorded { error } => tally.error = Some(error),
        Ending::Withdrawn => {}
    }
}

impl Pass {
    fn take(&mut self, happened: Vec<Happened>, show: &mut impl FnMut(Shown)) {
        for happened in happened {
            match happened {
                Happened::Ended(finished) => {
                    if matches!(finished.ending, Ending::Accepted { .. }) {
                        show(Shown::Sent(finished.key.clone()));
                    }
                    count(&mut self.tally, finished);
                }
                Happened::Rollout(key, rollout) => {
                    if rollout.state == RolloutState::Failed {
                        self.tally.entry(key.clone()).or_default().failed = Some((rollout.digest, rollout.words()));
                    }
                    show(Shown::Rollout(key, rollout));
                }
                Happened::People(open) => self.take_up(open),
                // Somebody decided about a plan, among others.
                Happened::ForAll => self.asked = true,
                Happened::Began(_) => {}
            }
        }
    }

    /// Takes up what people asked for since the last time.
    fn take_up(&mut self, open: Vec<RequestRecord>) {
        self.asked |= open.iter().any(|record| self.taken.is_none_or(|taken| record.id > taken));
        let observation = &self.observation;
        let taken = take_up(&mut self.carrier, open, self.taken, |_, key| observation.may_forget(key));
        self.forgotten.extend(taken.iter().filter_map(|taken| taken.forgets.clone()));
        self.taken = taken.last().map(|last| last.id).max(self.taken);
    }

    /// Sends what is due, until nothing is any more.
    async fn send(&mut self, stop: &mut Stop, show: &mut impl FnMut(Shown)) -> Result<Over, tokio::task::JoinError> {
        let mut shown = Instant::now();
        loop {
            if stop.asked() != Stopping::No {
                return Ok(Over::Stopped);
            }
            if Instant::now() >= self.deadline {
                return Ok(Over::Deadline);
            }
            let happened = self.carrier.turn();
            self.take(happened, show);
            if shown.elapsed() >= SHOW_EVERY {
                show(Shown::Progress(self.progress()));
                shown = Instant::now();
            }
            if self.carrier.is_elsewhere() {
                return Ok(Over::Elsewhere);
            }
            let now = self.carrier.clock().now();
            if self.carrier.engine().awaits_dependencies(now) || self.carrier.engine().may_return(now) {
                // The deadline is for retries: what waits for a rollout waits as long as that may take.
                self.extend();
            } else if self.carrier.engine().is_settled() {
                return Ok(Over::Settled);
            }
            let wake = self.carrier.next_wake().unwrap_or(self.deadline);
            if self.carrier.machine().is_idle() && wake >= self.deadline {
                // Nothing can happen any more: waiting would change no more than the time.
                return Ok(Over::Deadline);
            }
            let wake = wake.min(Instant::now() + SHOW_AT_LEAST_EVERY);
            // Each arm is safe to cancel: a call that ended stays in the set, timers, the stop and the bell are asked anew.
            tokio::select! {
                biased;
                () = stop.reached(Stopping::Gracefully) => return Ok(Over::Stopped),
                Some(done) = self.carrier.done() => {
                    let happened = self.carrier.take(done?);
                    self.take(happened, show);
                }
                () = self.bell.rung() => self.carrier.read_people(),
                () = sleep_until(self.deadline) => return Ok(Over::Deadline),
                () = sleep_until(wake) => {}
            }
            // Calls in flight may still show that the token is good for others.
            if self.carrier.machine().is_denied() && !self.carrier.try_another_service() {
                return Ok(Over::Denied);
            }
        }
    }

    /// What comes late has as long as what was there at the start.
    fn extend(&mut self) {
        self.deadline = self.deadline.max(Instant::now() + self.patience);
    }

    /// Waits until the rollouts have ended. No calls are begun meanwhile, but looks at them.
    async fn follow(
        &mut self,
        stop: &mut Stop,
        show: &mut impl FnMut(Shown),
        over: Over,
    ) -> Result<Followed, tokio::task::JoinError> {
        self.carrier.close_to_calls();
        let calls_until = Instant::now() + GRACE;
        loop {
            let happened = self.carrier.turn();
            self.take(happened, show);
            let now = self.carrier.clock().now();
            let calls = self.carrier.machine().in_flight() > 0 && Instant::now() < calls_until;
            if self.carrier.is_elsewhere() {
                return Ok(Followed::ToTheEnd);
            }
            if !calls && !self.carrier.engine().awaits_rollouts(now) {
                return Ok(Followed::ToTheEnd);
            }
            show(Shown::Progress(self.progress()));
            let soon = Instant::now() + SHOW_AT_LEAST_EVERY;
            let wake = self.carrier.next_wake().map_or(soon, |wake| wake.min(soon));
            tokio::select! {
                biased;
                () = stop.reached(Stopping::Gracefully) => return Ok(Followed::ToTheEnd),
                Some(done) = self.carrier.done() => {
                    let happened = self.carrier.take(done?);
                    self.take(happened, show);
                    let asked = std::mem::take(&mut self.asked) && over == Over::Settled;
                    if asked && !self.carrier.engine().is_settled() {
                        self.carrier.open_to_calls();
                        self.extend();
                        return Ok(Followed::Asked);
                    }
                }
                () = self.bell.rung() => self.carrier.read_people(),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn progress(&self) -> Progress {
        let (mut settled, mut waiting) = (0, 0);
        for (key, tally) in &self.tally {
            settled += usize::from(tally.settled != Settled::No);
            waiting += usize::from(matches!(self.carrier.engine().phase(key), Some(Phase::BackingOff { .. })));
        }
        let stalled =
            self.tally.keys().filter(|key| matches!(self.carrier.engine().phase(key), Some(Phase::Stalled { .. })));
        let ended = settled + stalled.count();
        let waiting = match self.carrier.engine().gate().limited(self.carrier.clock().now()) {
            Some(pause) => Waiting::RateLimit { until: pause.until },
            None if self.carrier.machine().on_wire() > 0 => Waiting::Calls(self.carrier.machine().on_wire()),
            None if waiting == 0 && self.carrier.engine().rolling() > 0 => {
                Waiting::Rollouts(self.carrier.engine().rolling())
            }
            None => Waiting::Retries(waiting),
        };
        Progress { due: self.due, ended, waiting }
    }

    /// Writes down in which states it leaves the services that it dealt with.
    async fn publish(&self) {
        let (engine, now) = (self.carrier.engine(), self.carrier.clock().now());
        let states: Vec<_> =
            engine.services(now).map(|(key, standing)| (key.clone(), Some(record_of(&standing, now)))).collect();
        if !states.is_empty() {
            write_last(self.carrier.ledger(), states, decider(engine, now), now, Instant::now() + LAST).await;
        }
    }
}
