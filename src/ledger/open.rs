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
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tracing::warn;

use super::folder::beside;
use super::lock::Lock;
use super::mark::{Left, Mark, Stamp, Suspicion};
use super::{OpenError, schema, sql};
use crate::model::ApiPlace;

/// How long to wait for another program that holds on to the file, someone's `sqlite3` shell say.
const BUSY: Duration = Duration::from_secs(5);
/// After so many pages the write-ahead log is moved into the file and begun again, and it is cut back to this many bytes
/// after a burst: it must fit on a small volume beside its ledger.
const LOG_PAGES: i64 = 128;
const LOG_LIMIT: i64 = 512 << 10;
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

/// The writer's connection, and the mark beside it. A store that is corrupt, foreign, newer or of another place stays as
/// it is, and so does what was left beside it.
pub(super) fn for_writing(
    store: &Path,
    lock: &mut Lock,
    ours: &ApiPlace,
    now: Timestamp,
) -> Result<(Connection, Mark), OpenError> {
    let left = Left::look(store, lock.found);
    let suspicion = match look(store)? {
        Found::Nothing => {
            create(store)?;
            None
        }
        Found::Settled => check(&immutable(store)?, store, ours, &left)?,
        Found::WithLog => check(&read_only(store)?, store, ours, &left)?,
    };
    let mut connection = read_write(store)?;
    if schema::migrate(&mut connection, schema::STEPS).map_err(|source| failed(store, "migrate", source))? {
        // From the log into the file: an older truenorth that looks at the file alone has to see the new format.
        checkpoint(&connection).map_err(|source| failed(store, "migrate", source))?;
    }
    let writing = |source| failed(store, "write to", source);
    let writes = sql::own(&connection).map_err(writing)?.writes.max(left.writes());
    let inode = Stamp::of(store).map_or(0, Stamp::inode);
    let signed = lock.sign()?;
    let begin = || Mark::begin(store, signed, writes);
    // With a suspicion not before it is written down: until then the old mark has to tell it again.
    let mark = suspicion.is_none().then(begin);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(writing)?;
    mistrust(&transaction, suspicion)
        .and_then(|()| sql::is_last(&transaction, inode, writes))
        .and_then(|()| sql::interrupt_all(&transaction, now))
        .and_then(|()| transaction.commit())
        .map_err(writing)?;
    Ok((connection, mark.unwrap_or_else(begin)))
}

/// Marks what is not to be believed: everything in a ledger that may be another one, else what contradicts itself.
fn mistrust(connection: &Connection, suspicion: Option<Suspicion>) -> rusqlite::Result<()> {
    if let Some(suspicion) = suspicion {
        warn!("{suspicion}: {READ_FIRST}");
        return sql::suspect_all(connection);
    }
    let contradicted = sql::suspect_contradicted(connection)?;
    if contradicted > 0 {
        warn!(services = contradicted, "records of the ledger contradict each other: {READ_FIRST}");
    }
    Ok(())
}

const READ_FIRST: &str = "what differs from its manifest is read before it is updated";

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
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    connect(Path::new(&address), flags).map_err(|source| failed(store, "open", source))
}

/// Reads beside a writer.
pub(super) fn read_only(store: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = connect(store, flags).map_err(|source| failed(store, "open", source))?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|source| failed(store, "open", source))?;
    Ok(connection)
}

/// Writes beside the writer, and leaves the log to it.
pub(super) fn beside_writer(store: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = || -> rusqlite::Result<Connection> {
        let connection = connect(store, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |row| row.get::<_, i64>(0))?;
        Ok(connection)
    };
    let connection = open().map_err(|source| failed(store, "open", source))?;
    match identify(&connection, store)? {
        found if found < schema::newest(schema::STEPS) => Err(OpenError::Older { path: store.to_owned(), found }),
        _ => Ok(connection),
    }
}

fn read_write(store: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = || -> rusqlite::Result<(Connection, String)> {
        let connection = connect(store, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |row| row.get::<_, i64>(0))?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |row| row.get::<_, i64>(0))?;
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

/// Whether this is a ledger that we know, of this place, and whole as far as can be told at the price of reading one
/// small table. Damage in the rest (history, in the main) shows when it is read; checking it all would take longer than a
/// pass. Gives why it may be another one than the last.
fn check(connection: &Connection, store: &Path, ours: &ApiPlace, left: &Left) -> Result<Option<Suspicion>, OpenError> {
    let format = identify(connection, store)?;
    let reading = |source| failed(store, "read", source);
    if let Some(theirs) = sql::api_place(connection).map_err(reading)?.filter(|theirs| !theirs.agrees_with(ours)) {
        return Err(OpenError::OtherPlace { path: store.to_owned(), theirs, ours: ours.clone() });
    }
    let report: String = connection
        .query_row("PRAGMA quick_check('service')", [], |row| row.get(0))
        .map_err(|source| failed(store, "check", source))?;
    if report != "ok" {
        return Err(corrupt(store, &report));
    }
    suspicion(connection, format, left).map_err(reading)
}

/// Why a ledger may be another one than the last that was here. One that was never marked is none.
pub(super) fn suspicion(connection: &Connection, format: i64, left: &Left) -> rusqlite::Result<Option<Suspicion>> {
    if format < schema::MARKED && !left.is_marked() {
        return Ok(None);
    }
    Ok(left.suspicion(sql::own(connection)?))
}

/// Whether this is a ledger that we know, by its header; it can be read then. Gives its format.
pub(super) fn identify(connection: &Connection, store: &Path) -> Result<i64, OpenError> {
    let supported = schema::newest(schema::STEPS);
    let reading = |source| failed(store, "read", source);
    match schema::identity(connection).map_err(reading)? {
        (schema::APPLICATION_ID, found) if found > supported => {
            Err(OpenError::Newer { path: store.to_owned(), found, supported })
        }
        (schema::APPLICATION_ID, format @ 1..) => {
            schema::read_as_newest(connection, format).map_err(reading)?;
            Ok(format)
        }
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
    let inode = Stamp::of(&new).map_or(0, Stamp::inode);
    schema::migrate(&mut connection, schema::STEPS)
        .and_then(|_| sql::is_last(&connection, inode, 0))
        .map_err(|source| failed(&new, "make", source))?;
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
        Some(ErrorCode::NotADatabase) => corrupt(store, "it is not an SQLite database"),
        Some(ErrorCode::DatabaseCorrupt) => corrupt(store, "its structure is broken"),
        // SQLite does not tell why the system refused; whoever asks the system hears it.
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) if let Err(source) = ask_system(store) => {
            OpenError::File { action, path: store.to_owned(), source }
        }
        _ => OpenError::Store { action, path: store.to_owned(), source: source.into() },
    }
}

/// Whether the process has a descriptor left, and the disk room.
fn ask_system(store: &Path) -> io::Result<()> {
    let folder = File::open(store.parent().unwrap_or(Path::new("/")))?;
    let disk = rustix::fs::fstatvfs(folder)?;
    if disk.f_bavail == 0 && disk.f_blocks > 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}
