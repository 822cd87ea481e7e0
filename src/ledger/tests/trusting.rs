//! Which ledgers are believed: the one that this folder had last, and of it what is not damaged.

use super::*;
use crate::ledger::{Reader, Sighting};
use crate::plan::{Change, Reading, Seen};

/// The files as they are now, to be put back later.
fn backup(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// Puts files back, into those that are there: their inodes stay.
fn restore(dir: &Path, backup: &[(String, Vec<u8>)]) {
    for (name, content) in backup {
        fs::write(dir.join(name), content).unwrap();
    }
}

/// A ledger that is closed, with `shop/web` at tag 1.
async fn closed() -> TempDir {
    let dir = folder();
    send(&open(dir.path()), "shop/web", "1", ACCEPTED).await;
    dir
}

/// What is known of `shop/web` to who only reads, and then to who writes, now and after one more start.
fn known_of(dir: &Path) -> Option<Known> {
    let read = Reader::open(dir).unwrap().unwrap().known().unwrap().get(&key("shop/web")).copied();
    let ledger = open(dir);
    let written = known(&ledger, "shop/web");
    assert_eq!(read, written, "a plan and a pass believe the same");
    drop(ledger);
    assert_eq!(known(&open(dir), "shop/web"), written, "a start makes nothing sounder");
    written
}

#[tokio::test]
async fn a_ledger_that_was_left_alone_is_believed() {
    let dir = closed().await;
    for _ in 0..3 {
        assert_eq!(known_of(dir.path()), applied("shop/web", "1"));
    }
    assert_eq!(fs::metadata(dir.path().join("ledger.mark")).unwrap().len(), 256);
}

#[tokio::test]
async fn one_that_was_moved_as_a_folder_is_believed() {
    let dir = closed().await;
    let moved = dir.path().with_extension("moved");
    fs::rename(dir.path(), &moved).unwrap();
    assert_eq!(known_of(&moved), applied("shop/web", "1"));
    fs::rename(moved, dir.path()).unwrap();
}

#[tokio::test]
async fn a_copy_is_not_believed() {
    let dir = closed().await;
    let copy = crash_copy(dir.path());
    assert_eq!(known_of(copy.path()), suspect("shop/web", "1"));
    let alone = folder();
    fs::copy(dir.path().join("ledger.sqlite"), alone.path().join("ledger.sqlite")).unwrap();
    assert_eq!(known_of(alone.path()), suspect("shop/web", "1"), "without its mark");
}

#[tokio::test]
async fn one_that_was_put_back_is_not_believed_whichever_of_its_files_were() {
    let names: [&[&str]; 4] = [
        &["ledger.sqlite"],
        &["ledger.sqlite", "ledger.mark"],
        &["ledger.sqlite", "ledger.lock"],
        &["ledger.sqlite", "ledger.mark", "ledger.lock"],
    ];
    for names in names {
        let dir = closed().await;
        let mut old = backup(dir.path());
        old.retain(|(name, _)| names.contains(&name.as_str()));
        send(&open(dir.path()), "shop/web", "2", ACCEPTED).await;
        restore(dir.path(), &old);
        assert_eq!(known_of(dir.path()), suspect("shop/web", "1"), "{names:?}");
    }
}

#[tokio::test]
async fn a_copy_of_an_open_one_that_was_put_back_is_not_believed() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    let old = backup(dir.path());
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    drop(ledger);
    restore(dir.path(), &old);
    assert_eq!(known_of(dir.path()), suspect("shop/web", "1"));
}

#[tokio::test]
async fn what_was_written_by_another_program_is_not_believed() {
    let dir = closed().await;
    let other = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
    other.execute("UPDATE call SET message = 'looked at'", []).unwrap();
    other.close().unwrap();
    assert_eq!(known_of(dir.path()), suspect("shop/web", "1"));
}

