//! What the fuse holds, and what it let out.

use jiff::Timestamp;

use super::service::Service;
use super::{Engine, Event};
use crate::model::{Decision, HeldBy, HoldKind, PlanId, ServiceKey};
use crate::plan::{Case, Denied, Fuse, LetOut, Plan, PlannedChange, Ruling};

/// The fuse, and how things stand with it.
#[derive(Debug, Default)]
pub(super) struct Holds {
    fuse: Fuse,
    /// Known services that this engine has nothing to do with.
    elsewhere: usize,
    /// Whether content has to be let out before it is sent.
    pub(super) active: bool,
    ruling: Ruling,
    /// What was found out and not written down yet.
    findings: Findings,
    /// The plan that was held last, by its id.
    held: Option<PlanId>,
    /// What was told of the plan.
    told: Option<HeldBy>,
}

/// What rulings found out that has to outlive the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Content that was let out.
    pub let_out: Vec<(ServiceKey, LetOut)>,
    /// Content of plans that were denied.
    pub denied: Vec<Denied>,
    /// The plan that is held now, as people are shown it; nothing where that is the one of the last time.
    pub held: Option<Plan>,
}

impl Holds {
    /// Keeps what the ruling found out.
    fn find(&mut self) {
        let Self { fuse, ruling, findings, held, .. } = self;
        findings.let_out.extend(ruling.let_out.iter().cloned());
        findings.denied.extend(ruling.denied.iter().cloned());
        let planned = fuse.planned().id().filter(|_| !ruling.held.is_empty());
        if *held != planned {
            *held = planned;
            findings.held = planned.map(|_| fuse.planned().clone());
        }
    }
}

impl Findings {
    /// Adds what was found out after it.
    pub fn add(&mut self, later: Self) {
        self.let_out.extend(later.let_out);
        self.denied.extend(later.denied);
        self.held = later.held.or_else(|| self.held.take());
    }

    /// Whether nothing was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Engine {
    /// Puts a fuse in place; before the first [`Engine::observe`]. `elsewhere` is how many services were deployed before
    /// that this engine has nothing to do with.
    pub fn set_fuse(&mut self, fuse: Fuse, elsewhere: usize) {
        self.holds = Holds { fuse, elsewhere, ..Holds::default() };
    }

    /// Takes what people decided about plans, oldest first.
    pub fn decide(&mut self, decisions: Vec<Decision>, now: Timestamp) {
        self.holds.fuse.decide(decisions);
        self.rule_anew(now);
    }

    /// What was ruled last.
    #[must_use]
    pub fn ruling(&self) -> &Ruling {
        &self.holds.ruling
    }

    /// How much one plan may change.
    #[must_use]
    pub fn fuse(&self) -> &Fuse {
        &self.holds.fuse
    }

    /// What was found out since the last time that this was asked.
    pub fn take_findings(&mut self) -> Findings {
        std::mem::take(&mut self.holds.findings)
    }

    /// Rules anew, and brings each service in line with that.
    pub(super) fn rule_anew(&mut self, now: Timestamp) {
        let differing = self.rule(now);
        self.reconsider(differing, now);
    }

    /// Rules on all that would change, and gives the services for which that makes a difference.
    pub(super) fn rule(&mut self, now: Timestamp) -> Vec<ServiceKey> {
        let wants = |service: &Service| service.desired.as_ref().is_some_and(|desired| desired.policy.wants_approval());
        let was_active = self.holds.active;
        self.holds.active = self.holds.fuse.is_set() || self.services.values().any(wants);
        if !was_active && !self.holds.active {
            return Vec::new();
        }
        let context = self.context(now);
        let Self { services, holds, .. } = self;
        // What it has may be sent again, also where that is in doubt one day.
        holds
            .fuse
            .accept(services.iter().filter_map(|(key, service)| Some((key.clone(), service.accepted_content()?))));
        let outstanding = services.iter().filter_map(|(key, service)| {
            let (from, to) = service.content_change(context)?;
            Some(PlannedChange { service: key.clone(), from, to })
        });
        let outstanding = Plan::of_changes(outstanding);
        let deployed = services.values().filter(|service| service.known.is_some() && service.desired.is_some()).count();
        let of = |key: &ServiceKey| services.get(key);
        let case = Case {
            outstanding: &outstanding,
            known: deployed + holds.elsewhere,
            is_known: &|key| of(key).is_some_and(|service| service.known.is_some()),
            wants_approval: &|key| of(key).is_some_and(wants),
        };
        holds.ruling = holds.fuse.rule(case, context.wall);
        holds.find();
        let mut differing = Vec::new();
        for (key, service) in services.iter_mut() {
            let desired = service.desired.as_ref().map(|desired| desired.digest);
            let let_out = desired.filter(|content| holds.fuse.lets_out(key, *content));
            let ruled = holds.ruling.held.get(key).cloned();
            if (&let_out, &ruled) != (&service.let_out, &service.ruled) {
                (service.let_out, service.ruled) = (let_out, ruled);
                differing.push(key.clone());
            }
        }
        let whole = holds.ruling.held.values().find(|held| held.kind == HoldKind::Plan);
        if whole != holds.told.as_ref() {
            holds.told = whole.cloned();
            self.events.extend(holds.told.iter().map(|held| Event::PlanHeld { what: held.what.to_string() }));
        }
        differing
    }
}
