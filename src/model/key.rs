//! Which service: project and service, under a team where an organisation's token is used.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// An id of a team, a project or a service, as it stands in a path of the API.
///
/// The contract only asks that it is not empty. What could change the meaning of a path or of `project/service`
/// in a report (a slash, a dot segment, control characters, blanks at the ends) is refused here; everything else is
/// escaped where the path is built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

/// Why a text is no [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than [`Id::MAX_CHARS`].
    #[error("is longer than {} characters", Id::MAX_CHARS)]
    TooLong,
    /// `.` or `..`, which a URL takes as a step in the path.
    #[error("is a dot segment, which a URL takes as a step in its path")]
    DotSegment,
    /// A slash, a control character, or a blank at an end.
    #[error("holds a slash, a control character, or a blank at its start or end")]
    Character,
}

impl Id {
    /// The longest id that is accepted, in characters. The provider's own ids end at 54; this leaves room.
    pub const MAX_CHARS: usize = 200;

    /// Checks and takes a text.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            Err(InvalidId::Empty)
        } else if text.chars().count() > Self::MAX_CHARS {
            Err(InvalidId::TooLong)
        } else if text == "." || text == ".." {
            Err(InvalidId::DotSegment)
        } else if text.trim() != text || text.contains(|c: char| c == '/' || c == '\\' || c.is_control()) {
            Err(InvalidId::Character)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The text.
    #[must_use]
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
    /// The project.
    pub project: Id,
    /// The service.
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

impl FromStr for ServiceKey {
    type Err = InvalidId;

    /// Reads `project/service` or `team/project/service`.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut parts = text.split('/');
        let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(InvalidId::Character);
        }
        let second = second.ok_or(InvalidId::Empty)?;
        Ok(match third {
            Some(third) => Self { team: Some(Id::new(first)?), project: Id::new(second)?, service: Id::new(third)? },
            None => Self { team: None, project: Id::new(first)?, service: Id::new(second)? },
        })
    }
}

impl Serialize for ServiceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_would_change_a_path_is_refused() {
        for text in ["", ".", "..", "a/b", "a\\b", " a", "a ", "a\nb", "\u{7f}"] {
            assert!(Id::new(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(Id::new(&"x".repeat(Id::MAX_CHARS + 1)), Err(InvalidId::TooLong));
        for text in ["a", "shop", "a b", "ümlaut", "a.b", "..."] {
            assert!(Id::new(text).is_ok(), "{text:?} was refused");
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
