//! What people decided about plans.
//!
//! A row that is damaged fails safe: an approval lets nothing out, and anything else may have denied any plan. That holds
//! until somebody decides again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::bounded;
use super::read::{all, key};
use crate::ledger::decisions::Word;
use crate::model::{About, Answer, Decision, DecisionId, Digest, PlanName, ServiceKey};
use crate::plan::{Denied, LetOut};

/// Most approvals that are kept: what they let out is kept for itself. So many more denials.
const APPROVALS: u32 = 1000;
const DENIALS: u32 = 10_000;

const ALL: &str = "SELECT id, at, plan, answer, author, reason, until FROM decision ORDER BY id";

const DENIED: &str = "SELECT decision, name, digest FROM decided
    WHERE decision IN (SELECT id FROM decision WHERE answer IS NOT 'approve')";

/// Of a decision whose content is not known it cannot be told which services it is about.
const NEWEST: &str = "SELECT id, at, plan, answer, author, reason, until FROM decision
    WHERE ?1 IS NULL OR id IN (SELECT decision FROM decided WHERE name = ?1)
      OR id NOT IN (SELECT decision FROM decided)
    ORDER BY id DESC LIMIT ?2";

const SINCE: &str = "SELECT id, at, plan, answer, author, reason, until FROM decision WHERE at > ?1 ORDER BY id";

const CONTENT: &str = "SELECT name, digest FROM decided WHERE decision = ?1";

const INSERT: &str = "INSERT INTO decision (at, plan, answer, author, reason, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const ADD_CONTENT: &str = "INSERT OR IGNORE INTO decided (decision, name, digest) VALUES (?1, ?2, ?3)";

const PRUNE: &str = "DELETE FROM decision WHERE id <= (SELECT max(id) FROM decision) - ?1
    AND (answer = 'approve' OR id <= (SELECT max(id) FROM decision) - ?2)";

const PRUNE_CONTENT: &str = "DELETE FROM decided WHERE decision NOT IN (SELECT id FROM decision)";

/// Every decision, oldest first, with what is known of the content of those that deny.
pub(in crate::ledger) fn decisions(connection: &Connection) -> rusqlite::Result<Vec<Decision>> {
    let mut content = denied(connection)?;
    let query = connection.prepare_cached(ALL)?;
    let mut decisions: Vec<Decision> = all("a decision about a plan", query, [], decision)?;
    for Decision { id, about, .. } in &mut decisions {
        match (content.remove(id), &mut *about) {
            (Some(Some(found)), About::Plan { content, .. }) => *content = found,
            (Some(None), _) => *about = About::Unknown,
            (_, _) => {}
        }
    }
    Ok(decisions)
}

/// The newest decisions first: of all plans, or of those that may be about a service.
pub(in crate::ledger) fn newest_decisions(
    connection: &Connection,
    service: Option<&ServiceKey>,
    limit: u32,
) -> rusqlite::Result<Vec<Decision>> {
    let service = service.map(ToString::to_string);
    all("a decision about a plan", connection.prepare_cached(NEWEST)?, params![service, limit], decision)
}

/// The decisions since a time, oldest first, each with what is known of its content.
pub(in crate::ledger) fn decisions_since(connection: &Connection, at: Timestamp) -> rusqlite::Result<Vec<Decision>> {
    let query = connection.prepare_cached(SINCE)?;
    let mut decisions: Vec<Decision> = all("a decision about a plan", query, [at.as_millisecond()], decision)?;
    for Decision { id, about, .. } in &mut decisions {
        if let About::Plan { content, .. } = about {
            let query = connection.prepare_cached(CONTENT)?;
            *content =
                all("the content of a plan", query, [id.0], |row| Ok((key(row, 0)?, Digest::from_bytes(row.get(1)?))))?;
        }
    }
    Ok(decisions)
}

/// The content of a plan; nothing where a row of it is damaged.
type Content = Option<BTreeSet<(ServiceKey, Digest)>>;

