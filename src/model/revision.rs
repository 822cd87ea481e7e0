//! The revision: which snapshot of the folder something was read from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{Digest, Headline};

/// Identity of one snapshot of the folder. Two of the same commit are the same, whatever is known of it.
#[derive(Clone, Debug)]
pub enum Revision {
    /// The commit that a checkout has. Shown as `git:<commit>`, with `+dirty` where the folder differs from it.
    Git {
        commit: String,
        /// Whether a manifest differs from what is committed.
        dirty: bool,
        /// What people know the commit by, where it was read.
        headline: Option<Arc<Headline>>,
    },
    /// Outside a checkout: a digest over what was read. Shown as `tree:sha256:…`.
    Tree(Digest),
}

impl Revision {
    /// What people know the commit by, where there is one that was read.
    pub fn headline(&self) -> Option<&Headline> {
        match self {
            Self::Git { headline, .. } => headline.as_deref(),
            Self::Tree(_) => None,
        }
    }

    /// Leaves out what people know the commit by.
    pub fn drop_headline(&mut self) {
        if let Self::Git { headline, .. } = self {
            *headline = None;
        }
    }
}

impl PartialEq for Revision {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Git { commit, dirty, .. }, Self::Git { commit: other, dirty: others, .. }) => {
                (commit, dirty) == (other, others)
            }
            (Self::Tree(digest), Self::Tree(other)) => digest == other,
            _ => false,
        }
    }
}

impl Eq for Revision {}

/// A text that is no revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a revision: `git:<commit>`, `git:<commit>+dirty` or `tree:sha256:<digits>`")]
pub struct InvalidRevision;

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git { commit, dirty: false, .. } => write!(f, "git:{commit}"),
            Self::Git { commit, dirty: true, .. } => write!(f, "git:{commit}+dirty"),
            Self::Tree(digest) => write!(f, "tree:{digest}"),
        }
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        if let Some(rest) = text.strip_prefix("git:") {
            let (commit, dirty) = rest.strip_suffix("+dirty").map_or((rest, false), |commit| (commit, true));
            let valid = commit.len() >= 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            valid.then(|| Self::Git { commit: commit.to_owned(), dirty, headline: None }).ok_or(InvalidRevision)
        } else {
            let digest = text.strip_prefix("tree:").ok_or(InvalidRevision)?;
            Ok(Self::Tree(digest.parse().map_err(|_| InvalidRevision)?))
        }
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_reads_back_what_it_shows() {
        let commit = "4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f".to_owned();
        for revision in [
            Revision::Git { commit: commit.clone(), dirty: false, headline: None },
            Revision::Git { commit, dirty: true, headline: None },
            Revision::Tree(Digest::of_bytes(b"")),
        ] {
            assert_eq!(revision.to_string().parse(), Ok(revision));
        }
        assert_eq!("git:main".parse::<Revision>(), Err(InvalidRevision));
    }
}
