//! What people asked for or decided, and nobody has taken up: it is there for whoever has the ledger next.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::{Asked, Decided, Observed};
use crate::ledger::{Holder, ReadError, Reader, RequestKind};
use crate::model::{About, Answer, Digest, ServiceKey};
use crate::text::short;

/// What waits to be taken up.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Untaken {
    /// What people asked for, oldest first.
    pub(crate) requests: Vec<Asked>,
    /// What they decided about plans, oldest first.
    pub(crate) decisions: Vec<Decided>,
    /// The content that each decision is about.
    #[serde(skip)]
    content: Vec<BTreeSet<(ServiceKey, Digest)>>,
}

impl Untaken {
    /// `decided_at`: when states were decided last. Whoever runs takes up decisions at once.
    pub(super) fn read(
        ledger: &Reader,
        holder: Option<Holder>,
        decided_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let mut untaken =
            Self { requests: ledger.open_requests()?.into_iter().map(Asked::from).collect(), ..Self::default() };
        if holder.is_some() {
            return Ok(untaken);
        }
        let counts = |until: Option<Timestamp>| until.is_none_or(|until| until > now);
        for decision in ledger.decisions_since(decided_at.unwrap_or(Timestamp::MIN))? {
            if let (About::Plan { content, .. }, true) = (&decision.about, counts(decision.until)) {
                untaken.content.push(content.clone());
                untaken.decisions.push(decision.into());
            }
        }
        Ok(untaken)
    }

    /// Leaves out decisions about nothing that is due.
    pub(super) fn of_what_is_due(mut self, observed: Observed<'_>) -> Self {
        let is_due = |(key, content): &(ServiceKey, Digest)| {
            let desired = observed.snapshot.desired.get(key).map(|desired| desired.digest);
            desired == Some(*content) && observed.steps.get(key).is_some_and(|step| step.cause().is_some())
        };
        let mut keeps = self.content.iter().map(|content| content.iter().any(is_due));
        self.decisions.retain(|_| keeps.next().unwrap_or_default());
        self.content.retain(|content| content.iter().any(is_due));
        self
    }

    /// What of it is about a service.
    pub(super) fn of(&self, key: &ServiceKey, desired: Option<Digest>) -> Self {
        let is_of_it = |asked: &&Asked| asked.service.as_ref().is_none_or(|service| service == key);
        let is_about = |content: &BTreeSet<(ServiceKey, Digest)>| {
            desired.is_some_and(|desired| content.contains(&(key.clone(), desired)))
        };
        let decided = self.decisions.iter().zip(&self.content).filter(|(_, content)| is_about(content));
        let (decisions, content) = decided.map(|(decided, content)| (decided.clone(), content.clone())).unzip();
        Self { requests: self.requests.iter().filter(is_of_it).cloned().collect(), decisions, content }
    }

    /// Whether it may let go what was held when that was decided.
    pub(super) fn may_let_go(&self, key: &ServiceKey, desired: Option<Digest>) -> bool {
        let of = self.of(key, desired);
        let lets_go =
            |asked: &Asked| matches!(asked.kind, RequestKind::Thaw | RequestKind::Release | RequestKind::Rollback);
        of.requests.iter().any(lets_go) || of.decisions.iter().any(|decided| decided.answer == Answer::Approve)
    }

    /// A sentence for each; `holder` is who takes it up.
    pub(crate) fn sentences(&self, holder: Option<Holder>) -> Vec<String> {
        let waits = match holder {
            Some(_) => "the running truenorth takes it up",
            None => "waits for the next pass",
        };
        let reason = |reason: Option<&str>| reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let asked = self.requests.iter().map(|asked| {
            let of = asked.service.as_ref().map_or_else(|| "all services".to_owned(), ToString::to_string);
            let (kind, by, at) = (asked.kind.as_str(), &asked.by, short::time(asked.at));
            format!("{kind} of {of} requested by {by} at {at}, {waits}{}", reason(asked.reason.as_deref()))
        });
        let decided = self.decisions.iter().map(|decided| {
            let plan = decided.plan.as_ref().map(|plan| format!("{plan:.12}")).unwrap_or_default();
            let by = decided.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let (word, at) = (done(decided.answer), short::time(decided.at));
            format!("plan {plan} {word}{by} at {at}, {waits}{}", reason(decided.reason.as_deref()))
        });
        asked.chain(decided).collect()
    }
}

fn done(answer: Answer) -> &'static str {
    match answer {
        Answer::Approve => "approved",
        Answer::Deny => "denied",
    }
}
