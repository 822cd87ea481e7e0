//! truenorth keeps Northflank services true to the manifests in a folder.
//!
//! This is the library behind the `truenorth` binary; its README says what the program is for. This page says how it
//! is built, for whoever wants to change it.
//!
//! # The four moves of a pass
//! 1. **Observe.** [`source`] reads the folder into a snapshot: what all valid [`manifest`]s say at one moment, and what
//!    is wrong in it. [`ledger`] says what the API accepted last.
//! 2. **Plan.** [`plan`] turns both, and what a read of live showed, into steps: read live, update, unchanged, suspended,
//!    orphaned. A pure function.
//! 3. **Execute.** [`engine`] says which call is due and when; [`runner`] makes it with the client in [`northflank`].
//!    The intent is on disk before an update. What the ledger does not know, or doubts, is read before it is sent.
//! 4. **Record.** How the call ended is on disk after it, and goes back into the engine.
//!
//! A trigger (start, event, timer, signal) only ever says "look again"; all take this one path.
//!
//! # The modules, in reading order
//! | module | what it is | may not |
//! |---|---|---|
//! | [`text`] | what may be shown of a text from outside; short forms of counts, times, ids and names | do I/O, read a clock |
//! | [`model`] | the nouns: service key, deployment update, digest, revision, applied, live | do I/O, read a clock |
//! | [`manifest`] | bytes to manifests, or to problems with line and column | do I/O |
//! | [`source`] | a folder to a snapshot | know the ledger or the API |
//! | [`plan`] | desired × applied × live to steps; differences; the comparison with live; the report | do I/O, read a clock |
//! | [`engine`] | the state machine: queue, backoff, pauses, quota, turns to read for drift | do I/O, read a clock, roll dice |
//! | [`ledger`] | what was sent and accepted, and what live showed, in SQLite | know the API |
//! | [`northflank`] | the API client, errors and what follows from them | retry |
//! | [`runner`] | from a call that is due to its record: a machine without I/O, and the tokio that carries it out | look at the folder |
//! | [`pass`] | one look at folder and ledger: a plan, or a pass to its end | decide what is due |
//! | [`daemon`] | the loop | decide what is due |
//! | `views` | what command line and page both show: status, history, why | decide a state, call the API |
//! | [`import`] | live to manifests, once | send an update |
//! | [`web`] | health, metrics and status over HTTP | make the loop wait |
//! | [`sandbox`] | a stand-in for the API, checked against its contract | know any of the above |
//! | [`cli`] | arguments, settings, what is printed, exit codes | |
//!
//! Arrows point down: `cli → daemon, pass → runner → engine → plan → model → text`, `source → manifest → model` and
//! `cli → views → ledger, engine, plan, source`; `ledger` keeps nouns of `engine` and `plan`. A test greps for it.
//!
//! # Invariants, each with a test that fails without it
//! 1. *Level, not edge*: an event never says what changed.
//! 2. *Planning is pure*, and planning again after applying a plan gives nothing.
//! 3. *The engine has no I/O*: events and the time go in, calls and the next wake-up come out.
//! 4. *One call in flight per service, the newest content wins*, and new content ends a wait.
//! 5. *Unreadable is not empty*: absence never causes a call; nothing is ever deleted.
//! 6. *One snapshot, one revision*: what is applied was read while the folder held still.
//! 7. *Intent before, record after*: a crash anywhere repeats at most one call a service, and none where live can tell. A
//!    request that was given up may still take effect; nothing counts against it before its time is over.
//! 8. *One bad manifest stops only itself.*
//! 9. *Everything has a limit and a way out.*
//! 10. *Secrets reach no sink.*
//! 11. *One state, decided once*: the engine says in which state a service is, the daemon writes it down, others read it.
//! 12. *What happened is a value*: the engine gives events; the log is a listener.
//! 13. *What waits says for what, and until when.*
//! 14. *Only proof counts*: accepted is what the API's own JSON says, adopted what live shows of every field that matters.

pub mod cli;
pub mod daemon;
pub mod engine;
pub mod error;
pub mod host;
pub mod import;
pub mod ledger;
pub mod manifest;
pub mod model;
pub mod northflank;
pub mod pass;
mod plain_file;
pub mod plan;
pub mod runner;
pub mod sandbox;
pub mod source;
pub mod stop;
pub mod text;
mod views;
pub mod web;
