//! What is shipped beside the binary, checked as far as can be without a cluster, a container engine or a service
//! manager that runs:
//!
//! - `units`: `systemd/`, with systemd's own tools where they are there
//! - `image`: the Dockerfile and what goes into it
//! - `compose`, `kubernetes`: the files beside it
//! - `copies`: the same for kustomize and Helm, with kubectl and helm where they are there
//! - `packages`: the metadata of the `.deb` and the `.rpm`
//! - `workflows`: the release, and the examples for CI
//! - `environments`: the example of several stages, and the preset of Renovate
//! - `command_line`: every option and variable that these name is one that the binary knows
//! - `git_sync`: the real binary over a checkout that is swapped as git-sync swaps it

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by ending")]
#![allow(clippy::print_stdout, reason = "a test says what it could not try")]

mod command_line;
mod compose;
mod copies;
mod environments;
mod git_sync;
mod image;
mod kubernetes;
mod packages;
mod support;
mod units;
mod workflows;
