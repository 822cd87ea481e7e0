//! The fuse: a plan that would change too much waits for a person, and so does each change of a service that wants that.
//!
//! What was let out once, by its number or by an approval, stays let out until its content is another. An approval lets
//! out just the content of the plan that it names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{Plan, PlannedChange};
use crate::model::{Answer, Decision, Digest, HeldBy, HoldKind, PlanId, ServiceKey};

/// How many known services one plan may change without an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxChanges {
    /// So many.
    Count(usize),
    /// So many of a hundred.
    Percent(u8),
}

/// A text that is not a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a number, a percentage such as 30%, or off")]
pub struct InvalidMaxChanges;

impl MaxChanges {
    fn is_exceeded(self, changed: usize, of: usize) -> bool {
        match self {
            Self::Count(most) => changed > most,
            Self::Percent(most) => changed * 100 > usize::from(most) * of,
        }
    }

    /// From what is typed; nothing for `off`.
    ///
    /// # Errors
    /// It is something else than a number, a percentage or `off`.
    pub fn parse(text: &str) -> Result<Option<Self>, InvalidMaxChanges> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| is_number(text).then(|| u32::from_str(text).ok()).flatten();
        match text.strip_suffix('%') {
            None if text == "off" => Ok(None),
            None => number(text).map(|most| Some(Self::Count(most as usize))).ok_or(InvalidMaxChanges),
            Some(percent) => {
                let most = number(percent).and_then(|most| u8::try_from(most).ok()).filter(|most| *most <= 100);
                most.map(|most| Some(Self::Percent(most))).ok_or(InvalidMaxChanges)
            }
        }
    }
}

impl fmt::Display for MaxChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(most) => write!(f, "{most}"),
            Self::Percent(most) => write!(f, "{most}%"),
        }
    }
}

impl Serialize for MaxChanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What decides whether content may be sent.
#[derive(Clone, Debug, Default)]
pub struct Fuse {
    limit: Option<MaxChanges>,
    /// What people decided, oldest first.
    decisions: Vec<Decision>,
    /// Content that was let out.
    let_out: HashMap<ServiceKey, Digest>,
    /// Content that was denied, and by whose word: it stays so in whatever plan it comes again.
    denied: HashMap<ServiceKey, (PlannedChange, Decision)>,
    /// The plan as it was before parts of it were carried out.
    planned: Plan,
}

/// What a plan is ruled on.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// What would change now.
    pub outstanding: &'a Plan,
    /// How many services have been deployed before and are desired, whether or not they would change.
    pub known: usize,
    /// Whether a service was deployed before.
    pub is_known: &'a dyn Fn(&ServiceKey) -> bool,
    /// Whether each change of a service wants an approval.
    pub wants_approval: &'a dyn Fn(&ServiceKey) -> bool,
}

/// How a plan stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanState {
    /// It needs no approval.
    #[default]
    Within,
    /// All of it was approved.
    Approved,
    /// Some of it waits for an approval.
    Held,
    /// Somebody said no to it.
    Denied,
}

/// What was ruled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// How the plan stands.
    pub state: PlanState,
    /// The services whose content is held.
    pub held: BTreeMap<ServiceKey, HeldBy>,
    /// Content that was let out by this.
    pub let_out: Vec<(ServiceKey, Digest)>,
}

impl Fuse {
    /// A fuse that lets so much through.
    #[must_use]
    pub fn new(limit: Option<MaxChanges>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// How much it lets through.
    #[must_use]
    pub fn limit(&self) -> Option<MaxChanges> {
        self.limit
    }

    /// Whether it may hold something where no service wants an approval.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.limit.is_some() || !self.decisions.is_empty()
    }

    /// What people decided, oldest first.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Takes what people decided, oldest first.
    pub fn decide(&mut self, decisions: Vec<Decision>) {
        self.decisions = decisions;
    }

    /// Takes what an earlier process let out.
    pub fn recall(&mut self, let_out: impl IntoIterator<Item = (ServiceKey, Digest)>) {
        self.let_out.extend(let_out);
    }

    /// Whether this content was let out.
    #[must_use]
    pub fn lets_out(&self, service: &ServiceKey, content: Digest) -> bool {
        self.let_out.get(service) == Some(&content)
    }

