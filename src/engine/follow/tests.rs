//! Rollouts against a server whose clock is another one, whose list lags behind, and where nothing has to happen.

use super::*;
use crate::engine::accepted_at;
use crate::model::RolloutStage;

const MINUTE: i64 = 60_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + millis).expect("is a time")
}

fn millis(time: Timestamp) -> i64 {
    time.duration_since(at(0)).as_millis().try_into().expect("is near")
}

fn key(service: usize) -> ServiceKey {
    format!("shop/web-{service}").parse().expect("is a key")
}

fn digest() -> Digest {
    Digest::from_bytes([1; 32])
}

/// The service of one run, by the server's clock, which is `skew` ahead of ours.
struct Server {
    skew: i64,
    /// How long the list shows what was before.
    lag: i64,
    /// What was reached and when, oldest first; from `ours` on it is of our update.
    reached: Vec<(i64, RolloutStage)>,
    ours: usize,
    /// From here on it is of what somebody else deployed after ours.
    theirs: usize,
}

impl Server {
    /// An update that is accepted at our time 0, with everything else left to chance.
    fn of(chance: &mut fastrand::Rng) -> Self {
        let skew = chance.i64(-5 * MINUTE..=5 * MINUTE);
        let began = skew - chance.i64(1..20 * MINUTE);
        // The one before may still be rolling out when ours is accepted.
        let took = chance.i64(1..=(skew - began).max(1) + 1000).min(skew - began);
        let ended = if chance.bool() { RolloutStage::Completed } else { RolloutStage::Failed };
        let mut reached = vec![(began, RolloutStage::Pending), (began + took / 2, RolloutStage::InProgress)];
        if chance.u8(0..4) > 0 {
            reached.push((began + took, ended));
        }
        reached.sort_unstable_by_key(|(at, _)| *at);
        let ours = reached.len();
        if chance.u8(0..8) > 0 {
            let (pending, rolling) = (chance.i64(0..3000), chance.i64(1..200_000));
            reached.push((skew + pending, RolloutStage::Pending));
            reached.push((skew + pending + rolling / 4, RolloutStage::InProgress));
            match chance.u8(0..8) {
                0 => {}
                1 => reached.push((skew + pending + rolling, RolloutStage::Failed)),
                2 => reached.extend([
                    (skew + pending + rolling, RolloutStage::Failed),
                    (skew + pending + rolling + chance.i64(1..100_000), RolloutStage::Completed),
                ]),
                _ => reached.push((skew + pending + rolling, RolloutStage::Completed)),
            }
        }
        let theirs = reached.len();
        Self { skew, lag: if chance.bool() { 0 } else { chance.i64(0..25_000) }, reached, ours, theirs }
    }

    /// The same, and often somebody else deploys something before ours has ended.
    fn with_others(chance: &mut fastrand::Rng) -> Self {
        let mut server = Self::of(chance);
        if chance.u8(0..3) > 0 {
            let theirs = server.skew + chance.i64(1..200_000);
            server.reached.retain(|(at, _)| *at < theirs);
            server.theirs = server.reached.len().max(server.ours);
            let ended = if chance.bool() { RolloutStage::Completed } else { RolloutStage::Failed };
            let (rolls, ends) = (theirs + chance.i64(0..2000), theirs + chance.i64(2000..100_000));
            server.reached.extend([(theirs, RolloutStage::Pending), (rolls, RolloutStage::InProgress), (ends, ended)]);
        }
        server
    }

    /// What is listed at our time `now`, newest first, where the list is so late.
    fn lists(&self, now: i64, late: i64) -> Vec<DeploymentEntry> {
        let made = |at: &&(i64, &str, &str)| at.0 <= now + self.skew - late;
        let theirs = self.reached.get(self.theirs).map(|(at, _)| (*at, "3", "jane"));
        let ours = (self.skew, "2", "us");
        let all: Vec<_> = theirs.into_iter().chain([ours, (self.reached[0].0, "1", "us")]).collect();
        let entry = |(made, version, user): &(i64, &str, &str)| DeploymentEntry {
            id: format!("d{version}"),
            created_at: at(*made),
            image: Some(format!("nginx:{version}")),
            tag: None,
            sha: None,
            commit: None,
            user: Some((*user).to_owned()),
        };
        all.iter().filter(made).map(entry).collect()
    }

