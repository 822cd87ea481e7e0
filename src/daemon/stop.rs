//! Stop signals: the first SIGINT or SIGTERM asks for a graceful end, the second ends at once.

use std::io;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::sync::watch;

/// How far a stop was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopping {
    /// Not at all.
    #[default]
    No,
    /// Begin nothing new, finish and record what is in flight.
    Gracefully,
    /// Wait for nothing.
    AtOnce,
}

/// Tells every part of the process how far a stop was asked for.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<Stopping>,
}

impl Stop {
    /// A stop that is asked for by whoever holds the sender.
    #[must_use]
    pub fn channel() -> (watch::Sender<Stopping>, Self) {
        let (sender, asked) = watch::channel(Stopping::No);
        (sender, Self { asked })
    }

    /// A stop that SIGINT and SIGTERM ask for, from now on. Needs a runtime.
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn on_signals() -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let (sender, stop) = Self::channel();
        tokio::spawn(async move {
            for stopping in [Stopping::Gracefully, Stopping::AtOnce] {
                if signals.next().await.is_none() || sender.send(stopping).is_err() {
                    return;
                }
            }
            // A sender that is gone would look like a stop that can never come: stay.
            sender.closed().await;
        });
        Ok(stop)
    }

    /// What was asked for so far.
    #[must_use]
    pub fn asked(&self) -> Stopping {
        *self.asked.borrow()
    }

    /// Returns once at least this much is asked for. Cancel-safe.
    pub async fn reached(&mut self, stopping: Stopping) {
        if self.asked.wait_for(|asked| *asked >= stopping).await.is_err() {
            // Nobody is left to ask.
            std::future::pending::<()>().await;
        }
    }
}
