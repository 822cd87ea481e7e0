//! One pass to its end: `--reconcile-once`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{error, info, warn};

use super::call::{self, Begun, Ended, TokenNumber};
use super::clock::Clock;
use super::observe::{Observation, ObserveError};
use super::stop::{Stop, Stopping};
use crate::engine::{Backoff, Block, Ending, Engine, Pace, Phase};
use crate::ledger::{Ledger, Pause};
use crate::model::ServiceKey;
use crate::northflank::{Client, Quota, TokenSource};
use crate::plan::{ApiUse, Outcome, Report, Step};
use crate::source::Folder;

/// How long calls in flight may take to end after a stop or the deadline.
const GRACE: Duration = Duration::from_secs(20);

/// How often progress is shown at most.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Two answers whose windows end this close to each other are of the same window: resets come in whole seconds.
const SAME_WINDOW: SignedDuration = SignedDuration::from_secs(30);

/// How a pass is made.
#[derive(Clone, Copy, Debug)]
pub struct PassSettings {
    /// Update calls in flight at once.
    pub concurrency: usize,
    /// When to stop retrying, from the start of the pass.
    pub deadline: Duration,
    /// Waits between attempts.
    pub backoff: Backoff,
}

/// Why a pass could not begin. Nothing was sent.
#[derive(Debug, Error)]
pub enum PassError {
    /// The folder or the ledger cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A task of the runtime broke down.
    #[error("cannot read the folder")]
    Task(#[from] tokio::task::JoinError),
}

/// How far a pass is, for people who wait for it.
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
    /// Answers.
    Calls(usize),
    /// The rate limit's window.
    RateLimit {
        /// When it resets.
        until: Timestamp,
    },
    /// Until failed updates may be tried again.
    Retries(usize),
}

/// What became of a service's calls in this pass.
#[derive(Debug, Default)]
struct Tally {
    attempts: u32,
    accepted: Accepted,
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Accepted {
    Yes,
    #[default]
    No,
}

struct Pass {
    engine: Engine,
    ledger: Ledger,
    client: Client,
    tokens: TokenSource,
    token: TokenNumber,
    clock: Clock,
    calls: JoinSet<Ended>,
    tally: BTreeMap<ServiceKey, Tally>,
    api: ApiUse,
    /// When the rate limit's window ends, by the last answer.
    window_ends: Option<Timestamp>,
}

/// Why no more calls are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Settled,
    Deadline,
    Stopped,
    Denied,
}

/// Reads the folder, sends what changed, retries what fails for a passing reason until the deadline, and says how each
/// service ended. What was accepted is recorded before this returns.
///
/// # Errors
/// The folder or the ledger cannot be read; nothing was sent then. Failures of single services are in the report.
pub async fn reconcile_once(
    mut folder: Folder,
    ledger: Ledger,
    client: Client,
    tokens: TokenSource,
    settings: PassSettings,
    mut stop: Stop,
    mut show: impl FnMut(Progress),
) -> Result<Report, PassError> {
    let clock = Clock::start();
    let deadline = Instant::now() + settings.deadline;
    let reading = ledger.clone();
    let observe = move || Observation::new(folder.look().map_err(ObserveError::from)?, Some(reading.reader()));
    let observation = tokio::task::spawn_blocking(observe).await??;
    let due = observation.steps.values().filter(|step| matches!(step, Step::Update(_))).count();
    let problems = observation.snapshot.problems.len();
    let revision = &observation.snapshot.revision;
    info!(trigger = "once", %revision, services = observation.steps.len(), updates = due, problems, "pass began");

    let pace = Pace { concurrency: settings.concurrency, backoff: settings.backoff, ..Pace::default() };
    let mut engine = Engine::new(pace, observation.known.clone());
    if let Some(pause) = ledger.reader().pause().map_err(ObserveError::from)? {
        engine.pause(pause.until, pause.reason);
    }
    engine.observe(observation.snapshot.desired.clone());
    let mut pass = Pass {
        engine,
        ledger,
        client,
        tokens,
        token: TokenNumber::default(),
        clock,
        calls: JoinSet::new(),
        tally: BTreeMap::new(),
        api: ApiUse::default(),
        window_ends: None,
    };

    let mut shown = Instant::now();
    let over = loop {
        while let Some(call) = pass.engine.next_call(clock.now()) {
            pass.begin(call, revision);
        }
        if shown.elapsed() >= SHOW_EVERY {
            show(pass.progress(due));
            shown = Instant::now();
        }
        if pass.engine.is_settled() {
            break Over::Settled;
        }
        let wake = pass.engine.next_wake(clock.now()).map_or(deadline, |at| clock.instant(at));
        // Each arm is safe to cancel: a call that ended stays in the set, timers and the stop are asked anew.
        tokio::select! {
            biased;
            () = stop.reached(Stopping::Gracefully) => break Over::Stopped,
            Some(ended) = pass.calls.join_next() => pass.end(ended?).await,
            () = sleep_until(deadline) => break Over::Deadline,
            () = sleep_until(wake) => {}
        }
        if let Some((Block::Denied, _)) = pass.engine.gate().blocked() {
            break Over::Denied;
        }
    };
    pass.drain(&mut stop).await?;
    let report = pass.report(observation, over);
    info!(
        calls = report.api.calls,
        updated = report.count(Outcome::Updated),
        converged = report.converged,
        elapsed_ms = u64::try_from(clock.now().duration_since(clock.began()).as_millis()).unwrap_or_default(),
        "pass ended"
    );
    Ok(report)
}

