//! All exchanges at once: which begin, which get a place on the wire, what an answer means for the others.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::exchange::{Beginning, End, Exchange, Next, Read, Recalled, Request, Showed, Spent, Write};
use super::keeping::Keeping;
use super::patch::{UpdateCall, UpdateCalls, Verdict};
use super::reply::{Heard, Refusal, Reply};
use super::tell::Told;
use super::token_end::TokenEnd;
use super::whose::{Answered, Whose};
use crate::engine::{
    Block, Call, ChangedSince, Delivery, Ending, Engine, Event, Look, Looked, SAME_WINDOW, Scope, Sought, Window, Work,
};
use crate::ledger::{CallId, Keep, Pause, TakenRequest, Turned};
use crate::model::{
    Decision, DeploymentUpdate, Desired, Digest, OnFailure, Quarantine, Revision, ServiceKey, Stranger,
};
use crate::northflank::{Account, Deprecation};
use crate::plan::{Closures, Fuse};

/// Names one exchange of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Asks for the looks at rollouts whose the token is; no exchange has this name.
const LOOKS: ExchangeId = ExchangeId(0);

/// Counts the tokens that were put in place, so that a late refusal of an old one is not held against a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenNumber(pub u64);

/// What is to be done. Whoever carries it out gives back what became of it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A call began.
    Began(Call),
    /// Say what the ledger knows of a service: [`Machine::recalled`].
    Recall(ExchangeId, ServiceKey),
    /// Write to the ledger, again and again where the write insists: [`Machine::written`].
    Write(ExchangeId, Write),
    /// Make a request, with the token that is in place: [`Machine::replied`].
    Ask(ExchangeId, ServiceKey, Request),
    /// Look how far rollouts are, with the token that is in place: [`Machine::looked`].
    Look(Look),
    /// Put all of this on disk, or nothing: [`Machine::kept`].
    Keep(Arc<[Keep]>),
    /// Look in the ledger for content that can be sent in the place of some that failed: [`Machine::found`].
    Seek(Sought),
    /// Read the token anew: [`Machine::token_read`].
    ReadToken,
    /// A call ended, and the engine knows it.
    Ended(Finished),
    /// Keep the rate limit's window over a restart. It is a hint.
    KeepQuota(Window),
    /// The same, at once: others go by it, and nothing else may be written soon.
    ShowQuota(Window),
    /// Keep the pause for the rate limit over a restart.
    KeepPause(Pause),
    /// Keep which call carries updates over a restart.
    KeepTurned(Option<Turned>),
    /// The token opens this account, and the ledger belongs to it.
    KeepAccount(Account),
    /// The token opens another account than the one of the ledger: no more calls are made.
    AnotherAccount(Account),
    /// Tell people.
    Tell(Told),
}

/// What became of a call.
#[derive(Clone, Debug)]
pub struct Finished {
    /// For which service.
    pub key: ServiceKey,
    /// What it did.
    pub work: Work,
    /// How it ended, as the engine was told.
    pub ending: Ending,
    /// The requests that it took.
    pub spent: Spent,
}

/// What reading the token anew showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenRead {
    /// It is the one that is in place.
    Same,
    /// It is another one, and is in place by now.
    Another,
    /// It cannot be read; the one that is in place stays.
    Unreadable(String),
}

/// How the calls of a process are made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Requests on the wire at once; at least one.
    pub places: usize,
    /// How long after its intent a request may still take effect: the time for one request and a margin.
    pub settle: Duration,
    /// How long an intent waits for its place on the wire at most.
    pub patience: Duration,
    /// Which call carries an update.
    pub update_call: UpdateCall,
    /// Whether it is asked whose a token is before it is used.
    pub asks_account: bool,
}

impl Settings {
    /// Settings that follow from the deadline of one request. A request that was given up counts as over when its
    /// deadline has passed since it left.
    #[must_use]
    pub fn new(places: usize, request_timeout: Duration, update_call: UpdateCall) -> Self {
        let patience = PATIENCE.min(request_timeout);
        Self { places, settle: request_timeout + patience, patience, update_call, asks_account: false }
    }
}

/// How long an intent waits for its place at most. After that it goes back, so that the time in which its request may
/// take effect is counted from when it leaves.
const PATIENCE: Duration = Duration::from_secs(5);

