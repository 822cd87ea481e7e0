//! The daemon: one loop that looks, plans, calls and records, until it is told to stop.
//!
//! ```text
//!   watcher ─ changed ─▶ ┌──────┐ ─ look ──▶ a thread that reads the folder ─▶ snapshot ─▶ engine
//!   timers ────────────▶ │ loop │ ─ call ──▶ tasks: intent, call, record ────▶ ending ───▶ engine
//!   signals, queries ──▶ └──────┘
//! ```
//! Every wait has a bound: a call by its deadline, the loop by the next resync, a look by how long it waits for git (2 s). A disk that
//! does not answer cannot be left; then `/readyz` says so and systemd's watchdog is no longer fed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt as _, OptionFuture};
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::config::{Config, Reread};
use super::looks::{Aim, Debounce, Looks, Trigger};
use super::publish::Published;
use super::systemd::{Busy, Systemd};
use crate::engine::{Block, Ending, Pace, Work};
use crate::error::chain;
use crate::ledger::{Ledger, OpenError, ReadError, RequestId, RequestRecord};
use crate::manifest::Problem;
use crate::model::{Diagnostic, OnFailure, Revision, RolloutState};
use crate::plan::{MaxChanges, Rules, Windows};
use crate::runner::{Api, Carrier, Done, Finished, Happened, TokenNumber};
use crate::source::{Folder, Mounts, Snapshot, Unreadable, Watch, Watching, Writing};
use crate::stop::{GRACE, Request, Stop, Stopping};
use crate::web::{Meters, Query};

/// How the daemon paces itself.
#[derive(Debug)]
pub struct DaemonSettings {
    /// Calls and their retries.
    pub pace: Pace,
    /// What is done where a manifest alone does not decide.
    pub rules: Rules,
    /// How much one plan may change without an approval.
    pub max_changes: Option<MaxChanges>,
    /// What follows a rollout that failed.
    pub on_failure: OnFailure,
    /// Look at the folder this often without an event.
    pub resync: Duration,
    /// Quiet time after a change before it is acted on.
    pub debounce: Debounce,
    /// When updates may be sent.
    pub windows: Windows,
    /// How the config file is read again, where there is one.
    pub config: Option<Config>,
}

/// Why the daemon ended before it was told to.
#[derive(Debug, Error)]
pub enum RunError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] ReadError),
    /// The token opens another account than the one of the ledger.
    #[error(transparent)]
    Account(OpenError),
    /// A task broke down.
    #[error("a task of the daemon broke down")]
    Task(#[from] JoinError),
}

/// What a look takes along and brings back.
struct Eyes {
    folder: Folder,
    watch: Watch,
}

struct Looked {
    eyes: Eyes,
    saw: Saw,
    news: Option<Watching>,
}

enum Saw {
    /// All of it.
    Snapshot(Box<Snapshot>),
    /// It says what it said.
    Unchanged,
    /// It was read ahead of a look that is still to come.
    Ahead,
    Nothing(Unreadable),
}

/// What the daemon knows of the folder.
#[derive(Debug)]
pub(super) struct Seen {
    /// The snapshot that was read last, its desired state handed to the engine.
    pub(super) snapshot: Option<Snapshot>,
    /// When that was.
    pub(super) succeeded: Option<(Instant, Timestamp)>,
    /// Why the newest look failed, if it did.
    pub(super) error: Option<Diagnostic>,
    /// How changes are noticed.
    pub(super) watching: Watching,
}

pub(super) struct Daemon {
    pub(super) carrier: Carrier,
    pub(super) seen: Seen,
    pub(super) since: Timestamp,
    looks: Looks,
    resync: Duration,
    systemd: Systemd,
    meters: Meters,
    reload: Reload,
    reported: Reported,
    /// Whether it was told that uncommitted work is applied.
    told_uncommitted: bool,
    /// Patterns of windows that no service has, as they were told.
    pub(super) told_idle: BTreeSet<String>,
    /// The token that the present snapshot was searched for.
    searched_for: TokenNumber,
    /// When the change was noticed that the present snapshot shows.
    noticed: Option<Instant>,
    /// What is written down of the states of services.
    pub(super) published: Published,
    /// The request of a person that was taken up last.
    pub(super) taken: Option<RequestId>,
    /// What people asked for before the folder was read.
    pub(super) asked_early: Vec<RequestRecord>,
    /// Which request was taken last, and when.
    asked: Option<(Request, Instant)>,
    /// How the config file is read again, and the reading that is under way.
    config: Option<Config>,
    rereading: Option<JoinHandle<Result<Reread, String>>>,
}

