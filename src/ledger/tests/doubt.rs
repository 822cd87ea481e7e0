//! What is known after which calls: the rules one by one, then random histories against a model.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::ledger::{CallId, End};

#[tokio::test]
async fn an_intent_alone_leaves_its_service_in_doubt() {
    let dir = folder();
    let ledger = open(dir.path());
    assert_eq!(known(&ledger, "shop/web"), None);
    ledger.intend(intent("shop/web", "1")).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
    assert_eq!(known(&ledger, "shop/api"), None);
}

#[tokio::test]
async fn each_outcome_leaves_what_the_service_has_for_certain() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", rejected()).await;
    assert_eq!(known(&ledger, "shop/web"), None, "nothing was ever accepted");
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
    send(&ledger, "shop/web", "2", rejected()).await;
    send(&ledger, "shop/web", "2", unsent()).await;
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"), "it has what it had");
    send(&ledger, "shop/web", "2", unknown()).await;
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt), "doubt wins over an older digest");
    send(&ledger, "shop/web", "3", rejected()).await;
    send(&ledger, "shop/web", "3", unsent()).await;
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt), "2 may still be live");
    send(&ledger, "shop/web", "3", ACCEPTED).await;
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "3"));
}

#[tokio::test]
async fn adopting_settles_a_doubt() {
    let dir = folder();
    let ledger = open(dir.path());
    ledger.intend(intent("shop/web", "1")).await.unwrap();
    ledger.adopt(adoption("shop/web", "2")).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "2"));
    let record = ledger.reader().applied(&key("shop/web")).unwrap().unwrap();
    assert_eq!((record.cause.as_str(), record.digest), ("adopted", digest("shop/web", "2")));
}

#[tokio::test]
async fn what_was_accepted_is_read_back_whole() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "acme/shop/web", "1", ACCEPTED).await;
    let record = ledger.reader().applied(&key("acme/shop/web")).unwrap().unwrap();
    assert_eq!(record.digest, digest("acme/shop/web", "1"));
    assert_eq!(record.spec, Some(serde_json::to_string(&update("1")).unwrap()));
    assert_eq!(record.revision, revision().to_string());
    assert_eq!(record.place, place());
    assert_eq!(record.cause, "changed");
    assert_eq!(record.at, at(2));
    assert_eq!(ledger.reader().applied(&key("shop/web")).unwrap(), None, "another team's service is another one");
}

#[tokio::test]
async fn a_call_ends_once() {
    let dir = folder();
    let ledger = open(dir.path());
    let first = ledger.intend(intent("shop/web", "1")).await.unwrap();
    ledger.record(first, unknown(), at(2)).await.unwrap();
    assert!(matches!(ledger.record(first, rejected(), at(3)).await, Err(WriteError::NotOpen(call)) if call == first));
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
    let second = ledger.intend(intent("shop/web", "2")).await.unwrap();
    let third = ledger.intend(intent("shop/web", "3")).await.unwrap();
    assert!(matches!(ledger.record(second, ACCEPTED, at(3)).await, Err(WriteError::NotOpen(_))));
    ledger.record(third, ACCEPTED, at(4)).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "3"));
}

#[derive(Clone, Debug)]
enum Act {
    Intend(usize, usize),
    /// Of the call that was begun so many calls ago.
    Record(usize, Outcome),
    Adopt(usize, usize),
    Reopen,
    Crash,
}

const SERVICES: [&str; 3] = ["shop/web", "acme/shop/web", "shop/api"];
const TAGS: [&str; 3] = ["1", "2", "3"];

fn act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![
        3 => Just(ACCEPTED),
        3 => Just(rejected()),
        1 => Just(unsent()),
        2 => Just(unknown()),
    ];
    prop_oneof![
        6 => (0..SERVICES.len(), 0..TAGS.len()).prop_map(|(service, tag)| Act::Intend(service, tag)),
        6 => (prop_oneof![4 => Just(0usize), 1 => 0..4usize], outcome).prop_map(|(back, end)| Act::Record(back, end)),
        1 => (0..SERVICES.len(), 0..TAGS.len()).prop_map(|(service, tag)| Act::Adopt(service, tag)),
        1 => Just(Act::Reopen),
        1 => Just(Act::Crash),
    ]
}

/// Every call there was, in order, with its end; what is known follows from reading it backwards.
#[derive(Default)]
struct Model {
    calls: Vec<Call>,
    /// How many of them were there when the ledger was copied last.
    copied: usize,
}

struct Call {
    id: CallId,
    service: usize,
    tag: usize,
    end: End,
}

impl Model {
    fn begin(&mut self, id: CallId, service: usize, tag: usize, end: End) {
        self.interrupt(|call| call.service == service, at(1));
        self.calls.push(Call { id, service, tag, end });
    }

    fn interrupt(&mut self, which: impl Fn(&Call) -> bool, at: Timestamp) {
        for call in self.calls.iter_mut().filter(|call| call.end == End::Open && which(call)) {
            call.end = End::Interrupted { at };
        }
    }

