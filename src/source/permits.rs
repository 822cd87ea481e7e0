//! Who may deploy what, and from where: `--allow` names the services that a folder may speak of, `--layout project` the
//! places in it. A manifest of another service, or in another place, is a problem and nothing else: it neither deploys
//! anything nor keeps the manifest in the right place from doing so.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use thiserror::Error;

use crate::manifest::Problem;
use crate::model::{Id, Place, ServiceKey, project_path};
use crate::text::listed;

/// What manifests of a folder may do.
#[derive(Clone, Debug, Default)]
pub struct Permits {
    /// The services that they may name; all where nothing is listed.
    pub allow: Vec<Allowed>,
    /// Where they must stand.
    pub layout: Layout,
}

/// Where a service's manifest must stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Anywhere.
    #[default]
    Free,
    /// Below `<project>/`, or below `<team>/<project>/` where it names a team.
    Project,
}

/// `[TEAM/]PROJECT[/SERVICE]`: the services of a project, or one of them; each part may have `*` and `?`.
///
/// A pattern speaks of the manifests that write what it writes: one with a team, of those with a team. `a/b` is project
/// and service where a manifest names no team, and team and project where it does.
#[derive(Clone, Debug)]
pub struct Allowed {
    text: String,
    parts: Vec<GlobMatcher>,
}

/// Why a text is not an [`Allowed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidAllowed {
    /// Something that no id has, and no pattern.
    #[error(
        "expected PROJECT, PROJECT/SERVICE, TEAM/PROJECT or TEAM/PROJECT/SERVICE, of letters, digits, dashes, * and ?"
    )]
    Pattern,
}

impl FromStr for Allowed {
    type Err = InvalidAllowed;

    fn from_str(text: &str) -> Result<Self, InvalidAllowed> {
        let parts: Option<Vec<GlobMatcher>> = text.split('/').map(part).collect();
        match parts {
            Some(parts) if parts.len() <= 3 => Ok(Self { text: text.to_owned(), parts }),
            _ => Err(InvalidAllowed::Pattern),
        }
    }
}

fn part(text: &str) -> Option<GlobMatcher> {
    let is_pattern = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '*' | '?');
    let valid = !text.is_empty() && text.len() <= Id::MAX_CHARS && text.chars().all(is_pattern);
    GlobBuilder::new(text).build().ok().filter(|_| valid).map(|glob| glob.compile_matcher())
}

impl Allowed {
    /// Whether it covers a service.
    pub fn matches(&self, key: &ServiceKey) -> bool {
        let ids: Vec<&str> = key.team.iter().chain([&key.project, &key.service]).map(Id::as_str).collect();
        let is_long_enough = self.parts.len() + 1 >= ids.len() && self.parts.len() <= ids.len();
        is_long_enough && self.parts.iter().zip(ids).all(|(part, id)| part.is_match(id))
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Permits {
    /// Whether the manifest of a service may stand there.
    pub(super) fn is_in_place(&self, key: &ServiceKey, place: &Place) -> bool {
        self.layout == Layout::Free || place.file.starts_with(&folder(key))
    }

    /// The problem of a manifest that may not stand there, or not at all.
    pub(super) fn refusal(&self, key: &ServiceKey, place: &Place) -> Option<Problem> {
        if !self.allow.is_empty() && !self.allow.iter().any(|allowed| allowed.matches(key)) {
            let hint = format!("allowed here: {}", listed(&self.allow));
            return Some(Problem::of_document(place, format!("`{key}` is not allowed (--allow)"), hint));
        }
        if self.is_in_place(key, place) {
            return None;
        }
        let folder = folder(key);
        let message = format!("the manifest of `{key}` belongs below {folder} (--layout project)");
        Some(Problem::of_document(place, message, format!("move it to {folder}")))
    }
}

/// Where the manifests of a service's project stand under [`Layout::Project`].
fn folder(key: &ServiceKey) -> String {
    format!("{}/", project_path(key.team.as_ref(), &key.project))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(allow: &[&str], layout: Layout, key: &str, file: &str) -> bool {
        let permits = Permits { allow: allow.iter().map(|text| text.parse().unwrap()).collect(), layout };
        permits.refusal(&key.parse().unwrap(), &Place { file: file.into(), line: 1 }).is_some()
    }

    #[test]
    fn a_pattern_covers_what_it_writes() {
        let allowed = |pattern: &str, key: &str| !refused(&[pattern], Layout::Free, key, "a.yaml");
        for (pattern, key) in [
            ("shop", "shop/web"),
            ("shop/web", "shop/web"),
            ("shop/*-api", "shop/cart-api"),
            ("sho?", "shop/web"),
            ("*", "shop/web"),
            ("acme/shop", "acme/shop/web"),
            ("acme/shop/web", "acme/shop/web"),
            ("acme/*", "acme/shop/web"),
            ("*/*/web", "acme/shop/web"),
        ] {
            assert!(allowed(pattern, key), "{pattern} {key}");
        }
        for (pattern, key) in [
            ("shop", "shop-2/web"),
            ("shop", "Shop/web"),
            ("shop", "acme/shop/web"),
            ("*", "acme/shop/web"),
            ("shop/web", "shop/web-2"),
            ("shop/web", "evil/shop/web"),
            ("acme/shop/web", "shop/web"),
            ("acme/shop", "acme/blog/web"),
        ] {
            assert!(!allowed(pattern, key), "{pattern} {key}");
        }
        assert!(!refused(&["blog", "shop"], Layout::Free, "shop/web", "a.yaml"));
        assert!(!refused(&[], Layout::Free, "shop/web", "a.yaml"));
    }

    #[test]
    fn what_no_id_can_match_is_not_a_pattern() {
        for text in ["", "/", "shop/", "/web", "a/b/c/d", "a b", "{a,b}", "[ab]", "sh\u{43e}p", "a\\b", "!a", "../a"] {
            assert!(text.parse::<Allowed>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_manifest_has_its_place_below_its_project() {
        let refused = |key: &str, file: &str| refused(&[], Layout::Project, key, file);
        for (key, file) in
            [("shop/web", "shop/web.yaml"), ("shop/web", "shop/a/b.yaml"), ("acme/shop/web", "acme/shop/web.yaml")]
        {
            assert!(!refused(key, file), "{key} {file}");
        }
        for (key, file) in [
            ("shop/web", "web.yaml"),
            ("shop/web", "shop.yaml"),
            ("shop/web", "shop-2/web.yaml"),
            ("shop/web", "blog/shop/web.yaml"),
            ("shop/web", "Shop/web.yaml"),
            ("acme/shop/web", "shop/web.yaml"),
            ("acme/shop/web", "acme/web.yaml"),
        ] {
            assert!(refused(key, file), "{key} {file}");
        }
    }
}
