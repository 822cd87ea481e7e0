//! Policy: how truenorth treats a service. No part of what is sent, nor of the digest.

use std::sync::Arc;

use jiff::Timestamp;

use super::ServiceKey;

use crate::text::words;

/// How truenorth treats a service; no part of the digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether to leave the service alone, whatever the manifest says.
    pub suspend: Suspend,
    /// What to do about drift of this service; where it is `None`, what the whole run does.
    pub drift: Option<DriftMode>,
    /// What it means that the manifest names no registry credentials.
    pub credentials: Unnamed,
    /// Services that must have what their manifests say before anything new is sent for this one.
    pub depends_on: Arc<[ServiceKey]>,
    /// What these must have reached.
    pub gate: DependencyGate,
    /// Whether each change of the service waits for an approval.
    pub approval: Approval,
    /// What follows where its rollout fails; where it is `None`, what the whole run does.
    pub on_failure: Option<OnFailure>,
}

words! {
    /// What follows where the rollout of content fails.
    #[derive(Default, Hash)]
    pub enum OnFailure {
        /// Nothing: it stays as it is, and is not sent again by itself.
        #[default]
        Hold = "hold",
        /// The content whose rollout completed last is sent in its place, once.
        LastGood = "last-good",
    }
}

words! {
    /// What a service must have reached before one that depends on it is sent.
    #[derive(Default, Hash)]
    pub enum DependencyGate {
        /// The API accepted its update, and the rollout completed.
        #[default]
        Deployed = "deployed",
        /// The API accepted its update.
        Accepted = "accepted",
        /// Nothing: the order is kept in mind and not enforced.
        Ignore = "ignore",
    }
}

words! {
    /// Whether each change of a service waits for an approval.
    #[derive(Default, Hash)]
    pub enum Approval {
        /// Only where the plan that it is part of does.
        #[default]
        None = "none",
        Required = "required",
    }
}

impl Policy {
    /// Most services that one may depend on.
    pub const MAX_DEPENDENCIES: usize = 100;

    /// Whether each change of the service waits for a person's yes.
    pub fn wants_approval(&self) -> bool {
        self.approval == Approval::Required
    }

    /// The services that are waited for before anything new is sent.
    pub fn awaited(&self) -> impl Iterator<Item = &ServiceKey> {
        self.depends_on.iter().filter(|_| self.gate != DependencyGate::Ignore)
    }
}

/// What it means that a manifest names no registry credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unnamed {
    /// Perhaps nothing: where live uses some, somebody forgot them.
    #[default]
    Forgotten,
    /// That there are to be none.
    OnPurpose,
}

impl Unnamed {
    /// How a manifest says that none are wanted.
    pub const WORD: &str = "none";
}

/// Whether a service is to be left alone: no call, whatever its manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Suspend {
    /// It is kept true to its manifest.
    #[default]
    No,
    /// It is left alone.
    Yes {
        /// Why, in somebody's own words: distrusted, bounded by [`Suspend::MAX_REASON_CHARS`], never blank.
        reason: Option<Arc<str>>,
        /// When it is kept true again by itself; without it, when the manifest says so.
        until: Option<Timestamp>,
    },
}

impl Suspend {
    /// The longest reason that is accepted, in characters.
    pub const MAX_REASON_CHARS: usize = 1024;

    /// Whether the service is to be left alone at `now`: at `until` and after it no longer.
    pub fn holds(&self, now: Timestamp) -> bool {
        match self {
            Self::No => false,
            Self::Yes { until, .. } => until.is_none_or(|until| now < until),
        }
    }
}

words! {
    /// What is done about a service that runs something else than what was applied.
    #[derive(Hash)]
    pub enum DriftMode {
        Report = "report",
        /// It is told, and what is desired is sent again.
        Correct = "correct",
        /// It is not looked for.
        Off = "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_ends_at_its_time_and_one_without_a_time_does_not() {
        let at = |second| Timestamp::from_second(second).expect("is a time");
        let until = |second| Suspend::Yes { reason: None, until: Some(at(second)) };
        assert!(!Suspend::No.holds(at(0)));
        assert!(Suspend::Yes { reason: None, until: None }.holds(Timestamp::MAX));
        assert!(until(10).holds(at(9)));
        assert!(!until(10).holds(at(10)));
        assert!(!until(10).holds(at(11)));
    }
}
