//! Carries out what the machine decides: requests by the client, writes by the ledger, waits by tokio.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::clock::Clock;
use super::exchange::{Recalled, Request, Write};
use super::good::{self, Found};
use super::kept::Kept;
use super::machine::{Effect, ExchangeId, Finished, Machine, Settings, TokenRead};
use super::patch::UpdateCall;
use super::reply::{Heard, Refusal, Reply};
use super::tell::Told;
use crate::engine::{
    Call, ChangedSince, Effect as InEffect, Engine, Event, FLAPPING, Look, Looked, Memory, Pace, Sought, accepted_at,
};
use crate::error::chain;
use crate::ledger::{
    CallId, Keep, Ledger, OpenError, Pause, People, ReadError, Reader, RequestRecord, TakenRequest, WriteError,
};
use crate::model::{About, Decision, Desired, Known, OnFailure, Quarantine, Revision, Rollout, ServiceKey};
use crate::northflank::{AcceptedBody, Answered, CallError, Client, ReadToken, TokenSource};
use crate::plan::{ApiUse, Closures, Freeze, MaxChanges, Rules, Windows};

/// How long to wait before a record that the disk did not take is tried again, or a read that it did not answer.
const LEDGER_AGAIN: Duration = Duration::from_secs(1);

/// The API, as one token sees it.
#[derive(Debug)]
pub struct Api {
    /// The client.
    pub client: Client,
    /// Where its token came from, and may come from again.
    pub tokens: TokenSource,
    /// Which call carries an update.
    pub update_call: UpdateCall,
    /// The deadline of one request.
    pub request_timeout: Duration,
    /// Whether it is asked whose a token is before it is used.
    pub asks_account: bool,
}

/// What the machine did that whoever drives it may want to know.
#[derive(Debug)]
pub enum Happened {
    /// A call began.
    Began(Call),
    /// A call ended, and the engine knows it.
    Ended(Finished),
    /// A rollout went on, or more is known of it.
    Rollout(ServiceKey, Rollout),
    /// What holds for all calls is another thing than before.
    ForAll,
    /// What people decided and froze was read, and holds. These requests are for whoever drives the machine.
    People(Vec<RequestRecord>),
}

/// What a task brought.
#[derive(Debug)]
pub struct Done(Brought);

#[derive(Debug)]
enum Brought {
    Recalled(ExchangeId, Recalled),
    Written(ExchangeId, Result<Option<CallId>, String>),
    Replied {
        id: ExchangeId,
        reply: Result<Reply, Refusal>,
        heard: Heard,
        for_service: bool,
    },
    Looked(Result<Reply, Refusal>, Heard),
    Token(Result<ReadToken, String>, Why),
    People(People),
    Found(Sought, Found),
    Kept(Result<(), String>),
    /// A hint was written down, or was not.
    Noted,
}

/// Whether what people ask for is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    No,
    Yes,
    /// What is read now may be older than what somebody asked for since.
    Again,
}

/// Why the token is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Refused,
    /// Somebody says that it may be another one.
    Asked,
}

/// A machine, and what it takes to carry out its effects.
#[derive(Debug)]
pub struct Carrier {
    machine: Machine,
    clock: Clock,
    ledger: Ledger,
    client: Client,
    tokens: TokenSource,
    tasks: JoinSet<Done>,
    /// Writes of hints for the next process, on which nothing depends.
    noting: usize,
    people: Listening,
    api: ApiUse,
    /// The account that the token opens, where it is not the one of the ledger.
    another_account: Option<Arc<str>>,
}

