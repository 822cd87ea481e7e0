//! The statements that write. All expect a transaction around them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};

use super::{
    KEEP_ACCEPTED, KEEP_OTHERS, KEEP_REVISIONS, NewCall, NewDiagnostic, NewSighting, bodies, bounded, quarantine, seal,
    time,
};
use crate::engine::Window;
use crate::ledger::{CallId, Decider, Outcome, Pause, StateRecord, Turned, WriteError};
use crate::model::{ApiPlace, Cause, Digest, Headline, OvertakenBy, Rollout, RolloutState, ServiceKey, Stranger};

const TOUCH_SERVICE: &str = "INSERT INTO service (name) VALUES (?1)
    ON CONFLICT (name) DO UPDATE SET name = name RETURNING id";

const INTERRUPT: &str = "UPDATE call SET outcome = 'interrupted', ended_at = ?2 WHERE service = ?1 AND outcome IS NULL";

const INTERRUPT_ALL: &str = "UPDATE call SET outcome = 'interrupted', ended_at = ?1 WHERE outcome IS NULL";

const INSERT_CALL: &str = "INSERT INTO call
    (service, digest, cause, revision, file, line, attempt, began_at, ended_at, outcome, ran)
    VALUES (:service, :digest, :cause, :revision, :file, :line, :attempt, :began_at, :ended_at, :outcome, :ran)";

const PRUNE_ACCEPTED: &str = "DELETE FROM call WHERE id IN (
    SELECT id FROM call WHERE service = ?1 AND outcome IN ('accepted', 'adopted')
    ORDER BY id DESC LIMIT -1 OFFSET ?2)";

const PRUNE_OTHERS: &str = "DELETE FROM call WHERE id IN (
    SELECT id FROM call WHERE service = ?1 AND outcome IN ('rejected', 'unsent', 'unknown', 'interrupted')
    ORDER BY id DESC LIMIT -1 OFFSET ?2)";

const DESCRIBE: &str = "INSERT INTO revision (name, subject, author) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO NOTHING";

const PRUNE_REVISIONS: &str = "DELETE FROM revision WHERE id <= (SELECT max(id) FROM revision) - ?1";

const ADD_DOUBT: &str = "UPDATE service SET doubts = doubts + 1 WHERE id = ?1";

const TAKE_DOUBT: &str = "UPDATE service SET doubts = max(doubts - 1, 0) WHERE id = ?1";

const APPLY: &str = "UPDATE service SET applied = ?2, digest = ?3, doubts = 0, suspect = 0 WHERE id = ?1";

const UNSETTLE: &str = "INSERT INTO unsettled (call, service, digest, spec, until) VALUES (?1, ?2, ?3, ?4, ?5)";

const SETTLE_CALL: &str = "DELETE FROM unsettled WHERE call = ?1";

/// A clock that was ahead when they were sent makes nothing arrive later.
const CLAMP_UNSETTLED: &str = "UPDATE unsettled
    SET until = ?1 + until - (SELECT began_at FROM call WHERE id = unsettled.call)
    WHERE (SELECT began_at FROM call WHERE id = unsettled.call) > ?1";

const SETTLE: &str = "DELETE FROM unsettled WHERE service = ?1 AND (digest = ?2 OR until <= ?3)";

const KEEP_KIND: &str = "INSERT INTO live (service, read_at, kind) VALUES (?1, ?2, ?3)
    ON CONFLICT (service) DO UPDATE SET kind = excluded.kind";

const SET_STATE: &str = "INSERT INTO state (name, state, since, until, reason, beside, digest, attempts)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (name) DO UPDATE SET state = excluded.state, since = excluded.since, until = excluded.until,
    reason = excluded.reason, beside = excluded.beside, digest = excluded.digest, attempts = excluded.attempts";

const FORGET_STATE: &str = "DELETE FROM state WHERE name = ?1";

const FORGET: &str =
    "UPDATE service SET applied = NULL, digest = NULL, doubts = 0, suspect = 0 WHERE name = ?1 RETURNING id";

