//! The real binary against the sandbox, by subject:
//!
//! - `once`: `--reconcile-once`, what it sends and what it says
//! - `faults`: `--reconcile-once` against an API that fails
//! - `commands`: plan, validate, schema, completions, sandbox, help
//! - `config`: the config file
//! - `exit_codes`: what cannot be understood, and what cannot be begun
//! - `problems`: what is wrong in a folder, and how it is told
//! - `history`: what was sent, when, why
//! - `ledger`: one truenorth a ledger; ledgers that cannot be used
//! - `recovery`: killed in the middle, again and again
//! - `signals`: stopped in the middle
//! - `status`: the table, and how it is kept on the screen
//! - `why`: why a service is as it is
//! - `secrets`: the token in no output and no file
//! - `sinks`: what is shown: no secret of a command, and no text that speaks in truenorth's place
//! - `daemon`: watches, retries, survives, says what it does
//! - `health`: whether the daemon lives, for a container's health check
//! - `held`: what is due and kept back on purpose
//! - `import`: manifests from what runs
//! - `live`: what is sent and what the API then shows are the same, and nothing else is
//! - `daemon_disk`: a full disk, files that may not grow, a read-only state folder
//! - `daemon_faults`: every fault of the API in one life
//! - `daemon_git`: beside pulls of commits that change thousands of files
//! - `adopt`: live first: what is adopted, settled, not sent
//! - `drift`: the daemon and what somebody changes by hand
//! - `rollouts`: deployed, and not only accepted
//! - `daemon_kill`: killed at any moment, again and again
//! - `daemon_links`: behind links that are swapped
//! - `agreement`: all that is said of a service says the same
//! - `daemon_systemd`: what systemd is told
//! - `first_hour`: self-test, doctor, init: what helps at the beginning
//! - `mistakes`: thirty typical mistakes, and what each is answered
//! - `words`: what people type in the first hour
//! - `readme`: every command of the README
//! - `tidy`: what the modules may know of each other

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod adopt;
mod agreement;
mod approval;
mod commands;
mod config;
mod daemon;
mod daemon_disk;
mod daemon_faults;
mod daemon_git;
mod daemon_kill;
mod daemon_links;
mod daemon_systemd;
mod drift;
mod exit_codes;
mod faults;
mod first_hour;
mod health;
mod held;
mod history;
mod import;
mod ledger;
mod live;
mod mistakes;
mod once;
mod permits;
mod problems;
mod quarantine;
mod readme;
mod recovery;
mod requests;
mod rollouts;
mod secrets;
mod signals;
mod sinks;
mod standpoint;
mod status;
mod support;
mod tidy;
mod why;
mod windows;
mod words;
