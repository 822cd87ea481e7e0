//! Where updates go, and whose services they are.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// An API and the account there. A ledger belongs to one: what it remembers says nothing of any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiPlace {
    /// The API's address; [`ApiPlace::SANDBOX`] for the stand-in inside the process.
    pub api: Arc<str>,
    /// The account that the token opens, where it is known.
    pub account: Option<Arc<str>>,
}

impl ApiPlace {
    /// The stand-in inside the process. Its address is another one each time, so it has a name.
    pub const SANDBOX: &'static str = "sandbox";

    /// A place of which only the address is known.
    #[must_use]
    pub fn new(api: &str) -> Self {
        Self { api: api.into(), account: None }
    }

    /// Whether the two may be the same. An account that is not known contradicts none.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let accounts = self.account.as_ref().zip(other.account.as_ref());
        self.api == other.api && accounts.is_none_or(|(one, other)| one == other)
    }
}

impl fmt::Display for ApiPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.api)?;
        match &self.account {
            Some(account) => write!(f, " (account {account})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_not_known_contradicts_none() {
        let place = |api: &str, account: Option<&str>| ApiPlace { api: api.into(), account: account.map(Arc::from) };
        let known = place("https://a", Some("acme"));
        assert!(known.agrees_with(&known) && known.agrees_with(&ApiPlace::new("https://a")));
        assert!(ApiPlace::new("https://a").agrees_with(&known));
        assert!(!known.agrees_with(&place("https://a", Some("other"))));
        assert!(!known.agrees_with(&place("https://b", Some("acme"))));
        assert_eq!(known.to_string(), "https://a (account acme)");
    }
}