const FORGET_LET_OUT: &str = "DELETE FROM let_out WHERE name = ?1";

const FORGET_LIVE: &str = "DELETE FROM live WHERE service = ?1";

const FORGET_UNSETTLED: &str = "DELETE FROM unsettled WHERE service = ?1";

const STATES_AT: &str = "INSERT OR REPLACE INTO states_of
    (only_one, at, adopt, drift, reserve, halted, halted_until, halted_reason) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const FORGET_SEEN: &str =
    "UPDATE live SET compared = NULL, differences = '[]', undecided = '[]', unnamed = NULL, failure = NULL, beside = NULL,
    read_at = ?2
    WHERE service = ?1";

/// An adoption sends nothing: the credentials that live uses are still in use.
const KEEP_UNNAMED: &str = "INSERT INTO live (service, read_at, unnamed) VALUES (?1, ?2, ?3)
    ON CONFLICT (service) DO UPDATE SET unnamed = excluded.unnamed";

const OPEN_CALL: &str = "SELECT service, digest, began_at FROM call WHERE id = ?1 AND outcome IS NULL";

const BEGAN: &str = "SELECT began_at FROM call WHERE id = ?1";

const COUNT: &str = "UPDATE ledger SET writes = writes + 1 RETURNING writes";

const SUSPECT_ALL: &str = "UPDATE service SET suspect = 1 WHERE digest IS NOT NULL";

const IS_LAST: &str = "UPDATE ledger SET inode = ?1, writes = max(writes, ?2) WHERE inode IS NOT ?1 OR writes < ?2";

const CONTRADICTED: &str = "SELECT service.id FROM service LEFT JOIN call ON call.id = service.applied
    WHERE service.digest IS NOT NULL AND suspect = 0
    AND (call.digest IS NOT service.digest OR call.service IS NOT service.id
        OR call.outcome IS NULL OR call.outcome NOT IN ('accepted', 'adopted'))";

const SUSPECT: &str = "UPDATE service SET suspect = 1 WHERE id = ?1";

const CLOSE_CALL: &str =
    "UPDATE call SET outcome = ?2, status = ?3, message = ?4, beside = ?5, ended_at = ?6 WHERE id = ?1";

const BEGIN_ROLLOUT: &str =
    "INSERT INTO rollout (call, service, digest, accepted_at, server_at, state, since, evidence)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4, 'none')";

const SUPERSEDE: &str = "UPDATE rollout SET state = 'superseded', since = ?2
    WHERE service = ?1 AND state IN ('unseen', 'pending', 'in-progress')";

const SET_ROLLOUT: &str = "UPDATE rollout SET state = ?3, since = ?4, deployment = ?5, evidence = ?6, reason = ?7,
        server_at = ?8, overtaken_by = ?9, overtaken_at = ?10
    WHERE digest = ?2 AND call = (
    SELECT max(newest.call) FROM rollout AS newest JOIN service ON service.id = newest.service WHERE name = ?1)";

const MEET: &str = "INSERT OR REPLACE INTO stranger (service, noticed_at, user, deployed_at)
    SELECT id, ?2, ?3, ?4 FROM service WHERE name = ?1";

const FORGET_STRANGER: &str = "DELETE FROM stranger WHERE service = ?1";

const SET_PAUSE: &str = "INSERT OR REPLACE INTO pause (only_one, until, reason, set_at) VALUES (1, ?1, ?2, ?3)";

const END_PAUSE: &str = "DELETE FROM pause";

const SAW: &str = "INSERT INTO live (service, read_at, kind, compared, differences, undecided, unnamed)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (service) DO UPDATE SET read_at = excluded.read_at, kind = coalesce(excluded.kind, kind),
    compared = excluded.compared, differences = excluded.differences, undecided = excluded.undecided,
    unnamed = excluded.unnamed, failure = NULL, beside = NULL";

const TRUST: &str = "UPDATE service SET suspect = 0 WHERE id = ?1 AND digest = ?2 AND suspect = 1 AND doubts = 0";

