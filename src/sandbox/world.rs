//! The world: services, quota, faults and the log behind one lock, and the handle that tests hold.
//!
//! The lock is held for single steps and never across an await, so the methods can be called from any thread.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::Method;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::Options;
use super::clock::Clock;
use super::contract::Operation;
use super::faults::{Fault, Faults, Storm};
use super::limit::Window;
use super::live::Live;
use super::log::{Answer, Call, Entry, Log};
use super::rollout::{Deployment, Ending, Reason, Rollout, Stage};
use super::target::Target;

/// Most services that calls can bring into being; past them, a call for a new one is answered 404.
pub const MAX_SERVICES: usize = 100_000;

/// Whose name is in the deployments that calls make.
pub(super) const USER: &str = "sandbox";

/// Most deployments that are remembered of a service: a page of them.
const MAX_DEPLOYMENTS: usize = 100;

/// A handle on what the sandbox holds: what was asked of it, what runs in it, what it is told to do wrong. Cheap to
/// clone, usable from any thread, also after the sandbox was stopped.
///
/// Time is tokio's. Under a paused clock, ask from the runtime's own thread: other threads see another time.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) clock: Clock,
    state: Mutex<State>,
}

/// What the lock holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) services: BTreeMap<Target, Service>,
    pub(super) window: Window,
    pub(super) faults: Faults,
    pub(super) log: Log,
    /// Whom every token belongs to.
    pub(super) account: Option<String>,
    /// How often it was asked whose a token is.
    auths: u64,
    overall: InFlight,
    by_service: HashMap<Arc<Target>, InFlight>,
}

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) live: Live,
    pub(super) made: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) rollout: Rollout,
    /// What was shown before it.
    before: Rollout,
    pub(super) rollouts: u64,
    /// Newest last.
    pub(super) deployments: VecDeque<Deployment>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, Default)]
struct InFlight {
    now: u64,
    max: u64,
}

