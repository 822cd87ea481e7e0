use rusqlite::Connection;

use super::*;
use crate::ledger::{PersonRequest, Reader, RequestKind, RequestRecord, TakenRequest, WayBack, ask, schema};
use crate::model::{Cause, Quarantine, Rollout, RolloutState};

fn failed(version: &str, second: i64, reason: Option<&str>) -> Quarantine {
    let digest = digest("shop/web", version);
    Quarantine { digest, since: at(second), reason: reason.map(Into::into), released: false, back: None, by: None }
}

fn of(reader: &Reader) -> Option<Quarantine> {
    reader.quarantines().unwrap().remove(&key("shop/web"))
}

/// The same once everything was taken up that people asked for.
fn as_asked(reader: &Reader) -> Option<Quarantine> {
    reader.quarantines_as_asked().unwrap().remove(&key("shop/web"))
}

fn released(quarantine: Quarantine) -> Quarantine {
    Quarantine { released: true, ..quarantine }
}

fn asks(kind: RequestKind, second: i64) -> PersonRequest {
    let by = "kim".to_owned();
    PersonRequest { kind, target: Some(key("shop/web")), reason: None, by, at: at(second), until: None, way_back: None }
}

/// Somebody takes version 2 back, to have version 1 again.
fn rollback(second: i64) -> PersonRequest {
    let way_back = WayBack { from: digest("shop/web", "2"), to: digest("shop/web", "1") };
    PersonRequest { way_back: Some(way_back), ..asks(RequestKind::Rollback, second) }
}

/// Writes a request while nobody has the ledger.
async fn ask_for(dir: &Path, request: PersonRequest) {
    let (dir, at) = (dir.to_owned(), request.at);
    tokio::task::spawn_blocking(move || ask(&dir, &[request], here(), at).unwrap()).await.unwrap();
}

/// Takes up the requests that are open, with what follows from them.
async fn take(ledger: &Ledger, follows: Keep) {
    let open = ledger.reader().open_requests().unwrap().into_iter();
    let taken = open.map(|RequestRecord { id, .. }| {
        Keep::Taken(TakenRequest { id, result: "taken".to_owned(), forgets: None, at: at(20) })
    });
    ledger.keep([follows].into_iter().chain(taken).collect()).await.unwrap();
}

#[tokio::test]
async fn a_release_is_of_the_failure_before_it_and_used_up_by_an_acceptance() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 5, None))).await;
    assert_eq!(of(ledger.reader()), Some(failed("2", 5, None)));
    drop(ledger);
    ask_for(dir.path(), asks(RequestKind::Release, 6)).await;
    let ledger = open(dir.path());
    assert_eq!(of(ledger.reader()), Some(failed("2", 5, None)), "nobody took it up");
    assert_eq!(as_asked(ledger.reader()), Some(released(failed("2", 5, None))));
    take(&ledger, Keep::Quarantine(key("shop/web"), released(failed("2", 5, Some("TASK_FAILED"))))).await;
    assert_eq!(of(ledger.reader()), Some(released(failed("2", 5, Some("TASK_FAILED")))));
    send(&ledger, "shop/web", "2", rejected()).await;
    assert!(of(ledger.reader()).is_some_and(|quarantine| quarantine.released), "nothing was sent");
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    assert_eq!(of(ledger.reader()), None);
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 9, None))).await;
    assert_eq!(as_asked(ledger.reader()), Some(failed("2", 9, None)), "the release was of another failure");
}

#[tokio::test]
async fn what_is_found_live_is_released_only_by_a_person_and_what_is_lifted_is_gone() {
    let dir = folder();
    let ledger = open(dir.path());
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 5, None))).await;
    ledger.adopt(adoption("shop/web", "2")).await.unwrap();
    assert!(of(ledger.reader()).is_some());
    keep(&ledger, Keep::Lifted(key("shop/web"), digest("shop/web", "1"))).await;
    assert!(of(ledger.reader()).is_some(), "that is other content");
    keep(&ledger, Keep::Lifted(key("shop/web"), digest("shop/web", "2"))).await;
    assert_eq!(of(ledger.reader()), None);
    keep(&ledger, Keep::Quarantine(key("shop/web"), released(failed("2", 5, None)))).await;
    ledger.adopt(adoption("shop/web", "2")).await.unwrap();
    assert_eq!(of(ledger.reader()), None, "it was sent");
}

