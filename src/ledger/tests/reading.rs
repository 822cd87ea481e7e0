//! Reading: beside a writer, without one, and without a ledger.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::ledger::{AppliedMark, Before, End, Reader, Traces};
use crate::model::Headline;

fn names(dir: &Path) -> Vec<String> {
    contents(dir).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn without_a_ledger_there_is_nothing_to_read_and_nothing_is_made() {
    let dir = folder();
    assert!(Reader::open(dir.path()).unwrap().is_none());
    assert!(names(dir.path()).is_empty());
    let missing = dir.path().join("missing");
    assert!(Reader::open(&missing).unwrap().is_none());
    assert!(!missing.exists());
    fs::write(dir.path().join("ledger.sqlite"), "").unwrap();
    assert!(Reader::open(dir.path()).unwrap().is_none());
    assert_eq!(names(dir.path()), ["ledger.sqlite"]);
}

#[tokio::test]
async fn a_reader_sees_what_a_writer_commits_beside_it() {
    let dir = folder();
    let ledger = open(dir.path());
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert!(reader.known().unwrap().is_empty());
    let call = ledger.intend(intent("shop/web", "1")).await.unwrap();
    assert_eq!(reader.known().unwrap()[&key("shop/web")], Known::InDoubt);
    assert_eq!(reader.history(None, 10).unwrap()[0].end, End::Open);
    ledger.record(call, ACCEPTED, at(2)).await.unwrap();
    assert_eq!(reader.known().unwrap().get(&key("shop/web")).copied(), applied("shop/web", "1"));
    let entry = reader.history(Some(&key("shop/web")), 10).unwrap().remove(0);
    assert_eq!(entry.end, End::Recorded { outcome: ACCEPTED, at: at(2) });
    assert_eq!((entry.began, entry.attempt, entry.cause.as_str()), (at(1), 1, "changed"));
    assert_eq!((entry.revision, entry.place), (revision().to_string(), place()));
    assert_eq!(entry.spec, Some(serde_json::to_string(&update("1")).unwrap()));
}

#[tokio::test]
async fn services_are_named_once_and_marked_when_they_were_applied() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    send(&ledger, "shop/web", "2", rejected()).await;
    send(&ledger, "shop/api", "1", rejected()).await;
    let reader = ledger.reader();
    let mut services = reader.services().unwrap();
    services.sort();
    assert_eq!(services, [key("shop/api"), key("shop/web")]);
    let marks = reader.marks().unwrap();
    let mark = AppliedMark { revision: revision().to_string(), headline: None, at: at(2) };
    assert_eq!(marks, [(key("shop/web"), mark)].into());
}

#[tokio::test]
async fn writing_leaves_traces_and_reading_none() {
    let dir = folder();
    let absent = Traces::of(dir.path());
    let ledger = open(dir.path());
    let opened = Traces::of(dir.path());
    assert_ne!(opened, absent);
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    let written = Traces::of(dir.path());
    assert_ne!(written, opened);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    reader.history(None, 10).unwrap();
    reader.holder().unwrap();
    drop(reader);
    assert_eq!(Traces::of(dir.path()), written);
}

#[tokio::test]
async fn a_transaction_that_is_not_committed_is_not_read_and_does_not_hold_up_reading() {
    let dir = folder();
    let ledger = open(dir.path());
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let answer = probe(&ledger, move |connection| {
        connection.execute("INSERT INTO service (name, doubts) VALUES ('shop/web', 1)", [])?;
        assert!(reader.known().unwrap().is_empty());
        Ok(())
    });
    answer.await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
}

#[tokio::test]
async fn a_reader_without_a_writer_makes_no_file_and_notices_when_one_comes() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    drop(ledger);
    let before = contents(dir.path());
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.known().unwrap().len(), 1);
    assert_eq!(contents(dir.path()), before);

    let ledger = open(dir.path());
    send(&ledger, "shop/api", "1", ACCEPTED).await;
    assert_eq!(reader.known().unwrap().len(), 2, "beside the writer that came");
    drop(ledger);
    drop(open(dir.path()));
    assert_eq!(reader.known().unwrap().len(), 2);
}

