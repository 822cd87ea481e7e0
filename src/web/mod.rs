//! What the daemon says of itself over HTTP: is it alive, is it ready, its metrics, its state.
//!
//! ```text
//! connection ─ server (bounds) ─ pages (which answer) ─ desk ─ Query ─▶ the daemon's loop
//!                                       └─ meters (what is counted as it happens)
//! ```
//!
//! [`desk()`] gives both ends of the way to the loop, [`Server::start`] serves, [`Meters`] is what the daemon counts
//! with. Nothing here reads the folder, the ledger or the API, and nothing here can make the loop wait: it answers a
//! [`Query`] through a channel that takes the answer at once, and the sending is the server's work.
//!
//! # Paths
//! GET and HEAD only. No answer is to be cached, none has a header that opens it to other origins, none holds a secret.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 `ok`, or 503 when the loop does not answer within 2 s |
//! | `/readyz` | 200 `ready`, or 503 and why not, a sentence a line |
//! | `/metrics` | OpenMetrics text; 503 when the loop does not answer within 5 s, so that `up` tells |
//! | `/status` | the JSON of [`Status`]; 503 as above |
//! | `/` | the list of these |
//!
//! # Who may ask
//! There is no login: whoever reaches the port may read, and nobody can change anything. Only requests whose `Host` is an
//! IP address, `localhost` or an allowed name are answered, others get 421 (see [`crate::host`]). On an address that other
//! machines reach, the network has to say who gets in.
//!
//! # Bounds
//! - 64 connections. For a further one the one gives way that was answered the longest ago and asks nothing now, so that a
//!   probe is answered however many idle or drip. Each ends soon:
//! - 5 s for a request's head (8 KiB at most), and as long between requests; a body is refused; after 30 s a connection
//!   takes no further request, after 60 s it is cut, whatever it is doing.
//! - 4 answers of `/status` in memory, from the question to the last byte sent. A fifth waits 5 s, then it gets 503.
//! - [`Server::stop`] takes a second at most.

mod activity;
mod desk;
mod meters;
mod pages;
mod server;
#[cfg(test)]
mod tests;
mod view;

pub use desk::{Desk, Silence, desk};
pub use meters::Meters;
pub use server::{Server, StartError};
pub use view::*;
