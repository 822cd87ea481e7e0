//! Where the API is: an address that is safe to send a token to, and the paths below it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use reqwest::Url;
use thiserror::Error;

use crate::model::{Id, ServiceKey, ServiceKind};

/// Address of the API: https, or http on loopback only, without anything that could hold a secret. A path is kept as a
/// prefix of every call's path.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiUrl(Url);

/// Why a text is no [`ApiUrl`]. No text of it is repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidApiUrl {
    /// No URL at all.
    #[error("is not a URL; write it like `{}`", ApiUrl::DEFAULT)]
    Syntax,
    /// Longer than [`ApiUrl::MAX_BYTES`].
    #[error("is longer than {} bytes", ApiUrl::MAX_BYTES)]
    TooLong,
    /// Neither https nor http.
    #[error("has another scheme than https; write it like `{}`", ApiUrl::DEFAULT)]
    Scheme,
    /// http to another machine.
    #[error("would send the token in clear text: http is for loopback (127.0.0.1, [::1], localhost) only; use https")]
    ClearText,
    /// A user name or a password.
    #[error("holds a user name or password; leave it out, the token comes from a file or the environment")]
    UserInfo,
    /// A query.
    #[error("holds a query; leave out `?` and what follows")]
    Query,
    /// A fragment.
    #[error("holds a fragment; leave out `#` and what follows")]
    Fragment,
}

impl ApiUrl {
    /// The provider's own.
    pub const DEFAULT: &'static str = "https://api.northflank.com";
    /// The longest text that is read, in bytes.
    pub const MAX_BYTES: usize = 2048;

    /// Whether it names this machine. Proxies are not asked then.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.host_str().is_some_and(names_loopback)
    }

    /// Whether calls go over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The addresses that a name on loopback stands for, so that no resolver can send it elsewhere.
    pub(super) fn pinned(&self) -> Option<(&str, [SocketAddr; 2])> {
        let host = self.0.host_str().filter(|host| *host == "localhost")?;
        Some((host, [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]))
    }

    /// `…/v1/projects/{project}/services/{service}/deployment`, under `/teams/{team}` where the key has one.
    pub(super) fn deployment(&self, key: &ServiceKey) -> Url {
        let mut segments = project(key.team.as_ref(), &key.project);
        segments.extend(["services", key.service.as_str(), "deployment"]);
        self.below(&segments)
    }

    /// `…/services/{service}`.
    pub(super) fn service(&self, key: &ServiceKey) -> Url {
        let mut segments = project(key.team.as_ref(), &key.project);
        segments.extend(["services", key.service.as_str()]);
        self.below(&segments)
    }

    /// `…/services/{kind}/{service}`, where PATCH goes.
    pub(super) fn service_of_kind(&self, key: &ServiceKey, kind: ServiceKind) -> Url {
        let mut segments = project(key.team.as_ref(), &key.project);
        segments.extend(["services", kind.as_str(), key.service.as_str()]);
        self.below(&segments)
    }

    /// `/v1/auth`, which is nobody's but the token's.
    pub(super) fn auth(&self) -> Url {
        self.below(&["v1", "auth"])
    }

    /// `…/services?per_page=…&cursor=…`.
    pub(super) fn services(&self, team: Option<&Id>, project_id: &Id, per_page: u32, cursor: Option<&str>) -> Url {
        let mut segments = project(team, project_id);
        segments.push("services");
        let mut url = self.below(&segments);
        let mut query = url.query_pairs_mut();
        query.append_pair("per_page", &per_page.to_string());
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        drop(query);
        url
    }

    /// `…/services/{service}/containers?per_page=…`.
    pub(super) fn containers(&self, key: &ServiceKey, per_page: u32) -> Url {
        self.list_of(key, "containers", per_page)
    }

    /// `…/services/{service}/deployments?per_page=…`.
    pub(super) fn deployments(&self, key: &ServiceKey, per_page: u32) -> Url {
        self.list_of(key, "deployments", per_page)
    }

    /// The first page of a list of a service.
    fn list_of(&self, key: &ServiceKey, list: &str, per_page: u32) -> Url {
        let mut url = self.service(key);
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(list);
        }
        url.query_pairs_mut().append_pair("per_page", &per_page.to_string());
        url
    }

    /// Appends segments to the prefix; whatever is special in a URL is escaped within each.
    fn below(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        // Only URLs without an authority (`mailto:`) have no segments, and those are refused by `from_str`.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

fn project<'a>(team: Option<&'a Id>, project: &'a Id) -> Vec<&'a str> {
    let mut segments = vec!["v1"];
    if let Some(team) = team {
        segments.extend(["teams", team.as_str()]);
    }
    segments.extend(["projects", project.as_str()]);
    segments
}

/// 127.0.0.0/8, `[::1]` and `localhost`. The URL parser has lowered names and made numbers canonical before.
fn names_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

impl FromStr for ApiUrl {
    type Err = InvalidApiUrl;

    fn from_str(text: &str) -> Result<Self, InvalidApiUrl> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidApiUrl::TooLong);
        }
        // The parser of the standard drops tabs and line ends and takes backslashes for slashes. Here they are mistakes.
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(InvalidApiUrl::Syntax);
        }
        let mut url = Url::parse(text).map_err(|_| InvalidApiUrl::Syntax)?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(InvalidApiUrl::Scheme),
        };
        let Some(host) = url.host_str() else { return Err(InvalidApiUrl::Syntax) };
        if !url.username().is_empty() || url.password().is_some() {
            Err(InvalidApiUrl::UserInfo)
        } else if url.query().is_some() {
            Err(InvalidApiUrl::Query)
        } else if url.fragment().is_some() {
            Err(InvalidApiUrl::Fragment)
        } else if !https && !names_loopback(host) {
            Err(InvalidApiUrl::ClearText)
        } else {
            without_version(&mut url);
            Ok(Self(url))
        }
    }
}