#[tokio::test]
async fn what_is_known_again_is_believed_and_the_rest_is_not() {
    let dir = closed().await;
    send(&open(dir.path()), "shop/api", "1", ACCEPTED).await;
    send(&open(dir.path()), "shop/seen", "1", ACCEPTED).await;
    let copy = crash_copy(dir.path());
    let ledger = open(copy.path());
    send(&ledger, "shop/web", "2", rejected()).await;
    assert_eq!(known(&ledger, "shop/web"), suspect("shop/web", "1"), "a refusal proves nothing of what was before");
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    let saw = |differences: &[Change], undecided: &[String]| {
        let reading = Reading { differences: differences.into(), undecided: undecided.into(), ..Reading::default() };
        let seen = Seen { compared: digest("shop/seen", "1"), at: at(3), reading };
        Sighting { at: at(3), kind: None, seen: Some(seen), unnamed: None, failure: None }
    };
    let change = Change { path: "external.imagePath".into(), from: Some("nginx:0".into()), to: None };
    for not_all in [saw(&[change], &[]), saw(&[], &["external.credentials".to_owned()])] {
        ledger.saw(&key("shop/seen"), not_all).await.unwrap();
        assert_eq!(known(&ledger, "shop/seen"), suspect("shop/seen", "1"));
    }
    ledger.saw(&key("shop/seen"), saw(&[], &[])).await.unwrap();
    drop(ledger);
    let ledger = open(copy.path());
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "2"));
    assert_eq!(known(&ledger, "shop/seen"), applied("shop/seen", "1"), "live has it");
    assert_eq!(known(&ledger, "shop/api"), suspect("shop/api", "1"));
}

#[tokio::test]
async fn a_damaged_record_is_not_believed() {
    for damage in [
        "UPDATE service SET digest = zeroblob(32) WHERE name = 'shop/web'",
        "UPDATE service SET applied = applied + 1 WHERE name = 'shop/web'",
        "UPDATE call SET digest = zeroblob(32)",
        "UPDATE call SET outcome = 'rejected'",
    ] {
        let dir = closed().await;
        damage_in_place(dir.path(), damage);
        let ledger = open(dir.path());
        assert!(matches!(known(&ledger, "shop/web"), Some(Known::Suspect(_))), "{damage}");
    }
    let dir = closed().await;
    damage_in_place(dir.path(), "UPDATE service SET digest = NULL, applied = NULL");
    assert_eq!(known(&open(dir.path()), "shop/web"), Some(Known::InDoubt), "that nothing is known is the damage");
    damage_in_place(dir.path(), "UPDATE service SET name = 'no such name'");
    assert_eq!(open(dir.path()).reader().known().unwrap().len(), 0);
}

/// Changes rows as a flipped bit would: without anything else noticing.
fn damage_in_place(dir: &Path, statement: &str) {
    let other = Connection::open(dir.join("ledger.sqlite")).unwrap();
    other.pragma_update(None, "ignore_check_constraints", true).unwrap();
    other.execute(statement, []).unwrap();
    other.close().unwrap();
    let mark = fs::read_to_string(dir.join("ledger.mark")).unwrap();
    let mut mark: serde_json::Value = serde_json::from_str(&mark).unwrap();
    mark["closed"] = serde_json::to_value(crate::ledger::mark::Stamp::of(&dir.join("ledger.sqlite"))).unwrap();
    fs::write(dir.join("ledger.mark"), format!("{mark:<256}")).unwrap();
}

#[tokio::test]
async fn damaged_hints_are_left_out() {
    let dir = closed().await;
    let ledger = open(dir.path());
    ledger
        .set_pause(Some(crate::ledger::Pause { until: at(9), reason: "rate limit".into(), set_at: at(0) }))
        .await
        .unwrap();
    let window = crate::engine::Window { limit: 1000, remaining: 1, resets_at: at(9) };
    ledger.set_quota(window, at(0)).await.unwrap();
    let sighting = Sighting { at: at(1), kind: None, seen: None, unnamed: None, failure: None };
    ledger.saw(&key("shop/web"), sighting.clone()).await.unwrap();
    ledger.saw(&key("shop/api"), sighting).await.unwrap();
    drop(ledger);
    for damage in [
        "UPDATE pause SET until = 9223372036854775807",
        "UPDATE quota SET remaining = -1",
        "UPDATE live SET differences = '[{' , compared = zeroblob(32) WHERE service = 1",
    ] {
        damage_in_place(dir.path(), damage);
    }
    let ledger = open(dir.path());
    assert_eq!(ledger.reader().pause().unwrap(), None);
    assert_eq!(ledger.reader().quota().unwrap(), None);
    assert_eq!(ledger.reader().sightings().unwrap().len(), 1);
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
}
