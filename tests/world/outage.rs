//! Many services, one API that is down for a while, or whose rate limit is small: what the machine spends on that.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use truenorth::engine::{Engine, Pace};
use truenorth::ledger::CallId;
use truenorth::model::{
    Applied, DeploymentUpdate, Desired, Digest, External, ImagePath, Known, Live, LiveExternal, Place, Policy,
    Revision, ServiceKey, ServiceKind,
};
use truenorth::northflank::{Delivery, Disposition, Quota, Scope};
use truenorth::plan::Rules;
use truenorth::runner::{
    Effect, ExchangeId, Heard, Machine, Recalled, Refusal, Reply, Request, Settings, UpdateCall, Write,
};

use crate::clock::{Future, Moment};

/// A request and its answer together.
const ANSWER: Duration = Duration::from_millis(40);

fn key(number: usize) -> ServiceKey {
    format!("shop/s{number:03}").parse().unwrap()
}

fn image(version: u32) -> String {
    format!("nginx:1.{version}")
}

fn desired(number: usize, version: u32) -> Desired {
    let external = External { credentials: None, image_path: ImagePath::new(&image(version)).unwrap() };
    let update = DeploymentUpdate::External { docker: None, external };
    Desired::new(&key(number), update, Policy::default(), Place { file: "a.yaml".into(), line: 1 })
}

fn live(version: u32) -> Live {
    let external = LiveExternal {
        image_path: Some(image(version)),
        registry_provider: Some("dockerhub".to_owned()),
        private_image: Some(false),
        ..LiveExternal::default()
    };
    Live { instances: Some(1), external: Some(external), ..Live::of_kind(ServiceKind::Deployment) }
}

enum Event {
    Answer(ExchangeId, ServiceKey, Request),
    Wake,
}

/// How the API does.
struct Api {
    /// From when on it is well.
    well: Moment,
    /// Requests of a window, where answers speak of them, and how long it is.
    limit: Option<(u32, Duration)>,
    used: u32,
    window: Moment,
    runs: BTreeMap<ServiceKey, u32>,
    /// Requests that were made while it was down, updates that it accepted, and answers that were 429.
    while_down: u32,
    accepted: Vec<Moment>,
    limited: u32,
}

impl Api {
    fn new(services: usize, well: Moment, limit: Option<(u32, Duration)>) -> Self {
        let runs = (0..services).map(|number| (key(number), 1)).collect();
        let (used, while_down, limited) = (0, 0, 0);
        Self { well, limit, used, window: Moment::default(), runs, while_down, accepted: Vec::new(), limited }
    }

    /// What the rate limit says, and whether it lets a request through.
    fn count(&mut self, now: Moment) -> (Option<Quota>, bool) {
        let Some((limit, length)) = self.limit else { return (None, true) };
        if now.since(self.window) >= length {
            (self.window, self.used) = (now, 0);
        }
        let through = self.used < limit;
        self.used += u32::from(through);
        let resets_in = length.saturating_sub(now.since(self.window));
        (Some(Quota { limit, remaining: limit - self.used, resets_in }), through)
    }

    fn answer(&mut self, key: &ServiceKey, request: &Request, now: Moment) -> (Result<Reply, Refusal>, Option<Quota>) {
        if now < self.well {
            self.while_down += 1;
            let disposition = Disposition::Transient { scope: Scope::Api };
            return (Err(refusal(503, disposition, Delivery::Unknown)), None);
        }
        let (quota, through) = self.count(now);
        if !through {
            self.limited += 1;
            let wait = quota.map_or(Duration::ZERO, |quota| quota.resets_in);
            return (Err(refusal(429, Disposition::Limited { wait, told: true }, Delivery::Refused)), quota);
        }
        let reply = match request {
            Request::Post { .. } | Request::Patch { .. } => {
                self.runs.insert(key.clone(), 2);
                self.accepted.push(now);
                Reply::Accepted { status: 200, bare: false, live: None, server_at: None }
            }
            Request::ReadService => Reply::Service(Box::new(live(self.runs[key]))),
            Request::ReadBuildId => Reply::BuildId(None),
            Request::Account => Reply::Account(None),
        };
        (Ok(reply), quota)
    }
}