#[tokio::test]
async fn what_people_asked_for_in_a_row_holds_in_their_order_before_anybody_takes_it_up() {
    let dir = folder();
    let ledger = open(dir.path());
    deploy(&ledger, "2", RolloutState::Completed).await;
    drop(ledger);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let taken_back = |second| rollback(second).taken_back();
    ask_for(dir.path(), rollback(5)).await;
    assert_eq!(as_asked(&reader), taken_back(5));
    ask_for(dir.path(), asks(RequestKind::Release, 6)).await;
    assert_eq!(as_asked(&reader), None, "it runs still, and nothing has to be sent");
    ask_for(dir.path(), rollback(7)).await;
    assert_eq!(as_asked(&reader), taken_back(7));
    assert_eq!(of(&reader), None);

    let ledger = open(dir.path());
    deploy(&ledger, "2", RolloutState::Failed).await;
    drop(ledger);
    ask_for(dir.path(), asks(RequestKind::Release, 8)).await;
    assert!(as_asked(&reader).is_some_and(|left| left.released), "its rollout failed, so that it is sent once more");
}

#[test]
fn a_ledger_of_the_format_before_is_read_as_it_is_and_quarantines_once_it_is_opened() {
    let dir = folder();
    let mut old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    schema::migrate(&mut old, &schema::STEPS[..10]).unwrap();
    old.close().unwrap();
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert!(reader.quarantines().unwrap().is_empty());
    drop(reader);
    assert!(open(dir.path()).reader().quarantines().unwrap().is_empty());

    let dir = folder();
    let mut old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    schema::migrate(&mut old, &schema::STEPS[..11]).unwrap();
    let insert = "INSERT INTO quarantine (name, digest, since, requests) VALUES ('shop/web', zeroblob(32), 5, 0)";
    old.execute_batch(insert).unwrap();
    old.close().unwrap();
    let read = Reader::open(dir.path()).unwrap().unwrap().quarantines().unwrap();
    assert_eq!(read[&key("shop/web")].back, None);
    assert_eq!(open(dir.path()).reader().quarantines().unwrap(), read);
}

#[test]
fn a_release_in_a_ledger_of_format_13_stays_one_where_it_was_taken_up() {
    for format in 11..=13 {
        for taken_at in ["7", "NULL"] {
            let dir = folder();
            let mut old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
            schema::migrate(&mut old, &schema::STEPS[..format]).unwrap();
            old.execute_batch(&format!(
                "INSERT INTO quarantine (name, digest, since, requests) VALUES ('shop/web', zeroblob(32), 5, 0);
                INSERT INTO request (id, kind, target, by, at, taken_at)
                VALUES (1, 'release', 'shop/web', 'kim', 6, {taken_at})"
            ))
            .unwrap();
            old.close().unwrap();
            let is_released = |reader: &Reader| of(reader).is_some_and(|quarantine| quarantine.released);
            assert_eq!(is_released(&Reader::open(dir.path()).unwrap().unwrap()), taken_at == "7", "{format}");
            assert_eq!(is_released(open(dir.path()).reader()), taken_at == "7", "{format}");
        }
    }
}

/// Sends a version, and says how its rollout ended.
async fn deploy(ledger: &Ledger, version: &str, state: RolloutState) {
    send(ledger, "shop/web", version, ACCEPTED).await;
    let rollout = Rollout { state, ..Rollout::accepted(digest("shop/web", version), at(1), None) };
    keep(ledger, Keep::Rollout(key("shop/web"), rollout)).await;
}

#[tokio::test]
async fn the_last_version_that_ran_is_kept_and_found_however_many_failed_since() {
    let dir = folder();
    let ledger = open(dir.path());
    let good = |failed: &str| ledger.reader().last_good(&key("shop/web"), digest("shop/web", failed)).unwrap();
    deploy(&ledger, "1", RolloutState::Completed).await;
    deploy(&ledger, "2", RolloutState::None).await;
    for number in 3..12 {
        deploy(&ledger, &number.to_string(), RolloutState::Failed).await;
    }
    let (content, spec) = good("11").unwrap();
    assert_eq!(content, digest("shop/web", "2"));
    assert_eq!(ledger.reader().body(&key("shop/web"), content).unwrap(), Some((content, spec)));
    assert_eq!(good("2").map(|(content, _)| content), None, "the body of what ran before it had to go");
    ledger.adopt(adoption("shop/web", "20")).await.unwrap();
    assert_eq!(good("11").unwrap().0, digest("shop/web", "2"), "nobody saw whether that ran");
    ledger.adopt(Adoption { runs: true, ..adoption("shop/web", "21") }).await.unwrap();
    assert_eq!(good("11").unwrap().0, digest("shop/web", "21"));
}

#[tokio::test]
async fn what_is_sent_back_is_on_disk_with_its_intent() {
    let dir = folder();
    let ledger = open(dir.path());
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 5, None))).await;
    ledger.intend(Intent { cause: Cause::Rollback, ..intent("shop/web", "1") }).await.unwrap();
    assert_eq!(of(ledger.reader()).unwrap().back, Some(digest("shop/web", "1")));
}
