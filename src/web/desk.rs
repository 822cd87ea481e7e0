//! The desk: where the server's tasks ask the daemon's loop, each question with a deadline.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Gauges, Query, Readiness, Status};

/// Questions that may wait for the loop. It answers all that wait in one turn, so few are enough; past this they wait
/// outside, within their deadline.
const WAITING: usize = 16;
/// What a probe may take. Kubernetes asks each 10 s, and a loop that needs longer than this is not well.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// What the larger answers may take; a scraper waits 10 s.
const VIEW_LIMIT: Duration = Duration::from_secs(5);

/// Both ends of the way between the server and the daemon's loop.
#[must_use]
pub fn desk() -> (Desk, mpsc::Receiver<Query>) {
    let (queries, waiting) = mpsc::channel(WAITING);
    (Desk { queries }, waiting)
}

/// Asks the loop.
#[derive(Clone, Debug)]
pub struct Desk {
    queries: mpsc::Sender<Query>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Silence {
    /// The loop is stuck, or busy for too long.
    #[error("the daemon's loop has not answered within {} s", .0.as_secs())]
    Late(Duration),
    /// The loop is over, or threw the question away.
    #[error("the daemon's loop has ended")]
    Ended,
}

impl Desk {
    /// Whether the loop lives, asked for 2 s.
    ///
    /// # Errors
    /// It gives no answer.
    pub async fn health(&self) -> Result<(), Silence> {
        self.ask(PROBE_LIMIT, Query::Health).await
    }

    /// Whether the daemon does its work, asked for 2 s.
    ///
    /// # Errors
    /// The loop gives no answer.
    pub async fn ready(&self) -> Result<Readiness, Silence> {
        self.ask(PROBE_LIMIT, Query::Ready).await
    }

    /// The daemon's state, asked for 5 s.
    ///
    /// # Errors
    /// The loop gives no answer.
    pub async fn status(&self) -> Result<Box<Status>, Silence> {
        self.ask(VIEW_LIMIT, Query::Status).await
    }

    /// The numbers of this moment, asked for 5 s.
    ///
    /// # Errors
    /// The loop gives no answer.
    pub async fn gauges(&self) -> Result<Gauges, Silence> {
        self.ask(VIEW_LIMIT, Query::Gauges).await
    }

    /// The deadline covers the wait for a place in the queue as well.
    async fn ask<T>(&self, limit: Duration, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Silence> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.queries.send(query(reply)).await.map_err(|_| Silence::Ended)?;
            answer.await.map_err(|_| Silence::Ended)
        };
        timeout(limit, asked).await.unwrap_or(Err(Silence::Late(limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_told_from_one_that_has_ended() {
        let (desk, waiting) = desk();
        assert_eq!(desk.health().await, Err(Silence::Late(PROBE_LIMIT)));
        assert_eq!(desk.gauges().await, Err(Silence::Late(VIEW_LIMIT)));
        drop(waiting);
        assert_eq!(desk.health().await, Err(Silence::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_counts_against_the_deadline() {
        let (desk, mut waiting) = desk();
        for _ in 0..WAITING {
            assert_eq!(desk.health().await, Err(Silence::Late(PROBE_LIMIT)));
        }
        assert_eq!(waiting.len(), WAITING);
        assert_eq!(desk.ready().await, Err(Silence::Late(PROBE_LIMIT)));
        assert_eq!(waiting.len(), WAITING, "a question came in past the bound");

        // The loop comes back: the questions that nobody waits for any more do no harm, the next one is answered.
        let answering = async {
            while let Some(query) = waiting.recv().await {
                if let Query::Health(reply) = query {
                    let _ = reply.send(());
                }
            }
        };
        tokio::select! {
            answer = desk.health() => assert_eq!(answer, Ok(())),
            () = answering => panic!("the queue was closed"),
        }
    }

    #[tokio::test]
    async fn a_question_that_is_thrown_away_is_no_answer() {
        let (desk, mut waiting) = desk();
        let (answer, ()) = tokio::join!(desk.status(), async { drop(waiting.recv().await) });
        assert_eq!(answer.unwrap_err(), Silence::Ended);
    }
}
