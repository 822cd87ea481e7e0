//! What is shipped beside the binary, checked as far as can be without a service manager that runs:
//!
//! - `units`: `systemd/`, with systemd's own tools where they are there

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by ending")]

mod support;
mod units;
