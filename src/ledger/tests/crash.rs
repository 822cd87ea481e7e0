//! Crashes: what was answered is there, what was not may be missing, and the next process can go on.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use super::*;
use crate::ledger::{End, Holder, Reader};

#[tokio::test]
async fn a_crash_between_call_and_record_leaves_doubt_and_says_so_in_history() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    ledger.intend(intent("shop/web", "2")).await.unwrap();
    let crashed = crash_copy(dir.path());
    let next = Ledger::open(crashed.path(), here(), at(60)).unwrap();
    assert_eq!(known(&next, "shop/web"), Some(Known::InDoubt));
    assert_eq!(next.reader().history(None, 1).unwrap()[0].end, End::Interrupted { at: at(60) });
    let record = next.reader().applied(&key("shop/web")).unwrap().unwrap();
    assert_eq!(record.digest, digest("shop/web", "1"));
    send(&next, "shop/web", "3", rejected()).await;
    assert_eq!(known(&next, "shop/web"), Some(Known::InDoubt), "2 may be live");
}

#[tokio::test]
async fn a_crash_inside_a_transaction_leaves_what_was_before_it() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    let (hand_over, copies) = mpsc::channel();
    let path = dir.path().to_owned();
    probe(&ledger, move |connection| {
        // Big enough to reach the log before the commit.
        connection.pragma_update(None, "cache_size", 10)?;
        for n in 0..2000 {
            connection.execute("INSERT INTO service (name, doubts) VALUES ('shop/x-' || ?1, 1)", [n])?;
        }
        hand_over.send(crash_copy(&path)).unwrap();
        Ok(())
    })
    .await
    .unwrap();
    let crashed = copies.recv().unwrap();
    assert!(fs::metadata(crashed.path().join("ledger.sqlite-wal")).unwrap().len() > 50_000, "some of it is in the log");
    let next = open(crashed.path());
    assert_eq!(next.reader().known().unwrap().len(), 1);
    assert_eq!(known(&next, "shop/web"), suspect("shop/web", "1"), "this crash is a copy");
}

const CHILD_FOLDER: &str = "TRUENORTH_TEST_LEDGER_FOLDER";

/// Not a test by itself: the process that the next one kills. Sends without end and says what was answered.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_FOLDER) else { return };
    let ledger = open(Path::new(&dir));
    for n in 0.. {
        let call = ledger.intend(intent(&format!("shop/web-{n}"), "1")).await.unwrap();
        println!("intended {n}");
        ledger.record(call, ACCEPTED, at(2)).await.unwrap();
        println!("recorded {n}");
    }
}

/// Not a test by itself: sends a few contents of one service, says so, and waits for its end.
#[tokio::test]
async fn child_that_is_killed_after_five_updates() {
    let Some(dir) = std::env::var_os(CHILD_FOLDER) else { return };
    let ledger = open(Path::new(&dir));
    for tag in 1..=5 {
        send(&ledger, "shop/web", &tag.to_string(), ACCEPTED).await;
    }
    println!("recorded all");
    std::future::pending::<()>().await;
}

/// A process that does what the test of this name says.
fn child(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("ledger::tests::crash::{test}"), "--nocapture"])
        .env(CHILD_FOLDER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn after_a_kill_a_ledger_is_believed_and_one_whose_log_lost_its_end_is_not() {
    let dir = folder();
    let mut child = child("child_that_is_killed_after_five_updates", dir.path());
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.contains("recorded all")));
    child.kill().unwrap();
    child.wait().unwrap();
    let log = dir.path().join("ledger.sqlite-wal");
    let whole = fs::read(&log).unwrap();
    let known_now = || Reader::open(dir.path()).unwrap().unwrap().known().unwrap().get(&key("shop/web")).copied();
    assert_eq!(known_now(), applied("shop/web", "5"));
    let (mut lost, rounds) = (0, 100);
    for round in 0..rounds {
        let mut flipped = whole.clone();
        flipped[whole.len() * round / rounds] ^= 1 << (round % 8);
        let _ = fs::remove_file(dir.path().join("ledger.sqlite-shm"));
        fs::write(&log, &flipped).unwrap();
        match known_now() {
            Some(Known::Applied(_)) => assert_eq!(known_now(), applied("shop/web", "5"), "round {round}"),
            Some(Known::Suspect(_) | Known::InDoubt) | None => lost += 1,
        }
    }
    assert!(lost > rounds / 2, "{lost}");
    let _ = fs::remove_file(dir.path().join("ledger.sqlite-shm"));
    fs::write(&log, &whole).unwrap();
    for _ in 0..2 {
        assert_eq!(known(&open(dir.path()), "shop/web"), applied("shop/web", "5"));
    }
}

#[test]
fn what_a_killed_process_was_answered_is_there_and_its_lock_is_not() {
    for lines in [1, 2, 7, 40, 101] {
        let dir = folder();
        let mut child = child("child_that_is_killed", dir.path());
        let mut said: Vec<String> = Vec::new();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut answers = output.by_ref().filter(|line| line.contains("intended") || line.contains("recorded"));
        said.extend(answers.by_ref().take(lines));
        let beside = Reader::open(dir.path()).unwrap().unwrap();
        assert_eq!(beside.holder().unwrap(), Some(Holder { pid: Some(child.id()), writes: true }));
        assert!(!beside.known().unwrap().is_empty(), "read from another process");
        assert!(
            Ledger::open(dir.path(), here(), at(0)).unwrap_err().to_string().contains(&format!("pid {}", child.id()))
        );
        child.kill().unwrap();
        said.extend(answers);
        child.wait().unwrap();

        assert_eq!(beside.holder().unwrap(), None);
        drop(beside);
        let ledger = open(dir.path());
        let known = ledger.reader().known().unwrap();
        let count = |what| said.iter().filter(|line| line.contains(what)).count();
        let (intended, recorded) = (count("intended"), count("recorded"));
        assert!(intended >= 1 && known.len() >= intended && known.len() <= intended + 1, "{} {said:?}", known.len());
        let applied = known.values().filter(|known| known.digest().is_some()).count();
        assert!(applied >= recorded && applied <= recorded + 1, "{applied} {said:?}");
    }
}
