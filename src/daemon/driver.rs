//! What `--reconcile-once` and the daemon share: begins the calls that the engine asks for, takes in how they ended,
//! keeps the token and the rate limit's pause.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::call::{self, Begun, Ended, TokenNumber};
use super::clock::Clock;
use super::stop::{Stop, Stopping};
use crate::engine::{Block, Call, Delivery, Ending, Engine, Pace};
use crate::error::chain;
use crate::ledger::{Ledger, Pause, ReadError};
use crate::model::{Known, Revision, ServiceKey};
use crate::northflank::{Client, Quota, Token, TokenSource};
use crate::plan::ApiUse;

/// How long calls in flight may take to end after a stop or the deadline.
const GRACE: Duration = Duration::from_secs(20);

/// Two answers whose windows end this close to each other are of the same window: resets come in whole seconds.
const SAME_WINDOW: SignedDuration = SignedDuration::from_secs(30);

/// The status of a call that the token has no permission for.
const FORBIDDEN: u16 = 403;

/// The API, as one token sees it.
#[derive(Debug)]
pub struct Api {
    /// The client.
    pub client: Client,
    /// Where its token came from, and may come from again.
    pub tokens: TokenSource,
}

pub(super) struct Driver {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) api: ApiUse,
    /// Calls that the rate limit's window has in all, by the last answer.
    pub(super) quota_limit: Option<u32>,
    client: Client,
    tokens: TokenSource,
    token: TokenNumber,
    calls: JoinSet<Ended>,
    window_ends: Option<Timestamp>,
    told: Told,
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

/// What became of a call.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: ServiceKey,
    pub(super) ending: Ending,
    pub(super) begun: Begun,
}

impl Driver {
    /// A driver whose engine knows what the ledger knows, pauses included.
    pub(super) fn new(
        pace: Pace,
        known: impl IntoIterator<Item = (ServiceKey, Known)>,
        ledger: Ledger,
        api: Api,
    ) -> Result<Self, ReadError> {
        let mut engine = Engine::new(pace, known);
        let clock = Clock::start();
        if let Some(pause) = ledger.reader().pause()? {
            let longest = clock.now().checked_add(LONGEST_PAUSE).unwrap_or(Timestamp::MAX);
            engine.pause(pause.until.min(longest), pause.reason);
        }
        Ok(Self {
            engine,
            clock,
            ledger,
            api: ApiUse::default(),
            quota_limit: None,
            client: api.client,
            tokens: api.tokens,
            token: TokenNumber::default(),
            calls: JoinSet::new(),
            window_ends: None,
            told: Told::Nothing,
            kept: None,
            accepted: None,
            forbidden: 0,
        })
    }

    /// Begins every call that is due and has room; `begun` sees each.
    pub(super) fn begin_due(&mut self, revision: &Revision, mut begun: impl FnMut(&Call)) {
        while let Some(call) = self.engine.next_call(self.clock.now()) {
            begun(&call);
            let (ledger, client) = (self.ledger.clone(), self.client.clone());
            self.calls.spawn(call::make(call, revision.clone(), ledger, client, self.clock, self.token));
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
        let Ended { key, mut ending, quota, begun, refused, token } = ended;
        self.api.calls += u32::from(begun != Begun::No);
        if let Ending::Denied { error } = &ending
            && self.has_another_token(token, error)
        {
            ending = Ending::Withdrawn;
        }
        match &ending {
            Ending::Accepted => (self.accepted, self.forbidden) = (Some(token), 0),
            Ending::Denied { error } if refused == Some(FORBIDDEN) && self.accepted == Some(token) => {
                // The token is good for others: this service alone is closed to it.
                error!(service = %key, error, "the token may not update this service");
                ending = Ending::Rejected { error: error.clone(), delivery: Delivery::Excluded };
            }
            Ending::Denied { .. } if refused == Some(FORBIDDEN) => self.forbidden += 1,
            Ending::Denied { .. } => self.forbidden = FORBIDDEN_AT_MOST,
            _ => {}
        }
        self.engine.finish(&key, ending.clone(), self.clock.now(), fastrand::f64());
        self.note(quota);
        self.tell_pause().await;
        Finished { key, ending, begun }
    }

    /// After a 403 that no other call speaks against: lets the next service be tried, which may be open to the token.
    /// `false` after some of them, and after a 401.
    pub(super) fn tries_another_service(&mut self) -> bool {
        let another = self.forbidden < FORBIDDEN_AT_MOST;
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

    /// Takes in what an answer said of the rate limit: past the last call, there is no use in another.
    fn note(&mut self, quota: Option<Quota>) {
        let Some(quota) = quota else { return };
        let until = self.clock.now().checked_add(quota.resets_in).unwrap_or(Timestamp::MAX);
        // Answers overtake each other: within a window the lowest count is the newest.
        let same_window = self.window_ends.is_some_and(|ends| until.duration_since(ends).abs() < SAME_WINDOW);
        let lowest = self.api.remaining.filter(|_| same_window).unwrap_or(u32::MAX);
        self.api.remaining = Some(quota.remaining.min(lowest));
        self.quota_limit = Some(quota.limit);
        self.window_ends = Some(until);
        if quota.remaining == 0 {
            self.engine.pause(until, format!("all {} calls of the rate limit's window are used", quota.limit));
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

    /// Lets the calls in flight end, within the grace time and unless a second signal comes.
    pub(super) async fn drain(&mut self, stop: &mut Stop, mut took: impl FnMut(Finished)) -> Result<(), JoinError> {
        let until = Instant::now() + GRACE;
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
