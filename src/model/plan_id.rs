//! The id of a plan: what it would change, whoever planned it and wherever the manifests lay.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Digest;

/// SHA-256 of a plan's content. People see and type its first twelve digits; where two plans could be mistaken for each
/// other, all of it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId(Digest);

impl PlanId {
    /// The id of a plan with this content.
    #[must_use]
    pub fn of_content(content: &[u8]) -> Self {
        Self(Digest::of_bytes(content))
    }

    /// From all of its digits.
    #[must_use]
    pub fn of_digits(digits: &str) -> Option<Self> {
        format!("sha256:{digits}").parse().map(Self).ok()
    }

    /// All of its digits.
    pub fn digits(&self) -> String {
        self.0.to_string().trim_start_matches("sha256:").to_owned()
    }
}

impl fmt::Display for PlanId {
    /// The short form: `7f3a9c21b4de`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crate::text::short::digest(self.0))
    }
}

impl Serialize for PlanId {
    /// The whole of it: `sha256:…`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
