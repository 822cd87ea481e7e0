//! Disk in: reads a folder into a [`Snapshot`], what all valid manifests say at one moment.
//!
//! A look reads and parses in parallel (`walk`) what it finds on the way from folder to folder (`list`, `disk`), and
//! remembers each file's stamp, so that the next look reads only what changed. It starts over when the folder changed
//! under it: a file vanished half-way, a link on the way to the folder was swapped, or the checkout moved on. What could
//! not be read is a problem, never an absence; where somebody is in the middle of something (`busy`), it is waited for.
//!
//! Reading order: `snapshot` (what a look gives), `unreadable` (why it gives nothing), `folder` (from look to look), `walk`,
//! `list` and `disk` (down to the system), `checkout` (git), `standing` (where a folder is), `watch` (when to look again).

mod busy;
mod checkout;
mod disk;
mod editors;
mod file;
mod folder;
mod ignored;
mod list;
mod near;
mod order;
mod permits;
mod problems;
mod renew;
mod said;
mod share;
mod snapshot;
mod stamp;
mod standing;
mod unreadable;
mod walk;
mod watch;
mod withheld;
mod writers;

pub use busy::Busy;
pub use checkout::Operation;
pub use folder::{Folder, Uncommitted};
pub use permits::{Allowed, InvalidAllowed, Layout, Permits};
pub use snapshot::Snapshot;
pub use unreadable::Unreadable;
pub use watch::{Watch, Watching, Writers, Writing};

/// Most files, folders and links that a folder may hold.
pub const MAX_ENTRIES: usize = 100_000;

/// Most problems of a folder that are kept; the rest is counted.
const MAX_PROBLEMS: usize = 10_000;

/// Which file it is, whatever its path: device and inode.
type Inode = (u64, u64);

#[cfg(test)]
mod tests;
