//! The daemon as it stands between two events: what it knows of the folder, and what it drives.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::error;

use super::config::Config;
use super::look::Eyes;
use super::looks::{Debounce, Looks, Trigger};
use super::publish::Published;
use super::systemd::{Busy, Systemd};
use super::tell::count;
use crate::engine::{Block, Work};
use crate::ledger::{OpenError, People, RequestId, RequestRecord, States};
use crate::model::{Diagnostic, RolloutState, ServiceKey};
use crate::runner::{Carrier, Done, Happened, TokenNumber};
use crate::source::{Snapshot, Watching};
use crate::stop::Request;
use crate::web::Meters;

/// What the daemon knows of the folder.
#[derive(Debug)]
pub(super) struct Seen {
    /// The snapshot that was read last, its desired state handed to the engine.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) succeeded: Option<(Instant, Timestamp)>,
    /// Why the newest look failed, if it did.
    pub(super) error: Option<Diagnostic>,
    /// How changes are noticed.
    pub(super) watching: Watching,
}

/// What the daemon does, as systemd and whoever asks for its health see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The folder was not read yet.
    Starting,
    Running,
    /// A reload was asked for, and the look that answers it has begun or not.
    Reloading {
        looks: bool,
    },
    /// Calls in flight come to their end, until then at the latest.
    Stopping {
        until: Instant,
    },
}

pub(super) struct Daemon {
    pub(super) carrier: Carrier,
    pub(super) phase: Phase,
    pub(super) seen: Seen,
    pub(super) since: Timestamp,
    /// What looks at the folder, while it does not.
    pub(super) eyes: Option<Eyes>,
    pub(super) looks: Looks,
    pub(super) resync: Duration,
    pub(super) systemd: Systemd,
    pub(super) meters: Meters,
    reported: Reported,
    /// Whether it was told that uncommitted work is applied.
    pub(super) told_uncommitted: bool,
    /// Patterns of windows that no service has, as they were told.
    pub(super) told_idle: BTreeSet<String>,
    /// The token that the present snapshot was searched for.
    pub(super) searched_for: TokenNumber,
    /// When the change was noticed that the present snapshot shows.
    pub(super) noticed: Option<Instant>,
    /// The file that named each service last which no valid manifest names now.
    pub(super) last_files: HashMap<ServiceKey, Arc<str>>,
    /// What is written down of the states of services.
    pub(super) published: Published,
    /// The request of a person that was taken up last.
    pub(super) taken: Option<RequestId>,
    /// What people asked for before the folder was read.
    pub(super) asked_early: Vec<RequestRecord>,
    /// Which request was taken last, and when.
    pub(super) asked: Option<(Request, Instant)>,
    /// How the config file is read again.
    pub(super) config: Option<Config>,
}

/// What was told of a look that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Nothing,
    Hanging,
}

impl Daemon {
    pub(super) fn new(
        carrier: Carrier,
        eyes: Eyes,
        (debounce, resync): (Debounce, Duration),
        systemd: Systemd,
        meters: Meters,
        now: Instant,
    ) -> Self {
        let watching = eyes.watch.watching().clone();
        Self {
            since: carrier.clock().now(),
            carrier,
            phase: Phase::Starting,
            seen: Seen { snapshot: None, succeeded: None, error: None, watching },
            eyes: Some(eyes),
            looks: Looks::new(debounce, resync, now),
            resync,
            systemd,
            meters,
            reported: Reported::Nothing,
            told_uncommitted: false,
            told_idle: BTreeSet::new(),
            searched_for: TokenNumber::default(),
            noticed: None,
            last_files: HashMap::new(),
            published: Published::default(),
            taken: None,
            asked_early: Vec::new(),
            asked: None,
            config: None,
        }
    }

    /// What an earlier process wrote: the states of services, and the files that named them.
    pub(super) fn recall(&mut self, states: Option<States>, files: HashMap<ServiceKey, Arc<str>>) {
        let written = states.map(|states| states.of.into_iter().collect()).unwrap_or_default();
        self.published = Published::taken_over(written);
        self.last_files = files;
    }

    /// Takes what people decided and ask for.
    pub(super) fn heed(&mut self, people: People) {
        let happened = self.carrier.heed(people);
        self.hear(happened);
    }

    /// Begins the calls that are due, once the folder was read. Who stops only goes on with what was begun.
    pub(super) fn begin_calls(&mut self) {
        if self.seen.snapshot.is_some() || matches!(self.phase, Phase::Stopping { .. }) {
            let happened = self.carrier.turn();
            self.hear(happened);
        }
    }

    /// Takes what a task brought back.
    pub(super) fn take_done(&mut self, done: Done) {
        let token = self.carrier.machine().token();
        let happened = self.carrier.take(done);
        if self.carrier.machine().token() != token {
            self.looks.ask(Trigger::Token);
        }
        self.hear(happened);
    }

    /// Counts what happened, and notes whose state may be another one by now.
    pub(super) fn hear(&mut self, happened: Vec<Happened>) {
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
                // Who stops leaves them to the next process.
                Happened::People(_) if matches!(self.phase, Phase::Stopping { .. }) => {}
                Happened::People(open) => self.take_requests(open),
            }
        }
    }

    /// Writes down the states that changed.
    pub(super) fn publish(&mut self) {
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

    /// Tells systemd that the loop lives and what it does.
    pub(super) fn say(&mut self, now: Instant) {
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

    pub(super) fn next_wake(&self, now: Instant) -> Instant {
        let hanging = self.hangs(now);
        let feed = self.systemd.next_feed().filter(|_| !hanging);
        // Before the first snapshot nothing is published and no call is made, however long it is due.
        let seen = self.seen.snapshot.as_ref();
        let publishes = seen.and_then(|_| self.published.due());
        if let Phase::Stopping { until } = self.phase {
            return [feed, publishes, self.carrier.next_wake()].into_iter().flatten().fold(until, Instant::min);
        }
        let hangs_at = self.looks.hangs_at().filter(|_| !hanging);
        let calls = seen.and_then(|_| self.carrier.next_wake());
        let wakes = [self.looks.due(now), calls, feed, hangs_at, publishes];
        wakes.into_iter().flatten().min().unwrap_or(now + self.resync)
    }

    /// Nothing is waited for any more but the states of services on their way to the disk. Where the token opens another
    /// account than the one of the ledger, it says so.
    pub(super) async fn end(mut self) -> Option<OpenError> {
        self.carrier.abandon();
        if self.seen.snapshot.is_some() {
            let now = self.carrier.clock().now();
            let invalid = self.invalid(now);
            self.published.end(self.carrier.ledger(), self.carrier.engine(), &invalid, now).await;
        }
        self.carrier.another_account()
    }
}
