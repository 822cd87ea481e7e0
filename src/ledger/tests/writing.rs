//! Writing: what is committed together, what a failure takes with it, what is kept.

use std::sync::mpsc;

use futures_util::future::join_all;

use super::*;
use crate::ledger::sql::{KEEP_ACCEPTED, KEEP_BODIES, KEEP_OTHERS, MAX_BODIES};
use crate::ledger::{End, Pause};

/// Keeps the ledger's thread busy in a transaction until the sender is dropped, so that what comes meanwhile waits.
async fn hold(ledger: &Ledger) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (entered, inside) = tokio::sync::oneshot::channel();
    let mut entered = Some(entered);
    let ledger = ledger.clone();
    tokio::spawn(async move {
        probe(&ledger, move |_| {
            entered.take().map(|entered| entered.send(()));
            let _ = released.recv();
            Ok(())
        })
        .await
    });
    inside.await.unwrap();
    release
}

/// Lets an operation into the queue, and drops its future before it is answered.
async fn hand_over_and_leave<T>(operation: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = operation => panic!("the thread is held, it cannot answer"),
        () = std::future::ready(()) => {}
    }
}

/// How many transactions the write-ahead log holds: its frames that end one carry the size of the file.
fn commits(dir: &Path) -> usize {
    let log = fs::read(dir.join("ledger.sqlite-wal")).unwrap();
    let salts = &log[16..24];
    log[32..].chunks(24 + 4096).filter(|frame| frame[8..16] == *salts && frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn what_waits_is_committed_together() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/first", "1", ACCEPTED).await;
    assert_eq!(commits(dir.path()), 2, "the log is read right");
    let release = hold(&ledger).await;
    let before = commits(dir.path());
    let names: Vec<_> = (0..100).map(|n| format!("shop/web-{n}")).collect();
    let intents = join_all(names.iter().map(|name| ledger.intend(intent(name, "1"))));
    let (calls, ()) = tokio::join!(intents, async { drop(release) });
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(ledger.reader().known().unwrap().len(), 101);
    assert_eq!(commits(dir.path()) - before, 2, "what held it, and 100 intents that waited together");
}

#[tokio::test]
async fn one_that_fails_spoils_no_other() {
    let dir = folder();
    let ledger = open(dir.path());
    let release = hold(&ledger).await;
    let (first, bad, closed, last, ()) = tokio::join!(
        ledger.intend(intent("shop/first", "1")),
        probe(&ledger, |connection| {
            connection.execute("INSERT INTO service (name) VALUES ('shop/half-done')", [])?;
            connection.execute("INSERT INTO service (name, doubts) VALUES ('shop/bad', -1)", []).map(drop)
        }),
        ledger.record(crate::ledger::CallId(999), ACCEPTED, at(2)),
        ledger.intend(intent("shop/last", "1")),
        async { drop(release) },
    );
    assert!(first.is_ok() && last.is_ok());
    assert!(matches!(bad, Err(WriteError::Store(_))) && matches!(closed, Err(WriteError::NotOpen(_))));
    assert_eq!(ledger.reader().history(None, 10).unwrap().len(), 2);
    let ledger_again = {
        drop(ledger);
        open(dir.path())
    };
    let half = probe(&ledger_again, |connection| {
        connection.query_row("SELECT id FROM service WHERE name = 'shop/half-done'", [], |_| Ok(()))
    });
    assert!(half.await.is_err(), "its own first change is taken back too");
}

#[tokio::test]
async fn a_commit_that_fails_is_done_again_without_its_cause() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    let release = hold(&ledger).await;
    let (intended, broken, ()) = tokio::join!(
        ledger.intend(intent("shop/web", "2")),
        // A row that is wrong only at the commit.
        probe(&ledger, |connection| {
            connection.pragma_update(None, "defer_foreign_keys", true)?;
            connection.execute("UPDATE call SET service = 999 WHERE outcome = 'accepted'", []).map(drop)
        }),
        async { drop(release) },
    );
    assert!(intended.is_ok() && broken.is_err());
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt));
    let entries = ledger.reader().history(None, 10).unwrap();
    assert_eq!(entries.len(), 2, "the intent is there once, and nothing of what broke the commit");
    send(&ledger, "shop/web", "2", ACCEPTED).await;
    drop(ledger);
    assert_eq!(known(&open(dir.path()), "shop/web"), applied("shop/web", "2"));
}

