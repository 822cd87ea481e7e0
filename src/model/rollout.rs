//! A rollout: the platform replacing what runs after an accepted update, as far as the API has shown it.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Digest;
use crate::text::{short, words};

words! {
    /// How far a rollout is.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum RolloutState {
        /// Accepted, and the API shows nothing newer than the acceptance yet.
        Unseen = "unseen",
        /// It waits for its turn.
        Pending = "pending",
        /// Containers are being replaced.
        InProgress = "in-progress",
        Completed = "completed",
        /// It did not work.
        Failed = "failed",
        /// It did not end in time.
        TimedOut = "timed-out",
        /// A newer update was accepted before it ended.
        Superseded = "superseded",
        /// Nothing had to be replaced.
        None = "none",
    }
}

impl RolloutState {
    /// Whether it has not ended.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Unseen | Self::Pending | Self::InProgress)
    }

    /// Whether it ended, and what was sent does not run.
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// Whether what was sent runs, or nothing had to be replaced for it.
    pub fn is_deployed(self) -> bool {
        matches!(self, Self::Completed | Self::None)
    }
}

words! {
    /// What shows that a status speaks of this rollout and of no other.
    #[derive(Hash)]
    pub enum Evidence {
        DeploymentId = "deployment-id",
        /// The server's clock: the status was reached after the update was accepted.
        Time = "time",
        /// Nothing yet; or the API gave no times, and the status was seen to move on.
        None = "none",
    }
}

/// Who deployed something else after an update was accepted, as the API's list of deployments says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OvertakenBy {
    /// Their name, where the list has one.
    pub user: Option<String>,
    /// When, by the server's clock.
    pub at: Timestamp,
}

impl OvertakenBy {
    /// The name, or who else it was.
    pub fn who(&self) -> &str {
        self.user.as_deref().unwrap_or("somebody else")
    }
}

/// Somebody else who was seen to change a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stranger {
    /// When that was noticed.
    pub noticed_at: Timestamp,
    /// Who deployed there last, where the API says so.
    #[serde(flatten)]
    pub by: Option<OvertakenBy>,
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
    pub evidence: Evidence,
    /// Who deployed something else after it, where it was asked for.
    #[serde(rename = "supersededBy", skip_serializing_if = "Option::is_none")]
    pub overtaken: Option<OvertakenBy>,
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
            overtaken: None,
            reason: None,
            digest,
            accepted_at: now,
            server_at,
        }
    }

    /// From the acceptance to its end, or to its present state.
    pub fn took(&self) -> SignedDuration {
        self.since.duration_since(self.accepted_at).max(SignedDuration::ZERO)
    }

    /// How it stands, in a few words: `deployed in 41 s`.
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
            RolloutState::Failed => {
                let failed = match self.reason {
                    Some(_) => reason("failed"),
                    None => format!("failed after {}", short::took(self.took())),
                };
                match &self.overtaken {
                    Some(by) => format!("{failed}; {} deployed something else at {}", by.who(), short::time(by.at)),
                    None => failed,
                }
            }
            RolloutState::TimedOut => reason(&format!("not deployed after {}", short::took(self.took()))),
            RolloutState::Superseded => match &self.overtaken {
                Some(by) => format!("superseded: {} deployed something else at {}", by.who(), short::time(by.at)),
                None => "superseded by a newer update".to_owned(),
            },
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
