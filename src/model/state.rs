//! The state of a service: one word for what it is doing, decided by the engine, and read by everybody else.

use crate::text::words;

words! {
    /// What a service is doing: what needs a look before what needs none.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum ServiceState {
        /// The API refused its update; it waits for new content, or a slow retry.
        Stalled = "stalled",
        /// It has what its manifest says, and that does not run: its rollout failed.
        RolloutFailed = "rollout-failed",
        /// It has what ran before, on purpose: the rollout of what its manifest says failed.
        RolledBack = "rolled-back",
        /// The API refuses the token.
        Denied = "denied",
        /// Its manifest cannot be used.
        Invalid = "invalid",
        /// A part of what the API accepted is not in effect.
        NotInEffect = "not-in-effect",
        /// Its drift came back after each correction.
        Flapping = "flapping",
        /// It runs something else than what was applied.
        Drifted = "drifted",
        /// The ledger cannot be written, so nothing is sent.
        LedgerUnwritable = "ledger-unwritable",
        /// The API cannot be reached.
        Unreachable = "unreachable",
        /// It waits for the rate limit.
        RateLimited = "rate-limited",
        /// Its call failed for a reason that passes; it is tried again.
        BackingOff = "backing-off",
        /// A request of it is lost, and may still take effect.
        InDoubt = "in-doubt",
        /// A call for it is being made.
        InFlight = "in-flight",
        /// A call for it is due.
        Queued = "queued",
        /// It is due, and kept back on purpose.
        Held = "held",
        /// No manifest names it any more.
        Orphaned = "orphaned",
        /// Its manifest says to leave it alone.
        Suspended = "suspended",
        /// It has what its manifest says.
        Unchanged = "unchanged",
    }
}

impl ServiceState {
    /// Its place in a list: what needs a look has a lower one.
    pub fn rank(self) -> usize {
        self as usize
    }

    /// Whether the service has what its manifest says, or is left alone on purpose.
    pub fn is_converged(self) -> bool {
        matches!(self, Self::Unchanged | Self::Suspended | Self::Orphaned)
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
