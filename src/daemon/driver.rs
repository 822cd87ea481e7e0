//! What `--reconcile-once` and the daemon share: begins the calls that the engine asks for, takes in how they ended,
//! keeps the token and the rate limit's pause.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::call::{self, Ended, Line, Spent, TokenNumber, Wire};
use super::clock::Clock;
use super::send::{UpdateCall, UpdateCalls};
use super::stop::{Stop, Stopping};
use crate::engine::{Block, Call, Delivery, Ending, Engine, FIGHT, Memory, Pace, SAME_WINDOW, Window, Work};
use crate::error::chain;
use crate::ledger::{Ledger, Pause, ReadError};
use crate::model::{Desired, Known, Revision, ServiceKey};
use crate::northflank::{Client, Deprecation, Quota, Token, TokenSource};
use crate::plan::{ApiUse, Rules, Seen};

/// How long calls in flight may take to end after a stop or the deadline. The rest of the 20 s of a stop is for the ledger.
const GRACE: Duration = Duration::from_secs(16);

/// The status of a call that the token has no permission for.
const FORBIDDEN: u16 = 403;

/// The API, as one token sees it.
#[derive(Debug)]
pub struct Api {
    /// The client.
    pub client: Client,
    /// Where its token came from, and may come from again.
    pub tokens: TokenSource,
    /// Which call carries an update.
    pub update_call: UpdateCall,
}

pub(super) struct Driver {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) api: ApiUse,
    client: Client,
    updates: UpdateCalls,
    tokens: TokenSource,
    token: TokenNumber,
    calls: JoinSet<Ended>,
    wire: Wire,
    told: Told,
    told_reads: Option<Timestamp>,
    told_period: Option<Duration>,
    told_deprecation: Option<Deprecation>,
    /// The end of the pause that the ledger has.
    kept: Option<Timestamp>,
    /// The token that a call was accepted with last.
    accepted: Option<TokenNumber>,
    /// Services that were refused with 403 since a call was accepted.
    forbidden: u32,
}

/// After so many services in a row that are forbidden to the token (403), it is taken to be good for none.
const FORBIDDEN_AT_MOST: u32 = 3;

/// The longest pause that is taken over from an earlier process: no limit asks for more, but a clock may have been wrong.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// The pause of all calls that was told last, so that each is told once.
#[derive(Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Limited(Timestamp),
    Blocked(Block),
}

impl Told {
    /// Whether it says the same: each answer to a burst of calls moves the end of the same pause a little.
    fn is_like(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Limited(until), Self::Limited(told)) => until.duration_since(*told).abs() < SAME_WINDOW,
            _ => self == before,
        }
    }
}

/// Whether a snapshot is another one than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Yes,
    No,
}

/// What became of a call.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: ServiceKey,
    pub(super) work: Work,
    pub(super) ending: Ending,
    pub(super) spent: Spent,
}

impl Driver {
    /// A driver whose engine knows what the ledger knows, pauses and the rate limit's window included.
    pub(super) fn new(
        pace: Pace,
        rules: Rules,
        known: impl IntoIterator<Item = (ServiceKey, Known)>,
        ledger: Ledger,
        api: Api,
    ) -> Result<Self, ReadError> {
        let wire = Wire::new(pace.concurrency);
        // While some calls are on the wire, others have their intent or their outcome put on disk.
        let mut engine =
            Engine::new(Pace { concurrency: pace.concurrency + pace.concurrency / 2, ..pace }, rules, known);
        let clock = Clock::start();
        let longest = clock.now().checked_add(LONGEST_PAUSE).unwrap_or(Timestamp::MAX);
        if let Some(window) = ledger.reader().quota()?.filter(|window| window.resets_at > clock.now()) {
            engine.note_quota(Window { resets_at: window.resets_at.min(longest), ..window });
        }
        if let Some(pause) = ledger.reader().pause()? {
            engine.pause(pause.until.min(longest), pause.reason);
        }
        let turned = ledger.reader().turned()?.is_some();
        Ok(Self {
            engine,
            clock,
            ledger,
            api: ApiUse::default(),
            client: api.client,
            updates: UpdateCalls::new(api.update_call, turned),
            tokens: api.tokens,
            token: TokenNumber::default(),
            calls: JoinSet::new(),
            wire,
            told: Told::Nothing,
            told_reads: None,
            told_period: None,
            told_deprecation: None,
            kept: None,
            accepted: None,
            forbidden: 0,
        })
    }

