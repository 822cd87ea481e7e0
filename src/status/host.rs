//! Whose requests are answered, by the name in `Host`: what keeps DNS rebinding out. See the module's documentation.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::header;

/// Which names a request may call the server by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// All: the server listens for other machines, which have names of their own for it.
    Any,
    /// Those that no stranger's page can have: an IP address, `localhost`, or none.
    Local,
}

impl Hosts {
    /// What goes for a server that listens there.
    pub(super) fn of(address: SocketAddr) -> Self {
        if address.ip().to_canonical().is_loopback() { Self::Local } else { Self::Any }
    }

    /// Whether a request is to be answered. Every name that it gives must be good: each `Host`, and the one in a
    /// request line with a whole URL.
    pub(super) fn admit(self, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::Local => {
                let named = request.headers().get_all(header::HOST).iter();
                let line = request.uri().authority().map(axum::http::uri::Authority::as_str);
                named.map(|host| host.to_str().ok()).chain(line.map(Some)).all(|host| host.is_some_and(is_local))
            }
        }
    }
}

/// Whether it is an IP address or `localhost`, with a port or without, or nothing.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let is_bracketed = || {
        name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
    };
    host.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || matches!(name.parse(), Ok(IpAddr::V4(_)))
        || is_bracketed()
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
    fn on_loopback_only_addresses_and_localhost_are_good_names() {
        for host in
            ["", "localhost", "LocalHost:9095", "127.0.0.1", "127.0.0.1:9095", "[::1]", "[::1]:9095", "10.1.2.3"]
        {
            assert!(Hosts::Local.admit(&request("/", &[host])), "{host:?} was refused");
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
        ] {
            assert!(!Hosts::Local.admit(&request("/", &[host])), "{host:?} was answered");
            assert!(Hosts::Any.admit(&request("/", &[host])), "{host:?} was refused elsewhere");
        }
    }

    #[test]
    fn a_good_name_does_not_cover_for_a_bad_one() {
        assert!(!Hosts::Local.admit(&request("/", &["localhost", "evil.example"])));
        assert!(!Hosts::Local.admit(&request("http://evil.example/status", &["localhost"])));
        assert!(Hosts::Local.admit(&request("http://127.0.0.1:9095/status", &[])));
        assert!(Hosts::Local.admit(&request("/", &[])), "HTTP/1.0 has no Host, and no browser speaks it");
    }

    #[test]
    fn loopback_is_seen_in_each_of_its_forms() {
        for (address, hosts) in [
            ("127.0.0.1:1", Hosts::Local),
            ("127.9.9.9:1", Hosts::Local),
            ("[::1]:1", Hosts::Local),
            ("[::ffff:127.0.0.1]:1", Hosts::Local),
            ("0.0.0.0:1", Hosts::Any),
            ("[::]:1", Hosts::Any),
            ("10.0.0.1:1", Hosts::Any),
        ] {
            assert_eq!(Hosts::of(address.parse().unwrap()), hosts, "{address}");
        }
    }
}
