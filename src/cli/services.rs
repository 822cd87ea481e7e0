//! Which service somebody means: by its full name, or by its last part where only one has it.

use super::{Failure, refused};
use crate::model::ServiceKey;
use crate::text::{listed, near};

/// How alike two names must be, of 1.
const NEAR: f32 = 0.6;

/// The service that `name` stands for, of those in `known`. `nobody` says who does not know one, as "the ledger knows
/// no".
///
/// # Errors
/// None has that name, or several share its last part.
pub(super) fn meant<'k>(
    name: &str,
    known: impl IntoIterator<Item = &'k ServiceKey>,
    nobody: &str,
) -> Result<ServiceKey, Failure> {
    let mut known: Vec<&ServiceKey> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let full = name.parse::<ServiceKey>().ok();
    if let Some(found) = known.iter().find(|key| full.as_ref() == Some(**key)) {
        return Ok((*found).clone());
    }
    let shared: Vec<&ServiceKey> = known.iter().copied().filter(|key| key.service.as_str() == name).collect();
    match shared.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(refused(format!("{nobody} service `{name}`"), hint(name, &known))),
        several => {
            let message = format!("{} services are named `{name}`", several.len());
            Err(refused(message, format!("say which one: {}", listed(several))))
        }
    }
}

fn hint(name: &str, known: &[&ServiceKey]) -> String {
    if known.is_empty() {
        return "no service was ever called; is --state-dir the one of the daemon? `truenorth init` is how to begin"
            .to_owned();
    }
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let by_last_part = || {
        let last: Vec<&str> = known.iter().map(|key| key.service.as_str()).collect();
        let near = near(name, &last, NEAR)?;
        names.get(last.iter().position(|part| *part == near)?).copied()
    };
    if let Some(near) = near(name, &names, NEAR).or_else(by_last_part) {
        return format!("did you mean {near}?");
    }
    format!("known: {}", listed(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str) -> Result<String, String> {
        let known: Vec<ServiceKey> = ["shop/web", "shop/checkout", "acme/shop/web", "blog/api"]
            .iter()
            .map(|name| name.parse().expect("is a key"))
            .collect();
        meant(name, &known, "the ledger knows no")
            .map(|key| key.to_string())
            .map_err(|failure| format!("{failure}; {}", failure.hint.as_deref().unwrap_or_default()))
    }

    #[test]
    fn a_service_is_meant_by_its_name_or_its_last_part() {
        assert_eq!(asked("acme/shop/web").as_deref(), Ok("acme/shop/web"));
        assert_eq!(asked("checkout").as_deref(), Ok("shop/checkout"));
        let shared = "2 services are named `web`; say which one: shop/web, acme/shop/web";
        assert_eq!(asked("web"), Err(shared.to_owned()));
    }

    #[test]
    fn an_unknown_name_is_told_the_near_one() {
        let told = |name: &str, hint: &str| {
            let message = format!("the ledger knows no service `{name}`; {hint}");
            assert_eq!(asked(name), Err(message));
        };
        told("shop/chekout", "did you mean shop/checkout?");
        told("chekout", "did you mean shop/checkout?");
        told("q", "known: blog/api, shop/checkout, shop/web, acme/shop/web");
        let none = meant("web", [], "the ledger knows no").map_err(|failure| failure.hint.unwrap_or_default());
        assert!(none.is_err_and(|hint| hint.starts_with("no service was ever called")));
    }
}