impl Carrier {
    /// A carrier whose engine knows what the ledger knows of these services, pauses and the rate limit's window included.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn new(
        pace: Pace,
        rules: Rules,
        known: impl IntoIterator<Item = (ServiceKey, Known)>,
        ledger: Ledger,
        api: Api,
    ) -> Result<Self, ReadError> {
        let clock = Clock::start();
        let now = clock.now();
        let reader = ledger.reader();
        let kept = Kept {
            known: known.into_iter().collect(),
            memories: memories(&ledger, now)?,
            quota: reader.kept_quota()?,
            pause: reader.pause()?,
            turned: reader.turned()?,
            account: ledger.place().account,
        };
        let asks_account = api.asks_account;
        let settings =
            Settings { asks_account, ..Settings::new(pace.concurrency, api.request_timeout, api.update_call) };
        let machine = kept.begin(pace, rules, settings, now);
        let (client, tokens, tasks) = (api.client, api.tokens, JoinSet::new());
        let (noting, people, api) = (0, Listening::No, ApiUse::default());
        let another_account = None;
        let mut carrier = Self { machine, clock, ledger, client, tokens, tasks, noting, people, api, another_account };
        carrier.freeze(carrier.ledger.reader().freezes()?);
        Ok(carrier)
    }

    /// Lets no plan change more than that without an approval; before the first [`Carrier::observe`]. `elsewhere` is how
    /// many services were deployed before that are not among those that are observed here.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn guard(&mut self, max_changes: Option<MaxChanges>, elsewhere: usize) -> Result<(), ReadError> {
        let fuse = self.ledger.reader().fuse(max_changes)?;
        self.machine.set_fuse(fuse, elsewhere);
        Ok(())
    }

    /// Reads what people decided and ask for, beside the loop: [`Happened::People`] says that it is known.
    pub fn read_people(&mut self) {
        if self.people != Listening::No {
            self.people = Listening::Again;
            return;
        }
        self.people = Listening::Yes;
        let ledger = self.ledger.clone();
        self.tasks.spawn(async move {
            Done(Brought::People(read(&ledger, "what people ask for", |reader| reader.people()).await))
        });
    }

    fn seek(&mut self, sought: Sought) {
        let (ledger, wanted) = (self.ledger.clone(), sought.clone());
        self.tasks.spawn(async move {
            let found = read(&ledger, "what ran before", move |reader| good::find(reader, &wanted)).await;
            Done(Brought::Found(sought, found))
        });
    }

    /// Takes what people decided and froze. What they ask for besides is for whoever drives the machine.
    pub fn heed(&mut self, people: People) -> Vec<Happened> {
        let is_news = self.decide(people.decisions);
        self.freeze(people.freezes);
        let news = is_news.then_some(Happened::ForAll);
        news.into_iter().chain([Happened::People(people.requests)]).collect()
    }

    /// Keeps what came of requests, with what followed from each.
    pub fn keep_taken(&mut self, taken: Vec<TakenRequest>) {
        self.machine.keep_taken(taken, self.clock.now());
    }

    /// Takes what people decided about plans, and says whether that is anything new.
    fn decide(&mut self, decisions: Vec<Decision>) -> bool {
        let known = self.machine.engine().fuse().decisions();
        if decisions == known {
            return false;
        }
        let is_new = |decision: &&Decision| known.iter().all(|known| known.id != decision.id);
        for Decision { about, answer, by, reason, until, .. } in decisions.iter().filter(is_new) {
            let About::Plan { name: plan, .. } = about else { continue };
            let (answer, by, reason) = (answer.as_str(), by.as_deref(), reason.as_deref());
            info!(%plan, answer, by, reason, until = until.map(tracing::field::display), "somebody decided about a plan");
        }
        self.machine.decide(decisions, self.clock.now());
        true
    }

    /// What follows a rollout that failed, where a manifest does not say; before the first [`Carrier::observe`].
    pub fn set_on_failure(&mut self, on_failure: OnFailure) {
        self.machine.set_on_failure(on_failure);
    }

    /// What is decided, and what is known.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What is due, and what each service is doing.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.machine.engine()
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The clock of this process.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether the token opens another account than the one of the ledger.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.another_account.is_some()
    }

    /// Why no call is made any more: the token opens another account than the one of the ledger.
    #[must_use]
    pub fn another_account(&self) -> Option<OpenError> {
        self.another_account.clone().map(|account| self.ledger.is_not_of(account))
    }

    /// What was used of the API, and what its rate limit leaves.
    #[must_use]
    pub fn api(&self) -> ApiUse {
        self.api
    }

    /// Takes what a look at the folder showed.
    pub fn observe(&mut self, desired: &BTreeMap<ServiceKey, Desired>, revision: Revision) {
        self.machine.observe(desired, revision, self.clock.now());
    }

    /// Something else than a call's records was written to the ledger, without delay.
    pub fn ledger_was_written(&mut self) {
        self.machine.ledger_was_written();
    }

    /// A text for people, without the token.
    #[must_use]
    pub fn conceal(&self, text: &str) -> String {
        self.client.conceal(text)
    }

    /// Tells whether a text holds the token of this moment.
    pub fn finds_token(&self) -> impl Fn(&str) -> bool + Send + use<> {
        self.client.finds_token()
    }

    /// Ends every wait of a service now, and lets one call through whatever closes the gate.
    pub fn retry_all(&mut self) {
        self.machine.retry_all(self.clock.now());
    }

    /// The same for one service.
    pub fn retry(&mut self, key: &ServiceKey) {
        self.machine.retry(key, self.clock.now());
    }

    /// Knows nothing of a service any more that no manifest names.
    pub fn forget(&mut self, key: &ServiceKey) {
        self.machine.forget(key);
    }

    /// Lets the content of a service out of quarantine. `false` where none is in it.
    pub fn release(&mut self, key: &ServiceKey) -> bool {
        self.machine.release(key, self.clock.now())
    }

    /// A person takes content of a service back.
    ///
    /// # Errors
    /// The manifest says something else by now.
    pub fn take_content_back(&mut self, key: &ServiceKey, taken: Quarantine) -> Result<(), ChangedSince> {
        self.machine.take_content_back(key, taken, self.clock.now())
    }

    fn freeze(&mut self, freezes: Vec<Freeze>) {
        self.close(Closures { freezes, ..self.engine().closures().clone() });
    }

    /// Sends updates in these times only.
    pub fn set_windows(&mut self, windows: Windows) {
        self.close(Closures { windows, ..self.engine().closures().clone() });
    }

    fn close(&mut self, closures: Closures) {
        let now = self.clock.now();
        self.machine.set_wall_clock(self.clock.wall(), now);
        self.machine.set_closures(closures, now);
    }

    /// Reads the token again, because somebody says that it may be another one.
    pub fn renew_token(&mut self) {
        self.read_token(Why::Asked);
    }

    /// Begins no more calls, and follows the rollouts to their end.
    pub fn close_to_calls(&mut self) {
        self.machine.close_to_calls(self.clock.now());
    }

    /// Begins calls again after [`Carrier::close_to_calls`].
    pub fn open_to_calls(&mut self) {
        self.machine.open_to_calls();
    }

    /// After a 403: lets the next service be tried. `false` where the token is good for none.
    pub fn try_another_service(&mut self) -> bool {
        self.machine.try_another_service(self.clock.now())
    }

    /// Begins what is due and carries out all that follows from it.
    pub fn turn(&mut self) -> Vec<Happened> {
        let now = self.clock.now();
        self.machine.set_wall_clock(self.clock.wall(), now);
        self.machine.turn(now);
        self.carry_out()
    }

    /// Returns what a task brought; `None` while there is none. Cancel-safe.
    pub async fn done(&mut self) -> Option<Result<Done, JoinError>> {
        self.tasks.join_next().await
    }

    /// Takes in what a task brought.
    pub fn take(&mut self, done: Done) -> Vec<Happened> {
        let (now, jitter) = (self.clock.now(), fastrand::f64());
        let mut happened = Vec::new();
        match done.0 {
            Brought::Recalled(id, recalled) => self.machine.recalled(id, recalled, now),
            Brought::Written(id, written) => self.machine.written(id, written, now, jitter),
            Brought::Replied { id, reply, heard, for_service } => {
                let left = !reply.as_ref().is_err_and(|refusal| refusal.local);
                self.api.calls += u32::from(left && for_service);
                self.machine.replied(id, reply, heard, now, jitter);
                if heard.quota.is_some() {
                    self.api.remaining = self.machine.engine().quota().left(now);
                }
            }
            Brought::Looked(reply, heard) => {
                self.api.calls += 1;
                self.machine.looked(reply, heard, now);
                if heard.quota.is_some() {
                    self.api.remaining = self.machine.engine().quota().left(now);
                }
            }
            Brought::Token(read, why) => self.take_token(read, why, now, jitter),
            Brought::People(people) => happened.extend(self.take_people(people)),
            Brought::Found(sought, found) => {
                if self.machine.found(&sought, found.clone(), now) {
                    good::tell(&sought, &found);
                }
            }
            Brought::Kept(kept) => self.machine.kept(kept, now),
            Brought::Noted => self.noting = self.noting.saturating_sub(1),
        }
        happened.extend(self.carry_out());
        happened
    }

    fn take_people(&mut self, people: People) -> Vec<Happened> {
        if std::mem::replace(&mut self.people, Listening::No) == Listening::Again {
            self.read_people();
        }
        self.heed(people)
    }

    /// When there may be something to do that is not there now.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.machine.next_wake(self.clock.now()).map(|at| self.clock.instant(at))
    }

    /// Lets the calls in flight end until then; `stopped` returns where nobody wants to wait any longer. What is left has
    /// its intent on disk: the next process knows that it is in doubt.
    ///
    /// # Errors
    /// A task broke down.
    pub async fn drain(
        &mut self,
        until: Instant,
        stopped: impl Future<Output = ()>,
        mut took: impl FnMut(Finished),
    ) -> Result<(), JoinError> {
        let mut happened = self.finish_calls();
        tokio::pin!(stopped);
        loop {
            for ended in happened.drain(..) {
                if let Happened::Ended(finished) = ended {
                    took(finished);
                }
            }
            if self.is_idle() {
                break;
            }
            let wake = self.next_wake().map_or(until, |wake| wake.min(until));
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(done) = self.tasks.join_next() => happened = self.take(done?),
                () = sleep_until(wake) => {
                    if Instant::now() >= until {
                        break;
                    }
                }
            }
            happened.extend(self.turn());
        }
        self.abandon();
        Ok(())
    }

    /// Begins nothing new from here on.
    pub fn finish_calls(&mut self) -> Vec<Happened> {
        self.machine.close(self.clock.now());
        self.turn()
    }

    /// Whether nothing is in flight, and everything is kept that has to be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.machine.in_flight() == 0 && self.noting == 0 && self.machine.is_kept()
    }

    /// Waits for nothing any more. What is left has its intent on disk: the next process knows that it is in doubt.
    pub fn abandon(&mut self) {
        if !self.machine.is_kept() {
            error!(
                "cannot write the ledger: what was decided last is not in it, and is decided again by the next start"
            );
        }
        self.tasks.abort_all();
    }

    /// Carries out what the machine has decided, until nothing is left to begin.
    fn carry_out(&mut self) -> Vec<Happened> {
        let mut happened = Vec::new();
        loop {
            let effects = self.machine.take_effects();
            if effects.is_empty() {
                return happened;
            }
            for effect in effects {
                match effect {
                    Effect::Began(call) => happened.push(Happened::Began(call)),
                    Effect::Ended(finished) => happened.push(Happened::Ended(finished)),
                    Effect::Recall(id, key) => self.recall(id, key),
                    Effect::Write(id, write) => self.write(id, write),
                    Effect::Ask(id, key, request) => self.ask(id, key, request),
                    Effect::Look(look) => self.look(look),
                    Effect::Keep(all) => self.keep(all),
                    Effect::Seek(sought) => self.seek(sought),
                    Effect::ReadToken => self.read_token(Why::Refused),
                    Effect::KeepQuota(window) => self.ledger.keep_quota(window, self.clock.now()),
                    Effect::ShowQuota(window) => {
                        let (ledger, now) = (self.ledger.clone(), self.clock.now());
                        self.note("the rate limit's window", async move { ledger.set_quota(window, now).await });
                    }
                    Effect::KeepPause(pause) => self.keep_pause(pause),
                    Effect::KeepTurned(turned) => {
                        let ledger = self.ledger.clone();
                        self.note("which call carries updates", async move { ledger.set_turned(turned).await });
                    }
                    Effect::KeepAccount(account) => self.ledger.set_account(account.name().into()),
                    Effect::AnotherAccount(account) => self.another_account = Some(account.name().into()),
                    Effect::Tell(told) => {
                        told.log();
                        if told.is_for_all() {
                            happened.push(Happened::ForAll);
                        }
                        if let Told::Engine(Event::Rollout { key, rollout, .. }) = told {
                            happened.push(Happened::Rollout(key, rollout));
                        }
                    }
                }
            }
        }
    }

    fn keep_pause(&mut self, pause: Pause) {
        let ledger = self.ledger.clone();
        self.note("the pause", async move { ledger.set_pause(Some(pause)).await });
    }

    fn keep(&mut self, all: Arc<[Keep]>) {
        let ledger = self.ledger.clone();
        self.tasks.spawn(async move { Done(Brought::Kept(ledger.keep(all).await.map_err(|error| chain(&error)))) });
    }

    fn note(&mut self, what: &'static str, write: impl Future<Output = Result<(), WriteError>> + Send + 'static) {
        self.noting += 1;
        self.tasks.spawn(async move {
            if let Err(error) = write.await {
                warn!(error = chain(&error), "cannot record {what}; a restart would forget it");
            }
            Done(Brought::Noted)
        });
    }

    fn recall(&mut self, id: ExchangeId, key: ServiceKey) {
        let ledger = self.ledger.clone();
        self.tasks.spawn_blocking(move || Done(Brought::Recalled(id, recalled(&ledger, &key))));
    }

    fn write(&mut self, id: ExchangeId, write: Write) {
        let ledger = self.ledger.clone();
        self.tasks.spawn(async move { Done(Brought::Written(id, written(&ledger, write).await)) });
    }

    fn ask(&mut self, id: ExchangeId, key: ServiceKey, request: Request) {
        let (client, clock) = (self.client.clone(), self.clock);
        let for_service = !matches!(request, Request::Account);
        self.tasks.spawn(async move {
            let (reply, heard) = asked(&client, &clock, &key, request).await;
            Done(Brought::Replied { id, reply, heard, for_service })
        });
    }

    fn look(&mut self, look: Look) {
        let (client, clock) = (self.client.clone(), self.clock);
        self.tasks.spawn(async move {
            let (reply, heard) = looked(&client, &clock, look).await;
            Done(Brought::Looked(reply, heard))
        });
    }

    fn read_token(&mut self, why: Why) {
        let tokens = self.tokens.clone();
        // A file may be on a disk that does not answer.
        self.tasks.spawn_blocking(move || Done(Brought::Token(tokens.read().map_err(|error| chain(&error)), why)));
    }

    fn take_token(&mut self, read: Result<ReadToken, String>, why: Why, now: Timestamp, jitter: f64) {
        let read = match read {
            Ok(read) if self.client.token_is(&read.token) => TokenRead::Same,
            Ok(read) => {
                self.client.replace_token(read.token);
                TokenRead::Another
            }
            Err(error) => TokenRead::Unreadable(error),
        };
        match (why, &read) {
            (Why::Refused, read) => self.machine.token_read(read, now, jitter),
            (Why::Asked, TokenRead::Another) => {
                info!("the token was replaced");
                self.machine.token_may_be_good(true);
            }
            (Why::Asked, TokenRead::Same) => self.machine.token_may_be_good(false),
            (Why::Asked, TokenRead::Unreadable(error)) => {
                error!(error, "cannot read the token again; the old one stays");
            }
        }
    }
}