/// Within this time the same request again is a storm, which is told once.
const STORM: Duration = Duration::from_secs(1);

/// Whether systemd waits for the end of a reload, or of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    Starting,
    Done,
    /// Asked for; the look that answers it has not begun.
    Asked,
    Running,
}

/// Runs until a stop is asked for. Calls in flight are then finished and recorded, within 20 s.
///
/// # Errors
/// The ledger cannot be read at the start, or a task breaks down. Whatever else goes wrong is told, waited out and tried
/// again.
pub async fn run(
    mut folder: Folder,
    ledger: Ledger,
    api: Api,
    settings: DaemonSettings,
    (mut stop, mut requests): (Stop, mpsc::Receiver<Request>),
    mut queries: mpsc::Receiver<Query>,
    meters: Meters,
) -> Result<(), RunError> {
    let known = ledger.reader().known()?;
    let written = ledger.reader().states()?.map(|states| states.of.into_iter().collect()).unwrap_or_default();
    let mut carrier = Carrier::new(settings.pace, settings.rules, known, ledger, api)?;
    carrier.guard(settings.max_changes, 0)?;
    carrier.set_windows(settings.windows);
    carrier.set_on_failure(settings.on_failure);
    let heard = Arc::new(Heard::default());
    let tell = Arc::clone(&heard);
    let watch = Watch::start(folder.path(), move |writing| tell.tell(writing));
    tell_watching(watch.watching());

    let now = Instant::now();
    let mut daemon = Daemon {
        since: carrier.clock().now(),
        carrier,
        seen: Seen { snapshot: None, succeeded: None, error: None, watching: watch.watching().clone() },
        looks: Looks::new(settings.debounce, settings.resync, now),
        resync: settings.resync,
        systemd: Systemd::new(now),
        meters,
        reload: Reload::Starting,
        reported: Reported::Nothing,
        told_uncommitted: false,
        told_idle: BTreeSet::new(),
        searched_for: TokenNumber::default(),
        noticed: None,
        published: Published::taken_over(written),
        taken: None,
        asked_early: Vec::new(),
        asked: None,
        config: settings.config,
        rereading: None,
    };
    let bell = daemon.carrier.ledger().bell();
    // No call is made before what they say is known.
    let people = daemon.carrier.ledger().reader().people()?;
    let happened = daemon.carrier.heed(people);
    daemon.hear(happened);
    folder.heed(watch.writers());
    let mut eyes = Some(Eyes { folder, watch });
    let mut looking: Option<JoinHandle<Looked>> = None;
    // Without it a mount over the folder is seen by the next resync.
    let mut mounts = Mounts::open().ok();

    while stop.asked() == Stopping::No && !daemon.carrier.is_elsewhere() {
        let now = Instant::now();
        // What was noticed by now must be known before it is said that nothing was.
        if let Some(writing) = heard.next().now_or_never() {
            daemon.looks.event(now, writing);
        }
        daemon.begin_calls();
        if daemon.looks.due(now).is_some_and(|due| due <= now)
            && let Some(eyes) = eyes.take()
        {
            looking = Some(daemon.begin_look(eyes, now));
        }
        daemon.say(now);
        if daemon.published.due().is_some_and(|due| due <= now) {
            daemon.publish();
        }
        let wake = daemon.next_wake(now);
        // Each arm is safe to cancel: a look and a call go on by themselves, the rest is asked anew.
        tokio::select! {
            biased;
            () = stop.reached(Stopping::Gracefully) => break,
            Some(done) = daemon.carrier.done() => {
                daemon.take_done(done?);
            }
            Some(looked) = OptionFuture::from(looking.as_mut()) => {
                looking = None;
                eyes = Some(daemon.take(looked?));
            }
            Some(read) = OptionFuture::from(daemon.rereading.as_mut()) => {
                daemon.rereading = None;
                daemon.take_config(read?);
            }
            Some(request) = requests.recv() => daemon.take_request(request),
            () = mounted(&mut mounts) => {
                // While a look runs nobody can be asked, and another look does no harm.
                if eyes.as_ref().is_none_or(|eyes| eyes.watch.displaced()) {
                    daemon.looks.event(Instant::now(), Writing::Ended);
                }
            }
            () = bell.rung() => daemon.carrier.read_people(),
            Some(query) = queries.recv() => daemon.answer(query),
            writing = heard.next() => daemon.looks.event(Instant::now(), writing),
            () = sleep_until(wake) => {}
        }
    }
    daemon.systemd.stopping();
    info!(in_flight = daemon.carrier.machine().in_flight(), "stopping: calls in flight are finished, nothing is begun");
    let (meters, until) = (daemon.meters.clone(), Instant::now() + GRACE);
    daemon.carrier.drain(until, stop.reached(Stopping::AtOnce), |finished| count(&meters, &finished)).await?;
    if daemon.seen.snapshot.is_some() {
        let now = daemon.carrier.clock().now();
        let (invalid, published) = (daemon.invalid(now), std::mem::take(&mut daemon.published));
        published.end(daemon.carrier.ledger(), daemon.carrier.engine(), &invalid, now).await;
    }
    info!("stopped");
    daemon.carrier.another_account().map_or(Ok(()), |error| Err(RunError::Account(error)))
}

