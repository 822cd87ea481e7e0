//! What people decided about plans: it outlives the process, and what is damaged fails safe.

use rusqlite::Connection;

use super::*;
use crate::engine::Findings;
use crate::ledger::{Reader, Word, decide};
use crate::model::{About, Answer, Decision, PlanId};
use crate::plan::{Case, LetOut, Plan, PlanState, PlannedChange, Ruling};

fn plan(services: &[&str]) -> Plan {
    let change = |service: &&str| PlannedChange { service: key(service), from: None, to: Digest::of_bytes(b"new") };
    Plan::of_changes(services.iter().map(change))
}

fn word(plan: &Plan, answer: Answer, second: i64) -> Word {
    let content = plan.changes().iter().map(|change| (change.service.clone(), change.to)).collect();
    let (by, reason) = (Some("ada".into()), Some("a reason".into()));
    Word { plan: plan.id().unwrap(), content, answer, by, reason, at: at(second), until: None }
}

async fn say(dir: &Path, plan: &Plan, answer: Answer, second: i64) {
    say_word(dir, word(plan, answer, second)).await;
}

async fn say_word(dir: &Path, word: Word) {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || decide(&dir, here(), word).unwrap()).await.unwrap();
}

/// How a plan stands by what the ledger has.
fn ruling(dir: &Path, plan: &Plan) -> Ruling {
    let mut fuse = Reader::open(dir).unwrap().unwrap().fuse(None).unwrap();
    let case = Case { outstanding: plan, known: 9, is_known: &|_| true, wants_approval: &|_| false };
    fuse.rule(case, at(1000))
}

