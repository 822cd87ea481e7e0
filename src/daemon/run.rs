//! The daemon: one loop that looks, plans, calls and records, until it is told to stop.
//!
//! ```text
//!   watcher ─ changed ─▶ ┌──────┐ ─ look ──▶ a thread that reads the folder ─▶ snapshot ─▶ engine
//!   timers ────────────▶ │ loop │ ─ call ──▶ tasks: intent, call, record ────▶ ending ───▶ engine
//!   signals, queries ──▶ └──────┘
//! ```
//! The loop takes one [`Event`] after the other from where they come ([`Sources`]); what the [`Daemon`] does about it
//! waits for nothing. Every wait has a bound: a call by its deadline, the loop by the next resync, a look by how long it
//! waits for git (2 s). A disk that does not answer cannot be left; then `/readyz` says so and systemd's watchdog is no
//! longer fed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt as _, OptionFuture};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::config::{Config, Reread};
use super::event::{Chore, Event};
use super::heard::Heard;
use super::look::{Eyes, Looked};
use super::looks::Debounce;
use super::state::Daemon;
use super::systemd::Systemd;
use super::tell::tell_watching;
use crate::engine::Pace;
use crate::ledger::{Bell, Ledger, OpenError, ReadError};
use crate::model::OnFailure;
use crate::plan::{MaxChanges, Rules, Windows};
use crate::runner::{Api, Carrier};
use crate::source::{Folder, Watch};
use crate::stop::{Request, Stop, Stopping};
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

/// Where events come from.
struct Sources {
    stop: Stop,
    /// What of a stop is waited for.
    awaited: Stopping,
    requests: mpsc::Receiver<Request>,
    queries: mpsc::Receiver<Query>,
    heard: Arc<Heard>,
    bell: Bell,
    looking: Option<JoinHandle<Looked>>,
    rereading: Option<JoinHandle<Result<Reread, String>>>,
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
    (stop, requests): (Stop, mpsc::Receiver<Request>),
    queries: mpsc::Receiver<Query>,
    meters: Meters,
) -> Result<(), RunError> {
    let DaemonSettings { pace, rules, max_changes, on_failure, windows, resync, debounce, config } = settings;
    // Listened to before the ledger is read: what is asked from here on is heard.
    let bell = ledger.bell();
    let held = ledger.clone();
    let (mut carrier, states, files, people) = ledger
        .read(move |reader| {
            let mut carrier = Carrier::new(pace, rules, reader.known()?, held, api)?;
            carrier.guard(max_changes, 0)?;
            Ok((carrier, reader.states()?, reader.files()?, reader.people()?))
        })
        .await?;
    carrier.set_windows(windows);
    carrier.set_on_failure(on_failure);
    let heard = Arc::new(Heard::default());
    let tell = Arc::clone(&heard);
    let watch = Watch::start(folder.path(), move |writing| tell.tell(writing));
    tell_watching(watch.watching());
    folder.heed(watch.writers());

    let now = Instant::now();
    let mut daemon = Daemon::new(carrier, Eyes { folder, watch }, (debounce, resync), Systemd::new(now), meters, now);
    daemon.recall(states, files);
    daemon.config = config;
    // No call is made before what people say is known.
    daemon.heed(people);
    let mut sources =
        Sources { stop, awaited: Stopping::Gracefully, requests, queries, heard, bell, looking: None, rereading: None };
    drop(ledger);
    loop {
        let now = Instant::now();
        // What was noticed by now must be known before it is said that nothing was.
        if let Some(writing) = sources.heard.next().now_or_never() {
            daemon.handle(Event::Noticed(writing), now);
        }
        sources.begin(daemon.turn(now));
        if daemon.is_over(now) {
            break;
        }
        let wake = daemon.next_wake(now);
        let event = sources.next(&mut daemon.carrier, wake).await?;
        sources.begin(daemon.handle(event, Instant::now()));
    }
    let another_account = daemon.end().await;
    info!("stopped");
    another_account.map_or(Ok(()), |error| Err(RunError::Account(error)))
}

impl Sources {
    /// Begins what is done beside the loop.
    fn begin(&mut self, chore: Option<Chore>) {
        match chore {
            Some(Chore::Look(look)) => self.looking = Some(spawn_blocking(move || look.run())),
            Some(Chore::Reread(config)) => self.rereading = Some(config.reread()),
            None => {}
        }
    }

    /// Returns what happens next; [`Event::Woke`] where nothing does until then. Each arm is safe to cancel: a look and a
    /// call go on by themselves, the rest is asked anew.
    async fn next(&mut self, carrier: &mut Carrier, wake: Instant) -> Result<Event, JoinError> {
        Ok(tokio::select! {
            biased;
            () = self.stop.reached(self.awaited) => {
                self.awaited = Stopping::AtOnce;
                Event::Stop(self.stop.asked())
            }
            Some(done) = carrier.done() => Event::Done(Box::new(done?)),
            Some(looked) = OptionFuture::from(self.looking.as_mut()) => {
                self.looking = None;
                Event::Looked(Box::new(looked?))
            }
            Some(read) = OptionFuture::from(self.rereading.as_mut()) => {
                self.rereading = None;
                Event::Reread(read?)
            }
            Some(request) = self.requests.recv() => Event::Asked(request),
            () = self.bell.rung() => Event::Rang,
            Some(query) = self.queries.recv() => Event::Queried(query),
            writing = self.heard.next() => Event::Noticed(writing),
            () = sleep_until(wake) => Event::Woke,
        })
    }
}