    /// When the update was accepted, as its answer says: exact where it shows the service, else a `Date`.
    fn accepted(&self, chance: &mut fastrand::Rng) -> Option<Timestamp> {
        let date = (self.skew + chance.i64(0..50)).div_euclid(1000) * 1000;
        accepted_at(chance.bool().then(|| at(self.skew)), Some(at(date)))
    }

    /// What the list shows at our time `now`, and whether that is of our update.
    fn shows(&self, now: i64) -> (DeploymentStatus, bool) {
        let now = now + self.skew - self.lag;
        let index = self.reached.iter().rposition(|(at, _)| *at <= now).unwrap_or(0);
        let (since, stage) = self.reached[index];
        let is_ours = (self.ours..self.theirs).contains(&index);
        (DeploymentStatus { stage, scaling: false, since: Some(at(since)) }, is_ours)
    }

    /// When the list shows at the earliest that our update completed.
    fn completes(&self) -> Option<i64> {
        let ours = self.reached[self.ours..].iter().rev().find(|(_, stage)| *stage == RolloutStage::Completed);
        ours.map(|(at, _)| at - self.skew + self.lag)
    }
}

#[test]
fn no_stale_completion_is_taken_for_ours_whatever_the_clocks_say() {
    let mut chance = fastrand::Rng::with_seed(7);
    let (mut completed, mut failed, mut nothing) = (0, 0, 0);
    for run in 0..10_000 {
        let server = Server::of(&mut chance);
        let mut rollouts = Rollouts::default();
        rollouts.accepted(&key(0), digest(), server.accepted(&mut chance), None, at(0));
        let mut now = 0;
        let mut completed_at = None;
        while let Some(due) = rollouts.due(Follow::DEFAULT) {
            now = millis(due).max(now);
            rollouts.expire(Follow::DEFAULT, at(now));
            let Some(look) = rollouts.next(Follow::DEFAULT, at(now)) else { continue };
            if matches!(look, Look::Containers(_)) {
                rollouts.looked(Looked::Containers(None), at(now));
                continue;
            }
            let (status, is_ours) = server.shows(now);
            let services = vec![("web-0".to_owned(), Some(status))];
            rollouts.looked(Looked::Page { services, next: None }, at(now));
            let state = rollouts.of(&key(0)).expect("is followed").state;
            if state == RolloutState::Completed && completed_at.is_none() {
                assert!(is_ours && status.stage == RolloutStage::Completed, "run {run}: {status:?}");
                completed_at = Some(now);
            }
            assert!(state != RolloutState::Failed || is_ours, "run {run}: {status:?}");
        }
        match (completed_at, server.completes()) {
            (Some(seen), Some(shown)) => {
                completed += 1;
                // One that failed first is looked at after a minute, and then twice as late each time.
                let recovers = server.reached.iter().skip(server.ours).any(|(_, stage)| *stage == RolloutStage::Failed);
                let late = match shown {
                    _ if recovers => 120_000,
                    ..65_000 => 10_000,
                    65_000..290_000 => 20_000,
                    _ => 60_000,
                };
                assert!(seen - shown.max(5000) <= late, "run {run}: shown at {shown}, seen at {seen}");
            }
            _ if rollouts.of(&key(0)).is_some_and(|one| one.state == RolloutState::Failed) => failed += 1,
            _ => nothing += 1,
        }
    }
    assert!(completed > 5000 && failed > 500 && nothing > 500, "{completed} {failed} {nothing}");
}

