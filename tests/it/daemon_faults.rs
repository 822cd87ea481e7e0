//! Every fault of the API in one life of the daemon, while manifests change: it ends converged, nothing older comes
//! after something newer, nothing is sent twice without need, and no service has two calls in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::json;
use truenorth::sandbox::{Call, Fault, FaultKind, Operation, Options, Storm, Wait};

use crate::support::{Api, Daemon, Workspace, eventually, seed, tag, tags};

const SERVICES: usize = 12;
/// Faults that wait for their calls at the same time, each for another service.
const AT_ONCE: usize = 6;
/// Has the calls that get no answer in time. The sandbox notices late that nobody waits for them any more.
const SILENT: usize = 0;
/// How long the daemon waits for an answer.
const TIMEOUT: &str = "700ms";
const KINDS: usize = 16;

/// A number for each kind of fault. A new kind has to be named here, and then to have its place in [`faults`].
fn kind(fault: &Fault) -> usize {
    match fault.kind() {
        FaultKind::Status { .. } => 0,
        FaultKind::Html(_) => 1,
        FaultKind::Empty(_) => 2,
        FaultKind::Garbage => 3,
        FaultKind::Endless => 4,
        FaultKind::GzipBomb => 5,
        FaultKind::Truncated => 6,
        FaultKind::Drop => 7,
        // `Unsaid` is missing below: it is a pause of a minute.
        FaultKind::RateLimited(
            Wait::Reset(_) | Wait::ResetAt(_) | Wait::RetryAfter(_) | Wait::RetryDate(_) | Wait::Unsaid,
        ) => 8,
        FaultKind::Redirect(_) => 9,
        FaultKind::Delay(_) => 10,
        FaultKind::SlowBody { .. } => 11,
        FaultKind::Headers => 12,
        FaultKind::Json { .. } => 13,
        FaultKind::Late(_) => 14,
        FaultKind::Lossy => 15,
    }
}

/// All faults, most of them before and after the update takes effect.
fn faults() -> Vec<Fault> {
    // Of 401 see below.
    let statuses = [400, 403, 404, 405, 408, 409, 410, 413, 422, 425, 500, 501, 502, 503, 504, 599];
    let mut faults: Vec<Fault> = statuses.map(Fault::status).into();
    for fault in [Fault::status(500), Fault::html(502), Fault::empty(504), Fault::drop()] {
        faults.extend([fault.clone(), fault.after_carrying_out()]);
    }
    for fault in [Fault::endless(), Fault::gzip_bomb(), Fault::truncated()] {
        faults.push(fault.after_carrying_out());
    }
    // What no API wrote proves nothing, whatever its status.
    let error = json!({"error": {"status": 400, "message": "credentials not found"}});
    let pages = [Fault::html(200), Fault::html(404), Fault::empty(200), Fault::garbage(), Fault::json(200, error)];
    faults.extend(pages.into_iter().flat_map(|fault| [fault.clone(), fault.after_carrying_out()]));
    let second = Duration::from_secs(1);
    let waits = [Wait::Reset(1), Wait::ResetAt(second), Wait::RetryAfter(1), Wait::RetryDate(second)];
    faults.extend(waits.map(Fault::rate_limited));
    let delay = Duration::from_millis(30);
    faults.extend([Fault::delay(delay), Fault::delay(delay).after_carrying_out()]);
    faults.push(Fault::redirect("https://api.example.com/elsewhere"));
    faults.push(Fault::slow_body(4, Duration::from_millis(5)));
    faults.extend([Fault::late(delay), Fault::lossy()]);
    faults.push(Fault::headers().with_header("deprecation", "@1780272000"));
    faults
}

fn name(service: usize) -> String {
    format!("s{service}")
}

/// The folder as it was written.
struct Folder {
    workspace: Workspace,
    newest: u64,
    tags: BTreeMap<String, u64>,
}

impl Folder {
    /// Something newer than all that was written before.
    fn change(&mut self, service: usize) {
        self.newest += 1;
        self.workspace.service(&name(service), &self.newest.to_string());
        self.tags.insert(name(service), self.newest);
    }

    fn has_newest(&self, api: &Api, service: usize) -> bool {
        let service = name(service);
        tags(api, &service).last() == Some(&self.tags[&service].to_string())
    }

    fn is_applied(&self, api: &Api) -> bool {
        (0..SERVICES).all(|service| self.has_newest(api, service))
    }
}

/// How many faults were met so far.
fn met(api: &Api) -> usize {
    api.world().calls().iter().map(|call| call.faults.len()).sum()
}

/// A token that was refused is tried again once a minute, or when somebody says that it may be another one.
fn hup_where_denied(daemon: &Daemon) {
    if daemon.status()["paused"]["by"] == "denied" {
        daemon.signal(Signal::HUP);
    }
}

