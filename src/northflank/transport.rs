//! The HTTP client below the calls: TLS, proxies, pool, and nothing that sends a request twice.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Certificate, Proxy, redirect, retry};

use super::ApiUrl;

/// How long an unused connection is kept. Below the minute after which common load balancers drop theirs, because a
/// connection that is dropped just when a call goes out leaves that call in doubt.
const IDLE: Duration = Duration::from_secs(50);

/// How the API is reached.
#[derive(Debug)]
pub(super) struct Transport {
    /// Deadline of one connection: name, TCP, proxy and TLS.
    pub(super) connect_timeout: Duration,
    /// Which proxies are asked.
    pub(super) proxies: Proxies,
    /// Which certificates are trusted.
    pub(super) roots: Roots,
}

/// Which proxies are asked, where the API is not on loopback.
#[derive(Debug)]
pub(super) enum Proxies {
    /// What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    Environment,
    /// This one, for tests.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests cannot change the environment"))]
    Only(Box<Proxy>),
}

/// Which certificates are trusted.
#[derive(Debug)]
pub(super) enum Roots {
    /// The system's; `SSL_CERT_FILE` and `SSL_CERT_DIR` take their place.
    System,
    /// These, for tests.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests cannot change the environment"))]
    Only(Vec<Certificate>),
}

impl Transport {
    /// Puts the client together.
    pub(super) fn build(self, api_url: &ApiUrl) -> Result<reqwest::Client, reqwest::Error> {
        // reqwest takes the process's provider of cryptography and panics where there is none. Whoever installed one
        // first is fine, so that the result says nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();

        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("truenorth/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
            .https_only(api_url.is_https())
            .redirect(redirect::Policy::none())
            .referer(false)
            // By default a request is sent again after a GOAWAY or REFUSED_STREAM of HTTP/2. That would be a second
            // call that nobody counted.
            .retry(retry::never())
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE)
            .tcp_keepalive(Duration::from_secs(15))
            .tcp_nodelay(true)
            // Only while a call is out: an idle daemon sends nothing.
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_keep_alive_while_idle(false);
        builder = match (api_url.is_loopback(), self.proxies) {
            // A proxy would see the token, and could not reach our loopback anyway.
            (true, _) => builder.no_proxy(),
            (false, Proxies::Environment) => builder,
            (false, Proxies::Only(proxy)) => builder.proxy(*proxy),
        };
        builder = match (api_url.is_https(), self.roots) {
            // Without TLS no roots are needed, and a minimal container image has none.
            (false, _) => builder.tls_certs_only([]),
            (true, Roots::System) => builder,
            (true, Roots::Only(certificates)) => builder.tls_certs_only(certificates),
        };
        if let Some((name, addresses)) = api_url.pinned() {
            builder = builder.resolve_to_addrs(name, &addresses);
        }
        builder.build()
    }
}