#[test]
fn no_failure_of_others_and_nothing_stale_is_taken_for_ours_where_deployments_are_listed() {
    let mut chance = fastrand::Rng::with_seed(8);
    let content = super::super::tests::desired("web", "2").update;
    let (mut completed, mut failed, mut superseded, mut asked, mut proven) = (0, 0, 0, 0, 0);
    for run in 0..10_000 {
        let server = Server::with_others(&mut chance);
        let mut rollouts = Rollouts::new(true);
        rollouts.accepted(&key(0), digest(), server.accepted(&mut chance), None, at(0));
        // A list that is later than the end of a rollout hides whose that was.
        let late = chance.i64(0..2000);
        let (mut now, mut ended) = (0, None);
        let mut questions = 0;
        while let Some(due) = rollouts.due(Follow::DEFAULT) {
            now = millis(due.max(at(0))).max(now);
            rollouts.expire(Follow::DEFAULT, at(now));
            let Some(look) = rollouts.next(Follow::DEFAULT, at(now)) else { continue };
            let (status, is_ours) = server.shows(now);
            match look {
                Look::Containers(_) => rollouts.looked(Looked::Containers(None), at(now)),
                Look::Deployments(_) => {
                    questions += 1;
                    rollouts.listed(&server.lists(now, late), Some(&content), Follow::DEFAULT, at(now));
                }
                Look::List { .. } => rollouts.looked(page(0, Some(status)), at(now)),
                Look::Service(_) => unreachable!("the project may be listed"),
            }
            let rollout = rollouts.of(&key(0)).expect("is followed");
            let state = rollout.state;
            if !state.is_open() && ended != Some(state) {
                let end = status.since.expect("has a time");
                match state {
                    // What others brought to a good end is not told apart, where nothing hangs on it.
                    RolloutState::Completed => assert!(end >= at(server.skew), "run {run}: {status:?}"),
                    RolloutState::Failed => assert!(is_ours, "run {run}: {status:?} {rollout:?}"),
                    RolloutState::Superseded => assert!(!is_ours, "run {run}: {status:?} {rollout:?}"),
                    _ => {}
                }
                ended = Some(state);
                proven += u32::from(rollout.evidence == Evidence::DeploymentId);
            }
            assert!(questions <= 8, "run {run}");
        }
        asked += questions;
        match ended {
            Some(RolloutState::Completed) => completed += 1,
            Some(RolloutState::Failed) => failed += 1,
            Some(RolloutState::Superseded) => superseded += 1,
            _ => {}
        }
    }
    assert!(completed > 3000 && failed > 500 && superseded > 500, "{completed} {failed} {superseded}");
    assert!(proven > 1000 && asked < 10_000, "{proven} {asked}");
}

/// What a failure that is shown seven seconds after the acceptance makes of the second update of a service, at once and
/// half a minute later, where the first one was accepted a minute before and is `before`.
fn failed_after(before: RolloutState) -> (RolloutState, RolloutState) {
    let content = super::super::tests::desired("web", "2").update;
    let mut rollouts = Rollouts::new(true);
    let first = Rollout { state: before, server_at: Some(at(0)), ..Rollout::accepted(digest(), at(0), Some(at(0))) };
    rollouts.recall(&key(0), first, at(59_000));
    rollouts.accepted(&key(0), Digest::from_bytes([2; 32]), Some(at(60_001)), None, at(60_000));
    let entry = |made, version| DeploymentEntry {
        id: format!("d{version}"),
        created_at: at(made),
        image: Some(format!("nginx:{version}")),
        tag: None,
        sha: None,
        commit: None,
        user: Some("us".to_owned()),
    };
    let failed = DeploymentStatus { stage: RolloutStage::Failed, scaling: false, since: Some(at(62_000)) };
    let mut states = [67_000, 91_000].into_iter().map(|now| {
        while let Some(look) = rollouts.next(Follow::DEFAULT, at(now)) {
            match look {
                Look::List { .. } => rollouts.looked(page(0, Some(failed)), at(now)),
                Look::Deployments(_) => {
                    let entries = [entry(60_001, 2), entry(0, 1)];
                    rollouts.listed(&entries, Some(&content), Follow::DEFAULT, at(now));
                }
                Look::Containers(_) => rollouts.looked(Looked::Containers(None), at(now)),
                Look::Service(_) => unreachable!("the project may be listed"),
            }
        }
        rollouts.of(&key(0)).expect("is followed").state
    });
    (states.next().expect("is one"), states.next().expect("are two"))
}