/// After so many services in a row that are forbidden to the token (403), it is taken to be good for none.
const FORBIDDEN_AT_MOST: u32 = 3;

/// Whether something new is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    No,
    /// Only looks at rollouts are.
    ToCalls,
    Yes,
}

/// The machine. Effects pile up in it until they are taken.
#[derive(Debug)]
pub struct Machine {
    engine: Engine,
    settings: Settings,
    updates: UpdateCalls,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    begun: u64,
    /// Who waits for a place on the wire, and with which request.
    waiting: VecDeque<(ExchangeId, Request)>,
    on_wire: usize,
    /// Calls whose token was refused, until it is known whether there is another one.
    refused: Vec<(ExchangeId, End)>,
    revision: Option<Revision>,
    /// Counts the looks that brought something new, whatever the revision says: work that is not committed has none of
    /// its own.
    look: u64,
    token: TokenNumber,
    whose: Whose,
    token_end: Option<TokenEnd>,
    /// What the wall clock says.
    wall: Timestamp,
    /// The token that a call was accepted with last.
    accepted: Option<TokenNumber>,
    /// Services that were refused with 403 since a call was accepted.
    forbidden: u32,
    /// What calls read that went back before their update was sent: it is not read again if they go out soon.
    read: BTreeMap<ServiceKey, Read>,
    closed: Closed,
    /// The look at rollouts that is out, or waits for the answer whose the token is.
    looking: Option<Look>,
    keeping: Keeping,
    kept_pause: Option<Timestamp>,
    kept_quota: Option<Window>,
    told_deprecation: Option<Deprecation>,
    told_period: bool,
    effects: Vec<Effect>,
}

impl Machine {
    /// A machine around an engine that knows what the ledger knows. `turned` is what the ledger has of the update calls,
    /// `account` whose it is.
    #[must_use]
    pub fn new(
        engine: Engine,
        settings: Settings,
        turned: Option<Turned>,
        account: Option<Arc<str>>,
        now: Timestamp,
    ) -> Self {
        let updates = UpdateCalls::new(settings.update_call, turned.clone(), now);
        let undone = turned.is_some() && settings.update_call == UpdateCall::Post;
        let mut machine = Self {
            engine,
            settings,
            updates,
            exchanges: BTreeMap::new(),
            begun: 0,
            waiting: VecDeque::new(),
            on_wire: 0,
            refused: Vec::new(),
            revision: None,
            look: 0,
            token: TokenNumber::default(),
            whose: Whose::new(settings.asks_account, account),
            token_end: None,
            wall: now,
            accepted: None,
            forbidden: 0,
            read: BTreeMap::new(),
            closed: Closed::No,
            looking: None,
            keeping: Keeping::default(),
            kept_pause: None,
            kept_quota: None,
            told_deprecation: None,
            told_period: false,
            effects: Vec::new(),
        };
        if undone {
            machine.effects.push(Effect::KeepTurned(None));
        }
        machine
    }

    /// What is due, and what each service is doing.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The token that is in place.
    #[must_use]
    pub fn token(&self) -> TokenNumber {
        self.token
    }

    /// Whether updates go out as PATCH because the API refused POST.
    #[must_use]
    pub fn turned(&self) -> Option<&Turned> {
        self.updates.turned()
    }