const SAW_NOT: &str = "INSERT INTO live (service, read_at, failure, beside) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (service) DO UPDATE SET read_at = excluded.read_at, failure = excluded.failure,
    beside = excluded.beside";

const KEEP_QUOTA: &str =
    "INSERT OR REPLACE INTO quota (only_one, total, remaining, resets_at, set_at) VALUES (1, ?1, ?2, ?3, ?4)";

const TURN_TO_PATCH: &str = "INSERT OR REPLACE INTO patch (only_one, since, reason, version) VALUES (1, ?1, ?2, ?3)";

const TURN_BACK: &str = "DELETE FROM patch";

const BELONG: &str = "UPDATE ledger SET api = coalesce(api, ?1), account = coalesce(account, ?2)
    WHERE api IS NULL OR account IS NULL AND ?2 IS NOT NULL";

/// The API answered at a place. What the ledger does not know yet of its own is filled in.
pub(in crate::ledger) fn belong(connection: &Connection, place: &ApiPlace) -> rusqlite::Result<()> {
    connection.prepare_cached(BELONG)?.execute([Some(&place.api), place.account.as_ref()]).map(drop)
}

/// An intent: closes what the service had open, makes room, and puts it in doubt.
pub(in crate::ledger) fn intend(connection: &Connection, call: &NewCall) -> rusqlite::Result<CallId> {
    let (service, id) = insert(connection, call, None)?;
    if call.cause == Cause::Rollback.as_str() {
        quarantine::sends_back(connection, &call.name, call.digest.as_bytes())?;
    }
    connection.prepare_cached(ADD_DOUBT)?.execute([service])?;
    seal::seal(connection, service)?;
    if let Some(settles_at) = call.settles_at {
        let values = params![id.0, service, call.digest.as_bytes(), call.spec, settles_at.as_millisecond()];
        connection.prepare_cached(UNSETTLE)?.execute(values)?;
    }
    if let Some(kind) = call.kind {
        connection.prepare_cached(KEEP_KIND)?.execute(params![service, call.at.as_millisecond(), kind])?;
    }
    Ok(id)
}

/// An adoption: like a call that was accepted at once.
pub(in crate::ledger) fn adopt(connection: &Connection, call: &NewCall) -> rusqlite::Result<CallId> {
    let (service, id) = insert(connection, call, Some("adopted"))?;
    apply(connection, service, id, call.digest.as_bytes(), (call.at, call.at))?;
    quarantine::arrived(connection, service, call.digest.as_bytes())?;
    if let Some(Rollout { state, server_at, .. }) = call.rollout.as_deref() {
        let (at, server_at) = (call.at.as_millisecond(), server_at.map(Timestamp::as_millisecond));
        let values = params![id.0, service, call.digest.as_bytes(), at, server_at, state.as_str()];
        connection.prepare_cached(BEGIN_ROLLOUT)?.execute(values)?;
    }
    if let Some(unnamed) = &call.unnamed {
        connection.prepare_cached(KEEP_UNNAMED)?.execute(params![service, call.at.as_millisecond(), unnamed])?;
    }
    Ok(id)
}

/// What a service has is known again, by a call that began and ended then: what arrives of the same can do no harm, and
/// what had its time before does not arrive any more.
fn apply(
    connection: &Connection,
    service: i64,
    call: CallId,
    digest: &[u8; 32],
    (began, at): (Timestamp, Timestamp),
) -> rusqlite::Result<()> {
    connection.prepare_cached(APPLY)?.execute(params![service, call.0, digest])?;
    seal::seal(connection, service)?;
    connection.prepare_cached(SETTLE)?.execute(params![service, digest, began.as_millisecond()])?;
    connection.prepare_cached(FORGET_SEEN)?.execute(params![service, at.as_millisecond()]).map(drop)
}