/// What earlier processes saw of live, corrected, and left unsettled.
fn memories(ledger: &Ledger, now: Timestamp) -> Result<HashMap<ServiceKey, Memory>, ReadError> {
    let reader = ledger.reader();
    let mut memories: HashMap<ServiceKey, Memory> = HashMap::new();
    for (key, saw) in reader.sightings()? {
        memories
            .insert(key, Memory { looked_at: Some(saw.at), seen: saw.seen, unnamed: saw.unnamed, ..Memory::default() });
    }
    // Corrections that are older make nothing flap any more.
    let since = now.checked_sub(FLAPPING).unwrap_or(Timestamp::MIN);
    for (key, at) in reader.corrections(since)? {
        memories.entry(key).or_default().corrections.push(at);
    }
    for (key, unsettled) in reader.unsettled()? {
        memories.entry(key).or_default().unsettled.push(unsettled);
    }
    for (key, completed) in reader.unread()? {
        let effect = if completed { InEffect::Completed } else { InEffect::Unread { bare: false } };
        memories.entry(key).or_default().effect = effect;
    }
    for (key, rollout) in reader.rollouts()? {
        memories.entry(key).or_default().rollout = Some(rollout);
    }
    for (key, quarantine) in reader.quarantines()? {
        memories.entry(key).or_default().quarantine = Some(quarantine);
    }
    Ok(memories)
}

