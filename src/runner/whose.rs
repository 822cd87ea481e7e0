//! Whose the token is: asked before the first request that is made with it, so that a ledger never speaks for another
//! account.
//!
//! The question rides on the first call that is due: if it fails, that call has failed, and waits like any other. Where
//! it fails again and again although the API answers otherwise, it is passed over; reading the service of the call shows
//! that. An API that does not serve the question, or not to this token, is not asked again. Neither is one that fails at
//! it while the ledger does not know its account: nothing could be compared.

use std::sync::Arc;

use super::exchange::Request;
use super::machine::ExchangeId;
use super::reply::{Refusal, Reply};
use crate::northflank::{Account, Delivery, Disposition};

/// What is known of the token in place.
#[derive(Debug)]
pub(super) struct Whose {
    /// The account that the ledger belongs to, where that is known.
    ledger: Option<Arc<str>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody asks, ever.
    Off,
    /// The next call asks first.
    Due(Ask),
    /// The call of this exchange asks.
    Asking(ExchangeId, Ask),
    /// Calls may be made.
    Settled,
    /// The token opens another account than the one of the ledger: no call may be made.
    Another,
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Account,
    /// The question failed: does the API answer at all?
    WhetherItAnswers,
    /// It answers, and is asked once more.
    AccountOnceMore,
}

/// What an answer means.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    /// The call may be made. The account is not known where the API does not say.
    GoOn(Option<Account>),
    /// The same, although the question failed.
    PassedOver(Refusal),
    /// The token is that of another account.
    Another(Account),
    /// Ask this as well.
    Ask(Request),
    /// The call failed with it.
    Failed(Refusal),
}

impl Whose {
    pub(super) fn new(asks: bool, ledger: Option<Arc<str>>) -> Self {
        Self { ledger, stage: if asks { Stage::Due(Ask::Account) } else { Stage::Off } }
    }

    /// Another token is in place.
    pub(super) fn token_replaced(&mut self) {
        if self.stage != Stage::Off {
            self.stage = Stage::Due(Ask::Account);
        }
    }

    /// Whether no call may begin.
    pub(super) fn holds(&self) -> bool {
        matches!(self.stage, Stage::Asking(..) | Stage::Another)
    }

    /// Whether an exchange may make requests.
    pub(super) fn admits(&self, id: ExchangeId) -> bool {
        match self.stage {
            Stage::Off | Stage::Settled => true,
            Stage::Asking(asking, _) => asking == id,
            Stage::Due(_) | Stage::Another => false,
        }
    }

    /// An exchange begins: what it asks first, if it is to ask.
    pub(super) fn first_question(&mut self, id: ExchangeId) -> Option<Request> {
        let Stage::Due(ask) = self.stage else { return None };
        self.stage = Stage::Asking(id, ask);
        Some(ask.request())
    }

    /// Whether the answer to an exchange's request is one to a question of this kind.
    pub(super) fn asks(&self, id: ExchangeId) -> bool {
        matches!(self.stage, Stage::Asking(asking, _) if asking == id)
    }

    /// Takes in an answer; to be called where [`Self::asks`].
    pub(super) fn answered(&mut self, id: ExchangeId, reply: Result<Reply, Refusal>) -> Answered {
        let Stage::Asking(_, ask) = self.stage else { return Answered::GoOn(None) };
        let refusal = match (ask, reply) {
            (Ask::WhetherItAnswers, reply) if reply.as_ref().map_or_else(answers, |_| true) => {
                self.stage = Stage::Asking(id, Ask::AccountOnceMore);
                return Answered::Ask(Ask::AccountOnceMore.request());
            }
            (_, Ok(Reply::Account(Some(account)))) => return self.judge(*account),
            (_, Ok(_)) => {
                self.stage = Stage::Settled;
                return Answered::GoOn(None);
            }
            (_, Err(refusal)) => refusal,
        };
        match (ask, refusal.disposition) {
            // It is not served, or not to this token.
            (_, Disposition::Rejected | Disposition::Forbidden) => {
                self.stage = Stage::Settled;
                Answered::GoOn(None)
            }
            (_, Disposition::Transient { .. }) if self.ledger.is_none() && refusal.delivery != Delivery::Unsent => {
                self.stage = Stage::Settled;
                Answered::GoOn(None)
            }
            (Ask::AccountOnceMore, Disposition::Transient { .. }) => {
                self.stage = Stage::Settled;
                Answered::PassedOver(refusal)
            }
            (Ask::Account, Disposition::Transient { .. }) => {
                self.stage = Stage::Due(Ask::WhetherItAnswers);
                Answered::Failed(refusal)
            }
            (_, Disposition::Transient { .. } | Disposition::Limited { .. } | Disposition::Denied) => {
                self.stage = Stage::Due(Ask::Account);
                Answered::Failed(refusal)
            }
        }
    }

    fn judge(&mut self, account: Account) -> Answered {
        let name = account.name();
        let ledger = self.ledger.get_or_insert_with(|| name.as_str().into());
        if **ledger == *name {
            self.stage = Stage::Settled;
            Answered::GoOn(Some(account))
        } else {
            self.stage = Stage::Another;
            Answered::Another(account)
        }
    }

    /// An exchange is over; one that has not heard its answer leaves the question to the next.
    pub(super) fn ended(&mut self, id: ExchangeId) {
        if let Stage::Asking(asking, _) = self.stage
            && asking == id
        {
            self.stage = Stage::Due(Ask::Account);
        }
    }
}

impl Ask {
    fn request(self) -> Request {
        match self {
            Self::Account | Self::AccountOnceMore => Request::Account,
            Self::WhetherItAnswers => Request::ReadService,
        }
    }
}

/// Whether a refusal is the API's own answer: the call is not at fault for the API.
fn answers(refusal: &Refusal) -> bool {
    matches!(refusal.disposition, Disposition::Rejected | Disposition::Forbidden)
}