#[test]
fn a_failure_that_may_be_of_the_deployment_before_ours_is_not_ours_until_that_is_over() {
    use RolloutState::{Completed, Failed, InProgress, TimedOut, Unseen};
    for before in [Unseen, InProgress, TimedOut] {
        assert_eq!(failed_after(before), (Unseen, Failed), "{before}");
    }
    for before in [Completed, Failed] {
        assert_eq!(failed_after(before), (Failed, Failed), "{before}");
    }
}

/// Follows so many services of one project whose rollouts all end at a time; gives the number of requests.
fn requests(services: usize, burst: i64, ends: i64) -> u32 {
    let mut rollouts = Rollouts::default();
    let accepted = |service: usize| burst * i64::try_from(service).expect("is small") / services as i64;
    let (mut now, mut begun, mut requests) = (0, 0, 0);
    loop {
        while begun < services && accepted(begun) <= now {
            let server_at = Some(at(accepted(begun)));
            rollouts.accepted(&key(begun), digest(), server_at, None, at(accepted(begun)));
            begun += 1;
        }
        if let Some(look) = rollouts.next(Follow::DEFAULT, at(now)) {
            requests += 1;
            let Look::List { cursor, .. } = look else { panic!("{look:?}") };
            let page: usize = cursor.map_or(0, |cursor| cursor.parse().expect("is a page"));
            let stage = if now >= ends { RolloutStage::Completed } else { RolloutStage::InProgress };
            let status = DeploymentStatus { stage, scaling: false, since: Some(at(now.min(ends))) };
            let shown =
                (page * 100..services.min(page * 100 + 100)).map(|service| (format!("web-{service}"), Some(status)));
            let next = ((page + 1) * 100 < services).then(|| (page + 1).to_string());
            rollouts.looked(Looked::Page { services: shown.collect(), next }, at(now));
        }
        if begun == services && rollouts.due(Follow::DEFAULT).is_none() {
            return requests;
        }
        now += 100;
    }
}

#[test]
fn a_hundred_services_cost_one_call_a_look() {
    for burst in [0, 3000, 12_000] {
        let calls = requests(100, burst, 3 * MINUTE);
        assert!((10..=16).contains(&calls), "{calls} calls after a burst of {burst} ms");
    }
    assert_eq!(requests(1, 0, 4000), 1);
    assert_eq!(requests(250, 0, 4000), 3, "a page is a call");
    assert!(requests(100, 0, 14 * MINUTE) <= 30);
}

#[test]
fn where_nothing_rolls_out_nothing_is_asked() {
    let mut rollouts = Rollouts::default();
    assert_eq!((rollouts.due(Follow::DEFAULT), rollouts.next(Follow::DEFAULT, at(0))), (None, None));
    let done = Rollout { state: RolloutState::Completed, ..Rollout::accepted(digest(), at(0), None) };
    rollouts.recall(&key(0), done, at(1));
    assert_eq!(rollouts.due(Follow::DEFAULT), None);
    assert!(!rollouts.are_awaited(Follow::DEFAULT, at(1), at(1)));
}

#[test]
fn a_service_that_the_list_does_not_name_is_told_and_times_out() {
    let mut rollouts = Rollouts::default();
    rollouts.accepted(&key(0), digest(), Some(at(0)), None, at(0));
    rollouts.next(Follow::DEFAULT, at(5000)).expect("is due");
    rollouts.looked(Looked::Page { services: Vec::new(), next: None }, at(5000));
    let words = rollouts.of(&key(0)).expect("is followed").words();
    assert!(words.contains("does not name it"), "{words}");
    rollouts.expire(Follow::DEFAULT, at(15 * MINUTE));
    assert_eq!(rollouts.of(&key(0)).expect("is followed").state, RolloutState::TimedOut);
    assert_eq!((rollouts.due(Follow::DEFAULT), rollouts.expires(Follow::DEFAULT)), (None, None));
}

