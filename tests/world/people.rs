//! People, who freeze and thaw, approve and deny, and write windows into the config file; and what must not be sent by
//! what they said. It shares no rule with the fuse and the windows of the product.
//!
//! What they say is durable at once: it is written beside the process, as `truenorth freeze` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use truenorth::engine::Findings;
use truenorth::model::{About, Answer, Decision, DecisionId, ServiceKey};
use truenorth::plan::{
    ChangeWindow, Closures, Freeze, Fuse, LetOut, MaxChanges, Plan, PlannedChange, Rollbacks, ServicePattern,
    WindowEffect, Windows,
};

use crate::content::{Name, Version};

#[derive(Debug, Default)]
pub(crate) struct People {
    limit: Option<MaxChanges>,
    freezes: Vec<(Option<Name>, Timestamp)>,
    times: Vec<Times>,
    said: Vec<Said>,
    /// What the ledger has of content that was let out.
    let_out: BTreeMap<ServiceKey, LetOut>,
    /// The plans that somebody was shown.
    shown: Vec<Plan>,
    /// What left, or was there before its service had anything: it may be sent without a word.
    free: BTreeSet<(Name, Version)>,
}

/// Times in which a service, or all, may be updated, or may not.
#[derive(Clone, Copy, Debug)]
struct Times {
    effect: WindowEffect,
    from: Timestamp,
    to: Timestamp,
    of: Option<Name>,
}

/// A word about a plan.
#[derive(Debug)]
struct Said {
    answer: Answer,
    plan: Plan,
    at: Timestamp,
    until: Option<Timestamp>,
}

impl Said {
    fn is_about(&self, name: Name, version: Version) -> bool {
        self.plan.changes().iter().any(|it| it.service == *name.key() && it.to == name.digest(version))
    }
}

