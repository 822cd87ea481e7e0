//! Which proxy the environment names for the API. reqwest passes over a variable that it does not understand, and calls
//! would go past the proxy that somebody set.

use std::ffi::OsString;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use thiserror::Error;

use super::ApiUrl;

/// The variables that name a proxy; of each pair the first that is set counts, and the first pair before the second.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NONE: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A variable that names no proxy that can be used; never its value, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("`{variable}` does not name a proxy that can be used")]
pub struct BadProxy {
    /// Which.
    pub variable: &'static str,
}

/// The proxy that calls go through, as `http://HOST:PORT`, without the user and the password.
pub(super) fn of(api_url: &ApiUrl, environment: impl Fn(&str) -> Option<OsString>) -> Result<Option<String>, BadProxy> {
    // A proxy would see the token, and could not reach our loopback anyway.
    if api_url.is_loopback() {
        return Ok(None);
    }
    let first = |names: [&'static str; 2]| {
        let set = |name| environment(name).map(|value| (name, value)).filter(|(_, value)| !value.is_empty());
        let Some((variable, value)) = names.into_iter().find_map(set) else { return Ok(String::new()) };
        value.into_string().map_err(|_| BadProxy { variable })
    };
    for names in [HTTPS, ALL] {
        let value = first(names)?;
        if !value.is_empty() && !is_usable(&value) {
            let set = names.into_iter().find(|name| environment(name).is_some_and(|value| !value.is_empty()));
            return Err(BadProxy { variable: set.unwrap_or(names[0]) });
        }
    }
    let matcher = Matcher::builder().https(first(HTTPS)?).all(first(ALL)?).no(first(NONE)?).build();
    let proxy = api_url.to_string().parse().ok().and_then(|uri| matcher.intercept(&uri));
    Ok(proxy.map(|proxy| proxy.uri().to_string().trim_end_matches('/').to_owned()))
}

fn is_usable(value: &str) -> bool {
    let proxy = Matcher::builder().all(value).build();
    let proxy = "https://any.invalid/".parse().ok().and_then(|uri| proxy.intercept(&uri));
    // The matcher takes any port and any host in brackets.
    let url = proxy.and_then(|proxy| Url::parse(&proxy.uri().to_string()).ok());
    url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.port() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(variables: &[(&str, &str)]) -> Result<Option<String>, BadProxy> {
        let environment = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
        of(&"https://api.northflank.com".parse().expect("a URL"), environment)
    }

    #[test]
    fn the_proxy_is_named_without_its_password() {
        let proxy = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(named(&[]), Ok(None));
        assert_eq!(named(&[("HTTPS_PROXY", "")]), Ok(None));
        assert_eq!(named(&[("HTTPS_PROXY", "http://me:hunter2@proxy:3128/x")]), proxy("http://proxy:3128"));
        assert_eq!(named(&[("https_proxy", "proxy:3128")]), proxy("http://proxy:3128"));
        assert_eq!(named(&[("ALL_PROXY", "https://all"), ("HTTPS_PROXY", "http://one")]), proxy("http://one"));
        assert_eq!(named(&[("all_proxy", "https://all")]), proxy("https://all"));
        assert_eq!(named(&[("HTTP_PROXY", "::")]), Ok(None), "plain HTTP is for loopback, and without a proxy");
        for none in ["*", "northflank.com", ".northflank.com", "x, api.northflank.com"] {
            assert_eq!(named(&[("HTTPS_PROXY", "http://one"), ("NO_PROXY", none)]), Ok(None), "{none}");
        }
        assert_eq!(named(&[("HTTPS_PROXY", "http://one"), ("no_proxy", "example.com")]), proxy("http://one"));
    }

    #[test]
    fn what_names_no_proxy_is_an_error_that_does_not_repeat_it() {
        for value in [
            "http://",
            "socks5://me:hunter2@proxy",
            "http://me:hunter2@[proxy",
            "http://me:hunter2@[::zz]:3128",
            "http://me:hunter2@proxy:99999",
            "me:hunter2@proxy:0",
            "hunter2 proxy",
            "ftp://proxy",
        ] {
            for variable in HTTPS.into_iter().chain(ALL) {
                let error = named(&[(variable, value)]).expect_err(value);
                assert_eq!(error, BadProxy { variable });
                assert!(!error.to_string().contains("hunter2"));
            }
        }
        let loopback = "http://127.0.0.1:1".parse().expect("a URL");
        assert_eq!(of(&loopback, |_| Some("http://".into())), Ok(None), "nothing on loopback goes through it");
    }
}