    /// Takes over what earlier processes saw of live and corrected; before the folder is seen.
    pub(super) fn recall(&mut self) -> Result<(), ReadError> {
        let reader = self.ledger.reader();
        // Corrections that are older make no fight any more.
        let since = self.clock.now().checked_sub(FIGHT).unwrap_or(Timestamp::MIN);
        let mut memories: HashMap<ServiceKey, Memory> = reader
            .sightings()?
            .into_iter()
            .map(|(key, saw)| (key, Memory { looked_at: Some(saw.at), seen: saw.seen, corrections: Vec::new() }))
            .collect();
        for (key, at) in reader.corrections(since)? {
            memories.entry(key).or_default().corrections.push(at);
        }
        let now = self.clock.now();
        for (key, memory) in memories {
            self.engine.recall(&key, memory, now);
        }
        Ok(())
    }

    /// Takes in what a look at the folder showed.
    pub(super) fn observe(&mut self, desired: BTreeMap<ServiceKey, Desired>, news: News) {
        if news == News::Yes {
            self.wire.supersede();
        }
        self.engine.observe(desired, self.clock.now());
    }

    /// Begins every call that is due and has room; `begun` sees each.
    pub(super) fn begin_due(&mut self, revision: &Revision, mut begun: impl FnMut(&Call)) {
        while let Some(call) = self.engine.next_call(self.clock.now()) {
            begun(&call);
            self.wire.release();
            let line = Line {
                ledger: self.ledger.clone(),
                client: self.client.clone(),
                clock: self.clock,
                updates: self.updates.clone(),
                revision: revision.clone(),
                token: self.token,
                wire: self.wire.of_newest(),
            };
            self.calls.spawn(call::make(call, line));
        }
    }