fn refusal(status: u16, disposition: Disposition, delivery: Delivery) -> Refusal {
    let (error, wait) = (status.to_string().into(), Duration::ZERO);
    Refusal { disposition, delivery, status: Some(status), error, wait, local: false, unserved: false }
}

/// Changes every service at once, and runs until all have the change, or the time is over.
fn change_all(services: usize, api: &mut Api, update_call: UpdateCall, until: Moment, seed: u64) {
    let mut chance = Rng::with_seed(seed);
    let known = (0..services).map(|number| (key(number), Known::Applied(Applied::new(desired(number, 1).digest))));
    let pace = Pace { watch_period: None, ..Pace::default() };
    let engine = Engine::new(pace, Rules::default(), known);
    let settings = Settings::new(pace.concurrency, Duration::from_secs(30), update_call);
    let begin = Moment::default().timestamp();
    let mut machine = Machine::new(engine, settings, None, None, begin);
    let folder: BTreeMap<_, _> = (0..services).map(|number| (key(number), desired(number, 2))).collect();
    machine.observe(folder, Revision::Tree(Digest::of_bytes(b"2")), begin);
    let mut future = Future::new();
    future.at(Moment::default(), Event::Wake);
    let mut calls = 0;
    while let Some((now, event)) = future.next()
        && now <= until
        && api.accepted.len() < services
    {
        let at = now.timestamp();
        if let Event::Answer(id, key, request) = event {
            let (reply, quota) = api.answer(&key, &request, now);
            let heard = Heard { at, quota, deprecation: None, elapsed: ANSWER };
            machine.replied(id, reply, heard, at, chance.f64());
        }
        machine.turn(at);
        loop {
            let effects = machine.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Recall(id, _) => {
                        let others = vec![serde_json::to_value(&*desired(0, 1).update).ok()];
                        machine.recalled(id, Recalled { kind: None, others }, at);
                    }
                    Effect::Write(id, write) => {
                        calls += 1;
                        let call = matches!(write, Write::Intend(_)).then_some(CallId(calls));
                        machine.written(id, Ok(call), at, chance.f64());
                    }
                    Effect::Ask(id, key, request) => future.at(now.after(ANSWER), Event::Answer(id, key, request)),
                    _ => {}
                }
            }
            machine.turn(at);
        }
        if let Some(wake) = machine.next_wake(at) {
            future.at(Moment::reaching(wake), Event::Wake);
        }
    }
}

#[test]
fn an_outage_costs_at_most_thirty_requests_and_all_is_sent_within_half_a_minute_of_its_end() {
    for (down, seed) in [15, 600].into_iter().flat_map(|down| (0..50).map(move |seed| (down, seed))) {
        let well = Moment::default().after(Duration::from_secs(down));
        let mut api = Api::new(200, well, Some((1000, Duration::from_secs(3600))));
        change_all(200, &mut api, UpdateCall::Post, well.after(Duration::from_secs(30)), seed);
        assert!(api.while_down <= 30, "{down} s of outage cost {} requests, seed {seed}", api.while_down);
        assert_eq!(api.runs.values().filter(|runs| **runs == 2).count(), 200, "{down} s, seed {seed}");
        assert_eq!(api.limited, 0);
    }
}

#[test]
fn an_outage_without_rate_limit_headers_costs_no_more() {
    let well = Moment::default().after(Duration::from_secs(600));
    let mut api = Api::new(200, well, None);
    change_all(200, &mut api, UpdateCall::Post, well.after(Duration::from_secs(30)), 1);
    assert!(api.while_down <= 30, "{}", api.while_down);
    assert_eq!(api.accepted.len(), 200);
}

#[test]
fn a_patch_is_not_begun_unless_both_its_requests_are_left() {
    let window = Duration::from_secs(60);
    let mut api = Api::new(12, Moment::default(), Some((5, window)));
    change_all(12, &mut api, UpdateCall::Patch, Moment::default().after(10 * window), 1);
    assert_eq!((api.limited, api.accepted.len()), (0, 12));
    let early = api.accepted.iter().filter(|at| at.since(Moment::default()) < 3 * window).count();
    // What the limit is shows with the first answers; four had begun by then.
    assert!(early >= 5, "two of each window of five: {:?}", api.accepted);
}