/// Nothing is known of a service any more: if a manifest names it again, it begins as one that was never seen. What was
/// sent stays in history.
pub(super) fn forget(connection: &Connection, key: &ServiceKey, at: Timestamp) -> rusqlite::Result<()> {
    let name = key.to_string();
    connection.prepare_cached(FORGET_STATE)?.execute([&name])?;
    connection.prepare_cached(FORGET_LET_OUT)?.execute([&name])?;
    quarantine::forget(connection, &name)?;
    let service: Option<i64> = connection.prepare_cached(FORGET)?.query_row([&name], |row| row.get(0)).optional()?;
    let Some(service) = service else { return Ok(()) };
    seal::seal(connection, service)?;
    connection.prepare_cached(SUPERSEDE)?.execute(params![service, at.as_millisecond()])?;
    for statement in [FORGET_LIVE, FORGET_UNSETTLED, FORGET_STRANGER] {
        connection.prepare_cached(statement)?.execute([service])?;
    }
    Ok(())
}

/// An update that was put off: a call that ended before it began. No doubt comes of it.
pub(in crate::ledger) fn put_off(connection: &Connection, call: &NewCall, end: &Outcome) -> rusqlite::Result<CallId> {
    let (_, id) = insert(connection, call, Some(columns(end).0))?;
    close(connection, id, end, call.at)?;
    Ok(id)
}

fn close(connection: &Connection, call: CallId, end: &Outcome, at: Timestamp) -> rusqlite::Result<()> {
    let (word, status, error) = columns(end);
    let (message, beside) = error.map(|error| (error.message, error.beside)).unzip();
    let values = params![call.0, word, status, message, beside.flatten(), at.as_millisecond()];
    connection.prepare_cached(CLOSE_CALL)?.execute(values).map(drop)
}

/// How an end is written down.
fn columns(end: &Outcome) -> (&'static str, Option<u16>, Option<NewDiagnostic>) {
    match end {
        Outcome::Accepted { status } => ("accepted", Some(*status), None),
        Outcome::Rejected { status, error } => ("rejected", Some(*status), Some(NewDiagnostic::of(error))),
        Outcome::Unsent { error } => ("unsent", None, Some(NewDiagnostic::of(error))),
        Outcome::Unknown { status, error } => ("unknown", *status, Some(NewDiagnostic::of(error))),
    }
}

pub(in crate::ledger) fn saw(connection: &Connection, row: &NewSighting) -> rusqlite::Result<()> {
    let service: i64 = connection.prepare_cached(TOUCH_SERVICE)?.query_row([&row.name], |row| row.get(0))?;
    if let Some(failure) = &row.failure {
        let values = params![service, row.at.as_millisecond(), failure.message, failure.beside];
        return connection.prepare_cached(SAW_NOT)?.execute(values).map(drop);
    }
    let compared = row.compared.as_ref().map(Digest::as_bytes);
    let (at, kind) = (row.at.as_millisecond(), row.kind);
    let values = params![service, at, kind, compared, row.differences, row.undecided, row.unnamed];
    connection.prepare_cached(SAW)?.execute(values)?;
    if row.shows_all() && connection.prepare_cached(TRUST)?.execute(params![service, compared])? > 0 {
        seal::seal(connection, service)?;
    }
    Ok(())
}

pub(in crate::ledger) fn keep_quota(connection: &Connection, window: &Window, at: Timestamp) -> rusqlite::Result<()> {
    let resets_at = window.resets_at.as_millisecond();
    let values = params![window.limit, window.remaining, resets_at, at.as_millisecond()];
    connection.prepare_cached(KEEP_QUOTA)?.execute(values).map(drop)
}

/// How far the rollout of a service is that was accepted last, where that is of this content.
pub(in crate::ledger) fn set_rollout(
    connection: &Connection,
    key: &ServiceKey,
    rollout: &Rollout,
) -> rusqlite::Result<()> {
    let Rollout { state, since, deployment_id, evidence, reason, digest, server_at, overtaken, .. } = rollout;
    let (user, at) = overtaken_by(overtaken.as_ref());
    let reason = reason.as_deref().map(bounded);
    let values = params![
        key.to_string(),
        digest.as_bytes(),
        state.as_str(),
        since.as_millisecond(),
        deployment_id,
        evidence.as_str(),
        reason,
        server_at.map(Timestamp::as_millisecond),
        user,
        at
    ];
    connection.prepare_cached(SET_ROLLOUT)?.execute(values).map(drop)
}

