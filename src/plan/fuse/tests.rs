use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn key(service: u8) -> ServiceKey {
    format!("shop/s{service}").parse().expect("is a name")
}

fn digest(content: u8) -> Digest {
    Digest::of_bytes(&[content])
}

/// A change of a service that has content 0, or of a new one.
fn change(service: u8, new: bool, to: u8) -> PlannedChange {
    PlannedChange { service: key(service), from: (!new).then(|| digest(0)), to: digest(to) }
}

fn plan(changes: &[(u8, u8)]) -> Plan {
    Plan::of_changes(changes.iter().map(|(service, to)| change(*service, false, *to)))
}

/// Decisions in the order of what is given.
fn said(answers: &[(Answer, &Plan)]) -> Vec<Decision> {
    let said = |(id, (answer, plan)): (i64, &(Answer, &Plan))| {
        let name = plan.id().expect("changes something").into();
        let about = About::Plan { name, content: BTreeSet::new() };
        let (id, by) = (DecisionId(id), Some("ada".into()));
        Decision { id, about, answer: *answer, by, reason: None, at: NOW, until: None }
    };
    (1..).zip(answers).map(said).collect()
}

fn damaged(id: i64, answer: Answer) -> Decision {
    let (id, about) = (DecisionId(id), About::Unknown);
    Decision { id, about, answer, by: None, reason: None, at: NOW, until: None }
}

fn let_out(ruling: &Ruling) -> Vec<(ServiceKey, Digest)> {
    ruling.let_out.iter().map(|(service, let_out)| (service.clone(), let_out.content)).collect()
}

fn rule_of(fuse: &mut Fuse, outstanding: &Plan, known: usize) -> Ruling {
    let is_known = |service: &ServiceKey| {
        outstanding.changes().iter().any(|change| change.service == *service && change.from.is_some())
    };
    fuse.rule(Case { outstanding, known, is_known: &is_known, wants_approval: &|_| false }, NOW)
}

fn limited(most: usize) -> Fuse {
    Fuse::new(Some(MaxChanges::Count(most)))
}

#[test]
fn a_limit_is_a_number_a_percentage_or_off() {
    assert_eq!(MaxChanges::parse("off"), Ok(None));
    assert_eq!(MaxChanges::parse("0"), Ok(Some(MaxChanges::Count(0))));
    assert_eq!(MaxChanges::parse("30%"), Ok(Some(MaxChanges::Percent(30))));
    for text in ["", "%", "-1", "101%", "1.5", "+3", "30 %", "99999999999", "on"] {
        assert_eq!(MaxChanges::parse(text), Err(InvalidMaxChanges), "{text}");
    }
    assert!(MaxChanges::Percent(30).is_exceeded(4, 10) && !MaxChanges::Percent(30).is_exceeded(3, 10));
}

#[test]
fn a_plan_over_the_limit_is_held_as_a_whole_and_says_the_way_past_it() {
    let outstanding = Plan::of_changes([change(1, false, 1), change(2, false, 1), change(3, true, 1)]);
    let mut fuse = limited(1);
    let ruling = rule_of(&mut fuse, &outstanding, 5);
    assert_eq!((ruling.state, ruling.held.len(), ruling.let_out.len()), (PlanState::Held, 3, 0));
    let id = outstanding.id().expect("changes");
    let what =
        format!("2 of 5 services would change, more than --max-changes 1: `truenorth approve {id}` lets them go");
    assert_eq!(&*ruling.held[&key(3)].what, what.as_str());
    assert_eq!(rule_of(&mut limited(2), &outstanding, 5).held.len(), 0, "the first deployment does not count");
}

#[test]
fn what_was_let_out_stays_let_out_until_its_content_is_another() {
    let mut fuse = limited(1);
    assert_eq!(let_out(&rule_of(&mut fuse, &plan(&[(1, 1)]), 9)), [(key(1), digest(1))]);
    // It is still on its way when the next commit comes.
    let ruling = rule_of(&mut fuse, &plan(&[(1, 1), (2, 1)]), 9);
    assert_eq!((ruling.held.len(), ruling.let_out.len()), (0, 1));
    assert_eq!(rule_of(&mut fuse, &plan(&[(1, 2), (2, 2)]), 9).held.len(), 2);
}

#[test]
fn an_approved_plan_goes_on_while_parts_of_it_are_carried_out() {
    let all = plan(&[(1, 1), (2, 1), (3, 1)]);
    let mut fuse = limited(1);
    assert_eq!(rule_of(&mut fuse, &all, 3).held.len(), 3);
    // A part was sent past the fuse, by a release without one. The approval names what was shown.
    fuse.decide(said(&[(Answer::Approve, &all)]));
    let rest = plan(&[(2, 1), (3, 1)]);
    assert_eq!(rule_of(&mut fuse, &rest, 3).state, PlanState::Approved);
    assert_eq!(rule_of(&mut fuse, &rest, 3).held.len(), 0);
}