/// Writes what a damaged disk may have, and a table of SQLite would not take.
fn damage(dir: &Path, statement: &str) {
    let run = |statement: &str| {
        let connection = Connection::open(dir.join("ledger.sqlite")).unwrap();
        connection.execute_batch(&format!("PRAGMA ignore_check_constraints = on; {statement}")).unwrap();
    };
    run("PRAGMA writable_schema = on;
        UPDATE sqlite_schema SET sql = replace(replace(sql, ') STRICT, WITHOUT', ') WITHOUT'), ') STRICT', ')')");
    run(statement);
}

#[tokio::test]
async fn a_denial_holds_what_it_was_about_in_a_plan_of_another_process() {
    let dir = folder();
    say(dir.path(), &plan(&["shop/web"]), Answer::Deny, 1).await;
    let both = plan(&["shop/web", "shop/api"]);
    let held = |ruling: Ruling| ruling.held.into_keys().map(|key| key.to_string()).collect::<Vec<_>>();
    assert_eq!(held(ruling(dir.path(), &both)), ["shop/web"]);
    // That it was let out before the denial counts for nothing, and what a later approval let out counts.
    let ledger = open(dir.path());
    let content = LetOut { content: Digest::of_bytes(b"new"), by: None };
    let findings = |let_out| Findings { let_out: vec![(key("shop/web"), let_out)], ..Findings::default() };
    keep(&ledger, Keep::Findings(findings(content))).await;
    assert_eq!(held(ruling(dir.path(), &both)), ["shop/web"]);
    say(dir.path(), &both, Answer::Approve, 2).await;
    let approved = ruling(dir.path(), &both);
    assert_eq!(approved.state, PlanState::Approved);
    keep(&ledger, Keep::Findings(Findings { let_out: approved.let_out, ..Findings::default() })).await;
    damage(dir.path(), "UPDATE decision SET until = 0 WHERE answer = 'approve'");
    assert_eq!(held(ruling(dir.path(), &both)), [""; 0], "what it let out stays so when it is over");
}

#[tokio::test]
async fn what_a_process_found_out_of_a_denial_is_kept() {
    let dir = folder();
    let (one, both) = (plan(&["shop/web"]), plan(&["shop/web", "shop/api"]));
    let unknown = Word { content: Vec::new(), ..word(&one, Answer::Deny, 1) };
    say_word(dir.path(), unknown).await;
    let met = ruling(dir.path(), &one);
    let ledger = open(dir.path());
    keep(&ledger, Keep::Findings(Findings { denied: met.denied, ..Findings::default() })).await;
    assert_eq!(ruling(dir.path(), &both).held.len(), 1);
}

#[tokio::test]
async fn a_damaged_denial_holds_everything_until_somebody_decides_again() {
    let other = plan(&["shop/api"]);
    for statement in [
        "UPDATE decision SET plan = 'zzz'",
        "UPDATE decision SET plan = CAST(x'ff' AS TEXT)",
        "UPDATE decision SET plan = '', author = CAST(x'ff' AS TEXT), at = 9223372036854775807",
        "UPDATE decision SET plan = '', answer = 'den'",
        "UPDATE decided SET name = 'shop'",
        "UPDATE decided SET digest = x'00'",
    ] {
        let dir = folder();
        say(dir.path(), &plan(&["shop/web"]), Answer::Deny, 1).await;
        damage(dir.path(), statement);
        let damaged = ruling(dir.path(), &other);
        assert_eq!((damaged.state, damaged.held.len()), (PlanState::Denied, 1), "{statement}");
        let way = format!("truenorth approve {}", other.id().unwrap());
        assert!(damaged.held[&key("shop/api")].what.ends_with(&way), "{damaged:?}");
        say(dir.path(), &plan(&["shop/other"]), Answer::Approve, 2).await;
        assert_eq!(ruling(dir.path(), &other).held.len(), 0, "{statement}");
    }
}

#[tokio::test]
async fn a_damaged_approval_lets_nothing_out_and_a_damaged_word_is_still_a_no() {
    let dir = folder();
    let web = plan(&["shop/web"]);
    say(dir.path(), &web, Answer::Approve, 1).await;
    damage(dir.path(), "UPDATE decision SET until = 'soon'");
    assert_eq!(ruling(dir.path(), &web).state, PlanState::Within, "nothing waits for it");
    say(dir.path(), &web, Answer::Deny, 2).await;
    damage(dir.path(), "UPDATE decision SET answer = 'dnny' WHERE id = 2");
    assert_eq!(ruling(dir.path(), &web).state, PlanState::Denied);
    assert_eq!(ruling(dir.path(), &plan(&["shop/api"])).held.len(), 0, "it is known what it was about");
}

#[tokio::test]
async fn the_history_of_a_service_has_the_decisions_about_it() {
    let dir = folder();
    say(dir.path(), &plan(&["shop/web"]), Answer::Deny, 1).await;
    say(dir.path(), &plan(&["shop/web", "shop/api"]), Answer::Approve, 2).await;
    say_word(dir.path(), Word { content: Vec::new(), ..word(&plan(&["shop/db"]), Answer::Deny, 3) }).await;
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    let plans = |service: Option<&str>, limit| -> Vec<PlanId> {
        let decisions = reader.newest_decisions(service.map(key).as_ref(), limit).unwrap();
        let of = |decision: Decision| match decision.about {
            About::Plan { name, .. } => name.whole().unwrap(),
            About::Unknown => panic!("is not damaged"),
        };
        decisions.into_iter().map(of).collect()
    };
    let id = |services: &[&str]| plan(services).id().unwrap();
    let (web, both, unknown) = (id(&["shop/web"]), id(&["shop/web", "shop/api"]), id(&["shop/db"]));
    assert_eq!(plans(None, 9), [unknown, both, web]);
    assert_eq!(plans(None, 1), [unknown]);
    assert_eq!(plans(Some("shop/api"), 9), [unknown, both]);
}

#[tokio::test]
async fn denials_outlive_any_number_of_approvals() {
    let dir = folder();
    say(dir.path(), &plan(&["shop/web"]), Answer::Deny, 1).await;
    let ledger = open(dir.path());
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        INSERT INTO decision (at, plan, answer) SELECT 0, '000000000000', 'approve' FROM n";
    damage(dir.path(), insert);
    drop(ledger);
    say(dir.path(), &plan(&["shop/api"]), Answer::Approve, 2).await;
    assert_eq!(ruling(dir.path(), &plan(&["shop/web", "shop/db"])).held.len(), 1);
    assert!(Reader::open(dir.path()).unwrap().unwrap().decisions().unwrap().len() <= 1001);
}

#[test]
fn a_damaged_freeze_holds_more_and_not_less() {
    use crate::ledger::{PersonRequest, RequestKind, ask};
    for statement in ["target = 'shop'", "until = 'soon', by = CAST(x'ff' AS TEXT)", "reason = CAST(x'ff' AS TEXT)"] {
        let dir = folder();
        let (kind, target) = (RequestKind::Freeze, Some(key("shop/web")));
        let freeze = PersonRequest {
            kind,
            target,
            reason: None,
            by: "kim".into(),
            at: at(1),
            until: Some(at(9)),
            way_back: None,
        };
        ask(dir.path(), &[freeze], here(), at(1)).unwrap();
        damage(dir.path(), &format!("UPDATE request SET {statement}"));
        let freezes = Reader::open(dir.path()).unwrap().unwrap().freezes().unwrap();
        assert_eq!(freezes.len(), 1, "{statement}");
        assert!(freezes[0].service.is_none() || freezes[0].service == Some(key("shop/web")), "{statement}");
    }
}