impl InFlight {
    fn enter(&mut self) {
        self.now += 1;
        self.max = self.max.max(self.now);
    }
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let state = State {
            services: BTreeMap::new(),
            window: Window::new(options.limit, options.window),
            faults: Faults::default(),
            log: Log::new(options.log),
            account: options.account.clone(),
            auths: 0,
            overall: InFlight::default(),
            by_service: HashMap::new(),
        };
        let world = Self { inner: Arc::new(Inner { options, clock: Clock::start(), state: Mutex::new(state) }) };
        if let super::Services::Only(targets) = &world.inner.options.services {
            for target in targets {
                world.set_live(target, Live::default());
            }
        }
        world
    }

    /// Every call that the log still holds, oldest first. It holds the newest [`Options::log`] calls and at most
    /// 64 MiB of bodies.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().log.entries().filter(|entry| !entry.is_auth()).map(Entry::to_call).collect()
    }

    /// How many calls there ever were.
    #[must_use]
    pub fn call_count(&self) -> u64 {
        let state = self.lock();
        state.log.total() - state.auths
    }

    /// Tokens belong to this account from now on.
    pub fn set_account(&self, account: &str) {
        self.lock().account = Some(account.to_owned());
    }

    /// How often it was asked whose a token is. That is not among the calls.
    #[must_use]
    pub fn auth_count(&self) -> u64 {
        self.lock().auths
    }

    /// Forgets the logged calls. Their numbers go on.
    pub fn clear_calls(&self) {
        self.lock().log.clear();
    }

    /// The bodies of a service's accepted updates that the log still holds, in the order of acceptance.
    #[must_use]
    pub fn updates(&self, target: impl Into<Target>) -> Vec<Value> {
        let target = target.into();
        let state = self.lock();
        let accepted = state.log.entries().filter(|entry| entry.accepted && entry.target.as_deref() == Some(&target));
        accepted.filter_map(Entry::body).collect()
    }

    /// The same for all services at once.
    #[must_use]
    pub fn updates_by_service(&self) -> BTreeMap<Target, Vec<Value>> {
        let mut updates: BTreeMap<Target, Vec<Value>> = BTreeMap::new();
        for entry in self.lock().log.entries().filter(|entry| entry.accepted) {
            if let (Some(target), Some(body)) = (&entry.target, entry.body()) {
                updates.entry(Target::clone(target)).or_default().push(body);
            }
        }
        updates
    }

    /// How many updates were accepted among the calls that the log still holds.
    #[must_use]
    pub fn update_count(&self) -> usize {
        self.lock().log.entries().filter(|entry| entry.accepted).count()
    }

    /// The services that there are.
    #[must_use]
    pub fn services(&self) -> Vec<Target> {
        self.lock().services.keys().cloned().collect()
    }

    /// What a service runs.
    #[must_use]
    pub fn live(&self, target: impl Into<Target>) -> Option<Live> {
        self.lock().services.get(&target.into()).map(|service| service.live.clone())
    }

    /// Makes a service, or changes by hand what it runs. No rollout begins.
    pub fn set_live(&self, target: impl Into<Target>, live: Live) {
        let made = self.new_service(Instant::now());
        self.lock().services.entry(target.into()).or_insert(made).live = live;
    }

    /// Changes by hand what a service runs; a service that does not exist is made first.
    pub fn edit(&self, target: impl Into<Target>, change: impl FnOnce(&mut Live)) {
        let made = self.new_service(Instant::now());
        change(&mut self.lock().services.entry(target.into()).or_insert(made).live);
    }

    /// Somebody else deploys something: what runs is changed, and a rollout begins, in the name of `user`.
    pub fn deploy_as(&self, target: impl Into<Target>, user: &str, change: impl FnOnce(&mut Live)) {
        let (now, length) = (Instant::now(), self.inner.options.rollout);
        let made = self.new_service(now);
        let mut state = self.lock();
        let service = state.services.entry(target.into()).or_insert(made);
        change(&mut service.live);
        service.roll_out(now, length, Reason::Deploying, user, &self.inner.clock);
        service.updated = self.inner.clock.wall(now);
    }

    /// Takes a service away. With [`Services::Any`](super::Services::Any) the next call makes a new one.
    pub fn remove(&self, target: impl Into<Target>) {
        self.lock().services.remove(&target.into());
    }

    /// How far the last rollout of a service is.
    #[must_use]
    pub fn stage(&self, target: impl Into<Target>) -> Option<Stage> {
        self.lock().services.get(&target.into()).map(|service| service.rollout.stage(Instant::now()).0)
    }

    /// How many rollouts updates have begun in a service: each one a restart of its containers.
    #[must_use]
    pub fn rollouts(&self, target: impl Into<Target>) -> u64 {
        self.lock().services.get(&target.into()).map_or(0, |service| service.rollouts)
    }

    /// How the coming rollouts of a service end; a service that does not exist is made first.
    pub fn set_ending(&self, target: impl Into<Target>, ending: Ending) {
        let made = self.new_service(Instant::now());
        self.lock().services.entry(target.into()).or_insert(made).ending = ending;
    }

    /// Puts a fault behind those that wait already.
    pub fn script(&self, fault: Fault) {
        self.lock().faults.script(fault);
    }

    /// Begins a storm, in place of one that blows.
    pub fn storm(&self, storm: Storm) {
        self.lock().faults.set_storm(Some(storm));
    }

    /// Ends the storm and forgets the faults that wait.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Most calls that ever were in flight at once. Any call counts, from its arrival until its answer is ready.
    #[must_use]
    pub fn in_flight_max(&self) -> u64 {
        self.lock().overall.max
    }

    /// Most calls that ever were in flight at once for one service; lists of what belongs to it are not among them.
    #[must_use]
    pub fn in_flight_max_of(&self, target: impl Into<Target>) -> u64 {
        self.lock().by_service.get(&target.into()).map_or(0, |in_flight| in_flight.max)
    }

    /// Most calls that ever were in flight at once for any one service.
    #[must_use]
    pub fn in_flight_max_of_any(&self) -> u64 {
        self.lock().by_service.values().map(|in_flight| in_flight.max).max().unwrap_or(0)
    }

    /// Calls in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.lock().overall.now
    }

    /// Changes the limit of requests a window; what this window has used stays used.
    pub fn set_limit(&self, limit: u32) {
        self.lock().window.set_limit(limit);
    }

    /// Ends the window of the rate limit: the next request begins a new one.
    pub fn end_window(&self) {
        self.lock().window.end();
    }

    /// Requests left in this window.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.lock().window.peek(Instant::now()).remaining
    }

    /// The state. A thread that panicked while it held the lock was a test that failed; its values are whole, because
    /// each step writes single fields.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new_service(&self, now: Instant) -> Service {
        let ending = Ending::Completed;
        let rollout = Rollout { began: now, length: std::time::Duration::ZERO, ending, reason: Reason::Deploying };
        let made = self.inner.clock.wall(now);
        let (live, deployments) = (Live::default(), VecDeque::new());
        Service { live, made, updated: made, rollout, before: rollout, rollouts: 0, deployments, ending }
    }

    /// Enters a call into the log and the counts.
    pub(super) fn begin(&self, method: &Method, path: &str, asked: Option<(Operation, Option<Target>)>) -> Ticket {
        let (operation, target) = asked.map_or((None, None), |(operation, target)| (Some(operation), target));
        let target = target.map(Arc::new);
        let mut state = self.lock();
        // Whose the token is changes nothing and is no call for a service: it is counted by itself.
        let is_auth = operation == Some(Operation::Auth);
        if is_auth {
            state.auths += 1;
        } else {
            state.overall.enter();
        }
        // A look at what belongs to a service goes beside the calls for it.
        let is_look = matches!(operation, Some(Operation::ListContainers | Operation::ListDeployments));
        let counted = target.clone().filter(|_| !is_look);
        // Bounded like the services: names of services that do not exist are counted no further than that.
        if let Some(target) = &counted
            && (state.by_service.len() < MAX_SERVICES || state.by_service.contains_key(target))
        {
            state.by_service.entry(Arc::clone(target)).or_default().enter();
        }
        let number = state.log.begin(Entry::new(method.clone(), path, operation, target, Instant::now()));
        drop(state);
        Ticket { world: self.clone(), number, target: counted, is_auth, answer: Answer::Gone }
    }
}

