//! What every store has to keep, whatever it is made of. The tests know the public face alone: another store is put
//! through them by one more line at the end.

use super::*;
use crate::engine::Findings;
use crate::engine::Window;
use crate::ledger::{
    AppliedMark, CallId, Decider, End, Halt, Keep, Pause, PersonRequest, RequestKind, Sighting, StateRecord,
    TakenRequest, Turned, Word,
};
use crate::model::{Answer, DriftMode, Evidence, Quarantine, Rollout, RolloutState, ServiceState};
use crate::plan::{Adopt, Change, LetOut, Plan, PlannedChange, Reading, Rules, Seen};

/// A store that can be opened again, by this process and by the next.
trait Store: Default {
    fn open(&self) -> Ledger;

    /// A person writes, whoever has it open.
    fn ask(&self, request: PersonRequest);

    /// A person decides, whoever has it open.
    fn decide(&self, word: Word);
}

async fn an_intent_is_doubt_until_it_is_recorded(store: impl Store) {
    let ledger = store.open();
    assert!(ledger.reader().known().unwrap().is_empty());
    let call = ledger.intend(intent("shop/web", "1")).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
    ledger.record(call, ACCEPTED, at(2)).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
    assert!(matches!(ledger.record(call, ACCEPTED, at(3)).await, Err(WriteError::NotOpen(closed)) if closed == call));
}

async fn a_refusal_takes_its_own_doubt_back_and_no_other(store: impl Store) {
    let ledger = store.open();
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    send(&ledger, "shop/web", "2", rejected()).await;
    send(&ledger, "shop/web", "2", unsent()).await;
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
    send(&ledger, "shop/web", "2", unknown()).await;
    send(&ledger, "shop/web", "3", rejected()).await;
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
    ledger.adopt(adoption("shop/web", "2")).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "2"));
}

async fn a_new_start_interrupts_what_was_open(store: impl Store) {
    let ledger = store.open();
    let call = ledger.intend(intent("shop/web", "1")).await.unwrap();
    drop(ledger);
    let ledger = store.open();
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
    assert_eq!(ledger.reader().history(None, 1).unwrap()[0].end, End::Interrupted { at: at(0) });
    assert!(matches!(ledger.record(call, ACCEPTED, at(2)).await, Err(WriteError::NotOpen(_))));
    let next = ledger.intend(intent("shop/web", "2")).await.unwrap();
    assert!(next > call, "numbers are never given twice");
}

async fn everything_that_was_answered_is_there_after_a_restart(store: impl Store) {
    let ledger = store.open();
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    send(&ledger, "acme/shop/api", "1", rejected()).await;
    ledger.put_off(intent("shop/late", "1"), unsent()).await.unwrap();
    ledger.set_pause(Some(Pause { until: at(60), reason: "rate limit".into(), set_at: at(0) })).await.unwrap();
    let window = Window { limit: 1000, remaining: 7, resets_at: at(90) };
    ledger.set_quota(window, at(0)).await.unwrap();
    ledger.set_turned(Some(Turned { at: at(5), version: None, reason: "410 Gone".into() })).await.unwrap();
    let change = Change { path: "external.imagePath".into(), from: Some("nginx:0".into()), to: None };
    let reading = Reading {
        differences: [change].into(),
        undecided: ["external.credentials".to_owned()].into(),
        ..Reading::default()
    };
    let seen = Seen { compared: digest("shop/web", "1"), at: at(3), reading };
    let sighting = Sighting { at: at(3), kind: None, seen: Some(seen.clone()), unnamed: None, failure: None };
    ledger.saw(&key("shop/web"), sighting).await.unwrap();
    let state = StateRecord {
        state: ServiceState::Stalled,
        since: at(3),
        until: Some(at(33)),
        reason: Some("422".into()),
        digest: Some(digest("shop/web", "1")),
        attempts: 2,
    };
    let halt = Halt { state: ServiceState::Unreachable, until: at(9), reason: "no route".into() };
    let rules = Rules { adopt: Adopt::SendFirst, drift: DriftMode::Correct };
    let decider = Decider { rules, reserve_percent: 7, halt: Some(halt) };
    ledger.set_states(vec![(key("shop/gone"), Some(state.clone()))], decider.clone(), at(3)).await.unwrap();
    let states = vec![(key("shop/web"), Some(state.clone())), (key("shop/gone"), None)];
    ledger.set_states(states, decider.clone(), at(4)).await.unwrap();
    drop(ledger);

    let ledger = store.open();
    let reader = ledger.reader();
    assert_eq!(reader.known().unwrap(), [(key("shop/web"), applied("shop/web", "1").unwrap())].into());
    let record = reader.applied(&key("shop/web")).unwrap().unwrap();
    assert_eq!((record.digest, record.at, record.cause.as_str()), (digest("shop/web", "1"), at(2), "changed"));
    assert_eq!((record.revision, record.place), (revision().to_string(), place()));
    assert_eq!(record.spec.as_ref(), reader.specs().unwrap().get(&key("shop/web")));
    let mark = AppliedMark { revision: revision().to_string(), headline: None, at: at(2) };
    assert_eq!(reader.marks().unwrap(), [(key("shop/web"), mark)].into());
    let mut services = reader.services().unwrap();
    services.sort();
    assert_eq!(services, [key("shop/late"), key("shop/web"), key("acme/shop/api")]);
    let history = reader.history(None, 10).unwrap();
    let calls: Vec<CallId> = history.iter().map(|entry| entry.call).collect();
    assert!(calls.len() == 3 && calls.is_sorted_by(|newer, older| newer > older), "{calls:?}");
    assert_eq!(reader.history(Some(&key("shop/web")), 10).unwrap().len(), 1);
    assert_eq!(reader.pause().unwrap().unwrap().until, at(60));
    assert_eq!(reader.quota().unwrap(), Some(window));
    assert_eq!(reader.turned().unwrap().unwrap().reason, "410 Gone");
    assert_eq!(reader.sightings().unwrap()[&key("shop/web")].seen, Some(seen));
    let states = reader.states().unwrap().unwrap();
    assert_eq!((states.at, states.decider, states.of), (at(4), decider, [(key("shop/web"), state)].into()));
    assert_eq!(reader.place().unwrap(), Some(here()));
}