    /// Returns when a call ended; `None` while there is none. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Option<Result<Ended, JoinError>> {
        self.calls.join_next().await
    }

    /// When the engine may have a call that it does not have now.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.engine.next_wake(self.clock.now()).map(|at| self.clock.instant(at))
    }

    /// Takes in how a call ended.
    pub(super) async fn finish(&mut self, ended: Ended) -> Finished {
        let Ended { key, work, mut ending, spent, refused, token } = ended;
        self.api.calls += spent.requests;
        if let Ending::Denied { error } = &ending
            && self.has_another_token(token, error)
        {
            ending = Ending::Withdrawn;
        }
        match &ending {
            Ending::Accepted | Ending::Adopted | Ending::Read(_) => (self.accepted, self.forbidden) = (Some(token), 0),
            Ending::Denied { error } if refused == Some(FORBIDDEN) && work == Work::Watch => {
                // To look for drift is no reason to stop everything else.
                ending = Ending::Rejected { error: error.clone(), delivery: Delivery::Excluded };
            }
            Ending::Denied { error } if refused == Some(FORBIDDEN) && self.accepted == Some(token) => {
                // The token is good for others: this service alone is closed to it.
                error!(service = %key, error, "the token has no permission for this service");
                ending = Ending::Rejected { error: error.clone(), delivery: Delivery::Excluded };
            }
            Ending::Denied { .. } if refused == Some(FORBIDDEN) => self.forbidden += 1,
            Ending::Denied { .. } => self.forbidden = FORBIDDEN_AT_MOST,
            _ => {}
        }
        let now = self.clock.now();
        let (before, unread) = (self.drift(&key, now), self.is_unread(&key, now));
        self.engine.finish(&key, ending.clone(), now, fastrand::f64());
        self.tell_drift(&key, before.as_ref(), now);
        self.tell_unread(&key, unread, now);
        self.tell_watch_period(now);
        if spent.quota.is_none() && matches!(ending, Ending::Accepted | Ending::Adopted | Ending::Read(_)) {
            self.engine.note_no_quota();
        }
        self.note(spent.quota, spent.told_at.map(|at| at.elapsed()).unwrap_or_default());
        if self.engine.gate().opens(now).is_some() {
            self.wire.hold();
        }
        self.tell_deprecation(spent.deprecation);
        self.tell_waiting_reads(now).await;
        self.tell_pause().await;
        Finished { key, work, ending, spent }
    }

    /// What a service has that was not applied, if that is known.
    fn drift(&self, key: &ServiceKey, now: Timestamp) -> Option<Seen> {
        self.engine.standing(key, now)?.drift().cloned()
    }

    /// Tells drift when it is found, when it changes and when it is gone.
    fn tell_drift(&self, key: &ServiceKey, before: Option<&Seen>, now: Timestamp) {
        let after = self.drift(key, now);
        match (before, &after) {
            (Some(before), Some(after)) if before.reading == after.reading => {}
            (_, Some(after)) => {
                let fields: Vec<String> = after.reading.differences.iter().map(ToString::to_string).collect();
                let fields = fields.join(", ");
                match self.engine.standing(key, now).and_then(|standing| standing.fights_until) {
                    Some(until) => error!(
                        service = %key, fields, %until,
                        "the service drifts again after each correction: it is left alone until its manifest changes, or until then"
                    ),
                    None => {
                        warn!(service = %key, fields, "the service drifted: it runs something else than was applied")
                    }
                }
            }
            (Some(_), None) => info!(service = %key, "the drift is gone"),
            (None, None) => {}
        }
    }

    /// After a 403 that no other call speaks against: lets the next service be tried, which may be open to the token.
    /// `false` after some of them, and after a 401.
    pub(super) fn tries_another_service(&mut self) -> bool {
        let another = self.forbidden < FORBIDDEN_AT_MOST && self.engine.queued() > 1;
        if another {
            self.engine.token_replaced();
        }
        another
    }

    /// Reads the token again, because somebody says that it may be another one.
    pub(super) fn renew_token(&mut self) {
        match self.tokens.read() {
            Ok(read) => {
                if !self.client.token_is(&read.token) {
                    info!("the token was replaced");
                    self.put_in_place(read.token);
                }
                self.engine.token_replaced();
            }
            Err(error) => error!(error = chain(&error), "the token cannot be read again; the old one stays"),
        }
    }

    fn put_in_place(&mut self, token: Token) {
        self.client.replace_token(token);
        self.token = TokenNumber(self.token.0 + 1);
    }

    /// After a refusal: whether a token is in place that the refused call did not have. Reads it again.
    fn has_another_token(&mut self, refused: TokenNumber, error: &str) -> bool {
        if refused != self.token {
            return true;
        }
        match self.tokens.read() {
            Ok(read) if !self.client.token_is(&read.token) => {
                warn!(error, "the API refused the token; going on with the new one");
                self.put_in_place(read.token);
                self.engine.token_replaced();
                true
            }
            Ok(_) => false,
            Err(unreadable) => {
                error!(error = chain(&unreadable), "the token cannot be read again");
                false
            }
        }
    }

    /// Takes in what an answer said of the rate limit so long ago.
    fn note(&mut self, quota: Option<Quota>, ago: Duration) {
        let Some(Quota { limit, remaining, resets_in }) = quota else { return };
        let now = self.clock.now();
        self.engine.note_quota(Window::new(limit, remaining, resets_in.saturating_sub(ago), now));
        self.api.remaining = self.engine.quota().left(now);
        if let Some(window) = self.engine.quota().window() {
            self.ledger.keep_quota(window);
        }
    }

    /// Whether the newest read of a service for drift failed.
    fn is_unread(&self, key: &ServiceKey, now: Timestamp) -> bool {
        self.engine.standing(key, now).is_some_and(|standing| standing.unread.is_some())
    }

    /// Tells how often each service is read for drift, when that is first known; `/status` has it from then on.
    fn tell_watch_period(&mut self, now: Timestamp) {
        if self.told_period.is_some() || self.engine.quota().window().is_none() {
            return;
        }
        self.told_period = self.engine.watch_period(now);
        if let Some(period) = self.told_period {
            info!("each service is read for drift about every {} min", period.as_secs().div_ceil(60));
        }
    }

    /// Tells once that a service cannot be read for drift, and that it can be again.
    fn tell_unread(&self, key: &ServiceKey, before: bool, now: Timestamp) {
        let standing = self.engine.standing(key, now);
        match standing.and_then(|standing| standing.unread) {
            Some(error) if !before => {
                warn!(service = %key, error, "the service cannot be read: drift would not be seen")
            }
            None if before => info!(service = %key, "the service can be read again"),
            Some(_) | None => {}
        }
    }

    /// Tells once that a call will go, and when.
    fn tell_deprecation(&mut self, said: Option<Deprecation>) {
        let Some(said) = said else { return };
        if self.told_deprecation != Some(said) {
            warn!("the API announces the end of a call that is used: {said}");
            self.told_deprecation = Some(said);
        }
    }

    /// Tells a pause of all calls when it begins, and that it is over; keeps the rate limit's over a restart.
    async fn tell_pause(&mut self) {
        let now = self.clock.now();
        let gate = self.engine.gate();
        let telling = match (gate.blocked(), gate.limited(now)) {
            (Some((block, _)), _) => Told::Blocked(block),
            (None, Some(pause)) => Told::Limited(pause.until),
            (None, None) => Told::Nothing,
        };
        if let Some(pause) = gate.limited(now) {
            let kept = self.kept.is_some_and(|kept| pause.until.duration_since(kept) < SAME_WINDOW);
            if !kept {
                self.kept = Some(pause.until);
                let pause = Pause { until: pause.until, reason: pause.reason.clone() };
                if let Err(error) = self.ledger.set_pause(Some(pause)).await {
                    self.kept = None;
                    warn!(error = chain(&error), "the pause cannot be recorded; a restart would forget it");
                }
            }
        }
        if telling.is_like(&self.told) {
            return;
        }
        match (&telling, gate.blocked(), gate.limited(now)) {
            (Told::Blocked(Block::Denied), Some((_, pause)), _) => {
                error!(error = pause.reason, until = %pause.until, "the API refuses the token: all calls wait");
            }
            (Told::Blocked(Block::Unwritable), Some((_, pause)), _) => {
                error!(error = pause.reason, until = %pause.until, "the ledger takes no record: all calls wait");
            }
            (Told::Limited(_), _, Some(pause)) => {
                warn!(error = pause.reason, until = %pause.until, "rate limit: all calls wait");
            }
            _ => info!("calls are made again"),
        }
        self.told = telling;
    }

    /// Tells once a window that reads wait, because what is left of it is kept for changes.
    async fn tell_waiting_reads(&mut self, now: Timestamp) {
        let Some(until) = self.engine.reads_wait_until(now) else { return };
        if self.told_reads.is_none_or(|told| until.duration_since(told).abs() >= SAME_WINDOW) {
            warn!(%until, "rate limit: reads wait, what is left of this window is kept for changes");
            self.told_reads = Some(until);
            // `status` and `why` go by the ledger, and nothing else may be written for long.
            if let Some(window) = self.engine.quota().window()
                && let Err(error) = self.ledger.set_quota(window).await
            {
                warn!(error = chain(&error), "the rate limit's window cannot be recorded");
            }
        }
    }

    /// A text for people, without the token.
    pub(super) fn conceal(&self, text: &str) -> String {
        self.client.conceal(text)
    }

    /// Lets the calls in flight end, within the grace time and unless a second signal comes.
    pub(super) async fn drain(&mut self, stop: &mut Stop, mut took: impl FnMut(Finished)) -> Result<(), JoinError> {
        let until = Instant::now() + GRACE;
        self.wire.close();
        while !self.calls.is_empty() {
            tokio::select! {
                biased;
                () = stop.reached(Stopping::AtOnce) => break,
                ended = timeout_at(until, self.calls.join_next()) => match ended {
                    Ok(Some(ended)) => took(self.finish(ended?).await),
                    Ok(None) | Err(_) => break,
                },
            }
        }
        // What is dropped here has its intent on disk: the next pass knows that it is in doubt.
        self.calls.abort_all();
        Ok(())
    }
}
