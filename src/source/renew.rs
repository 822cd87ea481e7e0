//! A walk after few changes: a folder is listed again only where its times say that something came or went in it.
//!
//! It finds what a whole walk finds, where the times of folders and files can be relied on; what it cannot be sure of is
//! left to one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::MAX_ENTRIES;
use super::disk::Disk;
use super::file::Found;
use super::ignored::IGNORE_FILE;
use super::list::{self, Refused, Work};
use super::near::Near;
use super::stamp::Stamp;
use super::unreadable::Broken;
use super::walk::{Part, Proof, Read, Reader, Walked, in_parts};

/// Most folders that are listed one by one; a whole walk lists more of them at once.
const MOST_MOVED: usize = 64;

/// The same as a [whole walk](super::walk::walk) of the folder, from what the last one found: `seen` are its files, and
/// `folders` its folders and ignore files. It met no link and no problem. `None` where folders came or went, the rules of
/// what is left out may be others, or there were more problems than are kept: which of them are is decided over all files.
pub(super) fn renew(
    root: &Path,
    ids: gix_hash::Kind,
    seen: &[Arc<Found>],
    folders: Vec<(PathBuf, Stamp)>,
) -> Result<Option<Walked>, Broken> {
    let disk = Disk::open(root).map_err(Broken::Folder)?;
    renew_from(&disk, ids, seen, folders)
}

pub(super) fn renew_from(
    disk: &Disk,
    ids: gix_hash::Kind,
    seen: &[Arc<Found>],
    mut folders: Vec<(PathBuf, Stamp)>,
) -> Result<Option<Walked>, Broken> {
    if seen.iter().any(|found| found.contents.parsed.is_cut()) {
        return Ok(None);
    }
    let moved = in_parts(&folders, |first, folders| {
        let mut near = Near::new(disk);
        let mut stands = |path: &Path, stamp: &Stamp| near.stat(path).is_ok_and(|now| stamp.holds_for(&now));
        let moved = (first..).zip(folders).filter(|(_, (path, stamp))| !stands(path, stamp));
        moved.map(|(place, _)| place).take(MOST_MOVED + 1).collect::<Vec<_>>()
    })
    .concat();
    if moved.len() > MOST_MOVED || moved.iter().any(|place| folders[*place].0.ends_with(IGNORE_FILE)) {
        return Ok(None);
    }

    let refused = Refused::default();
    let reader = Reader::new(disk, ids, (seen, Proof::Unchanged), &refused);
    let mut of_moved = Part::default();
    let mut stamps = Vec::with_capacity(moved.len());
    for place in &moved {
        let (path, before) = &folders[*place];
        let again = list::files_again(disk, path, &folders, |work| match work {
            Work::Files { folder, files } => reader.files(&folder, &files, &mut of_moved),
            Work::Linked { .. } => Err(Broken::Changed),
        })?;
        match again.filter(|stamp| stamp.inode() == before.inode()) {
            Some(stamp) => stamps.push(stamp),
            None => return Ok(None),
        }
    }

    let is_in_moved = |found: &Found| moved.iter().any(|place| found.is_in(&folders[*place].0));
    let mut parts = in_parts(seen, |first, seen| reader.again(first, seen, is_in_moved));
    parts.push(of_moved);
    let Read { found, not_read, problems } = Read::of(seen, parts)?;
    if !not_read.is_empty() || found.len() + folders.len() > MAX_ENTRIES {
        return Ok(None);
    }
    for (place, stamp) in moved.into_iter().zip(stamps) {
        folders[place].1 = stamp;
    }
    Ok(Some(Walked { found, problems, folders, links: false }))
}