/// What the watch tells, until the loop takes it.
#[derive(Debug, Default)]
struct Heard {
    told: Notify,
    last: Mutex<Option<Writing>>,
}

impl Heard {
    fn tell(&self, writing: Writing) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = match (*last, writing) {
            // That git ended counts also where HEAD moved since.
            (Some(Writing::GitEnded), Writing::Ended) => Some(Writing::GitEnded),
            _ => Some(writing),
        };
        self.told.notify_one();
    }

    /// What was told last, once something is. Cancel-safe.
    async fn next(&self) -> Writing {
        loop {
            self.told.notified().await;
            if let Some(writing) = self.last.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return writing;
            }
        }
    }
}

/// Returns when something was mounted or unmounted, on the whole machine. Cancel-safe.
async fn mounted(mounts: &mut Option<Mounts>) {
    match mounts {
        Some(mounts) => mounts.changed().await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    fn begin_calls(&mut self) {
        if self.seen.snapshot.is_some() {
            let happened = self.carrier.turn();
            self.hear(happened);
        }
    }

    /// Takes what a task brought back.
    fn take_done(&mut self, done: Done) {
        let token = self.carrier.machine().token();
        let happened = self.carrier.take(done);
        if self.carrier.machine().token() != token {
            self.looks.ask(Trigger::Token);
        }
        self.hear(happened);
    }

    /// Counts what happened, and notes whose state may be another one by now.
    fn hear(&mut self, happened: Vec<Happened>) {
        let now = Instant::now();
        for happened in happened {
            match happened {
                Happened::Began(call) => {
                    if let (Some(noticed), 1, Work::Send(_)) = (self.noticed, call.attempt, call.work) {
                        self.meters.reaction(noticed.elapsed());
                    }
                    self.published.touch(&call.key, now);
                }
                Happened::Ended(finished) => {
                    count(&self.meters, &finished);
                    self.published.touch(&finished.key, now);
                }
                Happened::Rollout(key, rollout) => {
                    if rollout.state == RolloutState::Completed {
                        self.meters.rollout(Duration::try_from(rollout.took()).unwrap_or_default());
                    }
                    self.published.touch(&key, now);
                }
                Happened::ForAll => self.published.touch_all(now),
                Happened::People(open) => self.take_requests(open),
            }
        }
    }

    /// Writes down the states that changed.
    fn publish(&mut self) {
        if self.seen.snapshot.is_none() {
            return;
        }
        let now = self.carrier.clock().now();
        let invalid = self.invalid(now);
        if self.published.publish(self.carrier.ledger(), self.carrier.engine(), &invalid, now)
            && matches!(self.carrier.engine().gate().blocked(), Some((Block::Unwritable, _)))
        {
            self.carrier.ledger_was_written();
            self.published.touch_all(Instant::now());
        }
    }

    fn begin_look(&mut self, mut eyes: Eyes, now: Instant) -> JoinHandle<Looked> {
        let (aim, event) = self.looks.begin(now);
        if let Some(trigger) = aim.trigger() {
            self.noticed = event;
            self.meters.pass(trigger.as_str());
            if self.reload == Reload::Asked {
                self.reload = Reload::Running;
            }
            debug!(trigger = trigger.as_str(), "looking at the folder");
        }
        let searched = self.searched_for == self.carrier.machine().token();
        tokio::task::spawn_blocking(move || {
            // Watches first: what changes after them is an event, what changed before them is seen.
            let news = eyes.watch.follow(&eyes.folder.git_files()).cloned();
            // Where changes cannot be had by events, folders' times may be those of another machine.
            let trusted = *eyes.watch.watching() == Watching::Events;
            let saw = saw(&mut eyes.folder, aim, trusted, searched);
            Looked { eyes, saw, news }
        })
    }

    /// Takes in what a look brought back.
    fn take(&mut self, looked: Looked) -> Eyes {
        let Looked { eyes, saw, news } = looked;
        if let Some(watching) = news {
            tell_watching(&watching);
            self.seen.watching = watching;
        }
        match saw {
            Saw::Ahead => self.looks.read_ahead(Instant::now()),
            Saw::Unchanged => self.succeed(),
            Saw::Snapshot(snapshot) => {
                let unfinished = snapshot.unfinished;
                let mut snapshot = *snapshot;
                snapshot.withhold(&self.carrier.finds_token());
                self.searched_for = self.carrier.machine().token();
                self.see(snapshot);
                self.succeed();
                if unfinished {
                    self.looks.soon(Instant::now() + UNFINISHED_AGAIN);
                }
            }
            // git is at work: as a rule for a moment.
            Saw::Nothing(unreadable) if unreadable.may_pass() => self.looks.held(Instant::now()),
            Saw::Nothing(unreadable) => self.fail(&unreadable),
        }
        eyes
    }

    /// A look ended well.
    fn succeed(&mut self) {
        let now = Instant::now();
        let every = match &self.seen.watching {
            Watching::Events => self.resync,
            Watching::Polling { every, .. } => *every,
        };
        self.looks.ended(now, every);
        // In case that the bell was not heard.
        self.carrier.read_people();
        if self.seen.error.take().is_some() {
            info!("the folder can be read again");
        }
        self.seen.succeeded = Some((now, self.carrier.clock().now()));
        match self.reload {
            Reload::Starting | Reload::Running => {
                self.systemd.ready();
                self.reload = Reload::Done;
            }
            Reload::Done | Reload::Asked => {}
        }
    }

    fn see(&mut self, mut snapshot: Snapshot) {
        let desired = std::mem::take(&mut snapshot.desired);
        let before = self.seen.snapshot.as_ref();
        if before.is_none_or(|before| before.revision != snapshot.revision) {
            let (revision, manifests, problems) = (&snapshot.revision, desired.len(), snapshot.problems.len());
            let (subject, author) = snapshot.headline().map(|headline| (&*headline.subject, &*headline.author)).unzip();
            info!(%revision, subject, author, manifests, problems, "the folder was read");
        }
        if desired.is_empty() && snapshot.problems.is_empty() && before.is_none() {
            info!("the folder has no manifests: `truenorth init` writes them from what runs");
        }
        let told = before.map_or(&[][..], |before| &before.problems);
        tell_problems(told, &snapshot.problems);
        if let Some(why) = &snapshot.uncompared
            && before.is_none_or(|before| before.uncompared != snapshot.uncompared)
        {
            warn!(why, "cannot compare the folder with its commit");
        }
        let is_uncommitted = matches!(&snapshot.revision, Revision::Git { dirty: true, .. });
        if is_uncommitted && snapshot.uncompared.is_none() && !std::mem::replace(&mut self.told_uncommitted, true) {
            warn!(
                "the folder has changes that are not committed, and they are applied; --uncommitted ignore applies HEAD"
            );
        }
        self.carrier.observe(desired, snapshot.revision.clone());
        self.seen.snapshot = Some(snapshot);
        let asked = std::mem::take(&mut self.asked_early);
        self.take_requests(asked);
        self.tell_idle_windows();
        self.published.touch_all(Instant::now());
    }

    /// A look failed.
    fn fail(&mut self, unreadable: &Unreadable) {
        self.looks.failed(Instant::now());
        let error = Diagnostic { hint: unreadable.hint().map(Into::into), ..Diagnostic::from(chain(unreadable)) };
        if self.seen.error.as_ref() != Some(&error) {
            let Diagnostic { message, hint, .. } = &error;
            error!(error = message, hint, "the folder cannot be read: what was applied stays, and it is tried again");
            self.seen.error = Some(error);
        }
        // A reload that failed is over all the same; a start is not.
        if self.reload == Reload::Running {
            self.systemd.ready();
            self.reload = Reload::Done;
        }
    }

    fn take_request(&mut self, request: Request) {
        let now = Instant::now();
        let again = self.asked.replace((request, now));
        if again.is_none_or(|(before, at)| before != request || now > at + STORM) {
            match request {
                Request::Reload => info!("SIGHUP: reading the token again and looking at the folder"),
                Request::LookNow => info!("SIGUSR1: looking now, and trying again what waits"),
            }
        }
        match request {
            Request::Reload => {
                self.systemd.reloading();
                if self.reload != Reload::Starting {
                    self.reload = Reload::Asked;
                }
                self.carrier.renew_token();
                // One that runs may have read what was there before.
                self.rereading = self.config.clone().map(Config::reread);
                self.looks.ask(Trigger::Reload);
                self.published.touch_all(Instant::now());
            }
            Request::LookNow => {
                self.carrier.retry_all();
                self.looks.ask(Trigger::Asked);
                self.published.touch_all(Instant::now());
            }
        }
    }

    /// Tells systemd that the loop lives and what it does.
    fn say(&mut self, now: Instant) {
        if self.hangs(now) {
            if self.reported != Reported::Hanging {
                error!("the folder does not answer: the look at it hangs, and no change is seen");
                self.reported = Reported::Hanging;
            }
        } else {
            // A look that hangs needs a new process: systemd's watchdog sees to it.
            self.systemd.feed(now);
            self.reported = Reported::Nothing;
        }
        let busy = if self.carrier.engine().in_flight() > 0 { Busy::Yes } else { Busy::No };
        if self.systemd.wants_sentence(busy, now) {
            let sentence = self.sentence();
            self.systemd.say(sentence, now);
        }
    }

    /// Whether the look that runs does not end.
    pub(super) fn hangs(&self, now: Instant) -> bool {
        self.looks.hangs_at().is_some_and(|at| at <= now)
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let hanging = self.hangs(now);
        let hangs_at = self.looks.hangs_at().filter(|_| !hanging);
        let feed = self.systemd.next_feed().filter(|_| !hanging);
        // Before the first snapshot nothing is published and no call is made, however long it is due.
        let seen = self.seen.snapshot.as_ref();
        let publishes = seen.and_then(|_| self.published.due());
        let calls = seen.and_then(|_| self.carrier.next_wake());
        let wakes = [self.looks.due(now), calls, feed, hangs_at, publishes];
        wakes.into_iter().flatten().min().unwrap_or(now + self.resync)
    }
}

/// How soon to look again for files that were being written: those that are left open count as finished some day.
const UNFINISHED_AGAIN: Duration = Duration::from_secs(1);

/// How long one look waits for git; then there is another.
const WAITS_FOR_GIT: Duration = Duration::from_secs(2);

/// Reads the folder, as little of it as is needed. Where its times are not to be trusted, that is all of it. What was not
/// searched for the present token is seen again, though it did not change.
fn saw(folder: &mut Folder, aim: Aim, trusted: bool, searched: bool) -> Saw {
    if !trusted {
        folder.forget_ahead();
    }
    match aim {
        Aim::Ahead => {
            if trusted {
                folder.read_ahead();
            }
            return Saw::Ahead;
        }
        Aim::Confirm => {
            if let Some(snapshot) = folder.confirm() {
                return Saw::Snapshot(Box::new(snapshot));
            }
        }
        Aim::Look(_) => {}
    }
    if trusted && searched && folder.is_unchanged() {
        return Saw::Unchanged;
    }
    folder.look_within(WAITS_FOR_GIT).map_or_else(Saw::Nothing, |snapshot| Saw::Snapshot(Box::new(snapshot)))
}

/// What was told of a look that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Nothing,
    Hanging,
}

fn count(meters: &Meters, finished: &Finished) {
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
fn tell_problems(told: &[Problem], problems: &[Problem]) {
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

fn tell_watching(watching: &Watching) {
    match watching {
        Watching::Events => debug!("changes of the folder are noticed by events"),
        Watching::Polling { every, reason } => {
            warn!(every_seconds = every.as_secs_f64(), reason, "changes cannot be noticed by events; looking at times");
        }
    }
}
