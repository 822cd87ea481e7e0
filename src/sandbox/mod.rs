//! The sandbox: a stand-in for the Northflank API, in this process and on a loopback address.
//!
//! New users meet it as `truenorth --sandbox` and `truenorth sandbox`; every test of truenorth talks to it. It serves
//! all paths and methods of the contract, `openapi.yaml` beside this file, in the short form and under
//! `/v1/teams/{team}`, `GET /v1/auth`, and `GET /v1/login` for the official command line. Bodies are checked against the schemas of
//! that document and nothing else, so the sandbox and the manifest module cannot share a mistake.
//!
//! ```text
//! request ─ wire ─ serve: body, token, limit, route (contract) ─ faults ─ operations (world) ─ faults ─ reply ─ wire
//! ```
//!
//! [`Sandbox::world`] is the handle for tests: the calls that came, what runs, and what is to go wrong.
//!
//! # As the real API does
//! - Every answer has `x-ratelimit-limit`, `-remaining` and `-reset`; the window begins with its first request; past
//!   the limit all calls get 429. Errors have the shape `{"error": {status, message, id, details}}`.
//! - An accepted update answers at once and begins a rollout: PENDING, IN_PROGRESS, COMPLETED by time. So does one that
//!   changes nothing: a needless update restarts the containers. POST answers `{"data": {}}`, PATCH the whole service in
//!   the mirror shape, variables and passwords included.
//! - A rollout fails where the image has `crash` in its name or tag. `GET …/containers` then shows one that is TASK_FAILED
//!   beside those that run, and `GET …/deployments` what was deployed, newest first.
//! - A service is shown in one of two [`Shape`]s. In the flat one live is not the mirror image of the update: image host and path part ways, of credentials only their presence is
//!   shown, `buildId` is shown by `GET …/deployment` only and `imageUrl` by `GET …/services/{service}` only,
//!   `deployedSHA` stands beside `buildSHA: latest`. An update of the runtime alone leaves the deployment as it is.
//! - PATCH of a deployment service asks for `instances`.
//!
//! # Where it knowingly differs, or guesses
//! - With [`Services::Any`] every service exists: the first call that names one makes it, of type `deployment`, one
//!   instance, running a placeholder image. No more than [`MAX_SERVICES`] are made.
//! - One quota for all tokens. Calls with a bad token cost nothing, nor does `GET /v1/auth`. The real quota belongs to an
//!   account.
//! - `acme/shop/web` and `shop/web` are two services; the provider resolves the short form to the token's team.
//! - Any token may do anything: 403 comes only from a scripted fault.
//! - PATCH of the wrong type of service, and anything but reading or listing a service of type `build`, is 404. A
//!   combined service refuses `external` and `internal` with 400.
//! - What an update leaves out of `docker` and `buildpack` stays as it was; `external` ends a `buildpack` setting. A
//!   body that names `external` and `internal` is refused also in PATCH, where the contract is silent.
//! - A build's commit is made up from its id, the newest commit of a branch from its name; both are always the same.
//! - PATCH changes the deployment settings only; other fields are accepted and ignored.
//! - Unknown paths are 404, other methods 405, bodies over 1 MiB 413, bodies that are not `application/json` 415, ids
//!   over 200 characters match nothing. The codes in `id` are its own.
//!
//! # Bounds
//! 1,024 connections, bodies of 1 MiB in 30 s, [`MAX_SERVICES`] services, a log of [`Options::log`] calls and 64 MiB
//! of bodies. It is HTTP/1.1 without TLS, and takes any token unless told otherwise: keep it on loopback.

mod clock;
mod contract;
mod details;
mod examples;
mod faults;
mod image;
mod limit;
mod live;
mod log;
mod operations;
mod path;
mod query;
mod reply;
mod rollout;
mod serve;
mod shown;
mod target;
#[cfg(test)]
mod tests;
mod wire;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use secrecy::SecretString;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use contract::Operation;
pub use faults::{Fault, FaultKind, Storm, Wait};
pub use live::{Kind, Live, Running, Runtime};
pub use log::{Answer, Call};
pub use rollout::{Ending, Stage};
pub use shown::{SECRET, Shape};
pub use target::Target;
pub use world::{MAX_SERVICES, World};

