//! What SQLite's errors mean.

use rusqlite::ErrorCode;

use crate::error::chain;
use crate::ledger::WriteError;
use crate::ledger::error::{Fault, StoreError};

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        use ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory,
            PermissionDenied, ReadOnly, SystemIoFailure,
        };
        let fault = match source.sqlite_error_code() {
            Some(DiskFull) => Fault::Full,
            Some(SystemIoFailure) => Fault::Disk,
            Some(DatabaseBusy | DatabaseLocked) => Fault::Busy,
            Some(FileLockingProtocolFailed | OutOfMemory) => Fault::Short,
            Some(ReadOnly | CannotOpen | PermissionDenied) => Fault::Closed,
            _ => Fault::Other,
        };
        Self::new(fault, chain(&source))
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store(source.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::OpenError;

    fn refused(code: i32, words: &str) -> OpenError {
        let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(words.to_owned()));
        OpenError::Store { action: "open", path: "/state/ledger.sqlite".into(), source: source.into() }
    }

    #[test]
    fn a_store_that_may_not_be_written_is_told_once_with_the_way_out() {
        for (code, words) in [
            (rusqlite::ffi::SQLITE_READONLY, "attempt to write a readonly database"),
            (rusqlite::ffi::SQLITE_READONLY_DIRECTORY, "attempt to write a readonly database"),
            (rusqlite::ffi::SQLITE_CANTOPEN, "unable to open database file"),
        ] {
            let error = refused(code, words);
            assert!(error.hint().is_some_and(|hint| hint.contains("must be writable")), "{code}");
            assert_eq!(chain(&error), format!("cannot open the ledger `/state/ledger.sqlite`: {words}"), "{code}");
        }
        let odd = refused(rusqlite::ffi::SQLITE_MISMATCH, "odd");
        assert!(odd.hint().is_none() && chain(&odd).contains(": odd: Error code 20: "), "{}", chain(&odd));
    }
}