async fn limit_pages(ledger: &Ledger, pages: u32) {
    probe(ledger, move |connection| {
        connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0)).map(drop)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_over_when_there_is_room() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    let open_call = ledger.intend(intent("shop/api", "1")).await.unwrap();
    limit_pages(&ledger, 1).await;
    let long = "x".repeat(20_000);
    let full = ledger.intend(intent("shop/web", &long)).await.unwrap_err();
    assert!(matches!(&full, WriteError::Store(source) if source.is_full()), "{full:?}");
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
    assert_eq!(ledger.reader().history(None, 10).unwrap().len(), 2);

    limit_pages(&ledger, 100_000).await;
    ledger.record(open_call, ACCEPTED, at(2)).await.unwrap();
    send(&ledger, "shop/web", &long, ACCEPTED).await;
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", &long));
    assert_eq!(known(&ledger, "shop/api"), applied("shop/api", "1"));
}

#[tokio::test]
async fn what_still_fits_on_a_full_disk_is_written() {
    let dir = folder();
    let ledger = open(dir.path());
    let call = ledger.intend(intent("shop/web", "1")).await.unwrap();
    limit_pages(&ledger, 1).await;
    let release = hold(&ledger).await;
    let long = "x".repeat(20_000);
    let (recorded, full, paused, ()) = tokio::join!(
        ledger.record(call, ACCEPTED, at(2)),
        ledger.intend(intent("shop/api", &long)),
        ledger.set_pause(Some(Pause { until: at(9), reason: "rate limit".into(), set_at: at(0) })),
        async { drop(release) },
    );
    assert!(recorded.is_ok() && full.is_err() && paused.is_ok());
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
    assert_eq!(known(&ledger, "shop/api"), None);
    assert_eq!(ledger.reader().pause().unwrap().unwrap().until, at(9));
}

#[tokio::test]
async fn an_intent_that_nobody_waits_for_is_unsent() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "1", ACCEPTED).await;
    let release = hold(&ledger).await;
    hand_over_and_leave(ledger.intend(intent("shop/web", "2"))).await;
    drop(release);
    // The withdrawal is done before the next transaction begins.
    probe(&ledger, |_| Ok(())).await.unwrap();
    probe(&ledger, |_| Ok(())).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"));
    let newest = ledger.reader().history(None, 1).unwrap().remove(0);
    assert!(matches!(newest.end, End::Recorded { outcome: Outcome::Unsent { .. }, .. }), "{newest:?}");
}

#[tokio::test]
async fn dropping_the_last_handle_finishes_what_is_queued_and_leaves_one_file() {
    let dir = folder();
    let ledger = open(dir.path());
    let call = ledger.intend(intent("shop/web", "1")).await.unwrap();
    let release = hold(&ledger).await;
    hand_over_and_leave(ledger.record(call, ACCEPTED, at(2))).await;
    drop(release);
    probe(&ledger, |_| Ok(())).await.unwrap();
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"), "the reader has the file open as well");
    // The task that held the thread has its own handle until it is answered.
    tokio::task::yield_now().await;
    drop(ledger);
    let files: Vec<_> = contents(dir.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(files, ["ledger.sqlite"]);
    assert_eq!(known(&open(dir.path()), "shop/web"), applied("shop/web", "1"));
}

#[tokio::test]
async fn a_pause_survives_a_restart() {
    let dir = folder();
    let pause = Pause { until: at(3600), reason: "rate limit of the API".into(), set_at: at(0) };
    let ledger = open(dir.path());
    assert_eq!(ledger.reader().pause().unwrap(), None);
    ledger.set_pause(Some(Pause { until: at(1), reason: "an earlier one".into(), set_at: at(0) })).await.unwrap();
    ledger.set_pause(Some(pause.clone())).await.unwrap();
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(ledger.reader().pause().unwrap(), Some(pause));
    ledger.set_pause(None).await.unwrap();
    assert_eq!(ledger.reader().pause().unwrap(), None);
}

#[tokio::test]
async fn history_is_bounded_and_failures_do_not_push_out_successes() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/api", "1", rejected()).await;
    send(&ledger, "shop/web", "1", unknown()).await;
    for _ in 0..3 {
        send(&ledger, "shop/web", "2", ACCEPTED).await;
    }
    send(&ledger, "shop/web", "3", unknown()).await;
    for _ in 0..2 * KEEP_OTHERS {
        send(&ledger, "shop/web", "4", rejected()).await;
    }
    let entries = ledger.reader().history(Some(&key("shop/web")), 1000).unwrap();
    let accepted = |entry: &&crate::ledger::HistoryEntry| {
        matches!(entry.end, End::Recorded { outcome: Outcome::Accepted { .. }, .. })
    };
    assert_eq!(entries.iter().filter(accepted).count(), 3);
    // The newest was open when the others were counted.
    assert_eq!(entries.len(), 3 + KEEP_OTHERS as usize + 1);
    assert_eq!(known(&ledger, "shop/web"), Some(Known::InDoubt), "doubt is not pruned with its call");
    assert_eq!(ledger.reader().applied(&key("shop/web")).unwrap().unwrap().digest, digest("shop/web", "2"));
    for _ in 0..KEEP_ACCEPTED + 10 {
        send(&ledger, "shop/web", "5", ACCEPTED).await;
    }
    let entries = ledger.reader().history(Some(&key("shop/web")), 1000).unwrap();
    assert_eq!(entries.iter().filter(accepted).count(), KEEP_ACCEPTED as usize + 1);
    assert_eq!(ledger.reader().history(Some(&key("shop/api")), 1000).unwrap().len(), 1, "each service has its own");
}