#[test]
fn what_is_accepted_during_a_look_is_looked_at_once_more() {
    let mut rollouts = Rollouts::default();
    rollouts.accepted(&key(0), digest(), Some(at(0)), None, at(0));
    rollouts.next(Follow::DEFAULT, at(5000)).expect("is due");
    rollouts.accepted(&key(1), digest(), Some(at(5500)), None, at(5500));
    let completed = DeploymentStatus { stage: RolloutStage::Completed, scaling: false, since: Some(at(4000)) };
    let services = vec![("web-0".to_owned(), Some(completed)), ("web-1".to_owned(), Some(completed))];
    rollouts.looked(Looked::Page { services, next: None }, at(6000));
    assert_eq!(rollouts.of(&key(1)).expect("is followed").state, RolloutState::Unseen);
    assert_eq!(rollouts.due(Follow::DEFAULT), Some(at(11_000)));
}

#[test]
fn a_project_that_may_not_be_listed_is_not_waited_for() {
    let mut rollouts = Rollouts::default();
    rollouts.accepted(&key(0), digest(), None, None, at(0));
    assert!(rollouts.are_awaited(Follow::DEFAULT, at(0), at(0)));
    assert!(
        !rollouts.are_awaited(Follow::DEFAULT, at(15 * MINUTE), at(0)),
        "there are no calls before its time is over"
    );
    rollouts.next(Follow::DEFAULT, at(5000)).expect("is due");
    rollouts.looked(Looked::Nothing { error: "403".to_owned(), refused: true }, at(5000));
    assert!(!rollouts.are_awaited(Follow::DEFAULT, at(5000), at(5000)));
    let told = rollouts.take_events();
    assert!(told.iter().any(|event| matches!(event, Event::NotFollowed { .. })), "{told:?}");
}

fn completed(since: i64) -> Option<DeploymentStatus> {
    Some(DeploymentStatus { stage: RolloutStage::Completed, scaling: false, since: Some(at(since)) })
}

fn page(service: usize, status: Option<DeploymentStatus>) -> Looked {
    Looked::Page { services: vec![(format!("web-{service}"), status)], next: None }
}

/// A rollout that was accepted at 0 and did not end well, as a process that begins an hour later knows it.
fn recalled(state: RolloutState) -> Rollouts {
    let mut rollouts = Rollouts::default();
    let ended = Rollout { state, since: at(9000), ..Rollout::accepted(digest(), at(0), Some(at(500))) };
    rollouts.recall(&key(0), ended, at(60 * MINUTE));
    rollouts
}

/// How often it is looked at within so long, from an hour after its acceptance, where it never gets better.
fn looks(rollouts: &mut Rollouts, within: i64) -> usize {
    let (mut looks, end) = (0, at((60 + within) * MINUTE));
    let mut now = at(60 * MINUTE);
    while now < end {
        rollouts.expire(Follow::DEFAULT, now);
        if rollouts.next(Follow::DEFAULT, now).is_some() {
            looks += 1;
            rollouts.looked(
                page(0, Some(DeploymentStatus { stage: RolloutStage::Failed, scaling: false, since: Some(at(9000)) })),
                now,
            );
        }
        let due = [rollouts.due(Follow::DEFAULT), rollouts.expires(Follow::DEFAULT)].into_iter().flatten().min();
        let Some(due) = due else { break };
        now = due.max(later(now, Duration::from_millis(1)));
    }
    looks
}