/// The columns that say who deployed something, and when.
fn overtaken_by(by: Option<&OvertakenBy>) -> (Option<&str>, Option<i64>) {
    (by.and_then(|by| by.user.as_deref()).map(bounded), by.map(|by| by.at.as_millisecond()))
}

/// Somebody else changed a service.
pub(in crate::ledger) fn meet(connection: &Connection, key: &ServiceKey, stranger: &Stranger) -> rusqlite::Result<()> {
    let Stranger { noticed_at, by } = stranger;
    let (user, deployed_at) = overtaken_by(by.as_ref());
    let values = params![key.to_string(), noticed_at.as_millisecond(), user, deployed_at];
    connection.prepare_cached(MEET)?.execute(values).map(drop)
}

pub(in crate::ledger) fn set_turned(connection: &Connection, turned: Option<&Turned>) -> rusqlite::Result<()> {
    match turned {
        Some(turned) => {
            let values = params![turned.at.as_millisecond(), bounded(&turned.reason), turned.version];
            connection.prepare_cached(TURN_TO_PATCH)?.execute(values).map(drop)
        }
        None => connection.prepare_cached(TURN_BACK)?.execute([]).map(drop),
    }
}

/// Writes the states that changed; `None` takes one out.
pub(in crate::ledger) fn set_states(
    connection: &Connection,
    states: &[(ServiceKey, Option<StateRecord>)],
    decider: &Decider,
    at: Timestamp,
) -> rusqlite::Result<()> {
    for (key, record) in states {
        let name = key.to_string();
        match record {
            Some(StateRecord { state, since, until, reason, digest, attempts }) => {
                let reason = reason.as_ref().map(NewDiagnostic::of);
                connection.prepare_cached(SET_STATE)?.execute(params![
                    name,
                    state.as_str(),
                    since.as_millisecond(),
                    until.map(|until| until.as_millisecond()),
                    reason.as_ref().map(|reason| &reason.message),
                    reason.as_ref().and_then(|reason| reason.beside.as_ref()),
                    digest.as_ref().map(Digest::as_bytes),
                    attempts,
                ])?;
            }
            None => drop(connection.prepare_cached(FORGET_STATE)?.execute([name])?),
        }
    }
    let Decider { rules, reserve_percent, halt } = decider;
    let halt = halt.as_ref();
    let values = params![
        at.as_millisecond(),
        rules.adopt.as_str(),
        rules.drift.as_str(),
        reserve_percent,
        halt.map(|halt| halt.state.as_str()),
        halt.map(|halt| halt.until.as_millisecond()),
        halt.map(|halt| bounded(&halt.reason)),
    ];
    connection.prepare_cached(STATES_AT)?.execute(values).map(drop)
}

fn insert(connection: &Connection, call: &NewCall, outcome: Option<&'static str>) -> rusqlite::Result<(i64, CallId)> {
    let at = call.at.as_millisecond();
    let service: i64 = connection.prepare_cached(TOUCH_SERVICE)?.query_row([&call.name], |row| row.get(0))?;
    connection.prepare_cached(INTERRUPT)?.execute([service, at])?;
    connection.prepare_cached(INSERT_CALL)?.execute(named_params! {
        ":service": service,
        ":digest": call.digest.as_bytes(),
        ":cause": call.cause,
        ":revision": call.revision,
        ":file": &*call.place.file,
        ":line": call.place.line,
        ":attempt": call.attempt,
        ":began_at": at,
        ":ended_at": outcome.map(|_| at),
        ":outcome": outcome,
        ":ran": call.ran,
    })?;
    let id = connection.last_insert_rowid();
    if let Some(Headline { subject, author }) = &call.headline
        && connection.prepare_cached(DESCRIBE)?.execute(params![call.revision, subject, author])? > 0
    {
        connection.prepare_cached(PRUNE_REVISIONS)?.execute([KEEP_REVISIONS])?;
    }
    bodies::keep(connection, service, call.digest.as_bytes(), &call.spec)?;
    connection.prepare_cached(PRUNE_ACCEPTED)?.execute([service, KEEP_ACCEPTED.into()])?;
    connection.prepare_cached(PRUNE_OTHERS)?.execute([service, KEEP_OTHERS.into()])?;
    Ok((service, CallId(id)))
}