/// The content of denied plans.
fn denied(connection: &Connection) -> rusqlite::Result<HashMap<DecisionId, Content>> {
    let mut content: HashMap<_, Content> = HashMap::new();
    let mut statement = connection.prepare_cached(DENIED)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let of_plan = content.entry(DecisionId(row.get(0)?)).or_insert_with(|| Some(BTreeSet::new()));
        match (key(row, 1), row.get(2), of_plan.as_mut()) {
            (Ok(service), Ok(digest), Some(found)) => {
                found.insert((service, Digest::from_bytes(digest)));
            }
            _ => *of_plan = None,
        }
    }
    Ok(content)
}

/// A row, whatever is in it.
fn decision(row: &Row<'_>) -> rusqlite::Result<Decision> {
    let text = |column| row.get::<_, Option<String>>(column).ok().flatten().map(Arc::from);
    let time = |column| row.get(column).ok().map(|at| Timestamp::from_millisecond(at).ok());
    let answer: Option<String> = row.get(3).ok();
    let answer = if answer.as_deref() == Some(Answer::Approve.as_str()) { Answer::Approve } else { Answer::Deny };
    let name = row.get::<_, String>(2).ok().and_then(|plan| plan.parse::<PlanName>().ok());
    let until = match (row.get::<_, Option<i64>>(6), answer) {
        (Ok(until), _) => until.and_then(|until| Timestamp::from_millisecond(until).ok()),
        (Err(_), Answer::Approve) => Some(Timestamp::MIN),
        (Err(_), Answer::Deny) => None,
    };
    Ok(Decision {
        id: DecisionId(row.get(0)?),
        about: name.map_or(About::Unknown, |name| About::Plan { name, content: BTreeSet::new() }),
        answer,
        by: text(4),
        reason: text(5),
        at: time(1).flatten().unwrap_or_default(),
        until,
    })
}

/// Writes a decision down. It is also the answer to what is damaged: somebody decided again.
pub(in crate::ledger) fn decide(connection: &Connection, word: &Word) -> rusqlite::Result<()> {
    let Word { plan, content, answer, by, reason, at, until } = word;
    let at = at.as_millisecond();
    let is_open = |decision: &Decision| decision.about == About::Unknown && decision.until.is_none();
    for damaged in decisions(connection)?.iter().filter(|decision| is_open(decision)) {
        connection.execute("UPDATE decision SET until = ?2 WHERE id = ?1", params![damaged.id.0, at])?;
    }
    let (by, reason) = (by.as_deref().map(bounded), reason.as_deref().map(bounded));
    let until = until.map(|until| until.as_millisecond());
    connection.execute(INSERT, params![at, plan.digits(), answer.as_str(), by, reason, until])?;
    let id = DecisionId(connection.last_insert_rowid());
    add_content(connection, content.iter().map(|(service, digest)| (id, service, *digest)))?;
    connection.execute(PRUNE, [APPROVALS, DENIALS])?;
    connection.execute(PRUNE_CONTENT, []).map(drop)
}

/// Adds what was found out of denied plans.
pub(in crate::ledger) fn add_denied(connection: &Connection, denied: &[Denied]) -> rusqlite::Result<()> {
    add_content(connection, denied.iter().map(|(id, service, digest)| (*id, service, *digest)))
}

fn add_content<'s>(
    connection: &Connection,
    content: impl Iterator<Item = (DecisionId, &'s ServiceKey, Digest)>,
) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(ADD_CONTENT)?;
    for (id, service, digest) in content {
        add.execute(params![id.0, service.to_string(), digest.as_bytes()])?;
    }
    Ok(())
}

pub(in crate::ledger) fn all_let_out(connection: &Connection) -> rusqlite::Result<Vec<(ServiceKey, LetOut)>> {
    let query = connection.prepare_cached("SELECT name, digest, decision FROM let_out")?;
    all("content that was let out", query, [], |row| {
        let (content, by) = (Digest::from_bytes(row.get(1)?), row.get::<_, Option<i64>>(2)?.map(DecisionId));
        Ok((key(row, 0)?, LetOut { content, by }))
    })
}

pub(in crate::ledger) fn let_out(connection: &Connection, content: &[(ServiceKey, LetOut)]) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO let_out (name, digest, decision) VALUES (?1, ?2, ?3)")?;
    content.iter().try_for_each(|(key, LetOut { content, by })| {
        insert.execute(params![key.to_string(), content.as_bytes(), by.map(|by| by.0)]).map(drop)
    })
}
