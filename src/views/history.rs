//! What was sent, when, why, from where, and how it ended; from the ledger alone.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Attempt;
use crate::ledger::{Holder, PersonRequest, ReadError, Reader, RequestKind, RequestRecord};
use crate::model::{About, Answer, Decision, PlanName, ServiceKey};
use crate::text::command::Commands;

/// The calls for one service or for all, and the JSON of them.
#[derive(Debug, Serialize)]
pub(crate) struct History {
    /// Nothing for all services.
    pub(crate) service: Option<ServiceKey>,
    /// Newest first.
    pub(crate) calls: Vec<Attempt>,
    /// What people asked for, newest first.
    pub(crate) requests: Vec<Asked>,
    /// What people decided about plans, newest first.
    pub(crate) decisions: Vec<Decided>,
    /// Who has the ledger open.
    pub(crate) holder: Option<Holder>,
    /// When the ledger was written last, where no daemon runs.
    pub(crate) as_of: Option<Timestamp>,
}

/// A request of a person.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) kind: RequestKind,
    /// Nothing for all services.
    pub(crate) service: Option<ServiceKey>,
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) until: Option<Timestamp>,
    /// When it was taken up, if it was.
    pub(crate) taken_at: Option<Timestamp>,
    pub(crate) result: Option<String>,
}

/// A decision of a person about a plan.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Decided {
    /// Nothing where the ledger's record is damaged.
    pub(crate) plan: Option<PlanName>,
    pub(crate) answer: Answer,
    pub(crate) by: Option<Arc<str>>,
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) at: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        let Decision { about, answer, by, reason, at, until, .. } = decision;
        let plan = match about {
            About::Plan { name, .. } => Some(name),
            About::Unknown => None,
        };
        Self { plan, answer, by, reason, at, until }
    }
}

impl From<RequestRecord> for Asked {
    fn from(record: RequestRecord) -> Self {
        let RequestRecord { request, taken_at, result, .. } = record;
        let PersonRequest { kind, target: service, reason, by, at, until, .. } = request;
        Self { kind, service, by, reason, at, until, taken_at, result }
    }
}

impl History {
    /// The newest `limit` calls; nothing where there is no ledger.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn read(
        ledger: Option<&Reader>,
        service: Option<ServiceKey>,
        limit: u32,
        commands: Commands,
    ) -> Result<Self, ReadError> {
        let Some(ledger) = ledger else {
            let (calls, requests, decisions) = (Vec::new(), Vec::new(), Vec::new());
            return Ok(Self { service, calls, requests, decisions, holder: None, as_of: None });
        };
        let holder = ledger.holder()?;
        let entries = ledger.history(service.as_ref(), limit)?;
        let attempt = |entry| Attempt::new(entry, holder.is_some(), commands);
        let calls: Vec<Attempt> = entries.into_iter().map(attempt).collect();
        let newest = calls.iter().map(|call| call.ended.unwrap_or(call.began)).max();
        let written = ledger.decider()?.map(|(at, _)| at);
        let requests = ledger.requests(service.as_ref(), limit)?.into_iter().map(Asked::from).collect();
        let decisions = ledger.newest_decisions(service.as_ref(), limit)?.into_iter().map(Decided::from).collect();
        let as_of = newest.max(written).filter(|_| holder.is_none());
        Ok(Self { service, calls, requests, decisions, holder, as_of })
    }
}
