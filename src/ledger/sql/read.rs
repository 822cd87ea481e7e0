//! The statements that read.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, Row, params};
use tracing::warn;

use super::{diagnostic, nonsense, seal, time};
use crate::engine::{Unsettled, Window};
use crate::error::chain;
use crate::ledger::mark::Own;
use crate::ledger::{
    AppliedMark, AppliedRecord, Before, CallId, Decider, End, FailedRollout, Halt, HistoryEntry, Outcome, Pause,
    Sighting, StateRecord, States, Turned,
};
use crate::model::{
    ApiPlace, Applied, Digest, DriftMode, Evidence, Headline, Known, OvertakenBy, Place, Rollout, RolloutState,
    ServiceKey, ServiceKind, ServiceState, Stranger,
};
use crate::plan::{Adopt, Reading, Rules, Seen, UnnamedCredentials};

const SIGHTINGS: &str = "SELECT name, read_at, kind, compared, differences, undecided, failure, beside, unnamed
    FROM live JOIN service ON service.id = live.service";

const UNNAMED: &str =
    "SELECT name, unnamed FROM live JOIN service ON service.id = live.service WHERE unnamed IS NOT NULL";

const KIND: &str = "SELECT kind FROM live JOIN service ON service.id = live.service WHERE name = ?1";

/// Of other content than the present one they are no matter any more. One whose answer was lost may have been taken.
const CORRECTIONS: &str = "SELECT name, ended_at FROM call JOIN service ON service.id = call.service
    WHERE outcome IN ('accepted', 'unknown') AND cause = 'drifted' AND ended_at >= ?1 AND call.digest = service.digest
    ORDER BY ended_at";

const QUOTA: &str = "SELECT total, remaining, resets_at, set_at FROM quota";

const TURNED: &str = "SELECT since, reason, version FROM patch";

const UNSETTLED: &str =
    "SELECT name, unsettled.digest, until FROM unsettled JOIN service ON service.id = unsettled.service";

/// What may be older than what was applied last is no body to compare with.
const OTHERS: &str = "
    SELECT body.spec FROM service
    LEFT JOIN body ON body.service = service.id AND body.digest = service.digest AND service.suspect = 0
    WHERE service.name = ?1
    UNION ALL
    SELECT unsettled.spec FROM unsettled JOIN service ON service.id = unsettled.service WHERE service.name = ?1";

const UNREAD: &str = "SELECT name, call.cause = 'not-in-effect'
    FROM service JOIN call ON call.id = service.applied LEFT JOIN live ON live.service = service.id
    WHERE call.outcome = 'accepted' AND live.compared IS NULL";

const STATES: &str = "SELECT name, state, since, until, reason, beside, digest, attempts FROM state";

const STATES_OF: &str = "SELECT at, adopt, drift, reserve, halted, halted_until, halted_reason FROM states_of";

const OPEN_CALLS: &str = "SELECT name FROM call JOIN service ON service.id = call.service WHERE outcome IS NULL";

const PLACE: &str = "SELECT api, account FROM ledger";

/// All rows: that nothing is known of one may be the damage.
const KNOWN: &str = "SELECT name, digest, applied, doubts, suspect, seal,
    EXISTS (SELECT 1 FROM unsettled WHERE unsettled.service = service.id AND unsettled.digest <> service.digest)
    AS unverified FROM service";

const OWN: &str = "SELECT writes, inode FROM ledger";

const APPLIED: &str = "SELECT call.digest, body.spec, call.revision, call.file, call.line, call.cause, call.ended_at
    FROM service JOIN call ON call.id = service.applied
    LEFT JOIN body ON body.service = service.id AND body.digest = service.digest WHERE service.name = ?1";

const MARKS: &str = "SELECT service.name, call.revision, call.ended_at, subject, author
    FROM service JOIN call ON call.id = service.applied LEFT JOIN revision ON revision.name = call.revision";

const FILES: &str = "SELECT service.name, call.file FROM service JOIN call ON call.id = service.applied";

const SERVICES: &str = "SELECT name FROM service";

const SPECS: &str = "SELECT service.name, body.spec FROM service
    JOIN body ON body.service = service.id AND body.digest = service.digest";