/// Takes a last `v1` away: the provider's pages show addresses with it, and every call begins with it here.
fn without_version(url: &mut Url) {
    let path = url.path().trim_end_matches('/');
    if let Some(prefix) = path.strip_suffix("/v1").map(str::to_owned) {
        url.set_path(&prefix);
    }
}

impl Default for ApiUrl {
    #[allow(clippy::expect_used, reason = "the constant is checked by a test")]
    fn default() -> Self {
        Self::DEFAULT.parse().expect("the provider's address is valid")
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_anywhere_and_http_only_to_loopback() {
        for (text, shown) in [
            (ApiUrl::DEFAULT, ApiUrl::DEFAULT),
            ("https://api.example.com:8443/north/", "https://api.example.com:8443/north"),
            ("HTTPS://API.Example.com/a//b/../c", "https://api.example.com/a//c"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.9.9.9/", "http://127.9.9.9"),
            ("http://127.1", "http://127.0.0.1"),
            ("http://[::1]:1/v0", "http://[::1]:1/v0"),
            ("https://api.northflank.com/v1", ApiUrl::DEFAULT),
            ("https://api.example.com/north/v1/", "https://api.example.com/north"),
            ("https://api.example.com/notv1", "https://api.example.com/notv1"),
            ("http://LOCALHOST:9", "http://localhost:9"),
        ] {
            assert_eq!(text.parse::<ApiUrl>().map(|url| url.to_string()).as_deref(), Ok(shown), "{text}");
        }
        assert!(!ApiUrl::default().is_loopback());
    }

    #[test]
    fn an_address_that_could_give_a_secret_away_is_refused() {
        for (text, why) in [
            ("", InvalidApiUrl::Syntax),
            ("api.northflank.com", InvalidApiUrl::Syntax),
            ("https://", InvalidApiUrl::Syntax),
            ("https://a b.com", InvalidApiUrl::Syntax),
            ("https://a.com/\n", InvalidApiUrl::Syntax),
            ("https:\\\\a.com", InvalidApiUrl::Syntax),
            ("ftp://a.com", InvalidApiUrl::Scheme),
            ("localhost:8080", InvalidApiUrl::Scheme),
            ("http://api.northflank.com", InvalidApiUrl::ClearText),
            ("http://128.0.0.1", InvalidApiUrl::ClearText),
            ("http://0.0.0.0", InvalidApiUrl::ClearText),
            ("http://[::ffff:127.0.0.1]", InvalidApiUrl::ClearText),
            ("http://localhost.example.com", InvalidApiUrl::ClearText),
            ("http://127.0.0.1.example.com", InvalidApiUrl::ClearText),
            ("http://127.0.0.1@example.com", InvalidApiUrl::UserInfo),
            ("https://me:hunter2@a.com", InvalidApiUrl::UserInfo),
            ("https://:hunter2@a.com", InvalidApiUrl::UserInfo),
            ("https://a.com/?token=hunter2", InvalidApiUrl::Query),
            ("https://a.com/?", InvalidApiUrl::Query),
            ("https://a.com/#x", InvalidApiUrl::Fragment),
        ] {
            assert_eq!(text.parse::<ApiUrl>(), Err(why), "{text:?}");
            assert!(!why.to_string().contains("hunter2"));
        }
        let long = format!("https://a.com/{}", "x".repeat(ApiUrl::MAX_BYTES));
        assert_eq!(long.parse::<ApiUrl>(), Err(InvalidApiUrl::TooLong));
    }

    #[test]
    fn ids_are_escaped_in_paths_and_a_prefix_is_kept() {
        let path = |base: &str, key: &str| {
            let base: ApiUrl = base.parse().expect("a valid address");
            base.deployment(&key.parse().expect("a valid key")).as_str().to_owned()
        };
        assert_eq!(path("https://a.com", "shop/web"), "https://a.com/v1/projects/shop/services/web/deployment");
        assert_eq!(
            path("https://a.com/p/q/", "acme/shop/web"),
            "https://a.com/p/q/v1/teams/acme/projects/shop/services/web/deployment"
        );
        assert_eq!(
            path("https://a.com", "a b/50% ?x#y ü%2f..%2e"),
            "https://a.com/v1/projects/a%20b/services/50%25%20%3Fx%23y%20%C3%BC%252f..%252e/deployment"
        );
    }
}
