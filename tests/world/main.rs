//! A simulated world: the product's own machine, engine and plan, and around them a folder that changes, a ledger on a disk that
//! fills up, an API that fails in every way that it can, a process that is killed, and a clock that jumps from event to
//! event. All of it follows from one seed: the same number, the same world.
//!
//! - `simulation`: the settings of a seed, what befalls the world, the loop
//! - `process`: a life of the machine, whose effects the world carries out
//! - `folder`, `disk`, `api`, `clock`, `content`, `people`: what is around it
//! - `checks`, `gate`, `record`: what must hold at every step
//! - `quota`: thousands of services, and what the calls of an hour are used for
//! - `quarantine`: a year of drift, restarts and crashes of a service whose rollout failed
//! - `outage`: what an API that is down, and a small rate limit, cost with hundreds of services
//! - `plan`, `ledger`: the plan on its own; the world's disk beside the real ledger
//!
//! `TRUENORTH_SEEDS=100000` runs more worlds; `TRUENORTH_SEED=42` runs one, and tells all that happens in it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "all of it is a test")]

mod api;
mod checks;
mod clock;
mod content;
mod disk;
mod folder;
mod gate;
mod ledger;
mod outage;
mod people;
mod plan;
mod process;
mod quarantine;
mod quota;
mod record;
mod simulation;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use simulation::{Simulation, Tally, Telling};

/// Worlds in a plain run.
const SEEDS: u64 = 2000;

/// What a plain run must have met, or the world has become too kind to show anything.
const MET: [&str; 49] = [
    "accepted",
    "refused",
    "denied",
    "limited",
    "not delivered",
    "lost before",
    "lost after",
    "repeats",
    "read",
    "reads lost",
    "reads in doubt",
    "reads of the unknown",
    "reads of what drifted",
    "reads for drift",
    "reads kept waiting",
    "sightings lost",
    "cannot tell",
    "adopted",
    "forbidden",
    "drift",
    "corrected",
    "flapping",
    "changes by hand",
    "others",
    "suspensions ended",
    "retries",
    "commits that failed",
    "starts",
    "stops",
    "left behind",
    "crashes",
    "applied after all",
    "lingered",
    "limited alone",
    "parts sent alone",
    "withdrawn",
    "turned",
    "jumps",
    "ledgers put back",
    "rivals",
    "changes",
    "freezes",
    "thaws",
    "windows",
    "approvals",
    "denials",
    "services closed",
    "services ruled on",
    "plans denied",
];

#[test]
fn in_every_world_the_invariants_hold_and_all_converges() {
    if let Some(seed) = number("TRUENORTH_SEED") {
        let mut world = Simulation::new(seed, Telling::All);
        let held = world.run();
        println!("{}\n{:#?}", world.told.join("\n"), world.tally);
        held.unwrap();
        return;
    }
    let seeds = number("TRUENORTH_SEEDS").unwrap_or(SEEDS);
    // Worlds have nothing in common, so each processor has some.
    let many = thread::available_parallelism().map_or(1, |many| u64::try_from(many.get()).unwrap());
    let tallies: Vec<Result<Tally, Failed>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..many).map(|first| scope.spawn(move || run(first, seeds, many))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    if let Some(failed) = tallies.iter().filter_map(|tally| tally.as_ref().err()).min_by_key(|failed| failed.seed) {
        fail(failed.seed, &failed.why);
    }
    let mut met = Tally::new();
    for (what, times) in tallies.into_iter().flatten().flatten() {
        *met.entry(what).or_default() += times;
    }
    println!("{seeds} worlds: {met:#?}");
    if seeds >= SEEDS {
        for what in MET {
            let least = match what {
                // Four changes by hand of one service within an hour are rare.
                "flapping" => 1,
                "left behind" => 10,
                _ => 20,
            };
            assert!(met.get(what).is_some_and(|times| *times >= least), "too few {what}: {met:#?}");
        }
    }
}

/// A world in which something did not hold.
struct Failed {
    seed: u64,
    why: String,
}

/// Runs every `step`th world from `first` on, until one fails.
fn run(first: u64, seeds: u64, step: u64) -> Result<Tally, Failed> {
    let mut met = Tally::new();
    for seed in (first..seeds).step_by(usize::try_from(step).unwrap()) {
        let mut world = Simulation::new(seed, Telling::Nothing);
        match catch_unwind(AssertUnwindSafe(|| world.run())) {
            Ok(Ok(())) => {}
            Ok(Err(broken)) if std::env::var_os("TRUENORTH_ALL").is_some() => println!("FAILED {seed}: {}", broken.0),
            Ok(Err(broken)) => return Err(Failed { seed, why: broken.0 }),
            Err(_) => return Err(Failed { seed, why: "a panic, see above".to_owned() }),
        }
        for (what, times) in world.tally {
            *met.entry(what).or_default() += times;
        }
    }
    Ok(met)
}

/// Runs the world of a seed again, with its story, and fails.
fn fail(seed: u64, why: &str) -> ! {
    let mut world = Simulation::new(seed, Telling::All);
    let _ = catch_unwind(AssertUnwindSafe(|| world.run()));
    let told = &world.told[world.told.len().saturating_sub(40)..];
    panic!(
        "in the world of seed {seed}: {why}\n…\n{}\nall of it: TRUENORTH_SEED={seed} cargo test --test world -- --nocapture",
        told.join("\n")
    );
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}
