//! What is shipped beside the binary, checked as far as can be without a cluster, a container engine or a service
//! manager that runs:
//!
//! - `units`: `systemd/`, with systemd's own tools where they are there
//! - `image`: the Dockerfile and what goes into it
//! - `compose`, `kubernetes`: the files beside it
//! - `command_line`: every option and variable that these name is one that the binary knows
//! - `git_sync`: the real binary over a checkout that is swapped as git-sync swaps it

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by ending")]

mod command_line;
mod compose;
mod git_sync;
mod image;
mod kubernetes;
mod support;
mod units;
