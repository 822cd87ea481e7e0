//! A ledger belongs to the place of its first answer.

use super::*;
use crate::ledger::{OpenError, Reader, Sighting};

fn place(api: &str, account: Option<&str>) -> ApiPlace {
    ApiPlace { api: api.into(), account: account.map(Arc::from) }
}

fn place_of(dir: &Path) -> Option<ApiPlace> {
    Reader::open(dir).unwrap().unwrap().place().unwrap()
}

#[tokio::test]
async fn the_first_answer_decides_where_a_ledger_belongs() {
    let dir = folder();
    let sandbox = place(ApiPlace::SANDBOX, None);
    drop(Ledger::open(dir.path(), sandbox.clone(), at(0)).unwrap());
    assert_eq!(place_of(dir.path()), None, "without an answer it belongs nowhere");
    let ledger = open(dir.path());
    ledger.put_off(intent("shop/web", "1"), unsent()).await.unwrap();
    assert_eq!(ledger.reader().place().unwrap(), None, "a call that was never made is none");
    send(&ledger, "shop/web", "1", unsent()).await;
    send(&ledger, "shop/web", "1", unknown()).await;
    assert_eq!(ledger.reader().place().unwrap(), None, "nobody may be there");
    send(&ledger, "shop/web", "1", rejected()).await;
    drop(ledger);
    assert_eq!(place_of(dir.path()), Some(here()));

    let before = contents(dir.path());
    let error = Ledger::open(dir.path(), sandbox.clone(), at(0)).unwrap_err();
    assert!(
        matches!(&error, OpenError::OtherPlace { theirs, ours, .. } if *theirs == here() && *ours == sandbox),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("belongs to https://api.example.com, and not to sandbox"), "{text}");
    assert!(error.hint().unwrap().contains("--state-dir"));
    assert!(contents(dir.path()) == before, "a ledger that is refused stays as it is");
    drop(open(dir.path()));
}

#[tokio::test]
async fn a_read_and_an_adoption_are_answers_too() {
    let sighting = Sighting { at: at(1), kind: None, seen: None, unnamed: None, failure: None };
    let (read, adopted) = (folder(), folder());
    let failed = Sighting { failure: Some("timed out".into()), ..sighting.clone() };
    let ledger = open(read.path());
    ledger.saw(&key("shop/web"), failed).await.unwrap();
    assert_eq!(ledger.reader().place().unwrap(), None, "a read that failed proves no place");
    ledger.saw(&key("shop/web"), sighting).await.unwrap();
    open(adopted.path()).adopt(adoption("shop/web", "1")).await.unwrap();
    for dir in [read, adopted] {
        assert_eq!(place_of(dir.path()), Some(here()));
    }
}

#[tokio::test]
async fn an_account_is_added_when_it_is_known_and_then_kept() {
    let dir = folder();
    send(&open(dir.path()), "shop/web", "1", ACCEPTED).await;
    let acme = place(&here().api, Some("acme"));
    let ledger = Ledger::open(dir.path(), acme.clone(), at(0)).unwrap();
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    drop(ledger);
    assert_eq!(place_of(dir.path()), Some(acme.clone()));
    send(&open(dir.path()), "shop/web", "3", ACCEPTED).await;
    assert_eq!(place_of(dir.path()), Some(acme), "an account that is not known takes nothing back");
    let other = place(&here().api, Some("other"));
    let error = Ledger::open(dir.path(), other, at(0)).unwrap_err().to_string();
    assert!(error.contains("(account acme), and not to https://api.example.com (account other)"), "{error}");
}

#[tokio::test]
async fn a_ledger_of_an_earlier_release_takes_the_place_of_its_first_answer() {
    let dir = folder();
    let old = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    old.execute_batch(include_str!("ledger-v1.sql")).unwrap();
    old.close().unwrap();
    assert_eq!(place_of(dir.path()), None);
    send(&open(dir.path()), "shop/web", "2", ACCEPTED).await;
    assert_eq!(place_of(dir.path()), Some(here()));
}