#[test]
fn an_approval_may_come_before_the_plan_and_ends() {
    let all = plan(&[(1, 1), (2, 1)]);
    let mut fuse = limited(0);
    fuse.decide(said(&[(Answer::Approve, &all)]).into_iter().map(|it| Decision { until: Some(NOW), ..it }).collect());
    assert_eq!(rule_of(&mut fuse, &all, 3).held.len(), 2, "it is over");
    fuse.decide(said(&[(Answer::Approve, &all)]));
    assert_eq!(rule_of(&mut fuse, &all, 3).held.len(), 0);
    fuse.decide(vec![]);
    assert_eq!(rule_of(&mut fuse, &all, 3).held.len(), 0, "what was let out stays so");
}

#[test]
fn the_newest_word_counts_and_a_denied_plan_is_held_however_small_it_is() {
    let all = plan(&[(1, 1)]);
    let (yes, no) = ((Answer::Approve, &all), (Answer::Deny, &all));
    let mut fuse = Fuse::new(None);
    fuse.decide(said(&[yes, no]));
    let ruling = rule_of(&mut fuse, &all, 1);
    assert_eq!((ruling.state, ruling.held.len()), (PlanState::Denied, 1));
    assert!(ruling.held[&key(1)].what.starts_with("denied by ada · to allow it: truenorth approve"), "{ruling:?}");
    fuse.decide(said(&[yes, no, yes]));
    assert_eq!(rule_of(&mut fuse, &all, 1).state, PlanState::Approved);
    assert_eq!(rule_of(&mut fuse, &plan(&[(1, 2)]), 1).held.len(), 0, "other content is another plan");
}

#[test]
fn a_service_that_wants_approvals_is_held_alone_or_approved_with_its_plan() {
    let all = plan(&[(1, 1), (2, 1)]);
    let wants = |service: &ServiceKey| *service == key(1);
    let case = |outstanding| Case { outstanding, known: 2, is_known: &|_| true, wants_approval: &wants };
    let mut fuse = Fuse::new(None);
    let ruling = fuse.rule(case(&all), NOW);
    assert_eq!((ruling.held.len(), &*let_out(&ruling)), (1, &[(key(2), digest(1))][..]));
    let alone = plan(&[(1, 1)]);
    assert!(ruling.held[&key(1)].what.ends_with(&alone.id().expect("changes").to_string()));
    // The other one is deployed by now.
    for approved in [&alone, &all] {
        let mut fuse = fuse.clone();
        fuse.decide(said(&[(Answer::Approve, approved)]));
        assert_eq!(fuse.rule(case(&alone), NOW).held.len(), 0);
    }
}

proptest! {
    /// Whatever else was planned, approved, denied and let out before: nothing leaves that is not in an approved plan.
    #[test]
    fn the_approval_of_a_plan_never_lets_out_anything_else(
        plans in prop::collection::vec(prop::collection::btree_map(0..4_u8, 1..4_u8, 0..4), 1..8),
        answers in prop::collection::vec((0..8_usize, any::<bool>()), 0..5),
        wants in any::<bool>(),
    ) {
        let plans: Vec<Plan> =
            plans.iter().map(|plan| Plan::of_changes(plan.iter().map(|(service, to)| change(*service, false, *to)))).collect();
        let mut fuse = limited(0);
        let (mut answers_so_far, mut approved) = (Vec::new(), HashSet::new());
        for (at, outstanding) in plans.iter().enumerate() {
            for (of, yes) in answers.iter().filter(|(of, _)| of % plans.len() == at) {
                let named = &plans[(of + at) % plans.len()];
                if named.id().is_some() {
                    answers_so_far.push((if *yes { Answer::Approve } else { Answer::Deny }, named));
                    if *yes {
                        approved.extend(named.changes().iter().map(|change| (change.service.clone(), change.to)));
                    }
                }
            }
            fuse.decide(said(&answers_so_far));
            let ruling = fuse.rule(
                Case { outstanding, known: 4, is_known: &|_| true, wants_approval: &|_| wants },
                NOW,
            );
            for let_out in let_out(&ruling) {
                prop_assert!(approved.contains(&let_out), "{let_out:?}");
            }
            for change in outstanding.changes() {
                let is_out = fuse.lets_out(&change.service, change.to);
                prop_assert_eq!(is_out, !ruling.held.contains_key(&change.service));
                prop_assert!(!is_out || approved.contains(&(change.service.clone(), change.to)));
            }
        }
    }
}

