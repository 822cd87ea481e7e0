//! The state of a service: one word for what it is doing, decided by the engine, and read by everybody else.

use std::fmt;

use serde::Serialize;

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceState {
    /// The API refused its update; it waits for new content, or a slow retry.
    Stalled,
    /// It has what its manifest says, and that does not run: its rollout failed.
    RolloutFailed,
    /// It has what ran before, on purpose: the rollout of what its manifest says failed.
    RolledBack,
    /// The API refuses the token.
    Denied,
    /// Its manifest cannot be used.
    Invalid,
    /// A part of what the API accepted is not in effect.
    NotInEffect,
    /// Its drift came back after each correction.
    Flapping,
    /// It runs something else than what was applied.
    Drifted,
    /// The ledger cannot be written, so nothing is sent.
    LedgerUnwritable,
    /// The API cannot be reached.
    Unreachable,
    /// It waits for the rate limit.
    RateLimited,
    /// Its call failed for a reason that passes; it is tried again.
    BackingOff,
    /// A request of it is lost, and may still take effect.
    InDoubt,
    /// A call for it is being made.
    InFlight,
    /// A call for it is due.
    Queued,
    /// It is due, and kept back on purpose.
    Held,
    /// No manifest names it any more.
    Orphaned,
    /// Its manifest says to leave it alone.
    Suspended,
    /// It has what its manifest says.
    Unchanged,
}

impl ServiceState {
    /// Every state, what needs a look first before what needs none.
    pub const ALL: [Self; 19] = [
        Self::Stalled,
        Self::RolloutFailed,
        Self::RolledBack,
        Self::Denied,
        Self::Invalid,
        Self::NotInEffect,
        Self::Flapping,
        Self::Drifted,
        Self::LedgerUnwritable,
        Self::Unreachable,
        Self::RateLimited,
        Self::BackingOff,
        Self::InDoubt,
        Self::InFlight,
        Self::Queued,
        Self::Held,
        Self::Orphaned,
        Self::Suspended,
        Self::Unchanged,
    ];

    /// The word in every output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::RolloutFailed => "rollout-failed",
            Self::RolledBack => "rolled-back",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::NotInEffect => "not-in-effect",
            Self::Flapping => "flapping",
            Self::Drifted => "drifted",
            Self::LedgerUnwritable => "ledger-unwritable",
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate-limited",
            Self::BackingOff => "backing-off",
            Self::InDoubt => "in-doubt",
            Self::InFlight => "in-flight",
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Orphaned => "orphaned",
            Self::Suspended => "suspended",
            Self::Unchanged => "unchanged",
        }
    }

    /// From the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Its place in a list: what needs a look has a lower one.
    #[must_use]
    pub fn rank(self) -> usize {
        self as usize
    }

    /// Whether the service has what its manifest says, or is left alone on purpose.
    #[must_use]
    pub fn is_converged(self) -> bool {
        matches!(self, Self::Unchanged | Self::Suspended | Self::Orphaned)
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ServiceState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_word_and_a_rank_of_its_own() {
        for (rank, state) in ServiceState::ALL.into_iter().enumerate() {
            assert_eq!((ServiceState::from_word(state.as_str()), state.rank()), (Some(state), rank));
        }
        assert_eq!(ServiceState::from_word("fine"), None);
    }
}
