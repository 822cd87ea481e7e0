//! What an answer says, as far as anything follows from it.

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::{self, Ending, Looked, Scope};
use crate::model::{Diagnostic, Live};
use crate::northflank::{self, Account, CallError, Delivery, Deprecation, Disposition, Quota};

/// What a request brought that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The API accepted the update.
    Accepted {
        /// HTTP status.
        status: u16,
        /// Whether the answer had no body to say so.
        bare: bool,
        /// The service as it is written down now, where the answer shows it.
        live: Option<Box<Live>>,
        /// When it was accepted, by the server's clock.
        server_at: Option<Timestamp>,
    },
    /// What a service runs.
    Service(Box<Live>),
    /// The build that a service runs, where the answer names it.
    BuildId(Option<String>),
    /// How far rollouts are.
    Looked(Looked),
    /// Whose the token is, where the API says.
    Account(Option<Box<Account>>),
}

/// What became of a request that did not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to do next.
    pub disposition: Disposition,
    /// Whether it may have had an effect.
    pub delivery: Delivery,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// What went wrong, for people.
    pub error: Diagnostic,
    /// The least wait that the API asks for.
    pub wait: Duration,
    /// Whether no request was made at all: the call makes no sense for its service.
    pub local: bool,
    /// Whether the API itself says that it does not serve such a call.
    pub unserved: bool,
}

/// What the headers of an answer say, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When the answer came, or was given up.
    pub at: Timestamp,
    /// The rate limit, where the answer spoke of one.
    pub quota: Option<Quota>,
    /// What it said of the end of the call itself.
    pub deprecation: Option<Deprecation>,
    /// From the request to its answer.
    pub elapsed: Duration,
}

impl From<&CallError> for Refusal {
    fn from(error: &CallError) -> Self {
        Self {
            disposition: error.disposition(),
            delivery: error.delivery(),
            status: error.status(),
            error: error.diagnostic(),
            wait: error.minimum_wait().unwrap_or_default(),
            local: error.is_local(),
            unserved: error.is_not_served(),
        }
    }
}

impl Refusal {
    /// How a request that failed ends its call. `delivery` is that of the call: a read has no effect.
    pub(super) fn ending(&self, delivery: engine::Delivery, hint: Option<&str>) -> Ending {
        let hint = hint.map(Into::into).or_else(|| self.error.hint.clone());
        let error = Diagnostic { hint, ..self.error.clone() };
        match self.disposition {
            Disposition::Transient { scope } => {
                Ending::Transient { error, delivery, wait: self.wait, scope: self.scope(scope) }
            }
            Disposition::Limited { wait, told } => Ending::Limited { error, wait, told },
            Disposition::Denied | Disposition::Forbidden => Ending::Denied { error },
            Disposition::Rejected => Ending::Rejected { error, delivery },
        }
    }
}

impl Refusal {
    /// What a look at rollouts showed that was refused or lost.
    pub(super) fn looked(&self) -> Looked {
        let refused = matches!(self.disposition, Disposition::Rejected | Disposition::Denied | Disposition::Forbidden);
        Looked::Nothing { error: self.error.message.clone(), refused }
    }

    /// What a failure that passes speaks of. Where nothing left this machine there is no way to the API at all.
    fn scope(&self, scope: northflank::Scope) -> Scope {
        match scope {
            northflank::Scope::Api if self.delivery == Delivery::Unsent => Scope::Network,
            northflank::Scope::Api => Scope::Api,
            northflank::Scope::Service => Scope::Service,
        }
    }
}
