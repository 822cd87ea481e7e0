//! Requests of people, as the daemon takes them up.

use super::state::Daemon;
use crate::ledger::RequestRecord;
use crate::model::ServiceKey;
use crate::runner::{Carrier, MayForget, take_up};

impl Daemon {
    /// Takes up what people asked for since the last time. Before the folder was read nobody can say what it means: it
    /// waits, and no call is made either.
    pub(super) fn take_requests(&mut self, open: Vec<RequestRecord>) {
        if self.seen.snapshot.is_none() {
            self.asked_early = open;
            return;
        }
        if open.is_empty() {
            return;
        }
        let invalid = self.invalid(self.carrier.clock().now());
        let may_forget = |carrier: &Carrier, key: &ServiceKey| {
            let standing = carrier.engine().standing(key, carrier.clock().now());
            match standing {
                _ if invalid.contains_key(key) => MayForget::MAY_HAVE_ONE,
                Some(standing) if standing.desired.is_some() => MayForget::HAS_A_MANIFEST,
                Some(_) if !carrier.engine().may_forget(key) => MayForget::IS_BUSY,
                Some(_) | None => MayForget::Yes,
            }
        };
        let taken = take_up(&mut self.carrier, open, self.taken, may_forget);
        let Some(last) = taken.last() else { return };
        self.taken = Some(last.id);
        self.published.touch_all(tokio::time::Instant::now());
    }
}
