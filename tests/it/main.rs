//! The real binary against the sandbox, by subject:
//!
//! - `once`: `--reconcile-once`, its exit codes, its output
//! - `commands`: plan, validate, schema, completions, sandbox
//! - `problems`: what is wrong in a folder, and how it is told
//! - `ledger`: one truenorth a ledger; ledgers that cannot be used
//! - `recovery`: killed in the middle, again and again
//! - `signals`: stopped in the middle
//! - `secrets`: the token in no output and no file
//! - `readme`: every command of the README
//! - `tidy`: what the modules may know of each other

mod once;
mod support;
mod tidy;