/// What the ledger knows of a service that its exchange has to know. What cannot be read is not known; then everything
/// has to be proven.
fn recalled(ledger: &Ledger, key: &ServiceKey) -> Recalled {
    let reader = ledger.reader();
    let parsed = |spec: Option<String>| spec.and_then(|spec| serde_json::from_str(&spec).ok());
    let others = reader.others(key).unwrap_or_else(|error| {
        warn!(service = %key, error = chain(&error), "cannot read what was sent before");
        vec![None]
    });
    Recalled { kind: reader.kind(key).unwrap_or_default(), others: others.into_iter().map(parsed).collect() }
}

/// Reads from the ledger beside the loop, until it can be read: something waits for the answer.
async fn read<T: Send + 'static>(
    ledger: &Ledger,
    what: &'static str,
    read: impl Fn(&Reader) -> Result<T, ReadError> + Send + Sync + 'static,
) -> T {
    let read = Arc::new(read);
    let mut tries = 1_u64;
    loop {
        let read = Arc::clone(&read);
        match ledger.read(move |reader| read(reader)).await {
            Ok(found) => return found,
            Err(error) if tries.is_power_of_two() => {
                error!(error = chain(&error), tries, "cannot read {what} from the ledger yet");
            }
            Err(_) => {}
        }
        sleep(LEDGER_AGAIN).await;
        tries += 1;
    }
}