/// The end of a call that is open. `server_at`: when it was accepted, by the server's clock.
pub(in crate::ledger) fn record(
    connection: &Connection,
    call: CallId,
    end: &Outcome,
    (at, server_at): (Timestamp, Option<Timestamp>),
) -> Result<(), WriteError> {
    let (service, digest, began): (i64, [u8; 32], _) = connection
        .prepare_cached(OPEN_CALL)?
        .query_row([call.0], |row| Ok((row.get(0)?, row.get(1)?, time(row, "began_at")?)))
        .optional()?
        .ok_or(WriteError::NotOpen(call))?;
    close(connection, call, end, at)?;
    match end {
        Outcome::Accepted { .. } => {
            apply(connection, service, call, &digest, (began, at))?;
            quarantine::arrived(connection, service, &digest)?;
            connection.prepare_cached(SUPERSEDE)?.execute(params![service, at.as_millisecond()])?;
            let server_at = server_at.map(Timestamp::as_millisecond);
            let unseen = RolloutState::Unseen.as_str();
            let values = params![call.0, service, digest, at.as_millisecond(), server_at, unseen];
            connection.prepare_cached(BEGIN_ROLLOUT)?.execute(values)?;
        }
        Outcome::Rejected { .. } | Outcome::Unsent { .. } => {
            connection.prepare_cached(TAKE_DOUBT)?.execute([service])?;
            seal::seal(connection, service)?;
            connection.prepare_cached(SETTLE_CALL)?.execute([call.0])?;
        }
        Outcome::Unknown { .. } => {}
    }
    Ok(())
}

/// Closes the intent of a task that went away before it was answered: its call will never be made. The moment is that of
/// the intent, because there is no clock here.
pub(in crate::ledger) fn withdraw(connection: &Connection, call: CallId) -> Result<(), WriteError> {
    let at = connection.prepare_cached(BEGAN)?.query_row([call.0], |row| time(row, "began_at"))?;
    record(connection, call, &Outcome::Unsent { error: "given up before it was sent".into() }, (at, None))
}

/// One more transaction. Gives how many there were.
pub(in crate::ledger) fn count(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))
}

/// This file is the ledger from now on, with at least so many transactions.
pub(in crate::ledger) fn is_last(connection: &Connection, inode: i64, writes: i64) -> rusqlite::Result<()> {
    connection.execute(IS_LAST, [inode, writes]).map(drop)
}

/// Everything that is known may be of an earlier time.
pub(in crate::ledger) fn suspect_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(SUSPECT_ALL, [])?;
    seal::seal_all(connection)
}

/// Mistrusts the services whose record is not that of the call which it names. Gives how many.
pub(in crate::ledger) fn suspect_contradicted(connection: &Connection) -> rusqlite::Result<usize> {
    let found: Vec<i64> =
        connection.prepare(CONTRADICTED)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for service in &found {
        connection.execute(SUSPECT, [service])?;
        seal::seal(connection, *service)?;
    }
    Ok(found.len())
}

/// Closes what an earlier process left open; the doubt stays.
pub(in crate::ledger) fn interrupt_all(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(CLAMP_UNSETTLED, [now.as_millisecond()])?;
    connection.execute(INTERRUPT_ALL, [now.as_millisecond()]).map(drop)
}

pub(in crate::ledger) fn set_pause(connection: &Connection, pause: Option<&Pause>) -> rusqlite::Result<()> {
    match pause {
        Some(pause) => connection
            .prepare_cached(SET_PAUSE)?
            .execute(params![pause.until.as_millisecond(), bounded(&pause.reason), pause.set_at.as_millisecond()])
            .map(drop),
        None => connection.prepare_cached(END_PAUSE)?.execute([]).map(drop),
    }
}