/// The tags of a service whose bodies are kept, by the digests of its history.
fn kept(ledger: &Ledger, service: &str) -> Vec<bool> {
    let history = ledger.reader().history(Some(&key(service)), 1000).unwrap();
    history.iter().map(|entry| entry.spec.is_some()).collect()
}

#[tokio::test]
async fn the_body_of_what_is_applied_and_the_newest_few_are_kept() {
    let dir = folder();
    let ledger = open(dir.path());
    send(&ledger, "shop/web", "applied", ACCEPTED).await;
    for tag in 0..10 {
        // One content that is tried twice is one body.
        send(&ledger, "shop/web", &tag.to_string(), rejected()).await;
        send(&ledger, "shop/web", &tag.to_string(), unsent()).await;
    }
    let kept = kept(&ledger, "shop/web");
    let newest = 2 * KEEP_BODIES as usize;
    assert!(kept[..newest].iter().all(|kept| *kept) && !kept[newest..20].iter().any(|kept| *kept), "{kept:?}");
    assert!(kept[20], "what is applied");
    let record = ledger.reader().applied(&key("shop/web")).unwrap().unwrap();
    assert_eq!(record.spec, Some(serde_json::to_string(&update("applied")).unwrap()));
}

#[tokio::test]
async fn all_bodies_together_have_a_bound_and_the_oldest_go_first() {
    let dir = folder();
    let ledger = open(dir.path());
    let long = |tag: usize| tag.to_string().repeat((1 << 16) / tag.to_string().len());
    send(&ledger, "shop/applied", &long(10), ACCEPTED).await;
    send(&ledger, "shop/tried", &long(10), rejected()).await;
    for service in 11..80 {
        send(&ledger, &format!("shop/web-{service}"), &long(service), ACCEPTED).await;
    }
    assert_eq!(kept(&ledger, "shop/tried"), [false], "what is not applied goes first");
    assert_eq!(kept(&ledger, "shop/applied"), [false], "and then the oldest that is");
    assert_eq!(kept(&ledger, "shop/web-79"), [true]);
    assert_eq!(ledger.reader().known().unwrap().len(), 70, "what is known stays");
    drop(ledger);
    let size = fs::metadata(dir.path().join("ledger.sqlite")).unwrap().len();
    assert!(size < MAX_BODIES.unsigned_abs() * 5 / 4, "{size}");
}

#[tokio::test]
async fn the_log_stays_small() {
    let dir = folder();
    let ledger = open(dir.path());
    let log = dir.path().join("ledger.sqlite-wal");
    let mut longest = 0;
    for tag in 0..300 {
        send(&ledger, "shop/web", &tag.to_string(), ACCEPTED).await;
        longest = longest.max(fs::metadata(&log).unwrap().len());
    }
    assert!(longest < 768 << 10, "{longest}");
}

#[tokio::test]
async fn a_long_message_is_cut_between_characters() {
    let dir = folder();
    let ledger = open(dir.path());
    let message = format!("x{}", "ü".repeat(5000));
    send(&ledger, "shop/web", "1", Outcome::Rejected { status: 422, error: message.as_str().into() }).await;
    let entry = ledger.reader().history(None, 1).unwrap().remove(0);
    let End::Recorded { outcome: Outcome::Rejected { status: 422, error: kept }, .. } = entry.end else { panic!() };
    assert_eq!(kept.message.len(), Outcome::MAX_MESSAGE - 1);
    assert!(message.starts_with(&kept.message));
}
