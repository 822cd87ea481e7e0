//! Reads one ref of a repository that keeps its refs in reftables, git's binary format: a stack of tables, each sorted
//! by name, of which the newest that has a name decides.
//! <https://git-scm.com/docs/reftable>

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gix_hash::ObjectId;

use super::plain;
use super::refs::Target;

/// Most bytes of the list of tables.
const MAX_LIST_BYTES: u64 = 64 * 1024;
/// Most tables in a stack; git merges them so that there are few.
const MAX_TABLES: usize = 256;
/// Most bytes of a table, and most that are read of one for a ref.
const MAX_TABLE_BYTES: u64 = 1024 * 1024 * 1024;
const MAX_READ_BYTES: usize = 64 * 1024 * 1024;
/// git merges tables at any time: then one that the list names is gone, and the list is another.
const MAX_TRIES: usize = 10;

/// What the stack in the folder `reftable` of `git_dir` says of a ref.
pub(super) fn find(git_dir: &Path, name: &[u8]) -> io::Result<Option<Target>> {
    let folder = git_dir.join("reftable");
    'again: for _ in 0..MAX_TRIES {
        let list = plain::read(&folder.join("tables.list"), MAX_LIST_BYTES)?.unwrap_or_default();
        let list = String::from_utf8(list).map_err(|_| corrupt("the list of tables is not text"))?;
        let tables: Vec<&str> = list.lines().collect();
        if tables.len() > MAX_TABLES || tables.iter().any(|table| table.is_empty() || table.contains('/')) {
            return Err(corrupt("the list of tables is not one that git writes"));
        }
        for table in tables.iter().rev() {
            let Some(file) = plain::open(&folder.join(table), MAX_TABLE_BYTES)? else { continue 'again };
            match find_in(&file, name)? {
                Some(Record::Target(target)) => return Ok(Some(target)),
                Some(Record::Deleted) => return Ok(None),
                None => {}
            }
        }
        return Ok(None);
    }
    Err(corrupt("tables that the list names are missing"))
}

enum Record {
    Target(Target),
    Deleted,
}

/// Goes through the blocks of refs, which come first in a table, up to the name.
fn find_in(file: &std::fs::File, name: &[u8]) -> io::Result<Option<Record>> {
    let end = file.metadata()?.len();
    let mut header = [0; 28];
    let head = usize::try_from(end).unwrap_or(usize::MAX).min(header.len());
    file.read_exact_at(&mut header[..head], 0)?;
    let hash = match (&header[..4], header[4], &header[24..28]) {
        (b"REFT", 1, _) => gix_hash::Kind::Sha1,
        (b"REFT", 2, b"sha1") => gix_hash::Kind::Sha1,
        (b"REFT", 2, b"s256") => gix_hash::Kind::Sha256,
        _ => return Err(corrupt("this is not a table that is known")),
    };
    let header_len = if header[4] == 1 { 24 } else { 28 };
    let block_size = u24(&header[5..8]) as u64;
    // The footer begins with the header again: without it the table is cut off.
    let mut footer = [0; 24];
    let footer_len = header_len as u64 + 44;
    file.read_exact_at(&mut footer, end.checked_sub(footer_len).ok_or_else(|| corrupt("the table is cut off"))?)?;
    if footer != header[..24] {
        return Err(corrupt("the table is cut off"));
    }

    let (mut at, mut read) = (0, 0);
    loop {
        // The first block begins with the table's header.
        let skip = if at == 0 { header_len } else { 0 };
        let mut start = [0; 4];
        if at + skip as u64 + 4 > end {
            return Ok(None);
        }
        file.read_exact_at(&mut start, at + skip as u64)?;
        let length = u24(&start[1..]);
        if start[0] != b'r' {
            return Ok(None);
        }
        read += length;
        if at + length as u64 > end || length < skip + 6 || read > MAX_READ_BYTES {
            return Err(corrupt("a block does not fit into its table"));
        }
        let mut block = vec![0; length];
        file.read_exact_at(&mut block, at)?;
        match find_in_block(&block[skip + 4..], name, hash).ok_or_else(|| corrupt("a block cannot be understood"))? {
            Search::Found(record) => return Ok(Some(record)),
            Search::Passed => return Ok(None),
            Search::Ahead => {}
        }
        let length = length as u64;
        at += if block_size == 0 { length } else { length.next_multiple_of(block_size) };
    }
}

/// How a search in sorted blocks goes on.
enum Search {
    Found(Record),
    /// The name would have come already.
    Passed,
    Ahead,
}

/// Looks for the name among the records of a block; `None` where they cannot be understood. Behind the records stand
/// the offsets of some of them, and in the end how many.
fn find_in_block(block: &[u8], name: &[u8], hash: gix_hash::Kind) -> Option<Search> {
    let (rest, count) = block.split_last_chunk::<2>()?;
    let restarts = usize::from(u16::from_be_bytes(*count)) * 3;
    let mut records = rest.get(..rest.len().checked_sub(restarts)?)?;
    let mut here = Vec::new();
    while !records.is_empty() {
        here.truncate(number(&mut records)?);
        let suffix = number(&mut records)?;
        here.extend_from_slice(take(&mut records, suffix >> 3)?);
        number(&mut records)?;
        let id = |records: &mut &[u8]| ObjectId::try_from(take(records, hash.len_in_bytes())?).ok();
        let record = match suffix & 7 {
            0 => Record::Deleted,
            1 => Record::Target(Target::Id(id(&mut records)?)),
            2 => {
                let target = id(&mut records)?;
                id(&mut records)?;
                Record::Target(Target::Id(target))
            }
            3 => {
                let length = number(&mut records)?;
                Record::Target(Target::Name(take(&mut records, length)?.to_vec()))
            }
            _ => return None,
        };
        match (*here).cmp(name) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Some(Search::Found(record)),
            std::cmp::Ordering::Greater => return Some(Search::Passed),
        }
    }
    Some(Search::Ahead)
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// A number of any length, as git's packs have them too.
fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut value: usize = 0;
    for round in 0..5 {
        let byte = *take(bytes, 1)?.first()?;
        let more = usize::from(round > 0);
        value = ((value + more) << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn u24(bytes: &[u8]) -> usize {
    bytes.iter().take(3).fold(0, |value, byte| value << 8 | usize::from(*byte))
}

fn corrupt(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