#[test]
fn what_failed_in_an_earlier_process_is_looked_at_once_and_may_have_ended_well() {
    for state in [RolloutState::Failed, RolloutState::TimedOut] {
        let mut rollouts = recalled(state);
        let now = at(60 * MINUTE);
        rollouts.expire(Follow::DEFAULT, now);
        assert!(rollouts.are_awaited(Follow::DEFAULT, now, now), "a pass waits for that look");
        assert!(!rollouts.are_awaited(Follow::DEFAULT, at(61 * MINUTE), now), "and for no window");
        rollouts.next(Follow::DEFAULT, now).expect("is due");
        rollouts.looked(page(0, completed(20 * MINUTE)), now);
        assert_eq!(rollouts.of(&key(0)).map(|one| one.state), Some(RolloutState::Completed));
        assert!(!rollouts.are_awaited(Follow::DEFAULT, now, now));
        // That it failed by now is one more question: why?
        assert_eq!(looks(&mut recalled(state), 24 * 60), 1 + usize::from(state == RolloutState::TimedOut));
    }
}

#[test]
fn what_others_wait_for_is_looked_at_for_as_long_as_they_do_and_ever_more_rarely() {
    let mut rollouts = recalled(RolloutState::TimedOut);
    rollouts.want(BTreeSet::from([key(0)]));
    let day = looks(&mut rollouts, 24 * 60);
    assert!((40..=60).contains(&day), "{day}");
    rollouts.want(BTreeSet::new());
    rollouts.expire(Follow::DEFAULT, at(26 * 60 * MINUTE));
    assert_eq!(rollouts.due(Follow::DEFAULT), None);
    rollouts.want(BTreeSet::from([key(0)]));
    assert!(rollouts.due(Follow::DEFAULT).is_some());
}

#[test]
fn what_the_manifest_no_longer_asks_for_is_not_looked_at() {
    let mut rollouts = recalled(RolloutState::Failed);
    rollouts.disregard(&key(0));
    assert_eq!(looks(&mut rollouts, 24 * 60), 0);
}

#[test]
fn where_a_project_may_not_be_listed_only_those_are_read_that_others_wait_for() {
    let mut rollouts = Rollouts::default();
    for service in 0..3 {
        rollouts.accepted(&key(service), digest(), Some(at(0)), None, at(0));
    }
    rollouts.want(BTreeSet::from([key(1)]));
    rollouts.next(Follow::DEFAULT, at(5000)).expect("is due");
    rollouts.looked(Looked::Nothing { error: "403".to_owned(), refused: true }, at(5000));
    assert!(rollouts.are_awaited(Follow::DEFAULT, at(5000), at(5000)));
    assert_eq!(rollouts.next(Follow::DEFAULT, at(15_000)), Some(Look::Service(key(1))));
    rollouts.looked(Looked::Service { status: completed(9000), paused: None }, at(15_000));
    assert_eq!(rollouts.of(&key(1)).map(|one| one.state), Some(RolloutState::Completed));
    assert!(!rollouts.are_awaited(Follow::DEFAULT, at(15_000), at(15_000)), "nobody waits for the others");
}

#[test]
fn a_pass_does_not_wait_for_a_window_only_to_learn_why_something_failed() {
    let mut rollouts = Rollouts::default();
    rollouts.accepted(&key(0), digest(), Some(at(500)), None, at(0));
    rollouts.next(Follow::DEFAULT, at(5000)).expect("is due");
    let failed = DeploymentStatus { stage: RolloutStage::Failed, scaling: false, since: Some(at(4000)) };
    rollouts.looked(page(0, Some(failed)), at(5000));
    assert!(rollouts.are_awaited(Follow::DEFAULT, at(5000), at(5000)));
    assert!(!rollouts.are_awaited(Follow::DEFAULT, at(10 * MINUTE), at(5000)));
}

#[test]
fn a_service_that_is_known_to_be_paused_waits_for_resume_after_an_update_too() {
    let mut rollouts = Rollouts::default();
    rollouts.accepted(&key(0), digest(), Some(at(500)), None, at(0));
    rollouts.saw(&key(0), completed(0), Some(true), at(1000));
    rollouts.accepted(&key(0), digest(), Some(at(20_500)), None, at(20_000));
    rollouts.saw(&key(0), completed(0), None, at(120_000));
    let waits = rollouts.of(&key(0)).expect("is followed");
    assert_eq!(waits.state, RolloutState::Unseen);
    assert!(waits.words().contains("waits for resume"), "{}", waits.words());
}
