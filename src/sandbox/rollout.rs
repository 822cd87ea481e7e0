//! Rollouts: what happens after an update was accepted, by the time that passes.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::clock::{Clock, shown_time};
use crate::text::words;

words! {
    /// How far a rollout is.
    #[derive(Hash)]
    pub enum Stage {
        /// Accepted, nothing started; the first quarter of the time.
        Pending = "PENDING",
        /// Containers are being replaced.
        InProgress = "IN_PROGRESS",
        /// The new containers run.
        Completed = "COMPLETED",
        /// The new containers do not run.
        Failed = "FAILED",
    }
}

/// How the rollouts of a service end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The new containers run.
    #[default]
    Completed,
    /// They do not: a wrong image, a crash at start.
    Failed,
}

/// Why containers are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Deploying,
    Scaling,
}

/// What runs in a service once, with the rollout that brought it.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) at: Timestamp,
    /// The image, where it was one.
    pub(super) image: Option<String>,
    /// Who made it.
    pub(super) by: String,
}

/// The last rollout of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rollout {
    pub(super) began: Instant,
    pub(super) length: Duration,
    pub(super) ending: Ending,
    pub(super) reason: Reason,
}

impl Rollout {
    /// The stage at a time, and when it began.
    pub(super) fn stage(&self, now: Instant) -> (Stage, Instant) {
        let passed = now.duration_since(self.began);
        let (start, end) = (self.length / 4, self.length);
        if passed >= end {
            let stage = match self.ending {
                Ending::Completed => Stage::Completed,
                Ending::Failed => Stage::Failed,
            };
            (stage, self.began + end)
        } else if passed >= start {
            (Stage::InProgress, self.began + start)
        } else {
            (Stage::Pending, self.began)
        }
    }

    /// The contract's `status.deployment`.
    pub(super) fn to_json(self, now: Instant, clock: &Clock) -> Value {
        let (stage, since) = self.stage(now);
        let reason = match self.reason {
            Reason::Deploying => "DEPLOYING",
            Reason::Scaling => "SCALING",
        };
        json!({"status": stage.as_str(), "reason": reason, "lastTransitionTime": shown_time(clock.wall(since))})
    }
}