    fn known(&self) -> HashMap<ServiceKey, Known> {
        let mut known = HashMap::new();
        for (service, name) in SERVICES.iter().enumerate() {
            let mut doubt = false;
            let mut last = None;
            for (index, call) in self.calls.iter().enumerate().rev().filter(|(_, call)| call.service == service) {
                match &call.end {
                    End::Recorded { outcome: Outcome::Accepted { .. }, .. } | End::Adopted { .. } => {
                        last = applied(name, TAGS[call.tag]);
                        if index < self.copied {
                            last = last.map(Known::suspected);
                        }
                        break;
                    }
                    End::Open | End::Interrupted { .. } => doubt = true,
                    End::Recorded { outcome: Outcome::Unknown { .. }, .. } => doubt = true,
                    End::Recorded { .. } => {}
                }
            }
            let what = if doubt { Some(Known::InDoubt) } else { last };
            known.extend(what.map(|what| (key(name), what)));
        }
        known
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_history_with_restarts_and_crashes_is_known_as_the_model_has_it(acts in prop::collection::vec(act(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut model = Model::default();
        let mut dir = folder();
        let mut ledger = open(dir.path());
        // Those that crashed; they live on in their own folders until the end.
        let mut dead = Vec::new();
        for act in acts {
            match act {
                Act::Intend(service, tag) => {
                    let id = runtime.block_on(ledger.intend(intent(SERVICES[service], TAGS[tag]))).unwrap();
                    model.begin(id, service, tag, End::Open);
                }
                Act::Record(back, outcome) => {
                    let Some(index) = model.calls.len().checked_sub(1 + back) else { continue };
                    let call = &mut model.calls[index];
                    let answer = runtime.block_on(ledger.record(call.id, outcome.clone(), at(2)));
                    prop_assert_eq!(answer.is_ok(), call.end == End::Open);
                    if answer.is_ok() {
                        call.end = End::Recorded { outcome, at: at(2) };
                    }
                }
                Act::Adopt(service, tag) => {
                    let id = runtime.block_on(ledger.adopt(adoption(SERVICES[service], TAGS[tag]))).unwrap();
                    model.begin(id, service, tag, End::Adopted { at: at(1) });
                }
                Act::Reopen => {
                    drop(ledger);
                    ledger = open(dir.path());
                    model.interrupt(|_| true, at(0));
                }
                Act::Crash => {
                    let copy = crash_copy(dir.path());
                    dead.push((std::mem::replace(&mut ledger, open(copy.path())), std::mem::replace(&mut dir, copy)));
                    model.interrupt(|_| true, at(0));
                    model.copied = model.calls.len();
                }
            }
            prop_assert_eq!(ledger.reader().known().unwrap(), model.known());
        }
        let history = ledger.reader().history(None, 100).unwrap();
        let had: Vec<_> = history.into_iter().rev().map(|entry| (entry.call, entry.end)).collect();
        let want: Vec<_> = model.calls.into_iter().map(|call| (call.id, call.end)).collect();
        prop_assert_eq!(had, want);
    }
}

#[tokio::test]
async fn an_update_that_was_put_off_is_in_history_and_casts_no_doubt() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    ledger.put_off(intent("shop/web", "2"), rejected()).await.unwrap();
    ledger.put_off(intent("shop/new", "1"), unsent()).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
    assert_eq!(ledger.reader().known().unwrap().get(&key("shop/new")), None);
    let history = ledger.reader().history(None, 2).unwrap();
    let ends: Vec<_> = history.into_iter().map(|entry| entry.end).collect();
    let recorded = |outcome| End::Recorded { outcome, at: at(1) };
    assert_eq!(ends, [recorded(unsent()), recorded(rejected())]);
}

#[tokio::test]
async fn a_request_whose_end_is_lost_stays_unsettled_until_its_time_or_until_its_content_is_seen() {
    let dir = folder();
    let until = |digest| crate::engine::Unsettled { digest, until: at(40) };
    let send = |tag: &str| Intent { settles_at: at(40), ..intent("shop/web", tag) };
    let ledger = open(dir.path());
    let lost = ledger.intend(send("1")).await.unwrap();
    ledger.record(lost, Outcome::Unknown { status: Some(502), error: "bad gateway".into() }, at(2)).await.unwrap();
    let refused = ledger.intend(send("2")).await.unwrap();
    ledger.record(refused, Outcome::Rejected { status: 400, error: "no".into() }, at(3)).await.unwrap();
    let newer = ledger.intend(send("3")).await.unwrap();
    ledger.record(newer, Outcome::Accepted { status: 200 }, at(4)).await.unwrap();
    let unverified = Known::Applied(crate::model::Applied { digest: digest("shop/web", "3"), unverified: true });
    assert_eq!(known(&ledger, "shop/web"), Some(unverified), "the lost one may come after it");
    assert_eq!(ledger.reader().unsettled().unwrap(), [(key("shop/web"), until(digest("shop/web", "1")))]);
    let others = ledger.reader().others(&key("shop/web")).unwrap();
    assert_eq!(others.len(), 2, "what was applied, and what may still arrive");
    // A read that began too early proves nothing, one after the time does.
    ledger.adopt(Adoption { at: at(39), ..adoption("shop/web", "3") }).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), Some(unverified));
    // A process that is killed leaves the same behind.
    let _ = ledger.intend(send("4")).await.unwrap();
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
    assert_eq!(ledger.reader().unsettled().unwrap().len(), 2);
    ledger.adopt(Adoption { at: at(40), ..adoption("shop/web", "3") }).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "3"));
    assert_eq!(ledger.reader().unsettled().unwrap(), []);
}
