use rusqlite::Connection;

use super::*;
use crate::ledger::{PersonRequest, Reader, RequestKind, ask, schema};
use crate::model::{Cause, Quarantine, Rollout, RolloutState};

fn failed(version: &str, second: i64, reason: Option<&str>) -> Quarantine {
    let digest = digest("shop/web", version);
    Quarantine { digest, since: at(second), reason: reason.map(Into::into), released: false, back: None, by: None }
}

fn of(reader: &Reader) -> Option<Quarantine> {
    reader.quarantines().unwrap().remove(&key("shop/web"))
}

async fn release(dir: &Path, second: i64) {
    let (kind, by, at) = (RequestKind::Release, "kim".to_owned(), at(second));
    let request =
        PersonRequest { kind, target: Some(key("shop/web")), reason: None, by, at, until: None, way_back: None };
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || ask(&dir, &[request], here(), at).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_release_is_of_the_failure_before_it_and_used_up_by_an_acceptance() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 5, None))).await;
    assert_eq!(of(ledger.reader()), Some(failed("2", 5, None)));
    drop(ledger);
    release(dir.path(), 6).await;
    let ledger = open(dir.path());
    // A reason that is found later is of the same failure.
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 5, Some("TASK_FAILED")))).await;
    let released = Quarantine { released: true, ..failed("2", 5, Some("TASK_FAILED")) };
    assert_eq!(of(ledger.reader()), Some(released));
    send(&ledger, "shop/web", "2", rejected()).await;
    assert!(of(ledger.reader()).is_some_and(|quarantine| quarantine.released), "nothing was sent");
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    assert_eq!(of(ledger.reader()), None);
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 9, None))).await;
    assert_eq!(of(ledger.reader()), Some(failed("2", 9, None)), "the release was of another failure");
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
    keep(&ledger, Keep::Quarantine(key("shop/web"), failed("2", 5, None))).await;
    drop(ledger);
    release(dir.path(), 6).await;
    let ledger = open(dir.path());
    ledger.adopt(adoption("shop/web", "2")).await.unwrap();
    assert_eq!(of(ledger.reader()), None, "it was sent");
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