/// Whether a service is stalled; then it was for a good reason.
fn is_refused(daemon: &Daemon, service: usize) -> bool {
    let found = daemon.service(&name(service)).unwrap();
    let error = found["error"].as_str().unwrap_or_default();
    let refused = ["answered 3", "answered 4"].iter().any(|status| error.contains(status)) && !error.contains("408");
    assert!(refused || found["state"] != "stalled", "{found}");
    found["state"] == "stalled"
}

/// Updates that were taken, oldest first.
fn taken(api: &Api, service: &str) -> Vec<Call> {
    let of_it = |call: &Call| call.accepted && call.target == Some(format!("shop/{service}").as_str().into());
    api.world().calls().into_iter().filter(of_it).collect()
}

#[test]
fn every_fault_of_the_api_in_one_life_ends_converged() {
    let api = Api::with(Options { limit: u32::MAX, log: 100_000, rollout: Duration::ZERO, ..Options::default() });
    let mut folder = Folder { workspace: Workspace::sending(), newest: 0, tags: BTreeMap::new() };
    let mut chance = Rng::with_seed(seed());
    (0..SERVICES).for_each(|service| folder.change(service));
    // A 404 that means nothing would turn it to PATCH for good.
    let arguments = ["--request-timeout", TIMEOUT, "--debounce", "2ms", "--update-call", "post"];
    let daemon = Daemon::start(&folder.workspace, &api, &arguments);
    eventually("the first contents are applied", || folder.is_applied(&api));

    let mut scripted = 0;
    // Once for updates alone, once for whatever call comes next.
    for operation in [Some(Operation::UpdateServiceDeployment), None] {
        let mut faults = faults();
        chance.shuffle(&mut faults);
        for faults in faults.chunks(AT_ONCE) {
            let mut services: Vec<usize> = (0..SERVICES).filter(|service| *service != SILENT).collect();
            chance.shuffle(&mut services);
            for (fault, service) in faults.iter().zip(services) {
                let fault = fault.clone().of(format!("shop/{}", name(service)));
                api.world().script(operation.map_or(fault.clone(), |operation| fault.on(operation)));
                scripted += 1;
                folder.change(service);
                folder.change(chance.usize(0..SERVICES));
            }
            eventually("every fault is met", || met(&api) >= scripted);
            // What failed in passing arrives without new content.
            eventually("what was not refused is applied", || {
                (0..SERVICES).all(|service| folder.has_newest(&api, service) || is_refused(&daemon, service))
            });
        }
        for fault in
            [Fault::delay(Duration::from_secs(600)), Fault::delay(Duration::from_secs(600)).after_carrying_out()]
        {
            api.world().script(fault.of(format!("shop/{}", name(SILENT))));
            scripted += 1;
            folder.change(SILENT);
            eventually("a call gets no answer", || met(&api) >= scripted);
        }
        api.world().script(Fault::status(401));
        folder.change(1);
        scripted += 1;
        eventually("the token is refused", || met(&api) >= scripted);
        eventually("the token is good again", || {
            hup_where_denied(&daemon);
            folder.has_newest(&api, 1)
        });
    }
    let kinds: BTreeSet<usize> = faults().iter().map(kind).collect();
    assert_eq!(kinds, (0..KINDS).collect(), "every kind is among them");

    // At last the weather: any of them at any time.
    api.world().storm(Storm::new(chance.u64(..), 0.3));
    for _ in 0..60 {
        folder.change(chance.usize(0..SERVICES));
        let calls = api.world().call_count();
        eventually("a call", || api.world().call_count() > calls);
    }
    api.world().clear_faults();
    eventually("everything is applied", || {
        // What was refused waits for new content, and nothing else does.
        (0..SERVICES).filter(|service| is_refused(&daemon, *service)).for_each(|service| folder.change(service));
        folder.is_applied(&api) && daemon.status()["converged"] == true
    });
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);

    for service in (0..SERVICES).map(name) {
        let taken = taken(&api, &service);
        for pair in taken.windows(2) {
            let [before, after] =
                [&pair[0], &pair[1]].map(|call| -> u64 { tag(call.body.as_ref().unwrap()).parse().unwrap() });
            assert!(before <= after, "{service}: {before} after {after}");
            // The one before had its answer spoilt.
            assert!(before < after || !pair[0].faults.is_empty(), "{service}: {after} was sent twice: {pair:#?}");
        }
        let silent = service == name(SILENT);
        assert!(silent || api.world().in_flight_max_of(format!("shop/{service}")) == 1, "{service}: two calls at once");
    }
    let updates = api.world().update_count();
    folder.workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().update_count(), updates, "all is known to be applied");
}