/// Offers a write to the ledger; where it insists, until the ledger takes it.
async fn written(ledger: &Ledger, write: Write) -> Result<Option<CallId>, String> {
    for tries in 1_u64.. {
        let offered = match write.clone() {
            Write::Intend(intent) => ledger.intend(intent).await.map(Some),
            Write::Record(call, outcome, at, server_at) => {
                ledger.record_at(call, outcome, at, server_at).await.map(|()| None)
            }
            Write::Adopt(adoption) => ledger.adopt(adoption).await.map(|_| None),
            Write::Saw(key, sighting) => ledger.saw(&key, sighting).await.map(|()| None),
            Write::PutOff(intent, outcome) => ledger.put_off(intent, outcome).await.map(|_| None),
        };
        let error = match offered {
            Ok(id) => return Ok(id),
            Err(WriteError::NotOpen { .. } | WriteError::Stopped) if write.insists() => return Ok(None),
            Err(error) => chain(&error),
        };
        if !write.insists() {
            if !matches!(write, Write::Intend(_)) {
                warn!(error, "cannot record what a read showed");
            }
            return Err(error);
        }
        if tries.is_power_of_two() {
            error!(error, tries, "cannot record how a call ended yet");
        }
        sleep(LEDGER_AGAIN).await;
    }
    Ok(None)
}

