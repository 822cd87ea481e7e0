//! From a call that is due to its record.
//!
//! [`Machine`] decides all of it and does none of it: which call begins, what it writes before and after, which requests
//! it makes, what an answer means for the service, for the token and for the calls of others. It names no clock, no
//! network and nothing async. What is to be done comes out as [`Effect`]s; what became of them goes in again.
//!
//! ```text
//!   engine: a call is due ─▶ recall ─▶ intent on disk ─▶ a place ─▶ request(s) ─▶ record on disk ─▶ engine: how it ended
//!                              (what the ledger knows)     │ nothing newer, the gate open, requests left
//!                                                          └─ else: the intent is taken back, the call goes back
//! ```
//! The daemon and a pass carry the effects out with tokio ([`Carrier`]); the simulated world of the tests carries out
//! the same effects of the same machine in no time at all.
//!
//! Reading order: `reply` (what an answer says), `exchange` (one call), `whose` (whom the token belongs to), `machine` (all
//! of them), `keeping` (what they decide, on its way to the disk), `kept`, `carry`, `requests` (what people ask for), `states` (what the ledger is told of services), `tell`.

mod carry;
mod clock;
mod exchange;
mod good;
mod keeping;
mod kept;
mod machine;
mod patch;
mod reply;
mod requests;
mod states;
mod tell;
#[cfg(test)]
mod tests;
mod token_end;
mod whose;

pub use crate::ledger::Turned;
pub use carry::{Api, Carrier, Done, Happened};
pub use clock::Clock;
pub use exchange::{Recalled, Request, Spent, Write};
pub use kept::Kept;
pub use machine::{Effect, ExchangeId, Finished, Machine, Settings, TokenNumber, TokenRead};
pub use patch::UpdateCall;
pub use reply::{Heard, Refusal, Reply};
pub(crate) use requests::{MayForget, take_up};
pub(crate) use states::{LAST, StateChange, decider, record_of, write_last};
pub use tell::Told;
pub use token_end::ends_soon;
