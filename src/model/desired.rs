//! Desired: what one valid manifest says of one service.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{DeploymentUpdate, Digest, Policy, ServiceKey};

/// What a manifest wants of its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The body of the update call.
    pub update: Arc<DeploymentUpdate>,
    /// The digest of service and update.
    pub digest: Digest,
    /// How truenorth treats the service.
    pub policy: Policy,
    /// Where the manifest stands.
    pub place: Place,
}

impl Desired {
    /// Puts a manifest's parts together; the digest follows from them.
    #[must_use]
    pub fn new(key: &ServiceKey, update: DeploymentUpdate, policy: Policy, place: Place) -> Self {
        Self { digest: Digest::of_update(key, &update), update: Arc::new(update), policy, place }
    }
}

/// Where a manifest stands: its file, from the folder's top, and the line where the document begins, counted from 1.
/// Shown as `shop/checkout.yaml:1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Path from the folder's top, with `/` between its parts; bytes that are no UTF-8 are replaced.
    pub file: Arc<str>,
    /// First line of the document, from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
