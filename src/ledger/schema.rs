//! The tables, and how an older ledger becomes a newer one.
//!
//! A ledger carries [`APPLICATION_ID`], so that a file of another program is not taken for one, and the number of steps
//! that it has been through. A step that was released is never changed; a new format is a new step.

use rusqlite::Connection;

/// "tNth" in the header of each ledger.
pub(super) const APPLICATION_ID: i64 = 0x744e_7468;

/// The first format whose ledgers have a mark.
pub(super) const MARKED: i64 = 3;

/// What leads from one format to the next, a file each; the format's number is how many were carried out.
pub(super) const STEPS: &[&str] = &[
    include_str!("steps/1-calls.sql"),
    include_str!("steps/2-live.sql"),
    include_str!("steps/3-ledger.sql"),
    include_str!("steps/4-unsettled.sql"),
    include_str!("steps/5-revisions.sql"),
    include_str!("steps/6-rollouts.sql"),
    include_str!("steps/7-requests.sql"),
    include_str!("steps/8-approvals.sql"),
    include_str!("steps/9-decided.sql"),
    include_str!("steps/10-diagnostics.sql"),
    include_str!("steps/11-quarantine.sql"),
    include_str!("steps/12-rollback.sql"),
    include_str!("steps/13-taken-back.sql"),
    include_str!("steps/14-released.sql"),
    include_str!("steps/15-overtaken.sql"),
];

/// The application id and the format of a store.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
    Ok((number("application_id")?, number("user_version")?))
}

/// Lets a ledger of an earlier format be read as one of the newest: what it lacks is there as views of this connection.
pub(super) fn read_as_newest(connection: &Connection, format: i64) -> rusqlite::Result<()> {
    let lacking = [
        (2, include_str!("steps/read-before-2.sql")),
        (3, include_str!("steps/read-before-3.sql")),
        (4, include_str!("steps/read-before-4.sql")),
        (5, include_str!("steps/read-before-5.sql")),
        (6, include_str!("steps/read-before-6.sql")),
        (7, include_str!("steps/read-before-7.sql")),
        (8, include_str!("steps/read-before-8.sql")),
        (9, include_str!("steps/read-before-9.sql")),
        (10, include_str!("steps/read-before-10.sql")),
        (11, include_str!("steps/read-before-11.sql")),
        (12, include_str!("steps/read-before-12.sql")),
        (13, include_str!("steps/read-before-13.sql")),
        (14, include_str!("steps/read-before-14.sql")),
        (15, include_str!("steps/read-before-15.sql")),
    ];
    lacking.into_iter().filter(|(since, _)| format < *since).try_for_each(|(_, views)| connection.execute_batch(views))
}

/// The newest format that `steps` lead to.
pub(super) fn newest(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Carries out the steps that a store lacks, each in a transaction of its own. The store may be empty. Says whether
/// there were any.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<bool> {
    let (_, found) = identity(connection)?;
    let mut moved = false;
    for (version, step) in (1..).zip(steps).filter(|(version, _)| *version > found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        moved = true;
    }
    Ok(moved)
}
