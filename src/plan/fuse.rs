//! The fuse: a plan that would change too much waits for a person, and so does each change of a service that wants that.
//!
//! What was let out once, by its number or by an approval, stays let out until its content is another. An approval lets
//! out just the content of the plan that it names. What was denied stays denied in whatever plan it comes again, until it
//! is approved. A denial that is damaged may be about anything, so it holds everything.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{Plan, PlannedChange};
use crate::model::{About, Answer, Decision, DecisionId, Digest, HeldBy, HoldKind, PlanId, ServiceKey};

/// How many known services one plan may change without an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxChanges {
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
    let_out: HashMap<ServiceKey, LetOut>,
    /// The plan as it was before parts of it were carried out.
    planned: Plan,
}

/// Content that was let out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetOut {
    pub content: Digest,
    /// By which approval; nothing where the limit was enough. A later decision may hold it again.
    pub by: Option<DecisionId>,
}

/// Content of a denied plan, and the decision that denied it.
pub type Denied = (DecisionId, ServiceKey, Digest);

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
    pub let_out: Vec<(ServiceKey, LetOut)>,
    /// Content that is denied, as was found out by this.
    pub denied: Vec<Denied>,
}

impl Fuse {
    /// A fuse that lets so much through.
    #[must_use]
    pub fn new(limit: Option<MaxChanges>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// How much it lets through.
    pub fn limit(&self) -> Option<MaxChanges> {
        self.limit
    }

    /// Whether it may hold something where no service wants an approval.
    pub fn is_set(&self) -> bool {
        self.limit.is_some() || !self.decisions.is_empty()
    }

    /// What people decided, oldest first.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Takes what people decided, oldest first. What was found out of a denial is not forgotten.
    pub fn decide(&mut self, mut decisions: Vec<Decision>) {
        for Decision { id, about, .. } in &mut decisions {
            let before = self.decisions.iter().find(|before| before.id == *id).map(|before| &before.about);
            if let (About::Plan { content, .. }, Some(About::Plan { content: before, .. })) = (about, before) {
                content.extend(before.iter().cloned());
            }
        }
        self.decisions = decisions;
    }

    /// Takes what an earlier process let out.
    pub fn recall(&mut self, let_out: impl IntoIterator<Item = (ServiceKey, LetOut)>) {
        self.let_out.extend(let_out);
    }

    /// Takes what was accepted: it may be sent again.
    pub fn accept(&mut self, accepted: impl IntoIterator<Item = (ServiceKey, Digest)>) {
        for (service, content) in accepted {
            if !self.lets_out(&service, content) {
                self.let_out.insert(service, LetOut { content, by: None });
            }
        }
    }

    /// Whether this content was let out.
    pub fn lets_out(&self, service: &ServiceKey, content: Digest) -> bool {
        self.let_out.get(service).is_some_and(|let_out| let_out.content == content)
    }

    /// What is planned, as people are shown it.
    pub fn planned(&self) -> &Plan {
        &self.planned
    }

    /// Decides what may be sent.
    pub fn rule(&mut self, case: Case<'_>, now: Timestamp) -> Ruling {
        let Case { outstanding, .. } = case;
        let before = self.let_out.clone();
        // A plan that is carried out in part is still the one that somebody saw.
        if !outstanding.is_part_of(&self.planned) {
            self.planned = outstanding.clone();
        }
        let mut ruling = Ruling::default();
        let denials = self.apply_decisions(case, now, &mut ruling.denied);
        let waiting: Vec<&PlannedChange> =
            outstanding.changes().iter().filter(|change| !self.lets_out(&change.service, change.to)).collect();
        let changed = waiting.iter().filter(|change| (case.is_known)(&change.service)).count();
        let exceeded = self.limit.is_some_and(|limit| limit.is_exceeded(changed, case.known));
        let whole = exceeded.then(|| self.held_as_a_whole(changed, case.known)).flatten();

        ruling.state = self.state(outstanding);
        for change in waiting {
            let held = match (denials.get(&change.service), &whole) {
                (Some(decision), _) => Some(self.denial(&self.decisions[*decision], change, outstanding)),
                (None, Some(whole)) => Some(whole.clone()),
                (None, None) if (case.wants_approval)(&change.service) => Some(held_alone(change)),
                (None, None) => None,
            };
            match held {
                Some(held) => drop(ruling.held.insert(change.service.clone(), held)),
                None => drop(self.let_out.insert(change.service.clone(), LetOut { content: change.to, by: None })),
            }
        }
        if !ruling.held.is_empty() {
            ruling.state = if denials.is_empty() { PlanState::Held } else { PlanState::Denied };
        }
        let let_out = outstanding.changes().iter().filter_map(|PlannedChange { service, to, .. }| {
            let let_out = self.let_out.get(service).filter(|let_out| let_out.content == *to)?;
            (before.get(service) != Some(let_out)).then(|| (service.clone(), *let_out))
        });
        ruling.let_out = let_out.collect();
        ruling
    }

    /// Lets out what was approved, and holds back what was denied: of two decisions about the same content the later one
    /// counts. Gives for each service whose content is denied the place of the decision that says so.
    fn apply_decisions(
        &mut self,
        case: Case<'_>,
        now: Timestamp,
        found: &mut Vec<Denied>,
    ) -> HashMap<ServiceKey, usize> {
        let mut denials = HashMap::new();
        if self.decisions.is_empty() {
            return denials;
        }
        let outstanding = case.outstanding;
        let plans = self.decidable(case);
        let present: HashSet<&PlannedChange> = outstanding.changes().iter().collect();
        for (place, decision) in self.decisions.iter_mut().enumerate().filter(|(_, decision)| decision.counts_at(now)) {
            let id = decision.id;
            match (decision.answer, &mut decision.about) {
                (Answer::Approve, About::Unknown) => {}
                // Only the whole id says which plan somebody saw.
                (Answer::Approve, About::Plan { name, .. }) => {
                    let Some(plan) = name.whole().and_then(|id| plans.get(&id)) else { continue };
                    for PlannedChange { service, to, .. } in plan.changes().iter().filter(|it| present.contains(it)) {
                        denials.remove(service);
                        let by = self.let_out.get(service).filter(|it| it.content == *to).and_then(|it| it.by);
                        self.let_out.insert(service.clone(), LetOut { content: *to, by: by.max(Some(id)) });
                    }
                }
                (Answer::Deny, about) => {
                    if let About::Plan { name, content } = about {
                        let named =
                            plans.iter().filter(|(id, _)| name.begins(**id)).flat_map(|(_, plan)| plan.changes());
                        for PlannedChange { service, to, .. } in named {
                            if content.insert((service.clone(), *to)) {
                                found.push((id, service.clone(), *to));
                            }
                        }
                    }
                    let is_meant = |service: &ServiceKey, to: Digest| match &*about {
                        About::Plan { content, .. } => !content.is_empty() && content.contains(&(service.clone(), to)),
                        About::Unknown => true,
                    };
                    // Also what does not wait just now, a suspended service say, may not go later on.
                    self.let_out.retain(|service, it| it.by >= Some(id) || !is_meant(service, it.content));
                    for PlannedChange { service, to, .. } in outstanding.changes() {
                        let let_out = self.let_out.get(service).is_some_and(|it| it.content == *to);
                        if !let_out && is_meant(service, *to) {
                            denials.insert(service.clone(), place);
                        }
                    }
                }
            }
        }
        denials
    }

    /// The plans that somebody may have decided about: what is planned, what is left of it, and single changes where those
    /// are held alone.
    fn decidable(&self, case: Case<'_>) -> HashMap<PlanId, Plan> {
        let denied: HashSet<&(ServiceKey, Digest)> =
            self.decisions.iter().filter(|decision| decision.answer == Answer::Deny).flat_map(content).collect();
        let is_alone = |change: &&PlannedChange| {
            (case.wants_approval)(&change.service)
                || !denied.is_empty() && denied.contains(&(change.service.clone(), change.to))
        };
        let alone = case.outstanding.changes().iter().filter(is_alone).map(|change| Plan::single(change.clone()));
        let plans = [self.planned.clone(), case.outstanding.clone()].into_iter().chain(alone);
        plans.filter_map(|plan| Some((plan.id()?, plan))).collect()
    }

    fn state(&self, outstanding: &Plan) -> PlanState {
        let is_approved = |change: &PlannedChange| {
            self.let_out.get(&change.service).is_some_and(|it| it.content == change.to && it.by.is_some())
        };
        let changes = outstanding.changes();
        if !changes.is_empty() && changes.iter().all(is_approved) { PlanState::Approved } else { PlanState::Within }
    }

    fn held_as_a_whole(&self, changed: usize, of: usize) -> Option<HeldBy> {
        let id = self.planned.id()?;
        let more = self.limit.as_ref().map(|limit| format!(", more than --max-changes {limit}")).unwrap_or_default();
        let what = format!("{changed} of {of} services would change{more}: `truenorth approve {id}` lets them go");
        Some(HeldBy { kind: HoldKind::Plan, what: what.into(), until: None })
    }

    /// What a denial says, with a way past it that lets out what was denied and nothing else.
    fn denial(&self, decision: &Decision, change: &PlannedChange, outstanding: &Plan) -> HeldBy {
        let is_whole = |plan: &&Plan| match &decision.about {
            About::Plan { name, .. } => plan.id().is_some_and(|id| name.begins(id)),
            About::Unknown => true,
        };
        let plan = [&self.planned, outstanding].into_iter().find(is_whole);
        let id = plan.map_or_else(|| Plan::single(change.clone()).id(), Plan::id);
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        let what = match &decision.about {
            About::Plan { .. } => {
                let by = decision.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                let reason = decision.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                format!("denied{by}{reason} · to allow it: truenorth approve {id}")
            }
            About::Unknown => format!(
                "a decision in the ledger is damaged, and may have denied this · to decide again: truenorth approve {id}"
            ),
        };
        HeldBy { kind: HoldKind::Plan, what: what.into(), until: None }
    }
}

/// The content that a decision is known to be about.
fn content(decision: &Decision) -> &BTreeSet<(ServiceKey, Digest)> {
    static NOTHING: BTreeSet<(ServiceKey, Digest)> = BTreeSet::new();
    match &decision.about {
        About::Plan { content, .. } => content,
        About::Unknown => &NOTHING,
    }
}

fn held_alone(change: &PlannedChange) -> HeldBy {
    let id = Plan::single(change.clone()).id().map(|id| id.to_string()).unwrap_or_default();
    let what = format!("each change of this service needs an approval · truenorth approve {id}");
    HeldBy { kind: HoldKind::Approval, what: what.into(), until: None }
}

#[cfg(test)]
mod tests;
