//! What a person decided about a plan.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

use super::{Digest, PlanId, ServiceKey};

use crate::text::words;

/// Which decision: the greater, the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionId(pub i64);

/// A yes or a no to a plan, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub id: DecisionId,
    /// What it is about.
    pub about: About,
    pub answer: Answer,
    pub by: Option<Arc<str>>,
    pub reason: Option<Arc<str>>,
    pub at: Timestamp,
    /// Until when it counts, by the wall clock; without it always. What an approval let out by then stays let out.
    pub until: Option<Timestamp>,
}

impl Decision {
    /// Whether it counts at a time.
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Plan {
        name: PlanName,
        /// The content of a plan that was denied, as far as it is known: it stays denied in every other plan.
        content: BTreeSet<(ServiceKey, Digest)>,
    },
    /// Nobody knows, because the ledger is damaged: it may be about any plan.
    Unknown,
}

words! {
    pub enum Answer {
        /// All of it may be sent.
        Approve = "approve",
        /// Nothing of it may be sent.
        Deny = "deny",
    }
}

/// A plan as people name it: at least the first twelve digits of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanName(Box<str>);

/// A text that does not name a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not the id of a plan: 12 to 64 digits, 0 to 9 and a to f, as `truenorth plan` prints it")]
pub struct InvalidPlanName;

impl PlanName {
    /// Fewer digits could be those of two plans.
    const LEAST: usize = 12;

    /// Whether the id begins like this. Two plans whose ids do can be made on purpose.
    pub fn begins(&self, id: PlanId) -> bool {
        id.digits().starts_with(&*self.0)
    }

    /// The plan, where all of its digits are here.
    pub fn whole(&self) -> Option<PlanId> {
        PlanId::of_digits(&self.0)
    }
}

impl From<PlanId> for PlanName {
    fn from(id: PlanId) -> Self {
        Self(id.digits().into())
    }
}

impl FromStr for PlanName {
    type Err = InvalidPlanName;

    fn from_str(text: &str) -> Result<Self, InvalidPlanName> {
        let digits = ["plan:", "sha256:"].iter().find_map(|before| text.strip_prefix(before)).unwrap_or(text);
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = (Self::LEAST..=64).contains(&digits.len()) && digits.bytes().all(is_digit);
        fits.then(|| Self(digits.into())).ok_or(InvalidPlanName)
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for PlanName {
    /// As reports have ids: `sha256:…`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("sha256:{}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_named_by_the_start_of_its_id_and_no_less() {
        let (id, other) = (PlanId::of_content(b"a"), PlanId::of_content(b"b"));
        let whole = id.digits();
        for name in [&whole[..12], &whole[..20], &whole, &format!("plan:{id}"), &format!("sha256:{whole}")] {
            let name: PlanName = name.parse().expect("names a plan");
            assert!(name.begins(id) && !name.begins(other), "{name}");
        }
        for text in ["", &whole[..11], &whole[..12].to_uppercase(), &format!("{whole}0"), "plan:", "zzzzzzzzzzzzzz"] {
            assert_eq!(text.parse::<PlanName>(), Err(InvalidPlanName), "{text}");
        }
    }

    #[test]
    fn only_all_digits_are_a_plan() {
        let id = PlanId::of_content(b"a");
        assert_eq!(PlanName::from(id).whole(), Some(id));
        assert_eq!(id.digits()[..63].parse::<PlanName>().expect("names a plan").whole(), None);
    }
}
