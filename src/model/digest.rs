//! The digest: what makes two manifests ask for the same thing.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{DeploymentUpdate, ServiceKey};

/// SHA-256 of the canonical desired update: compact JSON of `project`, `service`, `spec` and, where there is one,
/// `team`, every object's keys in alphabetical order. Shown as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a digest: `sha256:` and 64 hexadecimal digits")]
pub struct InvalidDigest;

#[derive(Serialize)]
struct Canonical<'a> {
    project: &'a str,
    service: &'a str,
    spec: &'a DeploymentUpdate,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
}

impl Digest {
    /// The digest of what a manifest asks of a service.
    #[must_use]
    #[allow(clippy::expect_used, reason = "the canonical form has string keys only and no custom failure")]
    pub fn of_update(key: &ServiceKey, spec: &DeploymentUpdate) -> Self {
        let canonical = Canonical {
            project: key.project.as_str(),
            service: key.service.as_str(),
            spec,
            team: key.team.as_ref().map(super::Id::as_str),
        };
        Self::of_bytes(&serde_json::to_vec(&canonical).expect("an update is always JSON"))
    }

    /// The digest of bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From its 32 bytes, as the ledger keeps it.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits =
            text.strip_prefix("sha256:").filter(|rest| rest.len() == 64 && rest.is_ascii()).ok_or(InvalidDigest)?;
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_what_it_shows() {
        let digest = Digest::of_bytes(b"truenorth");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "sha256:", "sha256:zz", &"a".repeat(71), &format!("{digest}0")] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text:?} was accepted");
        }
    }
}