impl People {
    /// People who let so much through.
    pub(crate) fn new(limit: Option<MaxChanges>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Somebody freezes a service, or all.
    pub(crate) fn freeze(&mut self, of: Option<Name>, wall: Timestamp, chance: &mut Rng) {
        self.thaw(of);
        self.freezes.push((of, wall + Duration::from_millis(chance.u64(1..400_000))));
    }

    /// Somebody ends a freeze, or all of them.
    pub(crate) fn thaw(&mut self, of: Option<Name>) {
        self.freezes.retain(|(frozen, _)| of.is_some() && *frozen != of);
    }

    /// Somebody writes other windows into the config file, and sends SIGHUP.
    pub(crate) fn write_windows(&mut self, some: Name, wall: Timestamp, chance: &mut Rng) {
        self.times.clear();
        for _ in 0..chance.u8(0..3) {
            let effect = [WindowEffect::Allow, WindowEffect::Deny][chance.usize(0..2)];
            let from = wall + Duration::from_millis(chance.u64(0..120_000)) - Duration::from_secs(60);
            let to = from + Duration::from_millis(chance.u64(1..300_000));
            self.times.push(Times { effect, from, to, of: chance.bool().then_some(some) });
        }
    }

    /// Somebody says yes or no to a plan that was shown, or to one change of it.
    pub(crate) fn decide(&mut self, answer: Answer, wall: Timestamp, chance: &mut Rng) -> bool {
        let Some(plan) = self.shown.get(chance.usize(0..=self.shown.len())).or(self.shown.last()) else {
            return false;
        };
        let changes = plan.changes();
        let plan = match chance.u8(0..4) {
            0 => Plan::single(changes[chance.usize(0..changes.len())].clone()),
            _ => plan.clone(),
        };
        let ends = answer == Answer::Approve && chance.bool();
        let until = ends.then(|| wall + Duration::from_millis(chance.u64(1..300_000)));
        self.said.push(Said { answer, plan, at: wall, until });
        true
    }

    /// Everybody agrees with a plan; says whether that is news.
    pub(crate) fn agree(&mut self, plan: &Plan, at: Timestamp) -> bool {
        let is_news = self
            .said
            .last()
            .is_none_or(|last| last.plan != *plan || last.answer != Answer::Approve || last.until.is_some());
        if is_news {
            self.said.push(Said { answer: Answer::Approve, plan: plan.clone(), at, until: None });
        }
        is_news
    }

    /// Nothing is closed any more.
    pub(crate) fn calm_down(&mut self) {
        self.freezes.clear();
        self.times.clear();
    }

    /// What a process is told when it begins.
    pub(crate) fn fuse(&self) -> Fuse {
        let mut fuse = Fuse::new(self.limit);
        fuse.recall(self.let_out.clone());
        fuse.decide(self.decisions());
        fuse
    }

    pub(crate) fn decisions(&self) -> Vec<Decision> {
        let decision = |(id, said): (i64, &Said)| {
            let content = match said.answer {
                Answer::Approve => BTreeSet::new(),
                Answer::Deny => said.plan.changes().iter().map(|it| (it.service.clone(), it.to)).collect(),
            };
            let about = About::Plan { name: said.plan.id().unwrap().into(), content };
            let (id, by) = (DecisionId(id), Some("somebody".into()));
            Decision { id, about, answer: said.answer, by, reason: None, at: said.at, until: said.until }
        };
        (1..).zip(&self.said).map(decision).collect()
    }

    pub(crate) fn closures(&self) -> Closures {
        let freeze = |(of, until): &(Option<Name>, Timestamp)| Freeze {
            service: of.map(|name| name.key().clone()),
            reason: "sale".into(),
            by: "somebody".into(),
            at: Timestamp::UNIX_EPOCH,
            until: Some(*until),
        };
        let text = |at: Timestamp| at.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%9f").to_string();
        let window = |times: &Times| ChangeWindow {
            effect: times.effect,
            spans: vec![format!("{}..{}", text(times.from), text(times.to)).parse().unwrap()],
            zone: TimeZone::UTC,
            services: times.of.iter().map(|name| ServicePattern::new(&name.key().to_string()).unwrap()).collect(),
            rollbacks: Rollbacks::Send,
            reason: None,
        };
        Closures {
            freezes: self.freezes.iter().map(freeze).collect(),
            windows: Windows::new(self.times.iter().map(window).collect()).unwrap(),
        }
    }

    /// Keeps what a process found out.
    pub(crate) fn keep(&mut self, findings: Findings) {
        self.let_out.extend(findings.let_out);
        self.shown.extend(findings.held);
    }

    /// Somebody asks for the plan.
    pub(crate) fn show(&mut self, plan: &Plan) {
        if plan.id().is_some() && self.shown.last() != Some(plan) {
            self.shown.push(plan.clone());
        }
    }

    /// Whether a service is frozen now.
    pub(crate) fn freezes_now(&self, name: Name, wall: Timestamp) -> bool {
        self.freezes.iter().any(|(of, until)| of.is_none_or(|of| of == name) && wall < *until)
    }

    /// Whether nothing may be sent for a service now.
    pub(crate) fn closes(&self, name: Name, wall: Timestamp) -> bool {
        let is_of = |of: Option<Name>| of.is_none_or(|of| of == name);
        let frozen = self.freezes_now(name, wall);
        let of = |effect| self.times.iter().filter(move |times| times.effect == effect && is_of(times.of));
        let is_in = |times: &Times| times.from <= wall && wall < times.to;
        let allowed = of(WindowEffect::Allow).next().is_none() || of(WindowEffect::Allow).any(is_in);
        frozen || !allowed || of(WindowEffect::Deny).any(is_in)
    }

    /// Why content may not be sent in the place of other content, if so. `is_known` is whether the service has any.
    pub(crate) fn refuses(&self, name: Name, version: Version, is_known: bool) -> Option<&'static str> {
        let last =
            |answer| self.said.iter().rposition(|said: &Said| said.answer == answer && said.is_about(name, version));
        let (approved, denied) = (last(Answer::Approve), last(Answer::Deny));
        let needs_approval = self.limit == Some(MaxChanges::Count(0)) && is_known;
        match (approved, denied) {
            (approved, Some(denied)) if approved.is_none_or(|approved| approved < denied) => Some("it was denied"),
            (None, _) if needs_approval && !self.free.contains(&(name, version)) => Some("nobody approved it"),
            _ => None,
        }
    }

    /// An update leaves, or content was seen before its service had any: a first deployment does not count.
    pub(crate) fn free(&mut self, name: Name, version: Version) {
        self.free.insert((name, version));
    }
}

/// What would change, as the world has it.
pub(crate) fn plan(changes: impl IntoIterator<Item = (Name, Option<Version>, Version)>) -> Plan {
    Plan::of_changes(changes.into_iter().map(|(name, from, to)| PlannedChange {
        service: name.key().clone(),
        from: from.map(|from| name.digest(from)),
        to: name.digest(to),
    }))
}