async fn a_hint_goes_with_the_next_write_and_the_newest_wins(store: impl Store) {
    let ledger = store.open();
    for remaining in [9, 8, 7] {
        ledger.keep_quota(Window { limit: 10, remaining, resets_at: at(9) }, at(0));
    }
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    assert_eq!(ledger.reader().quota().unwrap().unwrap().remaining, 7);
    ledger.keep_quota(Window { limit: 10, remaining: 6, resets_at: at(9) }, at(0));
    drop(ledger);
    assert_eq!(store.open().reader().quota().unwrap().unwrap().remaining, 6, "the end is a write too");
}

async fn drift_that_was_corrected_counts_for_the_present_content_alone(store: impl Store) {
    let ledger = store.open();
    let corrected = |tag| Intent { cause: Cause::Drifted, ..intent("shop/web", tag) };
    for tag in ["1", "2"] {
        let call = ledger.intend(corrected(tag)).await.unwrap();
        ledger.record(call, ACCEPTED, at(2)).await.unwrap();
    }
    assert_eq!(ledger.reader().corrections(at(0)).unwrap(), [(key("shop/web"), at(2))]);
    assert!(ledger.reader().corrections(at(3)).unwrap().is_empty());
}

async fn a_rollout_begins_with_its_acceptance_and_ends_with_a_newer_one(store: impl Store) {
    let ledger = store.open();
    let accepted = async |ledger: &Ledger, tag, second| {
        let call = ledger.intend(intent("shop/web", tag)).await.unwrap();
        ledger.record_at(call, ACCEPTED, at(second), Some(at(second + 300))).await.unwrap();
    };
    accepted(&ledger, "1", 1).await;
    drop(ledger);
    let ledger = store.open();
    let mut first = Rollout::accepted(digest("shop/web", "1"), at(1), Some(at(301)));
    assert_eq!(ledger.reader().rollouts().unwrap(), [(key("shop/web"), first.clone())].into());
    (first.state, first.since, first.evidence) = (RolloutState::Failed, at(2), Evidence::Time);
    (first.reason, first.deployment_id) = (Some("2 of 3".into()), Some("d-1".into()));
    keep(&ledger, Keep::Rollout(key("shop/web"), first.clone())).await;
    assert_eq!(ledger.reader().rollouts().unwrap()[&key("shop/web")], first);
    accepted(&ledger, "2", 3).await;
    accepted(&ledger, "3", 4).await;
    // What is known late of an older one changes nothing.
    keep(&ledger, Keep::Rollout(key("shop/web"), first)).await;
    drop(ledger);
    let ledger = store.open();
    let history = ledger.reader().history(None, 9).unwrap();
    let states: Vec<_> = history.iter().map(|entry| entry.rollout.as_ref().unwrap().state).collect();
    assert_eq!(states, [RolloutState::Unseen, RolloutState::Superseded, RolloutState::Failed]);
    assert_eq!(ledger.reader().rollouts().unwrap()[&key("shop/web")].digest, digest("shop/web", "3"));
}