#[test]
fn what_was_denied_stays_held_in_every_later_plan_until_its_content_is_another_or_it_is_approved() {
    use Answer::{Approve, Deny};
    let (one, both) = (plan(&[(1, 1)]), plan(&[(1, 1), (2, 1)]));
    let mut fuse = Fuse::new(None);
    fuse.decide(said(&[(Deny, &one)]));
    let ruling = rule_of(&mut fuse, &one, 9);
    assert_eq!((ruling.held.len(), &*ruling.denied), (1, &[(DecisionId(1), key(1), digest(1))][..]));
    // Another commit gives the plan another id, and the ledger is read again.
    fuse.decide(said(&[(Deny, &one)]));
    let ruling = rule_of(&mut fuse, &both, 9);
    assert_eq!((ruling.state, ruling.held.len(), ruling.denied.len()), (PlanState::Denied, 1, 0));
    let alone = one.id().expect("changes").to_string();
    assert!(ruling.held[&key(1)].what.ends_with(&format!("truenorth approve {alone}")), "{ruling:?}");
    // An older yes to the later plan does not undo a newer no.
    let mut contradicted = Fuse::new(None);
    contradicted.decide(said(&[(Approve, &both), (Deny, &one)]));
    rule_of(&mut contradicted, &one, 9);
    assert!(rule_of(&mut contradicted, &both, 9).held.contains_key(&key(1)));
    for approved in [&both, &one] {
        let mut fuse = fuse.clone();
        fuse.decide(said(&[(Deny, &one), (Approve, approved)]));
        assert_eq!(rule_of(&mut fuse, &both, 9).held.len(), 0);
    }
    assert_eq!(rule_of(&mut fuse, &plan(&[(1, 2), (2, 1)]), 9).held.len(), 0, "other content");
    assert_eq!(rule_of(&mut fuse, &both, 9).held.len(), 1, "it came back");
}

#[test]
fn a_denial_outlives_the_process_also_where_its_plan_was_never_met() {
    let (one, both) = (plan(&[(1, 1)]), plan(&[(1, 1), (2, 1)]));
    let mut decisions = said(&[(Answer::Deny, &one)]);
    let About::Plan { content, .. } = &mut decisions[0].about else { panic!("is about a plan") };
    content.insert((key(1), digest(1)));
    let mut fuse = Fuse::new(None);
    // The ledger of an earlier process has that it was let out before.
    fuse.recall([(key(1), LetOut { content: digest(1), by: None })]);
    fuse.decide(decisions.clone());
    assert_eq!(rule_of(&mut fuse, &both, 9).held.len(), 1);
    // What a later approval let out stays so when that is over.
    fuse.recall([(key(1), LetOut { content: digest(1), by: Some(DecisionId(2)) })]);
    assert_eq!(rule_of(&mut fuse, &both, 9).held.len(), 0);
}

#[test]
fn a_denial_counts_for_what_does_not_wait_at_that_moment() {
    let one = plan(&[(1, 1)]);
    let mut fuse = Fuse::new(None);
    assert_eq!(rule_of(&mut fuse, &one, 9).held.len(), 0);
    // The service is suspended when somebody says no.
    let mut decisions = said(&[(Answer::Deny, &one)]);
    decisions[0].about = About::Plan { name: one.id().expect("changes").into(), content: [(key(1), digest(1))].into() };
    fuse.decide(decisions);
    rule_of(&mut fuse, &Plan::default(), 9);
    assert!(!fuse.lets_out(&key(1), digest(1)));
}

#[test]
fn an_approval_by_some_digits_lets_nothing_out() {
    let all = plan(&[(1, 1), (2, 1)]);
    let mut decisions = said(&[(Answer::Approve, &all)]);
    let name = all.id().expect("changes").digits()[..63].parse().expect("is a name");
    decisions[0].about = About::Plan { name, content: BTreeSet::new() };
    let mut fuse = limited(0);
    fuse.decide(decisions.clone());
    assert_eq!(rule_of(&mut fuse, &all, 9).held.len(), 2);
    // A denial that an earlier release wrote holds all that it may be about.
    decisions[0].answer = Answer::Deny;
    let mut fuse = Fuse::new(None);
    fuse.decide(decisions);
    assert_eq!(rule_of(&mut fuse, &all, 9).state, PlanState::Denied);
}

#[test]
fn a_damaged_decision_holds_everything_until_somebody_decides_again() {
    let all = plan(&[(1, 1), (2, 1)]);
    let mut fuse = Fuse::new(None);
    fuse.recall([(key(1), LetOut { content: digest(1), by: None })]);
    fuse.decide(vec![damaged(7, Answer::Deny)]);
    let ruling = rule_of(&mut fuse, &all, 9);
    let id = all.id().expect("changes");
    assert_eq!(ruling.held.len(), 2);
    assert!(ruling.held[&key(1)].what.ends_with(&format!("truenorth approve {id}")), "{ruling:?}");
    assert_eq!(rule_of(&mut fuse, &plan(&[(3, 1)]), 9).held.len(), 1, "whatever comes");
    fuse.decide(vec![Decision { until: Some(NOW), ..damaged(7, Answer::Deny) }]);
    assert_eq!(rule_of(&mut fuse, &all, 9).held.len(), 0, "somebody decided again");
    let mut fuse = limited(0);
    fuse.decide(vec![damaged(7, Answer::Approve)]);
    assert_eq!(rule_of(&mut fuse, &all, 9).held.len(), 2, "a damaged yes is none");
}
