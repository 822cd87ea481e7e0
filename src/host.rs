//! Whose requests a listener answers, by the name in `Host`: what keeps DNS rebinding out. A page of somebody else's, open
//! in a browser that reaches the listener, could point its own name at our address and would then read our answers as its
//! own. It cannot have an IP address or `localhost` as its name, nor one that the operator allowed.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header;

/// Stands for every name.
const ANY: &str = "*";

/// The names by which a listener may be called, beside IP addresses and `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    allowed: Arc<[String]>,
}

impl Hosts {
    /// These names; `*` is all of them.
    #[must_use]
    pub fn allowing(names: &[String]) -> Self {
        Self { allowed: names.into() }
    }

    /// Whether a request is to be answered. Every name that it gives must be good: each `Host`, and the one in a
    /// request line with a whole URL.
    pub(crate) fn admit(&self, request: &Request) -> bool {
        let named = request.headers().get_all(header::HOST).iter();
        let line = request.uri().authority().map(axum::http::uri::Authority::as_str);
        named
            .map(|host| host.to_str().ok())
            .chain(line.map(Some))
            .all(|host| host.is_some_and(|host| self.is_good(host)))
    }

    fn is_good(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let is_bracketed = || {
            let within = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            within.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
        };
        host.is_empty()
            || name.eq_ignore_ascii_case("localhost")
            || matches!(name.parse(), Ok(IpAddr::V4(_)))
            || is_bracketed()
            || self.allowed.iter().any(|allowed| allowed == ANY || allowed.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, hosts: &[&str]) -> Request {
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn only_addresses_localhost_and_allowed_names_are_good() {
        let (none, some) = (Hosts::default(), Hosts::allowing(&["truenorth".to_owned()]));
        for host in
            ["", "localhost", "LocalHost:9095", "127.0.0.1", "127.0.0.1:9095", "[::1]", "[::1]:9095", "10.1.2.3"]
        {
            assert!(none.admit(&request("/", &[host])), "{host:?} was refused");
        }
        for host in [
            "evil.example",
            "evil.example:9095",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1:9095:1",
            "localhost:x",
            "0x7f.1",
            "[evil]",
            "[127.0.0.1]",
            "::1",
            "truenorth.evil.example",
        ] {
            assert!(!none.admit(&request("/", &[host])), "{host:?} was answered");
            assert!(!some.admit(&request("/", &[host])), "{host:?} was answered");
            assert!(Hosts::allowing(&[ANY.to_owned()]).admit(&request("/", &[host])), "{host:?} was refused");
        }
        for host in ["truenorth", "TrueNorth:9095"] {
            assert!(some.admit(&request("/", &[host])) && !none.admit(&request("/", &[host])), "{host:?}");
        }
    }

    #[test]
    fn a_good_name_does_not_cover_for_a_bad_one() {
        let hosts = Hosts::default();
        assert!(!hosts.admit(&request("/", &["localhost", "evil.example"])));
        assert!(!hosts.admit(&request("http://evil.example/status", &["localhost"])));
        assert!(hosts.admit(&request("http://127.0.0.1:9095/status", &[])));
        assert!(hosts.admit(&request("/", &[])), "HTTP/1.0 has no Host, and no browser speaks it");
    }
}