/// The columns of a rollout beside those of a call.
macro_rules! rollout {
    () => {
        "rollout.state AS rollout_state, rollout.since AS rollout_since, rollout.deployment AS rollout_deployment,
        rollout.evidence AS rollout_evidence, rollout.reason AS rollout_reason, rollout.digest AS rollout_digest,
        rollout.accepted_at AS rollout_accepted_at, rollout.server_at AS rollout_server_at,
        rollout.overtaken_by, rollout.overtaken_at"
    };
}

/// Beside each call its body, that of the newest before it that went well, and what was written about its commit.
macro_rules! history {
    ($which:literal) => {
        concat!(
            "SELECT body.spec, before.id IS NOT NULL AS has_before, body_before.spec AS spec_before, subject, author,
                call.*, service.name, ",
            rollout!(),
            " FROM call JOIN service ON service.id = call.service
            LEFT JOIN rollout ON rollout.call = call.id
            LEFT JOIN body ON body.service = call.service AND body.digest = call.digest
            LEFT JOIN revision ON revision.name = call.revision
            LEFT JOIN call AS before ON before.id = (SELECT max(good.id) FROM call AS good
                WHERE good.service = call.service AND good.id < call.id AND good.outcome IN ('accepted', 'adopted'))
            LEFT JOIN body AS body_before ON body_before.service = before.service AND body_before.digest = before.digest
            ",
            $which,
            " ORDER BY call.id DESC LIMIT ?1"
        )
    };
}

const HISTORY: &str = history!("");

const HISTORY_OF_ONE: &str = history!("WHERE call.service = (SELECT id FROM service WHERE name = ?2)");

/// Of what the services have by now.
const ROLLOUTS: &str = concat!(
    "SELECT service.name, ",
    rollout!(),
    " FROM service JOIN rollout ON rollout.call = (
        SELECT max(newest.call) FROM rollout AS newest WHERE newest.service = service.id)
    WHERE rollout.digest = service.digest"
);

const FAILED_ROLLOUTS: &str = concat!(
    "SELECT service.name, rollout.digest = service.digest AND rollout.call = (
        SELECT max(newest.call) FROM rollout AS newest WHERE newest.service = service.id) AS is_present, ",
    rollout!(),
    " FROM rollout JOIN service ON service.id = rollout.service
    WHERE rollout.state IN ('failed', 'timed-out') ORDER BY rollout.call"
);

/// Without its body, which is of no use where many services are asked for.
const NEWEST: &str = "SELECT NULL AS spec, 0 AS has_before, NULL AS spec_before, NULL AS subject, NULL AS author,
        call.*, service.name, NULL AS rollout_state
    FROM service
    JOIN call ON call.id = (SELECT max(newest.id) FROM call AS newest WHERE newest.service = service.id)";

/// What was applied since is ours again.
const STRANGER: &str = "SELECT noticed_at, user, deployed_at FROM stranger
    JOIN service ON service.id = stranger.service LEFT JOIN call ON call.id = service.applied
    WHERE name = ?1 AND (call.ended_at IS NULL OR call.ended_at <= noticed_at)";

const PAUSE: &str = "SELECT until, reason, set_at FROM pause";

/// The API and the account that the ledger belongs to; nothing before its first answer.
pub(in crate::ledger) fn api_place(connection: &Connection) -> rusqlite::Result<Option<ApiPlace>> {
    let place = |row: &Row<'_>| {
        let text = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.map(Arc::from));
        Ok(text("api")?.zip(Some(text("account")?)).map(|(api, account)| ApiPlace { api, account }))
    };
    connection.prepare_cached(PLACE)?.query_row([], place).optional().map(Option::flatten)
}