use crate::host::Hosts;
use wire::{Connection, Door, Lines};

/// How long calls in flight may take to end when the sandbox stops.
const STOP_GRACE: Duration = Duration::from_millis(250);

/// Which tokens are good.
#[derive(Clone, Debug, Default)]
pub enum TokenRule {
    /// Every one that is not empty.
    #[default]
    Any,
    /// This one.
    Exactly(SecretString),
    /// None, as after it was revoked.
    None,
}

/// Which services exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Services {
    /// Every one; it is made when a call first names it.
    #[default]
    Any,
    /// These, of type `deployment`, and those that [`World::set_live`] makes. Others are 404.
    Only(Vec<Target>),
}

/// How a sandbox behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// In which shape a service is shown.
    pub shape: Shape,
    /// By which names it may be called.
    pub hosts: Hosts,
    /// Which tokens are good.
    pub token: TokenRule,
    /// The team that every token belongs to; nothing: `GET /v1/auth` is not served, as by an older API.
    pub account: Option<String>,
    /// Which services exist.
    pub services: Services,
    /// Requests allowed in a window.
    pub limit: u32,
    /// Whether answers say what is left of it.
    pub tells_quota: bool,
    /// Length of that window, which begins with its first request.
    pub window: Duration,
    /// Time from PENDING to COMPLETED; zero: at once.
    pub rollout: Duration,
    /// How long after an update the status is still that of the rollout before.
    pub lag: Duration,
    /// Time from carrying out a call to its answer.
    pub latency: Duration,
    /// Calls that the log keeps; older ones are forgotten.
    pub log: usize,
}

impl Default for Options {
    /// The provider's defaults, an answer at once, and rollouts of about a second: longer than the second that a `Date` is
    /// exact to.
    fn default() -> Self {
        Self {
            shape: Shape::Flat,
            hosts: Hosts::default(),
            token: TokenRule::Any,
            account: Some("sandbox".to_owned()),
            services: Services::Any,
            limit: 1000,
            tells_quota: true,
            window: Duration::from_secs(3600),
            rollout: Duration::from_millis(1200),
            lag: Duration::ZERO,
            latency: Duration::ZERO,
            log: 20_000,
        }
    }
}

/// The address cannot be listened on.
#[derive(Debug, Error)]
#[error("listen on `{address}` for the sandbox")]
pub struct StartError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A running stand-in. Dropping it ends it as well, without waiting.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    world: World,
    lines: Arc<Lines>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Sandbox {
    /// Starts listening; port 0 takes a free one. Needs a tokio runtime, on which it serves from then on.
    ///
    /// # Errors
    /// The address cannot be listened on: taken, not this machine's, not allowed.
    pub async fn start(address: SocketAddr, options: Options) -> Result<Self, StartError> {
        let failed = |source| StartError { address, source };
        LazyLock::force(&contract::CONTRACT);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let hosts = options.hosts.clone();
        let world = World::new(options);
        let lines = Arc::new(Lines::default());
        let door = Door::new(listener, Arc::clone(&lines));
        let router = Router::new()
            .fallback(serve::serve)
            .with_state(world.clone())
            .layer(from_fn_with_state(hosts, serve::guard));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(
            axum::serve(door, router.into_make_service_with_connect_info::<Connection>())
                .with_graceful_shutdown(async move {
                    // A dropped sender means the same as a message: the sandbox is over.
                    let _ = stopped.await;
                })
                .into_future(),
        );
        Ok(Self { address: bound, world, lines, stop: Some(stop), server: Some(server) })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as the base of URLs, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A handle on what it holds; it stays good after the end.
    #[must_use]
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Ends it: nothing new is accepted, idle connections are closed, calls in flight have 250 ms, then theirs are cut.
    pub async fn stop(mut self) {
        self.stop.take();
        if let Some(mut server) = self.server.take() {
            // The server's own end is all that is asked for; it has no failure that would matter now.
            let _ = tokio::time::timeout(STOP_GRACE, &mut server).await;
            self.lines.cut_all();
            if !server.is_finished() {
                let _ = server.await;
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.take();
        self.lines.cut_all();
    }
}
