//! Signals, and what they ask for. Of SIGINT and SIGTERM the first asks for a graceful end, the second ends at once.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;
use tokio::sync::{mpsc, watch};
use tracing::error;

/// How far a stop was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopping {
    /// Not at all.
    #[default]
    No,
    /// Begin nothing new, finish and record what is in flight.
    Gracefully,
    AtOnce,
}

/// What else a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP: read the token again, and look at the folder.
    Reload,
    /// SIGUSR1: look now, and try again what waits.
    LookNow,
}

/// Tells every part of the process how far a stop was asked for.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<Stopping>,
}

/// How long calls in flight may take to end after a stop or the deadline. The rest of the 20 s of a stop is for the ledger.
pub(crate) const GRACE: Duration = Duration::from_secs(16);

/// How long a stop may take from its signal on, whatever hangs: a disk, a ledger that another program holds on to.
const GRACEFULLY: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::from_secs(1);

/// Ends the process after a time, from a thread of its own: it needs nothing that could hang. What has to be known of
/// calls in flight is in the ledger before they begin, so the next process finds them in doubt, as after a crash.
fn end_after(time: Duration) {
    let end = move || {
        std::thread::sleep(time);
        error!("the stop took too long; what was in flight is in doubt");
        std::process::exit(1);
    };
    // Without a thread the stop is as graceful as it was before.
    let _ = std::thread::Builder::new().name("stop".to_owned()).spawn(end);
}

/// Most requests that wait to be taken up; another one asks for nothing that they do not.
const WAITING: usize = 8;

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
        // Whoever does not take requests leaves the other signals as they are.
        Ok(Self::catch(Signals::new([SIGINT, SIGTERM])?).0)
    }

    /// The same, with the requests that SIGHUP and SIGUSR1 make.
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn and_requests_on_signals() -> io::Result<(Self, mpsc::Receiver<Request>)> {
        Ok(Self::catch(Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])?))
    }

    fn catch(mut signals: Signals) -> (Self, mpsc::Receiver<Request>) {
        let (sender, stop) = Self::channel();
        let (requests, waiting) = mpsc::channel(WAITING);
        // The task holds the sender as long as the process lives: signals never end.
        tokio::spawn(async move {
            while let Some(signal) = signals.next().await {
                match signal {
                    // A full queue holds the same request already, or one that looks as well.
                    SIGHUP => drop(requests.try_send(Request::Reload)),
                    SIGUSR1 => drop(requests.try_send(Request::LookNow)),
                    _ => sender.send_modify(|asked| {
                        *asked = match *asked {
                            Stopping::No => Stopping::Gracefully,
                            Stopping::Gracefully | Stopping::AtOnce => Stopping::AtOnce,
                        };
                        end_after(if *asked == Stopping::AtOnce { AT_ONCE } else { GRACEFULLY });
                    }),
                }
            }
        });
        (stop, waiting)
    }

    /// What was asked for so far.
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