impl Service {
    /// Begins the rollout of an accepted update. An image with `crash` in its name or tag does not come up.
    pub(super) fn roll_out(
        &mut self,
        now: Instant,
        length: std::time::Duration,
        reason: Reason,
        user: &str,
        clock: &Clock,
    ) {
        let image = self.live.image();
        let crashes = image.as_deref().is_some_and(|image| image.contains("crash"));
        let ending = if crashes { Ending::Failed } else { self.ending };
        self.before = self.rollout;
        self.rollout = Rollout { began: now, length, ending, reason };
        self.rollouts += 1;
        if self.deployments.len() == MAX_DEPLOYMENTS {
            self.deployments.pop_front();
        }
        let id = format!("deployment-{}", self.rollouts);
        self.deployments.push_back(Deployment { id, at: clock.wall(now), image, by: user.to_owned() });
    }

    /// The rollout that answers show: for a while after an update it is the one before.
    pub(super) fn shown_rollout(&self, now: Instant, lag: std::time::Duration) -> Rollout {
        if now.duration_since(self.rollout.began) < lag { self.before } else { self.rollout }
    }
}

/// A call in flight. It ends when this is dropped, also when the client goes away and the answer is given up.
#[derive(Debug)]
pub(super) struct Ticket {
    world: World,
    pub(super) number: u64,
    is_auth: bool,
    target: Option<Arc<Target>>,
    answer: Answer,
}

impl Ticket {
    /// Ends the call with its answer.
    pub(super) fn end(mut self, answer: Answer) {
        self.answer = answer;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        if !self.is_auth {
            state.overall.now = state.overall.now.saturating_sub(1);
        }
        if let Some(in_flight) = self.target.as_ref().and_then(|target| state.by_service.get_mut(target)) {
            in_flight.now = in_flight.now.saturating_sub(1);
        }
        state.log.end(self.number, self.answer, Instant::now());
    }
}