    /// Calls that have begun and not ended, reads for drift among them.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.exchanges.len()
    }

    /// Requests that were sent and have no answer yet.
    #[must_use]
    pub fn on_wire(&self) -> usize {
        self.on_wire
    }

    /// What is to be done, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        self.effects.extend(self.engine.take_sought().into_iter().map(Effect::Seek));
        std::mem::take(&mut self.effects)
    }

    /// What follows a rollout that failed, where a manifest does not say; before the first [`Machine::observe`].
    pub fn set_on_failure(&mut self, on_failure: OnFailure) {
        self.engine.set_on_failure(on_failure);
    }

    /// What can be sent in the place of content that failed; nothing where no such thing is known. `false` where it is not
    /// looked for any more.
    pub fn found(&mut self, sought: &Sought, found: Option<(Digest, DeploymentUpdate)>, now: Timestamp) -> bool {
        self.engine.found(sought, found, now)
    }

    /// Takes what a look at the folder showed. Calls that wait for a place begin anew where it has something new.
    pub fn observe(&mut self, desired: impl Borrow<BTreeMap<ServiceKey, Desired>>, revision: Revision, now: Timestamp) {
        self.revision = Some(revision);
        if self.engine.observe(desired, now) {
            self.look += 1;
        }
    }

    /// Puts a fuse in place; before the first [`Machine::observe`]. `elsewhere` is how many services were deployed before
    /// that this machine has nothing to do with.
    pub fn set_fuse(&mut self, fuse: Fuse, elsewhere: usize) {
        self.engine.set_fuse(fuse, elsewhere);
    }

    /// Takes what people decided about plans, oldest first.
    pub fn decide(&mut self, decisions: Vec<Decision>, now: Timestamp) {
        self.engine.decide(decisions, now);
        self.take_back(now);
    }

    /// Takes what the wall clock says.
    pub fn set_wall_clock(&mut self, wall: Timestamp, now: Timestamp) {
        self.engine.set_wall_clock(wall, now);
        self.wall = wall;
        let ends_at = self.token_end.as_mut().and_then(|end| end.tell(wall));
        self.effects.extend(ends_at.map(|at| Effect::Tell(Told::TokenEnds { at })));
    }

    /// Begins every call that is due and has room, and gives places to those that wait for one.
    pub fn turn(&mut self, now: Timestamp) {
        if self.closed == Closed::No {
            self.engine.set_update_requests(if self.updates.are_patches(now) { 2 } else { 1 });
        }
        self.keep(now);
        loop {
            while self.closed == Closed::No && !self.whose.holds() && self.may_go_on(now) {
                let asked = self.engine.gate().is_asked();
                let Some(call) = self.engine.next_call(now, self.owed()) else { break };
                self.begin(call, asked, now);
            }
            // What was put back may begin anew, with what is newer.
            let before = self.exchanges.len();
            self.give_places(now);
            if self.closed != Closed::No || self.exchanges.len() == before {
                break;
            }
        }
        self.begin_look(now);
        self.keep(now);
        self.effects.extend(self.keeping.begin(now).map(Effect::Keep));
    }

    /// Whether calls may begin. What time alone lets out, as the end of a suspension does, is on disk before it goes.
    fn may_go_on(&mut self, now: Timestamp) -> bool {
        self.engine.come_round(now);
        self.keep_findings();
        !self.keeping.holds_calls()
    }

    /// When there may be something to do that is not there now.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let begins = match self.closed {
            // Only the answer lets anything go on.
            Closed::No | Closed::ToCalls if self.whose.holds() => None,
            // Calls go on once that is on disk.
            Closed::No if self.keeping.holds_calls() => self.next_look_wake(now),
            Closed::No => [self.engine.next_wake(now), self.next_look_wake(now)].into_iter().flatten().min(),
            Closed::ToCalls => self.next_look_wake(now),
            Closed::Yes => None,
        };
        [begins, self.keeping.again_at()].into_iter().flatten().min()
    }

    /// Whether nothing is out that turns the machine when it comes back. Then only time does.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.exchanges.is_empty() && self.on_wire == 0 && !self.keeping.is_out() && !self.engine.is_seeking()
    }

    /// Whether all that was decided is on disk.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keeping.is_done()
    }

    /// What was decided is on disk, or the ledger did not take it: then it is offered again, and all calls wait for it.
    pub fn kept(&mut self, kept: Result<(), String>, now: Timestamp) {
        match kept {
            Ok(()) => {
                if self.keeping.written() {
                    self.engine.ledger_was_written();
                }
            }
            Err(error) => {
                let again_at = self.engine.ledger_refused(error.into(), now);
                self.keeping.refused(again_at);
            }
        }
    }

    /// Keeps what came of requests of people, with what followed from each.
    pub fn keep_taken(&mut self, taken: Vec<TakenRequest>, now: Timestamp) {
        self.keep(now);
        taken.into_iter().for_each(|taken| self.keeping.push(Keep::Taken(taken)));
    }

    /// When a look may be made that may not now. One that is due and waits for something that is out has no time: the end
    /// of that turns the machine.
    fn next_look_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let is_busy = self.on_wire > 0 || !self.exchanges.is_empty();
        let wake = self.engine.next_look_wake(now)?;
        let is_due = Duration::try_from(wake.duration_since(now)).is_ok_and(|wait| wait <= Duration::from_millis(1));
        (!is_due || !is_busy).then_some(wake)
    }

    /// The ledger said what it knows of a service.
    pub fn recalled(&mut self, id: ExchangeId, recalled: Recalled, now: Timestamp) {
        self.advance(id, now, |exchange| exchange.recalled(recalled, now));
        self.give_places(now);
    }

    /// A write is on disk, or the ledger did not take it.
    pub fn written(&mut self, id: ExchangeId, written: Result<Option<CallId>, String>, now: Timestamp, jitter: f64) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let waited = Duration::try_from(now.duration_since(exchange.writes_since)).unwrap_or_default();
        if written.is_ok() && waited <= self.settings.patience {
            self.ledger_was_written();
        }
        if let Some(next) = self.exchanges.get_mut(&id).map(|exchange| exchange.written(written, now)) {
            self.follow(id, next, now, jitter);
        }
        self.give_places(now);
    }

    /// A request was answered, or was given up.
    pub fn replied(
        &mut self,
        id: ExchangeId,
        reply: Result<Reply, Refusal>,
        heard: Heard,
        now: Timestamp,
        jitter: f64,
    ) {
        self.on_wire = self.on_wire.saturating_sub(1);
        self.note_quota(&reply, &heard);
        self.tell_deprecation(heard.deprecation);
        if let (Ok(Reply::Service(live)), Some(exchange)) = (&reply, self.exchanges.get(&id)) {
            self.engine.saw(&exchange.call.key, live.rollout, live.paused, heard.at);
        }
        if id == LOOKS {
            self.look_introduced(reply, now);
            self.keep(now);
            return self.give_places(now);
        }
        let next = if self.whose.asks(id) {
            self.introduced(id, reply, &heard, now)
        } else {
            self.exchanges.get_mut(&id).map(|exchange| exchange.replied(reply, &heard))
        };
        if let Some(next) = next {
            self.follow(id, next, now, jitter);
        }
        self.give_places(now);
    }

    /// An exchange heard whose the token is, or why not.
    fn introduced(
        &mut self,
        id: ExchangeId,
        reply: Result<Reply, Refusal>,
        heard: &Heard,
        now: Timestamp,
    ) -> Option<Next> {
        let answered = self.whose.answered(id, reply);
        self.note_account(&answered);
        let exchange = self.exchanges.get_mut(&id)?;
        Some(match answered {
            Answered::GoOn(_) | Answered::PassedOver(_) => exchange.begin(now),
            Answered::Another(_) => exchange.withdraw(self.settings.patience, now),
            Answered::Ask(question) => exchange.introduce(question),
            Answered::Failed(refusal) => exchange.not_introduced(&refusal, heard),
        })
    }

    /// Keeps, and tells, what was heard of the account that the token opens.
    fn note_account(&mut self, answered: &Answered) {
        match answered {
            Answered::GoOn(Some(account)) => {
                self.token_end = account.expires_at.map(TokenEnd::new);
                self.effects.push(Effect::KeepAccount(account.clone()));
            }
            Answered::PassedOver(refusal) => {
                let error = refusal.error.message.clone();
                self.effects.push(Effect::Tell(Told::AccountUnknown { error }));
            }
            Answered::Another(account) => self.effects.push(Effect::AnotherAccount(account.clone())),
            Answered::GoOn(None) | Answered::Ask(_) | Answered::Failed(_) => {}
        }
    }

    /// The token was read anew, because it was refused.
    pub fn token_read(&mut self, read: &TokenRead, now: Timestamp, jitter: f64) {
        match read {
            TokenRead::Another => {
                self.token_replaced();
                self.effects.push(Effect::Tell(Told::TokenReplacedAfterRefusal));
            }
            TokenRead::Unreadable(error) => self.effects.push(Effect::Tell(Told::TokenUnreadable(error.clone()))),
            TokenRead::Same => {}
        }
        for (id, end) in std::mem::take(&mut self.refused) {
            self.finish(id, end, now, jitter);
        }
    }

    /// Something else than a call's records was written to the ledger, without delay.
    pub fn ledger_was_written(&mut self) {
        if !self.keeping.is_refused() {
            self.engine.ledger_was_written();
        }
    }

    /// Somebody put another token in place, or says that the one in place may be good by now.
    pub fn token_may_be_good(&mut self, another: bool) {
        if another {
            self.token_replaced();
        } else {
            self.engine.token_replaced();
        }
    }

    fn token_replaced(&mut self) {
        self.token.0 += 1;
        self.token_end = None;
        self.whose.token_replaced();
        self.forbidden = 0;
        self.engine.token_replaced();
    }

    /// After a 403 that no other call speaks against: lets the next service be tried, which may be open to the token.
    /// `false` after some of them, and after a 401.
    pub fn try_another_service(&mut self, now: Timestamp) -> bool {
        let is_limited = self.engine.gate().limited(now).is_some();
        let another = self.forbidden < FORBIDDEN_AT_MOST && self.engine.queued() > 1 && !is_limited;
        if another {
            self.engine.ask(now);
        }
        another
    }

    /// Ends every wait of a service now, and lets one call through whatever closes the gate.
    pub fn retry_all(&mut self, now: Timestamp) {
        self.keeping.hurry(now);
        self.engine.retry_all(now);
    }

    /// Ends every wait of one service now, and lets one call through whatever closes the gate.
    pub fn retry(&mut self, key: &ServiceKey, now: Timestamp) {
        self.keeping.hurry(now);
        self.engine.ask(now);
        self.engine.retry(key, now);
    }

    /// Knows nothing of a service any more that no manifest names.
    pub fn forget(&mut self, key: &ServiceKey) {
        self.engine.forget(key);
    }

    /// A person lets the content of a service out of quarantine. `false` where none is in it.
    pub fn release(&mut self, key: &ServiceKey, now: Timestamp) -> bool {
        self.engine.release(key, now)
    }

    /// A person takes content of a service back.
    ///
    /// # Errors
    /// The manifest says something else by now.
    pub fn take_content_back(
        &mut self,
        key: &ServiceKey,
        taken: Quarantine,
        now: Timestamp,
    ) -> Result<(), ChangedSince> {
        self.engine.take_back(key, taken, now)?;
        self.take_back(now);
        Ok(())
    }

    /// Takes what closes services from now on. Updates that wait for their place are taken back.
    pub fn set_closures(&mut self, closures: Closures, now: Timestamp) {
        if self.engine.set_closures(closures, now) {
            self.take_back(now);
        }
    }

    /// What waits for its place may be held by now: it begins anew, as far as it may.
    fn take_back(&mut self, now: Timestamp) {
        self.look += 1;
        self.give_places(now);
    }

    /// Nothing new is begun, for good. What waits for a place is taken back.
    pub fn close(&mut self, now: Timestamp) {
        self.closed = Closed::Yes;
        self.give_places(now);
    }

    /// The same, but rollouts are followed to their end; [`Machine::open_to_calls`] undoes it.
    pub fn close_to_calls(&mut self, now: Timestamp) {
        self.closed = Closed::ToCalls;
        self.give_places(now);
    }

    /// Calls are begun again, unless it was closed for good.
    pub fn open_to_calls(&mut self) {
        if self.closed == Closed::ToCalls {
            self.closed = Closed::No;
        }
    }

    /// Looks how far rollouts are, where that is due.
    fn begin_look(&mut self, now: Timestamp) {
        let has_place = self.on_wire < self.settings.places.max(1);
        if self.closed == Closed::Yes || self.looking.is_some() || !has_place || self.whose.holds() {
            return;
        }
        if let Some(look) = self.engine.next_look(now, self.owed()) {
            // Nothing is asked with a token that may be somebody else's.
            let question = self.whose.first_question(LOOKS);
            self.send_look(look, question);
        }
    }

    /// A look heard whose the token is, or why not.
    fn look_introduced(&mut self, reply: Result<Reply, Refusal>, now: Timestamp) {
        let Some(look) = self.looking.take() else { return };
        if !self.whose.asks(LOOKS) {
            // Another token is in place, of which nothing is known.
            return self.engine.looked(Looked::Withdrawn, now);
        }
        let answered = self.whose.answered(LOOKS, reply);
        self.note_account(&answered);
        match answered {
            Answered::GoOn(_) | Answered::PassedOver(_) => self.send_look(look, None),
            Answered::Ask(question) => self.send_look(look, Some(question)),
            Answered::Another(_) => self.engine.looked(Looked::Withdrawn, now),
            Answered::Failed(refusal) => self.engine.looked(refusal.looked(), now),
        }
    }

    /// Makes a look, or asks what has to be known before it.
    fn send_look(&mut self, look: Look, question: Option<Request>) {
        let service = self.engine.service_of(&look).cloned();
        let effect = match question.zip(service) {
            Some((question, service)) => Effect::Ask(LOOKS, service, question),
            None => Effect::Look(look.clone()),
        };
        self.on_wire += 1;
        self.effects.push(effect);
        self.looking = Some(look);
    }

    /// A look at rollouts was answered, or was given up.
    pub fn looked(&mut self, reply: Result<Reply, Refusal>, heard: Heard, now: Timestamp) {
        (self.looking, self.on_wire) = (None, self.on_wire.saturating_sub(1));
        self.note_quota(&reply, &heard);
        let looked = match reply {
            Ok(Reply::Looked(looked)) => looked,
            // An answer to another question than the one that was asked is never given.
            Ok(_) => Looked::Containers(None),
            Err(refusal) => refusal.looked(),
        };
        self.engine.looked(looked, now);
        self.keep(now);
        self.give_places(now);
    }

    /// Requests that calls in flight have still to make, or to hear of.
    fn owed(&self) -> usize {
        self.exchanges.values().map(Exchange::owes).sum::<usize>() + usize::from(self.looking.is_some())
    }

    fn begin(&mut self, call: Call, asked: bool, now: Timestamp) {
        let Some(revision) = self.revision.clone() else { return };
        self.begun += 1;
        let id = ExchangeId(self.begun);
        self.effects.push(Effect::Began(call.clone()));
        let beginning = Beginning {
            revision,
            token: self.token,
            look: self.look,
            patches: self.updates.are_patches(now),
            may_turn: self.updates.may_turn(now),
            settle: self.settings.settle,
            asked,
            read: self.read.remove(&call.key).filter(|read| read.is_fresh(now)),
        };
        self.exchanges.insert(id, Exchange::new(call, beginning));
        let question = self.whose.first_question(id);
        self.advance(id, now, |exchange| match question {
            Some(question) => exchange.introduce(question),
            None => exchange.begin(now),
        });
    }

    /// Lets an exchange take a step that cannot end it.
    fn advance(&mut self, id: ExchangeId, now: Timestamp, step: impl FnOnce(&mut Exchange) -> Next) {
        if let Some(next) = self.exchanges.get_mut(&id).map(step) {
            self.follow(id, next, now, 0.0);
        }
    }

    fn follow(&mut self, id: ExchangeId, next: Next, now: Timestamp, jitter: f64) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        match next {
            Next::Recall => self.effects.push(Effect::Recall(id, exchange.call.key.clone())),
            Next::Write(write) => {
                exchange.writes_since = now;
                self.effects.push(Effect::Write(id, write));
            }
            Next::Place(request) => self.waiting.push_back((id, request)),
            Next::End(end) => self.end(id, end, now, jitter),
        }
    }

    /// Gives places on the wire to those that wait, in their order. Whoever may have something newer to send by now, or
    /// may make no request, goes back.
    fn give_places(&mut self, now: Timestamp) {
        // A window may have closed since it was put in line.
        self.look += u64::from(self.engine.mind_the_time(now));
        while (self.closed != Closed::No || self.on_wire < self.settings.places.max(1))
            && let Some((id, request)) = self.waiting.pop_front()
        {
            if self.may_ask(id, &request, now) {
                self.on_wire += 1;
                if let Some(exchange) = self.exchanges.get_mut(&id) {
                    exchange.token = self.token;
                    self.effects.push(Effect::Ask(id, exchange.call.key.clone(), request));
                }
            } else if let Some(next) =
                self.exchanges.get_mut(&id).map(|exchange| exchange.withdraw(self.settings.patience, now))
            {
                self.follow(id, next, now, 0.0);
            }
        }
    }

    fn may_ask(&self, id: ExchangeId, request: &Request, now: Timestamp) -> bool {
        let Some(exchange) = self.exchanges.get(&id) else { return false };
        let waited = exchange.intended().and_then(|at| Duration::try_from(now.duration_since(at)).ok());
        let others = self.owed().saturating_sub(exchange.owes());
        let first = exchange.spent.requests == 0;
        let is_open = self.engine.gate().opens(now).is_none();
        self.closed == Closed::No
            && self.whose.admits(id)
            && exchange.look == self.look
            && waited.is_none_or(|waited| waited <= self.settings.patience)
            && (exchange.asked
                || first && is_open
                // A read that was begun goes on; an update does not leave into what began meanwhile.
                || !first
                    && (is_open || !request.is_update())
                    && self.engine.permits_another(exchange.call.work, now, others))
    }

    /// An exchange is over, unless its token was refused: then it is first asked whether there is another one.
    fn end(&mut self, id: ExchangeId, end: End, now: Timestamp, jitter: f64) {
        let Some(exchange) = self.exchanges.get(&id) else { return };
        if matches!(end.ending, Ending::Denied { .. }) && exchange.token == self.token {
            if self.refused.is_empty() {
                self.effects.push(Effect::ReadToken);
            }
            self.refused.push((id, end));
            return;
        }
        self.finish(id, end, now, jitter);
    }

    fn finish(&mut self, id: ExchangeId, end: End, now: Timestamp, jitter: f64) {
        let Some(mut exchange) = self.exchanges.remove(&id) else { return };
        self.whose.ended(id);
        if let (Ending::Withdrawn, Some(read)) = (&end.ending, exchange.take_read()) {
            self.read.retain(|_, read| read.is_fresh(now));
            self.read.insert(exchange.call.key.clone(), read);
        }
        for text in &end.warnings {
            let (key, place, text) = (exchange.call.key.clone(), exchange.call.place.clone(), text.clone());
            self.effects.push(Effect::Tell(Told::Warning { key, place, text }));
        }
        let ending = self.judge(&exchange, end, now);
        let Exchange { call, spent, .. } = exchange;
        let quiet = self.engine.gate().is_unreachable() && is_outage(&ending);
        self.engine.finish(&call.key, ending.clone(), now, jitter);
        let quiet = quiet || (self.engine.gate().is_unreachable() && is_outage(&ending));
        if !quiet {
            self.effects.push(Effect::Tell(Told::Call { call: call.clone(), ending: ending.clone() }));
        }
        self.keep(now);
        self.tell_period(now);
        self.effects.push(Effect::Ended(Finished { key: call.key, work: call.work, ending, spent }));
    }

    /// What the end of an exchange means, in the light of the calls of others.
    fn judge(&mut self, exchange: &Exchange, end: End, now: Timestamp) -> Ending {
        let End { ending, forbidden, showed, .. } = end;
        let Exchange { call, token, .. } = exchange;
        let ending = self.judge_update_call(&call.key, ending, showed, now);
        match ending {
            // The next attempt has the newer token.
            Ending::Denied { .. } if *token != self.token => Ending::Withdrawn,
            // To look for drift is no reason to stop everything else; and where the token is good for others, this
            // service alone is closed to it.
            Ending::Denied { error } if forbidden && (call.work == Work::Watch || self.accepted == Some(*token)) => {
                if call.work != Work::Watch {
                    let (key, error) = (call.key.clone(), error.clone());
                    self.effects.push(Effect::Tell(Told::Forbidden { key, error }));
                }
                Ending::Rejected { error, delivery: Delivery::Excluded }
            }
            Ending::Denied { .. } => {
                self.forbidden = if forbidden { self.forbidden + 1 } else { FORBIDDEN_AT_MOST };
                ending
            }
            Ending::Accepted { .. } | Ending::Adopted { .. } | Ending::Read(_) => {
                (self.accepted, self.forbidden) = (Some(*token), 0);
                ending
            }
            ending => ending,
        }
    }

    /// What it showed of the calls that carry updates.
    fn judge_update_call(&mut self, key: &ServiceKey, ending: Ending, showed: Showed, now: Timestamp) -> Ending {
        let again =
            |error, wait| Ending::Transient { error, delivery: Delivery::Excluded, wait, scope: Scope::Service };
        match showed {
            Showed::Nothing => ending,
            Showed::PostAccepted => {
                if self.updates.accepted(now) {
                    self.effects.push(Effect::KeepTurned(None));
                    self.effects.push(Effect::Tell(Told::TurnOver));
                }
                ending
            }
            Showed::PostUnserved(reason) => match self.updates.refused(key, &reason, now) {
                Verdict::Turn(first) => {
                    self.engine.retry(&first, now);
                    self.effects.push(Effect::KeepTurned(self.updates.turned().cloned()));
                    self.effects.push(Effect::Tell(Told::Turned { reason: reason.clone() }));
                    again(reason.into(), Duration::ZERO)
                }
                Verdict::Wait(wait) => again(reason.into(), wait),
                Verdict::Refused => ending,
            },
            Showed::PatchForbidden => {
                if self.updates.patch_was_forbidden(now) {
                    self.effects.push(Effect::KeepTurned(None));
                    self.effects.push(Effect::Tell(Told::TurnUndone));
                }
                ending
            }
        }
    }

    /// Takes in what an answer said of the rate limit. Its window ends by when the answer came, not by when that was
    /// recorded.
    fn note_quota(&mut self, reply: &Result<Reply, Refusal>, heard: &Heard) {
        match heard.quota {
            Some(quota) => {
                let window = Window::new(quota.limit, quota.remaining, quota.resets_in, heard.at);
                self.engine.note_quota(window);
            }
            // What never left was not counted by anybody.
            None if reply.as_ref().is_err_and(|refusal| refusal.delivery == crate::northflank::Delivery::Unsent) => {}
            None => self.engine.count_request(heard.at),
        }
        let window = self.engine.quota().window();
        if let Some(window) = window.filter(|window| self.kept_quota != Some(*window)) {
            self.kept_quota = Some(window);
            self.effects.push(Effect::KeepQuota(window));
        }
    }

    /// Tells what happened in the engine, and keeps what must outlive the process.
    fn keep(&mut self, now: Timestamp) {
        for (key, content, quarantine) in self.engine.take_quarantines() {
            // What waits for its place may be held by now.
            self.look += u64::from(quarantine.is_some());
            self.keeping.push(match quarantine {
                Some(quarantine) => Keep::Quarantine(key, quarantine),
                None => Keep::Lifted(key, content),
            });
        }
        self.keep_findings();
        for event in self.engine.take_events(now) {
            // `status` and `why` go by the ledger, and nothing else may be written soon.
            let waits = matches!(event, Event::ReadsWait { .. });
            let window = self.engine.quota().window().filter(|_| waits);
            self.effects.extend(window.map(Effect::ShowQuota));
            if let Event::Rollout { key, rollout, .. } = &event {
                self.keeping.push(Keep::Rollout(key.clone(), rollout.clone()));
            }
            if let Event::SomebodyElse { key, by, at } = &event {
                let stranger = Stranger { noticed_at: *at, by: by.clone() };
                self.keeping.push(Keep::Stranger(key.clone(), stranger));
            }
            self.effects.push(Effect::Tell(Told::Engine(event)));
        }
        let Some(pause) = self.engine.gate().limited(now) else { return };
        if self.kept_pause.is_none_or(|kept| pause.until.duration_since(kept) >= SAME_WINDOW) {
            self.kept_pause = Some(pause.until);
            let pause = Pause { until: pause.until, reason: pause.reason.message.clone(), set_at: now };
            self.effects.push(Effect::KeepPause(pause));
        }
    }

    fn keep_findings(&mut self) {
        let findings = self.engine.take_findings();
        if !findings.is_empty() {
            self.keeping.push(Keep::Findings(findings));
        }
    }

    fn tell_deprecation(&mut self, said: Option<Deprecation>) {
        let Some(said) = said else { return };
        if self.told_deprecation != Some(said) {
            self.effects.push(Effect::Tell(Told::Deprecated(said)));
            self.told_deprecation = Some(said);
        }
    }

    /// Tells how often each service is read for drift, when that is first known; `/status` has it from then on.
    fn tell_period(&mut self, now: Timestamp) {
        if self.told_period || self.engine.quota().window().is_none() {
            return;
        }
        if let Some(period) = self.engine.watch_period(now) {
            self.effects.push(Effect::Tell(Told::WatchPeriod(period)));
            self.told_period = true;
        }
    }

    /// Whether all calls wait because the token is refused, and nothing can show otherwise.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.engine.gate().blocked(), Some((Block::Denied, _))) && self.engine.in_flight() == 0
    }
}

/// Whether an ending only says that the API cannot be reached.
fn is_outage(ending: &Ending) -> bool {
    matches!(ending, Ending::Transient { scope: Scope::Api | Scope::Network, .. })
}
