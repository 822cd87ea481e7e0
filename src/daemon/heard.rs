//! What the watch tells, until the loop takes it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::source::Writing;

/// The newest word of the watch.
#[derive(Debug, Default)]
pub(super) struct Heard {
    told: Notify,
    last: Mutex<Option<Writing>>,
}

impl Heard {
    pub(super) fn tell(&self, writing: Writing) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = match (*last, writing) {
            // That git ended counts also where HEAD moved since.
            (Some(Writing::GitEnded), Writing::Ended) => Some(Writing::GitEnded),
            _ => Some(writing),
        };
        self.told.notify_one();
    }

    /// What was told last, once something is. Cancel-safe.
    pub(super) async fn next(&self) -> Writing {
        loop {
            self.told.notified().await;
            if let Some(writing) = self.last.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return writing;
            }
        }
    }
}
