//! Notices that something was mounted or unmounted, of which inotify does not tell.

use std::fs::File;
use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The table of mounts that this process sees. Idle, it costs an open file.
#[derive(Debug)]
pub struct Mounts {
    table: AsyncFd<File>,
}

impl Mounts {
    /// Opens the table. Needs a runtime with I/O.
    ///
    /// # Errors
    /// There is no `/proc`, or no file can be opened any more. Then a mount is noticed by the next look for another
    /// reason.
    pub fn open() -> io::Result<Self> {
        let table = File::open("/proc/self/mountinfo")?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, since a type may name a descriptor that it does not own; a file owns its own"
        )]
        let table = AsyncFd::with_interest(table, Interest::PRIORITY)?;
        Ok(Self { table })
    }

    /// Returns once something was mounted or unmounted anywhere, since this was opened or last returned. Cancel-safe.
    ///
    /// On a machine with containers that is often; [`Watch::displaced`](super::Watch::displaced) tells whether it
    /// matters.
    pub async fn changed(&mut self) {
        match self.table.ready(Interest::PRIORITY).await {
            // The kernel says it once a change: there is nothing to read.
            Ok(mut ready) => ready.clear_ready(),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        }
    }
}