/// Makes a request.
async fn asked(client: &Client, clock: &Clock, key: &ServiceKey, request: Request) -> (Result<Reply, Refusal>, Heard) {
    match request {
        Request::Post { update } => sorted(client.update_deployment(key, &update).await, clock, accepted(client)),
        Request::Patch { update, kind, instances } => {
            sorted(client.patch_deployment(key, kind, instances, &update).await, clock, accepted(client))
        }
        Request::ReadService => sorted(client.read_service(key).await, clock, |live, _| {
            // What live shows is compared, kept and shown: a command may hold the token.
            Reply::Service(Box::new(live.map_texts(|text| client.conceal(text))))
        }),
        Request::Account => sorted(client.account().await, clock, |account, _| Reply::Account(account.map(Box::new))),
        Request::ReadBuildId => sorted(client.read_build_id(key).await, clock, |id, _| Reply::BuildId(id)),
    }
}

/// Looks how far rollouts are.
async fn looked(client: &Client, clock: &Clock, look: Look) -> (Result<Reply, Refusal>, Heard) {
    match look {
        Look::List { project, cursor } => {
            let page = client.list_services(project.team.as_ref(), &project.project, cursor.as_deref()).await;
            sorted(page, clock, |page, _| {
                let services = page.services.into_iter().map(|listed| (listed.id, listed.status)).collect();
                Reply::Looked(Looked::Page { services, next: page.next })
            })
        }
        Look::Service(key) => sorted(client.read_service(&key).await, clock, |live, _| {
            Reply::Looked(Looked::Service { status: live.rollout, paused: live.paused })
        }),
        Look::Deployments(key) => sorted(client.deployments(&key).await, clock, |entries, _| {
            // Who made one is shown, and so may be the id.
            let entries = entries.into_iter().map(|entry| entry.map_texts(|text| client.conceal(text)));
            Reply::Looked(Looked::Deployments(entries.collect()))
        }),
        Look::Containers(key) => sorted(client.containers(&key).await, clock, |containers, _| {
            Reply::Looked(Looked::Containers(containers.failure()))
        }),
    }
}

