//! Killed in the middle, again and again: `--reconcile-once` under SIGKILL at moments that a seed spreads over the run,
//! while manifests change. A crash may cost one repeat of the call that was in flight, and nothing else.
//!
//! `TRUENORTH_ROUNDS=2000` kills more often, `TRUENORTH_SEED=7` at other moments.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "all of it is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::Duration;

use fastrand::Rng;
use truenorth::ledger::{CallId, End, Reader};
use truenorth::sandbox::Options;

use crate::support::{Api, SETTLING, Workspace, number, pass, seed, tags};

const ROUNDS: u64 = 60;
/// After so many kills a pass is left alone, and must put everything right.
const KILLS: u64 = 6;
const SERVICES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// From the moment when the API took an update to its answer: whoever is killed then never hears of it.
const LATENCY: Duration = Duration::from_millis(15);
/// No run takes as long.
const TOO_LONG: Duration = Duration::from_secs(60);

/// The folder as it was written, and what was seen of the ledger.
struct Story {
    workspace: Workspace,
    /// By service: the tags that its manifest had, one after the other.
    tags: BTreeMap<&'static str, Vec<String>>,
    /// By service: the calls that a kill left without an outcome.
    left_open: BTreeMap<&'static str, BTreeSet<CallId>>,
}

impl Story {
    fn new() -> Self {
        let mut story = Self { workspace: Workspace::new(), tags: BTreeMap::new(), left_open: BTreeMap::new() };
        for service in SERVICES {
            story.write(service, "0".to_owned());
        }
        story
    }

    fn write(&mut self, service: &'static str, tag: String) {
        self.workspace.service(service, &tag);
        self.tags.entry(service).or_default().push(tag);
    }

    /// Changes some manifests: most to something new, some back to what they were before.
    fn change(&mut self, round: u64, chance: &mut Rng) {
        for _ in 0..chance.usize(0..6) {
            let service = SERVICES[chance.usize(0..SERVICES.len())];
            let before = self.tags[service].iter().nth_back(1).cloned();
            let back = before.filter(|_| chance.u8(0..3) == 0);
            self.write(service, back.unwrap_or_else(|| round.to_string()));
        }
    }

    /// Begins a pass, and kills it at some moment; one that was faster is left alone.
    fn kill_a_pass(&self, api: &Api, chance: &mut Rng) {
        let arguments =
            ["--reconcile-once", "--concurrency", "3", "--api-url", &api.url(), "--request-timeout", SETTLING];
        let mut command = self.workspace.command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let calls = api.world().call_count();
        match chance.u8(0..3) {
            // At any moment, also before the first call.
            0 => pass(Duration::from_micros(chance.u64(0..150_000)), || ended(&mut child)),
            // With some calls behind it, and one under way as a rule.
            _ => {
                let some = chance.u64(1..5);
                pass(TOO_LONG, || ended(&mut child) || api.world().call_count() >= calls + some);
                pass(Duration::from_micros(chance.u64(0..30_000)), || ended(&mut child));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        pass(TOO_LONG, || api.world().in_flight() == 0);
    }

    /// The ledger opens, whatever happened to its process, and says which calls it did not see the end of.
    fn read_the_ledger(&mut self) {
        let Some(ledger) = Reader::open(&self.workspace.state()).unwrap() else { return };
        ledger.known().unwrap();
        for entry in ledger.history(None, 100).unwrap() {
            if entry.end == End::Open {
                let service = SERVICES.into_iter().find(|name| *name == entry.key.service.as_str()).unwrap();
                self.left_open.entry(service).or_default().insert(entry.call);
            }
        }
    }
}

fn ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

#[test]
fn a_pass_that_is_killed_at_any_moment_repeats_at_most_what_was_in_flight() {
    let rounds = number("TRUENORTH_ROUNDS").unwrap_or(ROUNDS);
    let mut chance = Rng::with_seed(seed());
    let quiet = Options { rollout: Duration::ZERO, latency: LATENCY, limit: u32::MAX, ..Options::default() };
    let api = Api::with(Options { log: 1_000_000, ..quiet });
    let mut story = Story::new();
    for round in 1..=rounds {
        story.change(round, &mut chance);
        story.kill_a_pass(&api, &mut chance);
        story.read_the_ledger();
        if round % KILLS == 0 || round == rounds {
            story.workspace.once(&api, &[]).exits(0);
            for service in SERVICES {
                let (taken, written) = (tags(&api, service), &story.tags[service]);
                assert_eq!(taken.last(), written.last(), "{service} has the newest content after round {round}");
            }
        }
    }

    let mut repeats = 0;
    for service in SERVICES {
        let written = &story.tags[service];
        let mut taken = tags(&api, service);
        let all = taken.len();
        taken.dedup();
        let open = story.left_open.get(service).map_or(0, BTreeSet::len);
        assert!(all - taken.len() <= open, "{service}: {} repeats, {open} calls without an end", all - taken.len());
        repeats += all - taken.len();
        // Each content follows from one that was written later than the one before: nothing old comes after new.
        let mut later = written.iter();
        for tag in &taken {
            assert!(later.any(|written| written == tag), "{service}: {tag} out of turn in {taken:?} of {written:?}");
        }
    }
    let open: usize = story.left_open.values().map(BTreeSet::len).sum();
    println!("{rounds} kills left {open} calls without an end; {repeats} updates were sent twice for it");
    assert!(open > 0, "no kill met a call");

    let calls = api.world().call_count();
    story.workspace.once(&api, &[]).exits(0);
    assert_eq!(api.world().call_count(), calls, "all is known to be applied");
}