impl Pass {
    fn begin(&mut self, call: crate::engine::Call, revision: &crate::model::Revision) {
        let (ledger, client) = (self.ledger.clone(), self.client.clone());
        self.calls.spawn(call::make(call, revision.clone(), ledger, client, self.clock, self.token));
    }

    /// Takes in how a call ended.
    async fn end(&mut self, ended: Ended) {
        let Ended { key, mut ending, quota, begun, token } = ended;
        let tally = self.tally.entry(key.clone()).or_default();
        if begun == Begun::Yes {
            tally.attempts += 1;
            self.api.calls += 1;
        }
        match &ending {
            Ending::Accepted => *tally = Tally { attempts: tally.attempts, accepted: Accepted::Yes, error: None },
            Ending::Transient { error, .. }
            | Ending::Rejected { error, .. }
            | Ending::Limited { error, .. }
            | Ending::Denied { error }
            | Ending::Unrecorded { error } => tally.error = Some(error.clone()),
            Ending::Withdrawn => {}
        }
        if let Ending::Denied { error } = &ending
            && self.has_another_token(token, error)
        {
            ending = Ending::Withdrawn;
        }
        if let Ending::Unrecorded { error } = &ending {
            error!(error, "the ledger takes no record, so no call is made");
        }
        let limited = matches!(ending, Ending::Limited { .. });
        self.engine.finish(&key, ending, self.clock.now(), fastrand::f64());
        self.note(quota);
        if limited {
            self.keep_pause().await;
        }
    }

    /// After a refusal: whether a token is in place that the refused call did not have. Reads it again.
    fn has_another_token(&mut self, refused: TokenNumber, error: &str) -> bool {
        if refused != self.token {
            return true;
        }
        match self.tokens.read() {
            Ok(read) if !self.client.token_is(&read.token) => {
                warn!(error, "the API refused the token; trying the new one");
                self.client.replace_token(read.token);
                self.token = TokenNumber(self.token.0 + 1);
                self.engine.token_replaced();
                true
            }
            Ok(_) => {
                error!(error, "the API refused the token");
                false
            }
            Err(unreadable) => {
                error!(
                    error,
                    token = crate::error::chain(&unreadable),
                    "the API refused the token, and it cannot be read again"
                );
                false
            }
        }
    }

    /// Takes in what an answer said of the rate limit: past the last call, there is no use in another.
    fn note(&mut self, quota: Option<Quota>) {
        let Some(quota) = quota else { return };
        let until = self.clock.now().checked_add(quota.resets_in).unwrap_or(Timestamp::MAX);
        // Answers overtake each other: within a window the lowest count is the newest.
        let same_window = self.window_ends.is_some_and(|ends| until.duration_since(ends).abs() < SAME_WINDOW);
        let lowest = self.api.remaining.filter(|_| same_window).unwrap_or(u32::MAX);
        self.api.remaining = Some(quota.remaining.min(lowest));
        self.window_ends = Some(until);
        if quota.remaining == 0 {
            self.engine.pause(until, format!("all {} calls of the rate limit's window are used", quota.limit));
        }
    }

