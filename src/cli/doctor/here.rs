//! What is on this machine: the folder of manifests, its checkout, and the ledger.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::cli::args::{FolderArgs, StateArgs};
use crate::cli::checks::Check;
use crate::cli::{ledger_error, read_error, settings, unreadable};
use crate::error::chain;
use crate::ledger::Reader;
use crate::model::{ApiPlace, Revision, ServiceKey};
use crate::source::Snapshot;
use crate::text::{counted, printable_within, short};
use crate::views::who;

/// Below that much room on its disk a ledger is near its end.
const LITTLE_ROOM: u64 = 64 << 20;

/// How much of a commit's subject is shown.
const SUBJECT: usize = 40;

/// The folder and its checkout, and the services that the folder names.
pub(super) fn folder(args: &FolderArgs) -> (Vec<Check>, Vec<ServiceKey>) {
    let mut folder = args.folder();
    match folder.look() {
        Ok(snapshot) => {
            let services = snapshot.desired.keys().cloned().collect();
            (vec![manifests(args, &snapshot), git(&snapshot.revision)], services)
        }
        Err(error) => {
            let check = match error.hint() {
                Some(hint) if error.is_busy() => Check::warning("folder", chain(&error), hint),
                _ => Check::of_error("folder", &unreadable(&error)),
            };
            (vec![check], Vec::new())
        }
    }
}

fn manifests(args: &FolderArgs, snapshot: &Snapshot) -> Check {
    let path = args.manifests.display();
    let valid = counted(snapshot.desired.len(), "manifest");
    match (snapshot.problems.len(), snapshot.desired.len()) {
        (0, 0) => Check::warning("folder", format!("{path} has no manifests"), super::super::BEGIN),
        (0, _) => Check::ok("folder", format!("{path} has {valid}")),
        (count, _) => {
            let hint = "`truenorth validate` shows each with its line".to_owned();
            Check::fault("folder", format!("{path} has {}, and {valid}", counted(count, "problem")), Some(hint))
        }
    }
}

fn git(revision: &Revision) -> Check {
    let shown = short::revision(&revision.to_string());
    match revision {
        Revision::Tree(_) => Check::ok("git", "the folder is not in a checkout; its content is its revision"),
        Revision::Git { dirty: true, .. } => Check::warning(
            "git",
            format!("{shown}: some manifests are not committed, and would be applied too"),
            "commit them, or apply only what is committed: --uncommitted ignore",
        ),
        Revision::Git { headline, .. } => {
            let subject = headline.as_ref().map(|line| format!(": {}", printable_within(&line.subject, SUBJECT)));
            Check::ok("git", format!("{shown}{}", subject.unwrap_or_default()))
        }
    }
}

/// The ledger: whether it can be used, and for this place.
pub(super) fn ledger(args: &StateArgs, place: Option<&ApiPlace>) -> Check {
    let dir = match settings::state_dir(args, &settings::environment) {
        Ok(dir) => dir,
        Err(error) => return Check::of_error("ledger", &error),
    };
    let shown = dir.display();
    let reader = match Reader::open(&dir) {
        Ok(Some(reader)) => reader,
        Ok(None) => return not_yet(&dir),
        Err(error) => return Check::of_error("ledger", &ledger_error(&error)),
    };
    let (theirs, holder) = match (reader.place(), reader.holder()) {
        (Ok(place), Ok(holder)) => (place, holder),
        (Err(error), _) | (_, Err(error)) => return Check::of_error("ledger", &read_error(error)),
    };
    if let Some((theirs, ours)) = theirs.as_ref().zip(place).filter(|(theirs, ours)| !theirs.agrees_with(ours)) {
        let hint = "name another folder with --state-dir, one for each API and account".to_owned();
        return Check::fault("ledger", format!("{shown} belongs to {theirs}, and not to {ours}"), Some(hint));
    }
    if holder.is_none() && access(&dir, Access::WRITE_OK).is_err() {
        return Check::fault("ledger", format!("this user cannot write to {shown}"), Some(CHOWN.to_owned()));
    }
    if let Some(room) = room(&dir).filter(|room| *room < LITTLE_ROOM) {
        let message = format!("{} MiB are left on the disk of {shown}", room >> 20);
        return Check::warning("ledger", message, "make room: without it nothing is sent");
    }
    let of = theirs.map(|place| format!(" of {place}")).unwrap_or_default();
    Check::ok("ledger", format!("{shown}{of}; {}", who(holder)))
}

const CHOWN: &str = "run it as the user that owns the folder, or name another one with --state-dir";

/// Where there is no ledger: whether one can be made.
fn not_yet(dir: &Path) -> Check {
    let whole = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let there = whole.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    if access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        Check::ok("ledger", format!("{} (there is none yet; the first pass makes it)", dir.display()))
    } else {
        let message = format!("{} cannot be made: this user cannot write to {}", dir.display(), there.display());
        Check::fault("ledger", message, Some(CHOWN.to_owned()))
    }
}

/// How much room the disk of a folder has, in bytes.
fn room(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}