async fn what_is_read_beside_the_runtime_is_what_was_answered(store: impl Store) {
    let ledger = store.open();
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    let read = ledger.read(|reader| Ok((reader.known()?, reader.files()?))).await.unwrap();
    assert_eq!(read.0, [(key("shop/web"), applied("shop/web", "1").unwrap())].into());
    assert_eq!(read.1, [(key("shop/web"), place().file)].into());
}

fn request(kind: RequestKind, second: i64) -> PersonRequest {
    let (target, by) = (Some(key("shop/web")), "kim".to_owned());
    PersonRequest { kind, target, reason: None, by, at: at(second), until: None, way_back: None }
}

async fn a_request_waits_until_it_is_taken_up_with_all_that_follows(store: impl Store) {
    let ledger = store.open();
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    store.ask(request(RequestKind::Forget, 3));
    let open_requests = ledger.reader().people().unwrap().requests;
    assert_eq!(open_requests.len(), 1);
    let (id, result) = (open_requests[0].id, "forgotten".to_owned());
    let taken = TakenRequest { id, result, forgets: Some(key("shop/web")), at: at(4) };
    keep(&ledger, Keep::Taken(taken)).await;
    drop(ledger);
    let ledger = store.open();
    assert!(ledger.reader().known().unwrap().is_empty() && ledger.reader().open_requests().unwrap().is_empty());
    assert_eq!(ledger.reader().history(None, 9).unwrap().len(), 1, "what was sent stays in history");
    let taken = ledger.reader().requests(Some(&key("shop/web")), 9).unwrap();
    assert_eq!((taken[0].taken_at, taken[0].result.as_deref()), (Some(at(4)), Some("forgotten")));
}

async fn a_quarantine_holds_until_it_is_lifted(store: impl Store) {
    let ledger = store.open();
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    let digest = digest("shop/web", "2");
    let failed = Quarantine { digest, since: at(5), reason: None, released: false, back: None, by: None };
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed.clone())).await;
    drop(ledger);
    let ledger = store.open();
    assert_eq!(ledger.reader().quarantines().unwrap(), [(key("shop/web"), failed)].into());
    keep(&ledger, Keep::Lifted(key("shop/web"), digest)).await;
    assert!(ledger.reader().quarantines().unwrap().is_empty());
}

async fn decisions_and_what_they_let_out_outlive_the_process(store: impl Store) {
    let ledger = store.open();
    let change = PlannedChange { service: key("shop/web"), from: None, to: digest("shop/web", "1") };
    let content = vec![(change.service.clone(), change.to)];
    let plan = Plan::of_changes([change]).id().unwrap();
    let (answer, by) = (Answer::Approve, Some("ada".into()));
    store.decide(Word { plan, content, answer, by, reason: None, at: at(1), until: None });
    let let_out = vec![(key("shop/web"), LetOut { content: digest("shop/web", "1"), by: None })];
    let findings = Findings { let_out: let_out.clone(), ..Findings::default() };
    keep(&ledger, Keep::Findings(findings)).await;
    drop(ledger);
    let ledger = store.open();
    let decisions = ledger.reader().decisions().unwrap();
    assert_eq!((decisions.len(), decisions[0].answer), (1, Answer::Approve));
    assert_eq!(ledger.reader().let_out().unwrap(), let_out);
}

/// A test for each of them.
macro_rules! conforms {
    ($store:ident: $($test:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            super::$test(super::$store::default()).await;
        }
    )*};
}

#[derive(Default)]
struct Sqlite {
    dir: std::cell::OnceCell<TempDir>,
}

impl Store for Sqlite {
    fn open(&self) -> Ledger {
        super::open(self.path())
    }

    fn ask(&self, request: PersonRequest) {
        let at = request.at;
        tokio::task::block_in_place(|| crate::ledger::ask(self.path(), &[request], here(), at)).unwrap();
    }

    fn decide(&self, word: Word) {
        tokio::task::block_in_place(|| crate::ledger::decide(self.path(), here(), word)).unwrap();
    }
}

impl Sqlite {
    fn path(&self) -> &Path {
        self.dir.get_or_init(folder).path()
    }
}

mod sqlite {
    conforms!(
        Sqlite: an_intent_is_doubt_until_it_is_recorded,
        a_refusal_takes_its_own_doubt_back_and_no_other,
        a_new_start_interrupts_what_was_open,
        everything_that_was_answered_is_there_after_a_restart,
        a_hint_goes_with_the_next_write_and_the_newest_wins,
        drift_that_was_corrected_counts_for_the_present_content_alone,
        a_rollout_begins_with_its_acceptance_and_ends_with_a_newer_one,
        what_is_read_beside_the_runtime_is_what_was_answered,
        a_request_waits_until_it_is_taken_up_with_all_that_follows,
        a_quarantine_holds_until_it_is_lifted,
        decisions_and_what_they_let_out_outlive_the_process,
    );
}
