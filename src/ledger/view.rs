//! The file of a ledger as a reader finds it: beside a writer, or alone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::folder::beside;
use super::open::{self, Found};
use super::{OpenError, ReadError, schema};

/// How often a read is done again because the file moved. Once is the rule: then the log is there.
const ROUNDS: usize = 5;

#[derive(Debug)]
pub(super) struct View {
    pub(super) connection: Connection,
    pub(super) format: i64,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// SQLite sees the log and sorts out who sees what.
    Beside,
    /// The file alone, right while its stamp is this one.
    Alone(Seen),
}

/// What changes when somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    file: (u64, u64, u64, i64, i64),
    log: bool,
}

impl View {
    /// Opens a file to read it.
    pub(super) fn open(store: &Path) -> Result<Self, OpenError> {
        // Taken before the file is opened: what changes from here on is seen.
        let before = stamp(store);
        let alone = |stamp| -> Result<Self, OpenError> {
            let connection = open::immutable(store)?;
            let format = open::identify(&connection, store)?;
            Ok(Self { connection, format, way: Way::Alone(stamp) })
        };
        if let Some(stamp) = before.filter(|stamp| !stamp.log) {
            return alone(stamp);
        }
        let beside = open::read_only(store).and_then(|connection| {
            let format = open::identify(&connection, store)?;
            Ok(Self { connection, format, way: Way::Beside })
        });
        match (beside, before) {
            // The folder is not writable for us, and what the usual way needs is not there. An empty log says nothing
            // that the file does not.
            (Err(OpenError::Store { source, .. }), Some(stamp))
                if source.needs_writing() && open::look(store)? == Found::Settled =>
            {
                alone(stamp)
            }
            (beside, _) => beside,
        }
    }

    /// The writer's own: the log is there.
    pub(super) fn beside_writer(store: &Path) -> Result<Self, OpenError> {
        let (connection, format) = (open::read_only(store)?, schema::newest(schema::STEPS));
        Ok(Self { connection, format, way: Way::Beside })
    }

    /// Reads, and again where the file that was read alone moved.
    pub(super) fn read<T>(
        &mut self,
        store: &Path,
        query: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        for _ in 0..ROUNDS {
            let answer = query(&self.connection);
            match self.way {
                Way::Alone(then) if stamp(store) != Some(then) => {
                    *self = Self::open(store).map_err(|error| ReadError::Reopen(Box::new(error)))?;
                }
                _ => {
                    return answer.map_err(|source| ReadError::Store { path: store.to_owned(), source: source.into() });
                }
            }
        }
        Err(ReadError::Unsteady { path: store.to_owned() })
    }
}

fn stamp(store: &Path) -> Option<Seen> {
    let found = fs::metadata(store).ok()?;
    Some(Seen {
        file: (found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()),
        log: fs::exists(beside(store, "-wal")).ok()?,
    })
}
