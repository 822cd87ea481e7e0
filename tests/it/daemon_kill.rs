//! The daemon under SIGKILL at moments that a seed spreads over its short lives, while manifests change, before it
//! begins and while it runs. A kill may cost one repeat of each call that was in flight, and nothing else.
//!
//! `TRUENORTH_ROUNDS=2000` kills more often, `TRUENORTH_SEED=7` at other moments.

#![allow(clippy::print_stdout, reason = "how much the kills met is worth telling")]

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use truenorth::ledger::{CallId, End, Reader};
use truenorth::sandbox::Options;

use crate::support::{Api, Daemon, SETTLING, Workspace, eventually, number, pass, seed, tags};

const ROUNDS: u64 = 240;
/// After so many kills one life goes on until everything is right.
const KILLS: u64 = 12;
const SERVICES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const CONCURRENCY: usize = 3;
/// From the moment when the API took an update to its answer: who is killed then never hears of it.
const LATENCY: Duration = Duration::from_millis(10);

/// One life of the daemon.
struct Life(Child);

impl Life {
    fn begin(workspace: &Workspace, api: &Api) -> Self {
        let concurrency = CONCURRENCY.to_string();
        let arguments =
            ["--api-url", &api.url(), "--listen", "off", "--debounce", "2ms", "--request-timeout", SETTLING];
        let arguments = [&arguments[..], &["--concurrency", &concurrency]].concat();
        let mut command = workspace.command(&arguments);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Kills it. Gives the calls that were in flight.
    #[track_caller]
    fn end(mut self, api: &Api) -> u64 {
        assert_eq!(self.0.try_wait().unwrap(), None, "it ended by itself");
        self.0.kill().unwrap();
        let in_flight = api.world().in_flight();
        self.0.wait().unwrap();
        eventually("the API noticed", || api.world().in_flight() == 0);
        in_flight
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder as it was written, and what was seen of the ledger.
struct Story {
    api: Api,
    workspace: Workspace,
    chance: Rng,
    /// The tag that was written last, of any service.
    newest: u64,
    /// By service: the tags that its manifest had, one after the other.
    written: BTreeMap<&'static str, Vec<String>>,
    /// The calls that a kill left without an outcome, with their service.
    left_open: BTreeMap<CallId, String>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let options = Options { rollout: Duration::ZERO, latency: LATENCY, limit: u32::MAX, ..Options::default() };
        let api = Api::with(Options { log: 1_000_000, ..options });
        let (workspace, chance) = (Workspace::new(), Rng::with_seed(seed));
        let mut story =
            Self { api, workspace, chance, newest: 0, written: BTreeMap::new(), left_open: BTreeMap::new() };
        for service in SERVICES {
            story.write(service, "0".to_owned());
        }
        story
    }

    fn write(&mut self, service: &'static str, tag: String) {
        self.workspace.service(service, &tag);
        self.written.entry(service).or_default().push(tag);
    }

    /// Changes some manifests: most to something new, some back to what they were before.
    fn change(&mut self) {
        for _ in 0..self.chance.usize(0..4) {
            let service = SERVICES[self.chance.usize(0..SERVICES.len())];
            let before = self.written[service].iter().nth_back(1).cloned();
            let back = before.filter(|_| self.chance.u8(0..3) == 0);
            self.newest += 1;
            self.write(service, back.unwrap_or_else(|| self.newest.to_string()));
        }
    }

    /// Begins a life and kills it, as a rule within 300 ms. Gives the calls that were in flight.
    fn live_shortly(&mut self) -> u64 {
        let life = Life::begin(&self.workspace, &self.api);
        let calls = self.api.world().call_count();
        if self.chance.bool() {
            // At any moment, also before the ledger is open.
            let half = Duration::from_micros(self.chance.u64(0..30_000));
            pass(half, || false);
            self.change();
            pass(half, || false);
        } else {
            // Once a call is under way, however slowly the machine begins a life. Perhaps there is none to be made: then
            // nothing is to come.
            self.change();
            pass(Duration::from_millis(300), || self.api.world().call_count() > calls);
            pass(Duration::from_micros(self.chance.u64(0..20_000)), || false);
        }
        life.end(&self.api)
    }

    /// One life that lasts until every service has its newest content.
    fn live_until_converged(&mut self) {
        let daemon = Daemon::start(&self.workspace, &self.api, &["--debounce", "2ms"]);
        self.change();
        let newest = |service: &&str| tags(&self.api, service).last() == self.written[service].last();
        eventually("every service has its newest content", || SERVICES.iter().all(newest));
        daemon.signal(Signal::TERM);
        daemon.ends_with(0);
        assert_eq!(self.read_the_ledger(), 0, "all is recorded");
    }

    /// The ledger opens, whatever happened to its process, and says which calls it did not see the end of. Gives their
    /// number.
    fn read_the_ledger(&mut self) -> usize {
        let Some(ledger) = Reader::open(&self.workspace.state()).unwrap() else { return 0 };
        ledger.known().unwrap();
        let before = self.left_open.len();
        for entry in ledger.history(None, 100).unwrap() {
            if entry.end == End::Open {
                self.left_open.insert(entry.call, entry.key.service.as_str().to_owned());
            }
        }
        self.left_open.len() - before
    }
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_repeats_at_most_what_was_in_flight() {
    let rounds = number("TRUENORTH_ROUNDS").unwrap_or(ROUNDS);
    let mut story = Story::new(seed());
    let mut met = 0;
    for round in 1..=rounds {
        story.change();
        met += u64::from(story.live_shortly() > 0);
        // Half as many again may have their intent or their outcome on its way to the disk.
        assert!(story.read_the_ledger() <= CONCURRENCY + CONCURRENCY / 2, "no more than can be in flight");
        if round % KILLS == 0 || round == rounds {
            story.live_until_converged();
        }
    }

    let Story { api, workspace, written, left_open, .. } = story;
    let mut repeats = 0;
    for service in SERVICES {
        let mut taken = tags(&api, service);
        let all = taken.len();
        taken.dedup();
        // A manifest that goes back while another content is in doubt is a repeat too, and has its open call as well.
        let open = left_open.values().filter(|name| *name == service).count();
        repeats += all - taken.len();
        assert!(all - taken.len() <= open, "{service}: {} repeats, {open} calls without an end", all - taken.len());
        // Each content follows from one that was written later than the one before: nothing old comes after new.
        let mut later = written[service].iter();
        for tag in &taken {
            assert!(later.any(|written| written == tag), "{service}: {tag} out of turn in {taken:?}");
        }
    }
    let open = left_open.len();
    println!(
        "{rounds} kills, {met} with a call in flight, left {open} calls without an end; {repeats} were sent twice"
    );
    assert!(met >= rounds / 20 && open > 0, "{met} kills met a call");
    assert_eq!(api.world().in_flight_max_of_any(), 1);

    // What a kill left in doubt may have its newest content already, and be sent once more.
    workspace.once(&api, &[]).exits(0);
    let updates = api.world().update_count();
    workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().update_count(), updates, "all is known to be applied");
}
