//! Who has a file open for writing, for a read without a watch: as far as `/proc` shows it, which is the processes of the
//! same user, or all of them to root, in the same container.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Inode;

/// Most processes and open files that are looked at.
const MAX_FILES: usize = 200_000;

/// Those of the files that some process may still write to.
pub(super) fn open_for_writing(files: &BTreeSet<Inode>) -> BTreeSet<Inode> {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let is_number = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let processes = entries("/proc".into()).filter(is_number);
    let open = processes.flat_map(|process| entries(process.path().join("fd")).map(move |file| (process.path(), file)));
    let mut found = BTreeSet::new();
    for (process, file) in open.take(MAX_FILES) {
        let Ok(metadata) = fs::metadata(file.path()) else { continue };
        let inode = (metadata.dev(), metadata.ino());
        if files.contains(&inode) && may_write(&process.join("fdinfo").join(file.file_name())) {
            found.insert(inode);
        }
    }
    found
}

/// Whether a file was opened for writing: the last octal digit of its flags has the access mode.
fn may_write(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
    flags.trim().bytes().last().is_some_and(|digit| digit & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_for_writing_until_its_writer_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let writer = fs::File::create(&path).unwrap();
        let metadata = writer.metadata().unwrap();
        let files = BTreeSet::from([(metadata.dev(), metadata.ino())]);
        assert_eq!(open_for_writing(&files), files);
        drop(writer);
        let _reader = fs::File::open(&path).unwrap();
        assert_eq!(open_for_writing(&files), BTreeSet::new());
    }
}
