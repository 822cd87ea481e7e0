//! Reads one file: bounded, without waiting on a FIFO, and only if it is a plain file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::FileType;

use super::checkout::{BlobId, blob_id};
use super::near::Near;
use super::stamp::Stamp;
use crate::manifest::{self, Format, MAX_BYTES, Parsed, Problem};

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    /// What git calls its bytes.
    pub(super) blob: BlobId,
    /// Its manifests and their problems.
    pub(super) parsed: Parsed,
}

/// Reads and parses a file. `near` and `buffer` are used again from file to file.
pub(super) fn read(
    path: &Path,
    file: &Arc<str>,
    (format, ids): (Format, gix_hash::Kind),
    near: &mut Near,
    buffer: &mut Vec<u8>,
) -> io::Result<Result<(Stamp, Contents), Problem>> {
    let read_at = SystemTime::now();
    let opened = match near.open(path) {
        Ok(opened) => opened,
        // A socket cannot be opened at all.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
            return Ok(Err(no_plain_file(file, "a socket or a device")));
        }
        Err(error) => return Err(error),
    };
    let stat = rustix::fs::fstat(&opened)?;
    if let Some(kind) = no_plain(FileType::from_raw_mode(stat.st_mode)) {
        return Ok(Err(no_plain_file(file, kind)));
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    let is_large = size > MAX_BYTES || read_whole(opened, size, buffer)? > MAX_BYTES;
    if is_large {
        let message =
            format!("the file is larger than {} KiB, the most that a file of manifests may have", MAX_BYTES / 1024);
        return Ok(Err(Problem::of_file(file, message, Some("split it into several files".to_owned()))));
    }
    let parsed = manifest::parse(file, format, buffer);
    let contents = Contents { blob: blob_id(ids, buffer), parsed };
    Ok(Ok((Stamp::of(&stat, read_at), contents)))
}

/// Reads a file of about this size, at most a byte more than [`MAX_BYTES`], and returns how much it was. One call to the
/// system as a rule: room for a byte more shows the end.
pub(super) fn read_whole(mut file: File, size: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    buffer.resize(size.min(MAX_BYTES) + 1, 0);
    let mut filled = 0;
    loop {
        match file.read(&mut buffer[filled..]) {
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        // A plain file gives less than asked for at its end only.
        if filled < buffer.len() {
            buffer.truncate(filled);
            return Ok(filled);
        }
        if filled > MAX_BYTES {
            return Ok(filled);
        }
        buffer.resize((filled * 2).min(MAX_BYTES + 1), 0);
    }
}

/// The problem of something that is no plain file.
pub(super) fn no_plain_file(file: &Arc<str>, kind: &str) -> Problem {
    let hint = "remove it, or name it in .truenorthignore".to_owned();
    Problem::of_file(file, format!("this is {kind}, not a file of manifests"), Some(hint))
}

/// What something is that is no plain file.
fn no_plain(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Fifo => Some("a FIFO"),
        FileType::Directory => Some("a folder"),
        FileType::Socket => Some("a socket"),
        _ => Some("a device"),
    }
}
