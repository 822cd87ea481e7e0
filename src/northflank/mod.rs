//! The API client: one function a call, each over one [`Client`] method that sends, bounds and classifies.
//!
//! What goes in is a [`ServiceKey`](crate::model::ServiceKey) and a body; what comes out is [`Answered`] with the quota
//! that the API reported, or a [`CallError`] that says what to do next ([`Disposition`]) and whether the call can have
//! had an effect ([`Delivery`]). Nothing here tries again: when to do so is the engine's to decide. A call is one
//! request on the wire, never two.
//!
//! The token is a [`Token`]: it has no form that shows it, its header is marked sensitive, it is never sent in clear
//! text beyond loopback nor after a redirect, and whatever text the server sends back is searched for it.

mod accepted;
mod account;
mod answer;
mod api_url;
mod body;
mod client;
mod deployments;
mod error;
mod failure;
mod lenient;
mod meaning;
mod proxy;
mod scrub;
mod token;
mod token_source;
mod transport;
mod wire;

#[cfg(test)]
mod tests;

pub use accepted::{Accepted, AcceptedBody};
pub use account::{Account, Entity, ProjectRestriction, TokenKind};
pub use answer::{Answered, Deprecation, MAX_WAIT, Quota};
pub use api_url::{ApiUrl, InvalidApiUrl};
pub use client::{BuildError, Client, Settings};
pub(crate) use error::NEW_TOKEN;
pub use error::{CallError, Delivery, Disposition, Scope};
pub use meaning::passes;
pub use token::{Token, TokenError};
pub use token_source::{ReadToken, TokenReadError, TokenSource, TokenWarning};
pub use wire::{Containers, Listed, Page};