    /// Keeps the pause of all calls over a restart.
    async fn keep_pause(&self) {
        let Some(pause) = self.engine.gate().limited(self.clock.now()) else { return };
        warn!(until = %pause.until, reason = pause.reason, "rate limit: all calls wait");
        let pause = Pause { until: pause.until, reason: pause.reason.clone() };
        if let Err(error) = self.ledger.set_pause(Some(pause)).await {
            warn!(error = crate::error::chain(&error), "the pause cannot be recorded; a restart would forget it");
        }
    }

    /// Lets the calls in flight end, within the grace time and unless a second signal comes.
    async fn drain(&mut self, stop: &mut Stop) -> Result<(), PassError> {
        let until = Instant::now() + GRACE;
        while !self.calls.is_empty() {
            tokio::select! {
                biased;
                () = stop.reached(Stopping::AtOnce) => break,
                ended = timeout_at(until, self.calls.join_next()) => match ended {
                    Ok(Some(ended)) => self.end(ended?).await,
                    Ok(None) | Err(_) => break,
                },
            }
        }
        // What is dropped here has its intent on disk: the next pass knows that it is in doubt.
        self.calls.abort_all();
        Ok(())
    }

    fn progress(&self, due: usize) -> Progress {
        let (mut accepted, mut waiting) = (0, 0);
        for (key, tally) in &self.tally {
            accepted += usize::from(tally.accepted == Accepted::Yes);
            waiting += usize::from(matches!(self.engine.phase(key), Some(Phase::BackingOff { .. })));
        }
        let stalled = self.tally.keys().filter(|key| matches!(self.engine.phase(key), Some(Phase::Stalled { .. })));
        let ended = accepted + stalled.count();
        let waiting = match self.engine.gate().limited(self.clock.now()) {
            Some(pause) => Waiting::RateLimit { until: pause.until },
            None if self.engine.in_flight() > 0 => Waiting::Calls(self.engine.in_flight()),
            None => Waiting::Retries(waiting),
        };
        Progress { due, ended, waiting }
    }

    fn report(self, observation: Observation, over: Over) -> Report {
        let services = observation.services(|key, step| match step {
            Step::Update(_) => self.ended(key, over),
            Step::Unchanged | Step::Suspended | Step::Orphaned => (Outcome::from(step), 0, None),
        });
        let Observation { snapshot, .. } = observation;
        Report::new(snapshot.revision, services, snapshot.problems, self.api)
    }

    /// How a service ended for which an update was due.
    fn ended(&self, key: &ServiceKey, over: Over) -> (Outcome, u32, Option<String>) {
        let tally = self.tally.get(key);
        let attempts = tally.map_or(0, |tally| tally.attempts);
        let error = tally.and_then(|tally| tally.error.clone());
        match self.engine.phase(key) {
            Some(Phase::Resting) | None => (Outcome::Updated, attempts, None),
            Some(Phase::Stalled { error, .. }) => (Outcome::Stalled, attempts, Some(error)),
            Some(Phase::BackingOff { error, .. }) => (Outcome::Failed, attempts, Some(error)),
            Some(Phase::InFlight { .. }) => {
                let error = "the pass ended before the answer came; the update may have been accepted".to_owned();
                (Outcome::Failed, attempts + 1, Some(error))
            }
            Some(Phase::Ready { .. }) if error.is_some() && over == Over::Denied => (Outcome::Failed, attempts, error),
            Some(Phase::Ready { .. }) => (Outcome::Pending, attempts, Some(error.unwrap_or_else(|| self.reason(over)))),
        }
    }

    /// Why the turn of a service did not come.
    fn reason(&self, over: Over) -> String {
        match (over, self.engine.gate().limited(self.clock.now())) {
            (Over::Denied, _) => "not tried: the API refuses the token".to_owned(),
            (Over::Stopped, _) => "not tried: the pass was stopped".to_owned(),
            (_, Some(pause)) => format!("not tried: {}", pause.reason),
            (Over::Settled | Over::Deadline, None) => "not tried before the deadline".to_owned(),
        }
    }
}
