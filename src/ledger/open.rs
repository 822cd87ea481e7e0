//! Opening the store: what a file must be before it is touched, and how a new one comes to be.
//!
//! Everything goes through SQLite itself. A file descriptor of our own on the store would, when closed, drop the locks
//! that SQLite holds on it for the whole process (POSIX locks are like that).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::folder::beside;
use super::{OpenError, schema, sql};
use crate::model::ApiPlace;

/// How long to wait for another program that holds on to the file, someone's `sqlite3` shell say.
const BUSY: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this many bytes after a burst.
const LOG_LIMIT: i64 = 16 << 20;
/// More than there are statements, so that each is prepared once.
const STATEMENTS: usize = 32;

/// What lies where the store should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    /// A file whose write-ahead log is empty or missing: everything is in the file itself.
    Settled,
    /// A file with a write-ahead log: somebody writes, or crashed.
    WithLog,
}

/// Looks without touching.
pub(super) fn look(store: &Path) -> Result<Found, OpenError> {
    let log = size(&beside(store, "-wal"))?.unwrap_or(0);
    match (size(store)?, log) {
        (None | Some(0), 0) => Ok(Found::Nothing),
        (None | Some(0), _) => Err(corrupt(store, "its write-ahead log is there, but the file is missing or empty")),
        (Some(_), 0) => Ok(Found::Settled),
        (Some(_), _) => Ok(Found::WithLog),
    }
}

/// Bytes of a regular file; `None` where there is nothing.
fn size(path: &Path) -> Result<Option<u64>, OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found.len())),
        Ok(_) => Err(OpenError::Foreign { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::File { action: "look at", path: path.to_owned(), source }),
    }
}

/// The writer's connection. The ledger's lock must be held. A store that is corrupt, foreign or newer stays as it is.
pub(super) fn for_writing(store: &Path, ours: &ApiPlace, now: Timestamp) -> Result<Connection, OpenError> {
    match look(store)? {
        Found::Nothing => create(store)?,
        Found::Settled => check(&immutable(store)?, store, ours)?,
        Found::WithLog => check(&read_only(store)?, store, ours)?,
    }
    let mut connection = read_write(store)?;
    if schema::migrate(&mut connection, schema::STEPS).map_err(|source| failed(store, "migrate", source))? {
        // From the log into the file: an older truenorth that looks at the file alone has to see the new format.
        checkpoint(&connection).map_err(|source| failed(store, "migrate", source))?;
    }
    sql::interrupt_all(&connection, now).map_err(|source| failed(store, "write to", source))?;
    Ok(connection)
}

/// Reads the file alone, as if nobody else had it; makes and locks nothing.
pub(super) fn immutable(store: &Path) -> Result<Connection, OpenError> {
    let mut address = String::from("file:");
    for &byte in store.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => address.push(char::from(byte)),
            _ => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(Path::new(&address), flags).map_err(|source| failed(store, "open", source))
}

/// Reads beside a writer.
pub(super) fn read_only(store: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(store, flags).map_err(|source| failed(store, "open", source))?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|source| failed(store, "open", source))?;
    Ok(connection)
}

fn read_write(store: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<(Connection, String)> {
        let connection = connect(store, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |row| row.get::<_, i64>(0))?;
        Ok((connection, mode))
    };
    let (connection, mode) = open().map_err(|source| failed(store, "open", source))?;
    if mode == "wal" { Ok(connection) } else { Err(OpenError::NoLog { path: store.to_owned() }) }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Whether this is a ledger that we know, of this place, and whole as far as can be told at the price of reading one small table. Damage
/// in the rest (history, in the main) shows when it is read; checking it all would take longer than a pass.
fn check(connection: &Connection, store: &Path, ours: &ApiPlace) -> Result<(), OpenError> {
    identify(connection, store)?;
    let theirs = sql::api_place(connection).map_err(|source| failed(store, "read", source))?;
    if let Some(theirs) = theirs.filter(|theirs| !theirs.agrees_with(ours)) {
        return Err(OpenError::OtherPlace { path: store.to_owned(), theirs, ours: ours.clone() });
    }
    let report: String = connection
        .query_row("PRAGMA quick_check('service')", [], |row| row.get(0))
        .map_err(|source| failed(store, "check", source))?;
    if report == "ok" { Ok(()) } else { Err(corrupt(store, &report)) }
}

/// Whether this is a ledger that we know, by its header.
pub(super) fn identify(connection: &Connection, store: &Path) -> Result<(), OpenError> {
    let supported = schema::newest(schema::STEPS);
    match schema::identity(connection).map_err(|source| failed(store, "read", source))? {
        (schema::APPLICATION_ID, found) if found > supported => {
            Err(OpenError::Newer { path: store.to_owned(), found, supported })
        }
        (schema::APPLICATION_ID, 1..) => Ok(()),
        (schema::APPLICATION_ID, _) => Err(corrupt(store, "it has no format number")),
        _ => Err(OpenError::Foreign { path: store.to_owned() }),
    }
}

/// Makes an empty ledger under another name and moves it into place, so that a crash in between leaves no half one.
fn create(store: &Path) -> Result<(), OpenError> {
    let new = beside(store, ".new");
    let wanting = |action| {
        let path = new.clone();
        move |source| OpenError::File { action, path, source }
    };
    // What a crash left, or a log without its store: it would be taken for the new one's.
    for left in [new.clone(), beside(&new, "-wal"), beside(&new, "-shm"), beside(&new, "-journal")] {
        remove(&left)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(wanting("make"))?;
    drop(file);
    let mut connection = read_write(&new)?;
    schema::migrate(&mut connection, schema::STEPS).map_err(|source| failed(&new, "make", source))?;
    connection.close().map_err(|(_, source)| failed(&new, "make", source))?;
    for stale in [beside(store, "-wal"), beside(store, "-shm"), beside(store, "-journal")] {
        remove(&stale)?;
    }
    fs::rename(&new, store).map_err(wanting("move into place"))?;
    let dir = store.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| OpenError::Folder {
        action: "flush",
        path: dir.to_owned(),
        source,
    })
}

fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::File { action: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Moves the whole write-ahead log into the file, as far as readers allow.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn corrupt(store: &Path, what: &str) -> OpenError {
    OpenError::Corrupt { path: store.to_owned(), what: what.to_owned() }
}

pub(super) fn failed(store: &Path, action: &'static str, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => corrupt(store, "it is no SQLite database"),
        Some(ErrorCode::DatabaseCorrupt) => corrupt(store, "its structure is broken"),
        _ => OpenError::Store { action, path: store.to_owned(), source: source.into() },
    }
}
