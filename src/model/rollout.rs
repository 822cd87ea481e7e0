//! A rollout: the platform replacing what runs after an accepted update, as far as the API has shown it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::Digest;
use crate::text::short;

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutState {
    /// Accepted, and the API shows nothing newer than the acceptance yet.
    Unseen,
    /// It waits for its turn.
    Pending,
    /// Containers are being replaced.
    InProgress,
    /// Everything runs.
    Completed,
    /// It did not work.
    Failed,
    /// It did not end in time.
    TimedOut,
    /// A newer update was accepted before it ended.
    Superseded,
    /// Nothing had to be replaced.
    None,
}

impl RolloutState {
    /// Every state, in the order of a rollout.
    pub const ALL: [Self; 8] = [
        Self::Unseen,
        Self::Pending,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::TimedOut,
        Self::Superseded,
        Self::None,
    ];

    /// The word in every output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::Pending => "pending",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Superseded => "superseded",
            Self::None => "none",
        }
    }

    /// From the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Unseen | Self::Pending | Self::InProgress)
    }

    /// Whether it ended, and what was sent does not run.
    #[must_use]
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// Whether what was sent runs, or nothing had to be replaced for it.
    #[must_use]
    pub fn is_deployed(self) -> bool {
        matches!(self, Self::Completed | Self::None)
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for RolloutState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What shows that a status speaks of this rollout and of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The deployment's id.
    DeploymentId,
    /// The server's clock: the status was reached after the update was accepted.
    Time,
    /// Nothing yet; or the API gave no times, and the status was seen to move on.
    None,
}

impl Evidence {
    /// The word in every output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeploymentId => "deployment-id",
            Self::Time => "time",
            Self::None => "none",
        }
    }

    /// From the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::DeploymentId, Self::Time, Self::None].into_iter().find(|evidence| evidence.as_str() == word)
    }
}

/// The rollout of an accepted update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How far it is.
    pub state: RolloutState,
    /// Since when, by the clock of this machine.
    pub since: Timestamp,
    /// The deployment's id, where it was asked for.
    pub deployment_id: Option<String>,
    /// What shows it.
    pub evidence: Evidence,
    /// Why it failed, or why nothing is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The digest of the update.
    #[serde(skip)]
    pub digest: Digest,
    /// When the update was accepted, by the clock of this machine.
    #[serde(skip)]
    pub accepted_at: Timestamp,
    /// The same by the server's clock, where its answer said so.
    #[serde(skip)]
    pub server_at: Option<Timestamp>,
}

impl Rollout {
    /// That of an update that was accepted now.
    #[must_use]
    pub fn accepted(digest: Digest, now: Timestamp, server_at: Option<Timestamp>) -> Self {
        Self {
            state: RolloutState::Unseen,
            since: now,
            deployment_id: None,
            evidence: Evidence::None,
            reason: None,
            digest,
            accepted_at: now,
            server_at,
        }
    }

    /// From the acceptance to its end, or to its present state.
    #[must_use]
    pub fn took(&self) -> SignedDuration {
        self.since.duration_since(self.accepted_at).max(SignedDuration::ZERO)
    }

    /// How it stands, in a few words: `deployed in 41 s`.
    #[must_use]
    pub fn words(&self) -> String {
        let reason = |words: &str| match &self.reason {
            Some(reason) => format!("{words}: {reason}"),
            None => words.to_owned(),
        };
        match self.state {
            RolloutState::Unseen => reason("no rollout seen yet"),
            RolloutState::Pending => reason("waiting to roll out"),
            RolloutState::InProgress => reason("rolling out"),
            RolloutState::Completed => format!("deployed in {}", short::took(self.took())),
            RolloutState::Failed if self.reason.is_some() => reason("failed"),
            RolloutState::Failed => format!("failed after {}", short::took(self.took())),
            RolloutState::TimedOut => reason(&format!("not deployed after {}", short::took(self.took()))),
            RolloutState::Superseded => "superseded by a newer update".to_owned(),
            RolloutState::None => "nothing had to be replaced".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_word_of_its_own_and_is_open_or_ended() {
        for state in RolloutState::ALL {
            assert_eq!(RolloutState::from_word(state.as_str()), Some(state));
            assert!(!state.is_open() || !(state.has_failed() || state.is_deployed()), "{state}");
        }
    }

    #[test]
    fn the_json_holds_what_people_ask_for_and_no_more() {
        let now = Timestamp::from_second(1_000_000).expect("is a time");
        let rollout = Rollout::accepted(Digest::from_bytes([1; 32]), now, Some(now));
        assert_eq!(
            serde_json::to_value(&rollout).expect("is JSON"),
            serde_json::json!({"state": "unseen", "since": now, "deploymentId": null, "evidence": "none"})
        );
    }
}
