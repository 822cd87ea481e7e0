//! Applied: what the ledger knows of a service's last update.

use super::Digest;

use crate::text::words;

/// The last update that the API accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub digest: Digest,
    /// Whether older content may have come after it: a request that was given up before can still take effect, or could
    /// have meanwhile. Then a read decides what the service has.
    pub unverified: bool,
}

impl Applied {
    /// Content that nothing speaks against.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self { digest, unverified: false }
    }
}

/// What is known of a service's last update. A service of which nothing was ever sent has no entry at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The API accepted this one last, and nothing was sent since.
    Applied(Applied),
    /// The API accepted this one, and perhaps newer ones since: the ledger is a copy, an older one, or damaged here. It
    /// is good enough to leave a service alone that is to have just this, and not to send something else without
    /// reading first.
    Suspect(Applied),
    /// A call began and its end is not known: a crash, a timeout, a broken connection. Whatever was accepted before it
    /// may or may not be what the service has now, so no digest can be compared.
    InDoubt,
}

impl Known {
    /// The same from a ledger that may be an older one.
    pub fn suspected(self) -> Self {
        match self {
            Self::Applied(applied) | Self::Suspect(applied) => Self::Suspect(applied),
            Self::InDoubt => Self::InDoubt,
        }
    }

    /// The digest that the service has, as far as is known.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Applied(applied) | Self::Suspect(applied) => Some(applied.digest),
            Self::InDoubt => None,
        }
    }

    /// Whether something older may have come after what was accepted last.
    pub fn is_unverified(&self) -> bool {
        matches!(self, Self::Applied(Applied { unverified: true, .. }))
    }
}

words! {
    /// Why an update is sent.
    #[derive(Hash)]
    pub enum Cause {
        /// Nothing was ever accepted for this service.
        New = "new",
        /// The manifest asks for something else than what was accepted last.
        Changed = "changed",
        /// An earlier call's end is not known.
        InDoubt = "in-doubt",
        /// What runs is not what was accepted last: somebody changed it by hand.
        Drifted = "drifted",
        /// A part of what was accepted last is not in effect: that part is sent alone.
        NotInEffect = "not-in-effect",
        /// Its rollout failed, and a person let it out of quarantine.
        Released = "released",
        /// The rollout of what the manifest says failed: what ran before is sent in its place.
        Rollback = "rollback",
    }
}