/// What is known of every service. What is damaged is not believed: such a service is in doubt, or not known at all.
pub(in crate::ledger) fn known(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Known>> {
    let mut statement = connection.prepare_cached(KNOWN)?;
    let mut rows = statement.query([])?;
    let mut known = HashMap::new();
    while let Some(row) = rows.next()? {
        let Some(key) = undamaged("the name of a service", key(row, 0))? else { continue };
        let what = undamaged("the record of a service", known_of(row))?.unwrap_or(Some(Known::InDoubt));
        known.extend(what.map(|what| (key, what)));
    }
    Ok(known)
}

fn known_of(row: &Row<'_>) -> rusqlite::Result<Option<Known>> {
    let digest: Option<[u8; 32]> = row.get("digest")?;
    let (doubts, suspect): (i64, bool) = (row.get("doubts")?, row.get("suspect")?);
    let sealed = seal::matches(row)?;
    let unverified = row.get("unverified")?;
    let applied = digest.map(|digest| Applied { digest: Digest::from_bytes(digest), unverified });
    Ok(match applied {
        _ if doubts > 0 => Some(Known::InDoubt),
        Some(applied) if sealed && !suspect => Some(Known::Applied(applied)),
        Some(applied) => Some(Known::Suspect(applied)),
        None if sealed => None,
        None => Some(Known::InDoubt),
    })
}

/// Leaves out what cannot be read because it is damaged, and says so: a ledger is good for the rest.
fn undamaged<T>(what: &str, read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    match read {
        Ok(read) => Ok(Some(read)),
        Err(
            error
            @ (FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)),
        ) => {
            warn!(error = chain(&error), "{what} in the ledger is damaged, and left out");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Every row that is not damaged.
pub(super) fn all<T, C: FromIterator<T>>(
    what: &str,
    mut statement: CachedStatement<'_>,
    parameters: impl Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<C> {
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(undamaged(what, read(row))?);
    }
    Ok(found.into_iter().collect())
}

/// A hint that is kept in one row; a damaged one is as good as none.
fn one<T>(
    what: &str,
    connection: &Connection,
    statement: &str,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let row = connection.prepare_cached(statement)?.query_row([], read).optional();
    Ok(undamaged(what, row)?.flatten())
}

pub(in crate::ledger) fn applied(connection: &Connection, key: &ServiceKey) -> rusqlite::Result<Option<AppliedRecord>> {
    connection
        .prepare_cached(APPLIED)?
        .query_row([key.to_string()], |row| {
            Ok(AppliedRecord {
                digest: Digest::from_bytes(row.get("digest")?),
                spec: row.get("spec")?,
                revision: row.get("revision")?,
                place: place(row)?,
                cause: row.get("cause")?,
                at: time(row, "ended_at")?,
            })
        })
        .optional()
}

/// Of every service of which something was ever accepted.
pub(in crate::ledger) fn marks(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, AppliedMark>> {
    all("the time of an update", connection.prepare_cached(MARKS)?, [], |row| {
        let (revision, headline) = (row.get(1)?, headline(row)?);
        Ok((key(row, 0)?, AppliedMark { revision, headline, at: time(row, "ended_at")? }))
    })
}

/// The file of the manifest that each service was applied from last.
pub(in crate::ledger) fn files(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Arc<str>>> {
    all("the file of a manifest", connection.prepare_cached(FILES)?, [], |row| {
        Ok((key(row, 0)?, row.get::<_, String>(1)?.into()))
    })
}

/// Every service that was ever called, in no order.
pub(in crate::ledger) fn services(connection: &Connection) -> rusqlite::Result<Vec<ServiceKey>> {
    all("the name of a service", connection.prepare_cached(SERVICES)?, [], |row| key(row, 0))
}

/// The body that was accepted last, of every service whose body is kept.
pub(in crate::ledger) fn specs(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, String>> {
    all("an update", connection.prepare_cached(SPECS)?, [], |row| Ok((key(row, 0)?, row.get(1)?)))
}

pub(in crate::ledger) fn history(
    connection: &Connection,
    of: Option<&ServiceKey>,
    limit: u32,
) -> rusqlite::Result<Vec<HistoryEntry>> {
    let what = "an entry of history";
    match of {
        None => all(what, connection.prepare_cached(HISTORY)?, [limit], entry),
        Some(key) => all(what, connection.prepare_cached(HISTORY_OF_ONE)?, params![limit, key.to_string()], entry),
    }
}

/// The newest entry of every service, without its body.
pub(in crate::ledger) fn newest(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, HistoryEntry>> {
    all("an entry of history", connection.prepare_cached(NEWEST)?, [], |row| {
        let entry = entry(row)?;
        Ok((entry.key.clone(), entry))
    })
}

/// What every service that was read showed.
pub(in crate::ledger) fn sightings(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Sighting>> {
    all("what live showed of a service", connection.prepare_cached(SIGHTINGS)?, [], |row| {
        let at = time(row, "read_at")?;
        let unnamed = unnamed_of(row, "unnamed")?;
        let seen = match row.get::<_, Option<[u8; 32]>>("compared")? {
            None => None,
            Some(compared) => {
                let unnamed_credentials = unnamed.clone();
                let reading = Reading { differences: list(row, 4)?, undecided: list(row, 5)?, unnamed_credentials };
                Some(Seen { compared: Digest::from_bytes(compared), at, reading })
            }
        };
        Ok((key(row, 0)?, Sighting { at, kind: kind_of(row, 2)?, seen, unnamed, failure: diagnostic(row, "failure")? }))
    })
}

/// Services whose manifest named no credentials where live used some, by the newest read, with no update since.
pub(in crate::ledger) fn unnamed(connection: &Connection) -> rusqlite::Result<Vec<(ServiceKey, UnnamedCredentials)>> {
    let statement = connection.prepare_cached(UNNAMED)?;
    let rows = all("credentials that live uses", statement, [], |row| Ok((key(row, 0)?, unnamed_of(row, "unnamed")?)));
    let named = |(key, unnamed): (ServiceKey, Option<UnnamedCredentials>)| Some((key, unnamed?));
    rows.map(|rows: Vec<_>| rows.into_iter().filter_map(named).collect())
}

/// What cannot be read is only a hint that is lost.
fn unnamed_of(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<UnnamedCredentials>> {
    let text: Option<String> = row.get(column)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn list<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<[T]>> {
    let text = row.get_ref(column)?.as_str().map_err(|error| nonsense(column, error))?;
    let list: Vec<T> = serde_json::from_str(text).map_err(|error| nonsense(column, error))?;
    Ok(list.into())
}

pub(in crate::ledger) fn kind(connection: &Connection, key: &ServiceKey) -> rusqlite::Result<Option<ServiceKind>> {
    connection.prepare_cached(KIND)?.query_row([key.to_string()], |row| kind_of(row, 0)).optional().map(Option::flatten)
}

/// The type of a service; a word of a newer version is as good as none.
fn kind_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ServiceKind>> {
    let word: Option<String> = row.get(column)?;
    Ok(word.and_then(|word| ServiceKind::from_word(&word)))
}

/// When drift was corrected, oldest first.
pub(in crate::ledger) fn corrections(
    connection: &Connection,
    since: Timestamp,
) -> rusqlite::Result<Vec<(ServiceKey, Timestamp)>> {
    let statement = connection.prepare_cached(CORRECTIONS)?;
    all("a correction", statement, [since.as_millisecond()], |row| Ok((key(row, 0)?, time(row, "ended_at")?)))
}

/// The rate limit's window, and when it was kept.
pub(in crate::ledger) fn quota(connection: &Connection) -> rusqlite::Result<Option<(Window, Timestamp)>> {
    one("the rate limit's window", connection, QUOTA, |row| {
        let resets_at = time(row, "resets_at")?;
        let window = Window { limit: row.get("total")?, remaining: row.get("remaining")?, resets_at };
        Ok((window, optional_time(row, "set_at")?.unwrap_or(resets_at)))
    })
}

pub(in crate::ledger) fn turned(connection: &Connection) -> rusqlite::Result<Option<Turned>> {
    one("the turn to PATCH", connection, TURNED, |row| {
        Ok(Turned { at: time(row, "since")?, version: row.get("version")?, reason: row.get("reason")? })
    })
}

pub(in crate::ledger) fn pause(connection: &Connection) -> rusqlite::Result<Option<Pause>> {
    one("the pause of all calls", connection, PAUSE, |row| {
        let until = time(row, "until")?;
        Ok(Pause { until, reason: row.get("reason")?, set_at: optional_time(row, "set_at")?.unwrap_or(until) })
    })
}

pub(super) fn optional_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(|_| time(row, column)).transpose()
}

/// Requests that may still take effect, by service.
pub(in crate::ledger) fn unsettled(connection: &Connection) -> rusqlite::Result<Vec<(ServiceKey, Unsettled)>> {
    all("a request that may still take effect", connection.prepare_cached(UNSETTLED)?, [], |row| {
        Ok((key(row, 0)?, Unsettled { digest: Digest::from_bytes(row.get(1)?), until: time(row, "until")? }))
    })
}

/// The bodies that a service may have instead of what is desired: what was applied last, and what may still arrive.
pub(in crate::ledger) fn others(connection: &Connection, key: &ServiceKey) -> rusqlite::Result<Vec<Option<String>>> {
    connection.prepare_cached(OTHERS)?.query_map([key.to_string()], |row| row.get(0))?.collect()
}

/// Services of whose last accepted update no read has shown the effect yet, and whether that was the missing part alone.
pub(in crate::ledger) fn unread(connection: &Connection) -> rusqlite::Result<Vec<(ServiceKey, bool)>> {
    all("an update", connection.prepare_cached(UNREAD)?, [], |row| Ok((key(row, 0)?, row.get(1)?)))
}

/// By what the states of services were decided, and when they were written last.
pub(in crate::ledger) fn decider(connection: &Connection) -> rusqlite::Result<Option<(Timestamp, Decider)>> {
    one("who decided the states", connection, STATES_OF, |row| Ok((time(row, "at")?, decider_of(row)?)))
}

/// The newest rollout of each service, where it is of what the service has. A word of a newer version is left out.
pub(in crate::ledger) fn rollouts(connection: &Connection) -> rusqlite::Result<HashMap<ServiceKey, Rollout>> {
    let statement = connection.prepare_cached(ROLLOUTS)?;
    let rows: Vec<_> = all("a rollout", statement, [], |row| Ok((key(row, "name")?, rollout(row)?)))?;
    Ok(rows.into_iter().filter_map(|(key, rollout)| Some((key, rollout?))).collect())
}

pub(in crate::ledger) fn failed_rollouts(connection: &Connection) -> rusqlite::Result<Vec<FailedRollout>> {
    let statement = connection.prepare_cached(FAILED_ROLLOUTS)?;
    let rows: Vec<_> = all("a rollout", statement, [], |row| {
        let is_present: Option<bool> = row.get("is_present")?;
        Ok((key(row, "name")?, rollout(row)?, is_present.unwrap_or_default()))
    })?;
    let failed = |(key, rollout, is_present)| Some(FailedRollout { key, rollout: rollout?, is_present });
    Ok(rows.into_iter().filter_map(failed).collect())
}

/// Who else was seen to change a service last.
pub(in crate::ledger) fn stranger(connection: &Connection, key: &ServiceKey) -> rusqlite::Result<Option<Stranger>> {
    let mut statement = connection.prepare_cached(STRANGER)?;
    let stranger = |row: &Row<'_>| {
        Ok(Stranger { noticed_at: time(row, "noticed_at")?, by: overtaken_by(row, "user", "deployed_at")? })
    };
    statement.query_row([key.to_string()], stranger).optional()
}

/// Who deployed something, and when, by the columns that say so; nothing where nobody did.
fn overtaken_by(row: &Row<'_>, user: &str, at: &str) -> rusqlite::Result<Option<OvertakenBy>> {
    optional_time(row, at)?.map(|at| Ok(OvertakenBy { user: row.get(user)?, at })).transpose()
}

fn rollout(row: &Row<'_>) -> rusqlite::Result<Option<Rollout>> {
    let state: Option<String> = row.get("rollout_state")?;
    let Some(state) = state.as_deref().and_then(RolloutState::from_word) else { return Ok(None) };
    let evidence = Evidence::from_word(row.get_ref("rollout_evidence")?.as_str()?).unwrap_or(Evidence::None);
    Ok(Some(Rollout {
        state,
        since: time(row, "rollout_since")?,
        deployment_id: row.get("rollout_deployment")?,
        evidence,
        overtaken: overtaken_by(row, "overtaken_by", "overtaken_at")?,
        reason: row.get("rollout_reason")?,
        digest: Digest::from_bytes(row.get("rollout_digest")?),
        accepted_at: time(row, "rollout_accepted_at")?,
        server_at: optional_time(row, "rollout_server_at")?,
    }))
}

/// The state of each service as it was written last. A word of a newer version is left out.
pub(in crate::ledger) fn states(connection: &Connection) -> rusqlite::Result<Option<States>> {
    let Some((at, decider)) = decider(connection)? else { return Ok(None) };
    let states: Vec<_> = all("the state of a service", connection.prepare_cached(STATES)?, [], |row| {
        let state = ServiceState::from_word(row.get_ref("state")?.as_str()?);
        let digest = row.get::<_, Option<[u8; 32]>>("digest")?.map(Digest::from_bytes);
        let (since, until) = (time(row, "since")?, optional_time(row, "until")?);
        let (reason, attempts) = (diagnostic(row, "reason")?, row.get("attempts")?);
        let record = state.map(|state| StateRecord { state, since, until, reason, digest, attempts });
        Ok(record.zip(Some(key(row, 0)?)))
    })?;
    Ok(Some(States { at, decider, of: states.into_iter().flatten().map(|(record, key)| (key, record)).collect() }))
}

fn decider_of(row: &Row<'_>) -> rusqlite::Result<Decider> {
    let default = Rules::default();
    let rules = Rules {
        adopt: Adopt::from_word(row.get_ref("adopt")?.as_str()?).unwrap_or(default.adopt),
        drift: DriftMode::from_word(row.get_ref("drift")?.as_str()?).unwrap_or(default.drift),
    };
    let state = row.get::<_, Option<String>>("halted")?.as_deref().and_then(ServiceState::from_word);
    let (until, reason) = (optional_time(row, "halted_until")?, row.get::<_, Option<String>>("halted_reason")?);
    let halt = state.zip(until).zip(reason).map(|((state, until), reason)| Halt { state, until, reason });
    Ok(Decider { rules, reserve_percent: row.get("reserve")?, halt })
}

/// Services with a call that has no end yet.
pub(in crate::ledger) fn open_calls(connection: &Connection) -> rusqlite::Result<Vec<ServiceKey>> {
    all("a call", connection.prepare_cached(OPEN_CALLS)?, [], |row| key(row, 0))
}

/// How many transactions the ledger has seen, and the file that it was last.
pub(in crate::ledger) fn own(connection: &Connection) -> rusqlite::Result<Own> {
    let own = connection.prepare_cached(OWN)?.query_row([], |row| Ok(Own { writes: row.get(0)?, inode: row.get(1)? }));
    Ok(own.optional()?.unwrap_or_default())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    Ok(HistoryEntry {
        call: CallId(row.get("id")?),
        key: key(row, "name")?,
        digest: Digest::from_bytes(row.get("digest")?),
        spec: row.get("spec")?,
        before: match row.get::<_, Option<String>>("spec_before")? {
            Some(spec) => Before::Kept(spec),
            None if row.get("has_before")? => Before::NotKept,
            None => Before::Nothing,
        },
        revision: row.get("revision")?,
        headline: headline(row)?,
        place: place(row)?,
        cause: row.get("cause")?,
        attempt: row.get("attempt")?,
        began: time(row, "began_at")?,
        end: end(row)?,
        rollout: rollout(row)?,
    })
}

fn headline(row: &Row<'_>) -> rusqlite::Result<Option<Headline>> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.map(String::into_boxed_str));
    Ok(text("subject")?.zip(text("author")?).map(|(subject, author)| Headline { subject, author }))
}

fn end(row: &Row<'_>) -> rusqlite::Result<End> {
    let Some(word) = row.get::<_, Option<String>>("outcome")? else { return Ok(End::Open) };
    let at = time(row, "ended_at")?;
    let error = || diagnostic(row, "message").map(Option::unwrap_or_default);
    let outcome = match word.as_str() {
        "accepted" => Outcome::Accepted { status: row.get("status")? },
        "rejected" => Outcome::Rejected { status: row.get("status")?, error: error()? },
        "unsent" => Outcome::Unsent { error: error()? },
        "unknown" => Outcome::Unknown { status: row.get("status")?, error: error()? },
        "interrupted" => return Ok(End::Interrupted { at }),
        "adopted" => return Ok(End::Adopted { at }),
        other => return Err(nonsense(row.as_ref().column_index("outcome")?, format!("no outcome: {other:?}"))),
    };
    Ok(End::Recorded { outcome, at })
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { file: row.get::<_, String>("file")?.into(), line: row.get("line")? })
}

pub(super) fn key<I: rusqlite::RowIndex + Copy>(row: &Row<'_>, column: I) -> rusqlite::Result<ServiceKey> {
    let text = row.get_ref(column)?.as_str().map_err(|error| nonsense(0, error))?;
    text.parse().map_err(|error| nonsense(0, error))
}
