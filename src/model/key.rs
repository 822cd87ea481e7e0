//! Which service: project and service, under a team where an organisation's token is used.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::text::named;

/// An id of a team, a project or a service, as it stands in a path of the API.
///
/// The provider makes ids of ASCII letters, digits and dashes. Nothing else is accepted from people: a letter that only
/// looks like another would be another service, and a name is not an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id(Arc<str>);

impl Ord for Id {
    /// By their text. Most ids that meet are copies of one, which need not be read to be known as the same.
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a text is not an [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than [`Id::MAX_CHARS`].
    #[error("is longer than {} characters", Id::MAX_CHARS)]
    TooLong,
    /// Something else than a letter, a digit or a dash.
    #[error("has {} at position {at}; an id has only letters a to z, digits and dashes", named(*c))]
    Character {
        c: char,
        /// Where, counted in characters from 1.
        at: usize,
    },
    /// More or fewer parts than a service's name has.
    #[error("is not project/service or team/project/service")]
    Parts,
}

impl Id {
    /// The longest id that is accepted, in characters. The provider's own ids end at 54; this leaves room.
    pub const MAX_CHARS: usize = 200;
    /// What is accepted, as a pattern for editors.
    pub const PATTERN: &'static str = "^[A-Za-z0-9-]+$";

    /// Checks and takes a text.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        Self::of(text, |c| !(c.is_ascii_alphanumeric() || c == '-'))
    }

    /// An id of which a ledger tells. Earlier versions took more characters; here only those are refused that would change
    /// the meaning of a path, or of a service's name.
    fn recorded(text: &str) -> Result<Self, InvalidId> {
        match text {
            "." | ".." => Err(InvalidId::Character { c: '.', at: 1 }),
            text => Self::of(text, |c| matches!(c, '/' | '\\') || c.is_control()),
        }
    }

    fn of(text: &str, refused: impl Fn(char) -> bool) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        match text.chars().zip(1..).find(|(c, at)| *at > Self::MAX_CHARS || refused(*c)) {
            Some((_, at)) if at > Self::MAX_CHARS => Err(InvalidId::TooLong),
            Some((c, at)) => Err(InvalidId::Character { c, at }),
            None => Ok(Self(text.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

/// A service: `project/service`, or `team/project/service` where the manifest names a team.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The team, for tokens of an organisation; such calls go to `/v1/teams/{team}/…`.
    pub team: Option<Id>,
    pub project: Id,
    pub service: Id,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(team) = &self.team {
            write!(f, "{team}/")?;
        }
        write!(f, "{}/{}", self.project, self.service)
    }
}

/// A project by its name: `project`, or `team/project`.
#[must_use]
pub fn project_path(team: Option<&Id>, project: &Id) -> String {
    team.map_or_else(|| project.to_string(), |team| format!("{team}/{project}"))
}

impl FromStr for ServiceKey {
    type Err = InvalidId;

    /// Reads `project/service` or `team/project/service`, as a ledger or a person names a service that is known.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let (team, project, service) = match parts.as_slice() {
            [project, service] => (None, project, service),
            [team, project, service] => (Some(team), project, service),
            _ => return Err(InvalidId::Parts),
        };
        let team = team.map(|team| Id::recorded(team)).transpose()?;
        Ok(Self { team, project: Id::recorded(project)?, service: Id::recorded(service)? })
    }
}

impl Serialize for ServiceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_ascii_letters_digits_and_dashes() {
        for text in ["a", "shop", "Shop-2", "-", "1"] {
            assert!(Id::new(text).is_ok(), "{text:?} was refused");
        }
        for (text, c, at) in
            [("My Shop", ' ', 3), ("sh\u{43e}p", '\u{43e}', 3), ("a_b", '_', 2), ("..", '.', 1), ("a\n", '\n', 2)]
        {
            assert_eq!(Id::new(text), Err(InvalidId::Character { c, at }), "{text:?}");
        }
        assert_eq!(Id::new(""), Err(InvalidId::Empty));
        assert_eq!(Id::new(&"x".repeat(Id::MAX_CHARS + 1)), Err(InvalidId::TooLong));
        let told = InvalidId::Character { c: '\u{43e}', at: 3 }.to_string();
        assert_eq!(
            told,
            "has `о` (U+043E, a Cyrillic letter) at position 3; an id has only letters a to z, digits and dashes"
        );
    }

    #[test]
    fn a_ledger_of_an_earlier_version_is_read() {
        for text in ["My Shop/web", "ümlaut/a.b/..."] {
            assert_eq!(text.parse::<ServiceKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["./web", "shop/..", "a\\b/web", "a/b\n", "/web"] {
            assert!(text.parse::<ServiceKey>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_key_reads_back_what_it_shows() {
        for text in ["shop/checkout", "acme/shop/checkout"] {
            assert_eq!(text.parse::<ServiceKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["shop", "a/b/c/d", "a//b", ""] {
            assert!(text.parse::<ServiceKey>().is_err(), "{text:?} was accepted");
        }
    }
}
