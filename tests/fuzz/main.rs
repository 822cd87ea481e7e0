//! Hostile input, made by changing real input at random: manifests, ignore files, `.git` folders, answers of the API. Each
//! has an invariant that holds for every input; a test ends after a number of inputs, not after a time.
//!
//! The inputs are the same in each run. `TRUENORTH_FUZZ_SEED` names others, and `TRUENORTH_FUZZ_ROUNDS` more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod answers;
mod folders;
mod manifests;
mod mutation;

/// What no output may hold.
const CANARY: &str = "nf-canary-9f3b7c1d5e";

/// Runs something with so many inputs, each made by a mutator of its own; a failure names the input's number.
fn rounds(count: u64, mut run: impl FnMut(u64, &mut mutation::Mutator)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("TRUENORTH_FUZZ_SEED").unwrap_or(1);
    for round in 0..count * number("TRUENORTH_FUZZ_ROUNDS").unwrap_or(1) {
        run(round, &mut mutation::Mutator::new(seed << 32 | round));
    }
}

/// Nothing that is shown may steer a terminal, or begin a line that is not ours.
#[track_caller]
fn assert_shown(text: &str) {
    let steers = |c: char| c != '\n' && c != '\t' && truenorth::text::is_steering(c);
    assert!(!text.contains(steers) && !text.contains("##["), "{text:?}");
    let command =
        |line: &str| line.trim_start().strip_prefix("::").is_some_and(|name| name.starts_with(char::is_alphabetic));
    assert!(!text.lines().any(command), "{text:?}");
}
