//! The real binary against the sandbox, by subject:
//!
//! - `once`: `--reconcile-once`, what it sends and what it says
//! - `faults`: `--reconcile-once` against an API that fails
//! - `commands`: plan, validate, schema, completions, sandbox, help
//! - `exit_codes`: what cannot be understood, and what cannot be begun
//! - `problems`: what is wrong in a folder, and how it is told
//! - `ledger`: one truenorth a ledger; ledgers that cannot be used
//! - `recovery`: killed in the middle, again and again
//! - `signals`: stopped in the middle
//! - `secrets`: the token in no output and no file
//! - `daemon`: watches, retries, survives, says what it does
//! - `import`: manifests from what runs
//! - `live`: what is sent and what the API then shows are the same, and nothing else is
//! - `readme`: every command of the README
//! - `tidy`: what the modules may know of each other

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod adopt;
mod commands;
mod daemon;
mod exit_codes;
mod faults;
mod import;
mod ledger;
mod live;
mod once;
mod problems;
mod readme;
mod recovery;
mod secrets;
mod signals;
mod support;
mod tidy;