    /// Decides what may be sent.
    pub fn rule(&mut self, case: Case<'_>, now: Timestamp) -> Ruling {
        let Case { outstanding, .. } = case;
        let before = self.let_out.clone();
        // A plan that is carried out in part is still the one that somebody saw.
        if !outstanding.is_part_of(&self.planned) {
            self.planned = outstanding.clone();
        }
        let denied = self.apply_decisions(case, now);
        let waiting: Vec<&PlannedChange> =
            outstanding.changes().iter().filter(|change| !self.lets_out(&change.service, change.to)).collect();
        let changed = waiting.iter().filter(|change| (case.is_known)(&change.service)).count();
        let exceeded = self.limit.is_some_and(|limit| limit.is_exceeded(changed, case.known));
        let whole = exceeded.then(|| self.held_as_a_whole(changed, case.known)).flatten();

        let mut ruling = Ruling { state: self.state(&before, outstanding), ..Ruling::default() };
        for change in waiting {
            let held = match (denied.get(&change.service), &whole) {
                (Some(denial), _) => Some(denial.clone()),
                (None, Some(whole)) => Some(whole.clone()),
                (None, None) if (case.wants_approval)(&change.service) => Some(held_alone(change)),
                (None, None) => None,
            };
            match held {
                Some(held) => drop(ruling.held.insert(change.service.clone(), held)),
                None => drop(self.let_out.insert(change.service.clone(), change.to)),
            }
        }
        if !ruling.held.is_empty() {
            ruling.state = if denied.is_empty() { PlanState::Held } else { PlanState::Denied };
        }
        let is_new = |change: &&PlannedChange| {
            self.lets_out(&change.service, change.to) && before.get(&change.service) != Some(&change.to)
        };
        let let_out = outstanding.changes().iter().filter(is_new);
        ruling.let_out = let_out.map(|change| (change.service.clone(), change.to)).collect();
        ruling
    }

    /// Lets out what was approved, and holds back what was denied; the newest word counts. Gives what is denied.
    fn apply_decisions(&mut self, case: Case<'_>, now: Timestamp) -> HashMap<ServiceKey, HeldBy> {
        if self.decisions.is_empty() && self.denied.is_empty() {
            return HashMap::new();
        }
        let outstanding = case.outstanding;
        let alone = outstanding.changes().iter().filter(|change| (case.wants_approval)(&change.service));
        let alone = alone.map(|change| Plan::single(change.clone()));
        let plans: Vec<(PlanId, Plan)> = [self.planned.clone(), outstanding.clone()]
            .into_iter()
            .chain(alone)
            .filter_map(|plan| Some((plan.id()?, plan)))
            .collect();
        let present: HashSet<&PlannedChange> = outstanding.changes().iter().collect();
        let counts = |decision: &Decision| decision.until.is_none_or(|until| now < until);
        self.denied.retain(|_, (change, decision)| present.contains(change) && counts(decision));
        for (place, decision) in self.decisions.iter().enumerate().filter(|(_, decision)| counts(decision)) {
            // A denial of a plan that is no more may be newer than this word.
            let is_newer = |denial: &Decision| self.decisions[place..].iter().any(|later| later == denial);
            for (_, plan) in plans.iter().filter(|(id, _)| decision.plan.names(*id)) {
                for change in plan.changes().iter().filter(|change| present.contains(change)) {
                    let service = change.service.clone();
                    match decision.answer {
                        Answer::Approve if self.denied.get(&service).is_some_and(|(_, denial)| is_newer(denial)) => {}
                        Answer::Approve => {
                            self.denied.remove(&service);
                            self.let_out.insert(service, change.to);
                        }
                        Answer::Deny => {
                            self.let_out.remove(&service);
                            self.denied.insert(service, (change.clone(), decision.clone()));
                        }
                    }
                }
            }
        }
        self.denied.iter().map(|(service, (_, decision))| (service.clone(), denial(decision))).collect()
    }

    fn state(&self, before: &HashMap<ServiceKey, Digest>, outstanding: &Plan) -> PlanState {
        let is_approved = |change: &PlannedChange| {
            self.lets_out(&change.service, change.to) && before.get(&change.service) != Some(&change.to)
        };
        let changes = outstanding.changes();
        if !changes.is_empty() && changes.iter().all(is_approved) { PlanState::Approved } else { PlanState::Within }
    }

    fn held_as_a_whole(&self, changed: usize, of: usize) -> Option<HeldBy> {
        let id = self.planned.id()?;
        let what = format!("{changed} of {of} services would change · truenorth approve {id}");
        Some(HeldBy { kind: HoldKind::Plan, what: what.into(), until: None })
    }
}

fn held_alone(change: &PlannedChange) -> HeldBy {
    let id = Plan::single(change.clone()).id().map(|id| id.to_string()).unwrap_or_default();
    let what = format!("each change of this service needs an approval · truenorth approve {id}");
    HeldBy { kind: HoldKind::Approval, what: what.into(), until: None }
}

fn denial(Decision { plan, by, reason, .. }: &Decision) -> HeldBy {
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let what: Arc<str> = format!("denied{by}{reason} · to allow it: truenorth approve {plan:.12}").into();
    HeldBy { kind: HoldKind::Plan, what, until: None }
}

#[cfg(test)]
mod tests;