fn accepted(client: &Client) -> impl FnOnce(crate::northflank::Accepted, u16) -> Reply {
    let client = client.clone();
    move |accepted, status| {
        let bare = matches!(accepted.body, AcceptedBody::Empty);
        let date = accepted.server_time;
        let live = match accepted.body {
            AcceptedBody::Service(live) => Some(Box::new(live.map_texts(|text| client.conceal(text)))),
            AcceptedBody::Empty | AcceptedBody::Data => None,
        };
        let server_at = accepted_at(live.as_ref().and_then(|live| live.updated_at), date);
        Reply::Accepted { status, bare, live, server_at }
    }
}

fn sorted<T>(
    answer: Result<Answered<T>, CallError>,
    clock: &Clock,
    reply: impl FnOnce(T, u16) -> Reply,
) -> (Result<Reply, Refusal>, Heard) {
    let at = clock.now();
    match answer {
        Ok(answer) => {
            let heard = Heard { at, quota: answer.quota, deprecation: answer.deprecated, elapsed: answer.elapsed };
            (Ok(reply(answer.value, answer.status)), heard)
        }
        Err(error) => {
            let heard = Heard { at, quota: error.quota(), deprecation: error.deprecated(), elapsed: error.elapsed() };
            (Err(Refusal::from(&error)), heard)
        }
    }
}
