//! `ledger.plans`: the plans that people were shown, so that the first digits of an id are enough to decide about one.
//!
//! Whoever writes two plans can make their ids begin alike. So a decision is about a whole id, and the digits that
//! somebody types are looked up among what was shown. A plan is a line, and its id the digest of that line: what is
//! damaged or made up is not found. `plan` shows plans and leaves the ledger alone, so they are beside it; where the file
//! cannot be written, or is lost, people type all of the digits.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::folder::{NO_LINK, read_short};
use crate::plan::Plan;

const NAME: &str = "ledger.plans";

/// Most bytes of it, which leave room for the ledger on a volume of 2 MiB; the newest plans are kept. One that does not
/// fit is not.
const MOST: usize = 512 << 10;

/// Keeps a plan that somebody is shown, in the folder of a ledger that is there. Blocks on the disk.
pub fn keep_shown(dir: &Path, plan: &Plan) {
    let Some(line) = plan.line().filter(|line| line.len() < MOST) else { return };
    let path = dir.join(NAME);
    let before = read_short(&path, MOST + 1).unwrap_or_default();
    if before.split(|byte| *byte == b'\n').any(|shown| shown == line) {
        return;
    }
    let line = [&line, &b"\n"[..]].concat();
    // What cannot be kept has to be typed.
    let _ = if before.len() + line.len() <= MOST { append(&path, &line) } else { renew(&path, &before, &line) };
}

/// The plans that people were shown, newest first. Blocks on the disk.
#[must_use]
pub fn shown(dir: &Path) -> Vec<Plan> {
    let bytes = read_short(&dir.join(NAME), MOST).unwrap_or_default();
    bytes.rsplit(|byte| *byte == b'\n').filter_map(Plan::of_line).collect()
}

/// One write: what another process adds at the same time stands before or after it.
fn append(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(NO_LINK).open(path)?.write_all(line)
}

/// Drops the older half.
fn renew(path: &Path, before: &[u8], line: &[u8]) -> std::io::Result<()> {
    let room = (MOST / 2).saturating_sub(line.len());
    let newer = &before[before.len().saturating_sub(room)..];
    let kept = newer.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &newer[end + 1..]);
    let dir = path.parent().unwrap_or(Path::new("/"));
    let new = dir.join(format!("{NAME}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(&[kept, line].concat()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use crate::plan::PlannedChange;

    fn plan(number: u32, services: u32) -> Plan {
        Plan::of_changes((0..services).map(|service| PlannedChange {
            service: format!("shop/s{service}").parse().expect("is a name"),
            from: (service > 0).then(|| Digest::of_bytes(b"before")),
            to: Digest::of_bytes(&number.to_be_bytes()),
        }))
    }

    #[test]
    fn a_plan_that_was_shown_is_known_by_what_it_changes() {
        let dir = tempfile::tempdir().expect("makes a folder");
        assert_eq!(shown(dir.path()), []);
        for number in [1, 2, 1] {
            keep_shown(dir.path(), &plan(number, 2));
        }
        assert_eq!(shown(dir.path()), [plan(2, 2), plan(1, 2)]);
        keep_shown(dir.path(), &Plan::default());
        fs::write(dir.path().join(NAME), b"\xff\n[]\n[{\"service\":\"a\"}]\n").expect("writes");
        assert_eq!(shown(dir.path()), [], "nothing is made of what is damaged");
    }

    #[test]
    fn the_newest_are_kept_within_a_bound() {
        let dir = tempfile::tempdir().expect("makes a folder");
        for number in 0..12 {
            keep_shown(dir.path(), &plan(number, 400));
        }
        let size = fs::metadata(dir.path().join(NAME)).expect("is there").len();
        assert!(size <= MOST as u64, "{size}");
        assert_eq!(shown(dir.path()).first(), Some(&plan(11, 400)));
        assert!(shown(dir.path()).len() > 3);
        assert_eq!(fs::read_dir(dir.path()).expect("is read").count(), 1);
    }
}