#[tokio::test]
async fn a_reader_that_read_the_file_alone_sees_what_came_and_went_meanwhile() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    drop(ledger);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.known().unwrap().len(), 1);
    let ledger = open(dir.path());
    send(&ledger, "shop/api", "1", ACCEPTED).await;
    drop(ledger);
    assert_eq!(reader.known().unwrap().len(), 2);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_can_be_read() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    drop(ledger);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(dir.path().join("ledger.sqlite"), fs::Permissions::from_mode(0o400)).unwrap();
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    assert_eq!(reader.known().unwrap().len(), 1);
    assert_eq!(reader.holder().unwrap(), None);
    drop(reader);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn history_comes_newest_first_and_stops_at_the_limit() {
    let dir = folder();
    let ledger = open(dir.path());
    for tag in ["1", "2", "3"] {
        send(&ledger, "shop/web", tag, ACCEPTED).await;
        send(&ledger, "shop/api", tag, rejected()).await;
    }
    let of_one = ledger.reader().history(Some(&key("shop/web")), 2).unwrap();
    let digests: Vec<_> = of_one.iter().map(|entry| entry.digest).collect();
    assert_eq!(digests, [digest("shop/web", "3"), digest("shop/web", "2")]);
    let of_all = ledger.reader().history(None, 3).unwrap();
    let keys: Vec<_> = of_all.iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(keys, ["shop/api", "shop/web", "shop/api"]);
    assert!(ledger.reader().history(Some(&key("shop/none")), 3).unwrap().is_empty());
}

#[tokio::test]
async fn the_bodies_of_all_services_are_those_of_each() {
    let dir = folder();
    let ledger = open(dir.path());
    for (service, tag) in [("shop/web", "1"), ("shop/api", "1"), ("shop/web", "2")] {
        send(&ledger, service, tag, ACCEPTED).await;
    }
    ledger.intend(intent("shop/new", "1")).await.unwrap();
    let specs = ledger.reader().specs().unwrap();
    assert_eq!(specs.len(), 2);
    for service in ["shop/web", "shop/api"] {
        let one = ledger.reader().applied(&key(service)).unwrap().unwrap();
        assert_eq!(Some(&specs[&key(service)]), one.spec.as_ref());
    }
}

#[tokio::test]
async fn history_has_what_stood_before_a_call_and_what_was_written_about_its_commit() {
    let dir = folder();
    let ledger = open(dir.path());
    ledger.adopt(adoption("shop/web", "1")).await.unwrap();
    for (tag, subject, outcome) in [
        ("2", "Second", Outcome::Accepted { status: 200 }),
        ("3", "Third", Outcome::Rejected { status: 422, error: "".into() }),
        ("4", "Fourth", Outcome::Accepted { status: 200 }),
    ] {
        let headline = Some(Arc::new(Headline::new(subject.as_bytes(), b"Ada")));
        let revision = Revision::Git { commit: tag.repeat(40), dirty: false, headline };
        let call = ledger.intend(Intent { revision, ..intent("shop/web", tag) }).await.unwrap();
        ledger.record(call, outcome, at(2)).await.unwrap();
    }
    let body = |tag| Before::Kept(serde_json::to_string(&update(tag)).unwrap());
    let history = ledger.reader().history(None, 10).unwrap();
    let before: Vec<_> = history.iter().map(|entry| entry.before.clone()).collect();
    assert_eq!(before, [body("2"), body("2"), body("1"), Before::Nothing], "what was refused does not stand");
    let subjects: Vec<_> =
        history.iter().map(|entry| entry.headline.as_ref().map(|headline| &*headline.subject)).collect();
    assert_eq!(subjects, [Some("Fourth"), Some("Third"), Some("Second"), None]);

    for tag in ["5", "6", "7", "8", "9"] {
        send(&ledger, "shop/web", tag, Outcome::Accepted { status: 200 }).await;
    }
    let history = ledger.reader().history(Some(&key("shop/web")), 100).unwrap();
    assert_eq!(history[0].before, body("8"));
    assert_eq!(history.iter().rfind(|entry| entry.headline.is_some()).unwrap().before, Before::NotKept);
}
