//! The deployment update: the body of the update call, in the three forms that the contract allows.
//!
//! The rules are those of `DeploymentUpdate` in the API's contract (`src/sandbox/openapi.yaml`), which follows the
//! provider's page "Update service deployment". Serialising a value gives the body of the call; its keys are declared
//! in alphabetical order, because the digest is taken over the same text. Moving a field changes every digest. A body
//! that was written down reads back as the same value, and through the same checks.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Buildpack, Docker, ImagePath};

/// The body of the update call: exactly one of three forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum DeploymentUpdate {
    /// Deploy an image from a registry.
    External {
        /// How the container starts.
        #[serde(skip_serializing_if = "Option::is_none")]
        docker: Option<Docker>,
        external: External,
    },
    /// Deploy what a build service built.
    Internal {
        /// How a buildpack image starts.
        #[serde(skip_serializing_if = "Option::is_none")]
        buildpack: Option<Buildpack>,
        /// How the container starts.
        #[serde(skip_serializing_if = "Option::is_none")]
        docker: Option<Docker>,
        internal: Internal,
    },
    /// Leave what is deployed as it is, and change how it starts.
    Runtime(RuntimeUpdate),
}

impl DeploymentUpdate {
    /// Every text that a manifest may choose freely, or nearly.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (image, credentials) = match self {
            Self::External { external, .. } => (Some(external.image_path.as_str()), external.credentials.as_ref()),
            Self::Internal { .. } | Self::Runtime(_) => (None, None),
        };
        let build = match self {
            Self::Internal { internal, .. } => [
                Some(internal.id.as_str()),
                internal.branch.as_deref(),
                internal.build_id.as_deref(),
                internal.build_sha.as_ref().map(BuildSha::as_str),
            ],
            Self::External { .. } | Self::Runtime(_) => [None; 4],
        };
        let docker = self.docker().map(|docker| [docker.custom_entrypoint(), docker.custom_command()]);
        let buildpack =
            self.buildpack().map(|pack| [pack.custom_process(), pack.custom_entrypoint(), pack.custom_command()]);
        let named = [image, credentials.map(CredentialsId::as_str)];
        named
            .into_iter()
            .chain(build)
            .chain(docker.into_iter().flatten())
            .chain(buildpack.into_iter().flatten())
            .flatten()
    }

    /// Docker's settings, in whichever form.
    pub fn docker(&self) -> Option<&Docker> {
        match self {
            Self::External { docker, .. } | Self::Internal { docker, .. } => docker.as_ref(),
            Self::Runtime(RuntimeUpdate::Docker { docker } | RuntimeUpdate::Both { docker, .. }) => Some(docker),
            Self::Runtime(RuntimeUpdate::Buildpack { .. }) => None,
        }
    }

    /// The buildpack's settings, in whichever form.
    pub fn buildpack(&self) -> Option<&Buildpack> {
        match self {
            Self::External { .. } | Self::Runtime(RuntimeUpdate::Docker { .. }) => None,
            Self::Internal { buildpack, .. } => buildpack.as_ref(),
            Self::Runtime(RuntimeUpdate::Buildpack { buildpack } | RuntimeUpdate::Both { buildpack, .. }) => {
                Some(buildpack)
            }
        }
    }

    /// Every command in it.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        let docker = self.docker().map(|docker| [docker.custom_entrypoint(), docker.custom_command()]);
        let buildpack = self
            .buildpack()
            .map(|buildpack| [buildpack.custom_process(), buildpack.custom_entrypoint(), buildpack.custom_command()]);
        docker.into_iter().flatten().chain(buildpack.into_iter().flatten()).flatten()
    }
}

impl DeploymentUpdate {
    /// Whether it says both what is deployed and how that starts, so that the API can take one and not the other.
    pub fn has_several_parts(&self) -> bool {
        !matches!(self, Self::Runtime(_)) && (self.docker().is_some() || self.buildpack().is_some())
    }

    /// How it starts, as an update of its own: what is deployed stays. Nothing where it does not say how it starts.
    pub fn runtime(&self) -> Option<Self> {
        let runtime = match (self.buildpack().cloned(), self.docker().cloned()) {
            (Some(buildpack), Some(docker)) => RuntimeUpdate::Both { buildpack, docker },
            (Some(buildpack), None) => RuntimeUpdate::Buildpack { buildpack },
            (None, Some(docker)) => RuntimeUpdate::Docker { docker },
            (None, None) => return None,
        };
        Some(Self::Runtime(runtime))
    }
}

/// An update of the runtime alone: at least one of the two settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum RuntimeUpdate {
    /// Only the buildpack's settings.
    Buildpack {
        /// How a buildpack image starts.
        buildpack: Buildpack,
    },
    /// Only docker's settings.
    Docker {
        /// How the container starts.
        docker: Docker,
    },
    Both {
        /// How a buildpack image starts.
        buildpack: Buildpack,
        /// How the container starts.
        docker: Docker,
    },
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// Id of saved registry credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsId>,
    /// Image to deploy, with a tag or a digest.
    #[serde(rename = "imagePath")]
    pub image_path: ImagePath,
}

/// A build of a build service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Internal {
    /// Branch to deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Id of the build to deploy.
    #[serde(rename = "buildId", skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// Commit to deploy.
    #[serde(rename = "buildSHA", skip_serializing_if = "Option::is_none")]
    pub build_sha: Option<BuildSha>,
    pub id: BuildServiceId,
}

/// A value that breaks a rule of the contract; the text names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidField {
    /// Credentials that are not letters, digits and dashes.
    #[error("is not a credentials id: letters, digits and dashes only")]
    Credentials,
    /// A build service id outside 3 to 54 characters.
    #[error("is not a build service id, which has 3 to 54 characters")]
    BuildServiceLength,
    /// A build service id that the contract's pattern refuses.
    #[error("is not a build service id, which is a letter, then letters, digits and single dashes")]
    BuildService,
    /// Neither 40 characters nor `latest`.
    #[error("is not a commit: a full SHA has 40 characters")]
    BuildSha,
}

/// Id of saved registry credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CredentialsId(Box<str>);

impl CredentialsId {
    /// The contract's pattern for `credentials`.
    pub const PATTERN: &'static str = "^[A-Za-z0-9-]+$";

    /// Checks and takes a text.
    ///
    /// # Errors
    /// [`InvalidField::Credentials`] for anything but letters, digits and dashes.
    pub fn new(text: &str) -> Result<Self, InvalidField> {
        let valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if valid { Ok(Self(text.into())) } else { Err(InvalidField::Credentials) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Id of a build service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BuildServiceId(Box<str>);

impl BuildServiceId {
    /// The contract's pattern for `internal.id`.
    pub const PATTERN: &'static str = "^[a-zA-Z](-?[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*)?$";
    pub const MIN_CHARS: usize = 3;
    pub const MAX_CHARS: usize = 54;

    /// Checks and takes a text.
    ///
    /// # Errors
    /// Says whether its length or its characters are at fault.
    pub fn new(text: &str) -> Result<Self, InvalidField> {
        static PATTERN: LazyLock<Regex> = LazyLock::new(|| pattern(BuildServiceId::PATTERN));
        if !(Self::MIN_CHARS..=Self::MAX_CHARS).contains(&text.chars().count()) {
            Err(InvalidField::BuildServiceLength)
        } else if PATTERN.is_match(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidField::BuildService)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which commit to deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildSha {
    /// The most recent one, whatever it is.
    Latest,
    /// This one, by its 40 characters.
    Commit(Box<str>),
}

impl BuildSha {
    /// How many characters a commit has.
    pub const CHARS: usize = 40;

    /// Checks and takes a text.
    ///
    /// # Errors
    /// [`InvalidField::BuildSha`] unless it is `latest` or has 40 characters.
    pub fn new(text: &str) -> Result<Self, InvalidField> {
        if text == "latest" {
            Ok(Self::Latest)
        } else if text.chars().count() == Self::CHARS {
            Ok(Self::Commit(text.into()))
        } else {
            Err(InvalidField::BuildSha)
        }
    }

    /// The text as the manifest writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Latest => "latest",
            Self::Commit(sha) => sha,
        }
    }
}

impl Serialize for BuildSha {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text that was written down reads back through the checks of its constructor.
macro_rules! read_back {
    ($($checked:ident),+) => {$(
        impl<'de> Deserialize<'de> for $checked {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )+};
}
read_back!(BuildServiceId, BuildSha, CredentialsId, ImagePath);

#[allow(clippy::expect_used, reason = "the patterns are constants, and each is used by a test")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the contract's patterns are valid")
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{BuildpackConfig, Digest, DockerConfig, ServiceKey};

    #[test]
    fn ids_and_commits_follow_the_contract() {
        for good in ["abc", "a-b-c", "A1b", &"x".repeat(54)] {
            assert!(BuildServiceId::new(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["ab", "1abc", "a--b", "abc-", &"x".repeat(55), "a_b"] {
            assert!(BuildServiceId::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(CredentialsId::new("ghcr-1").is_ok());
        assert!(CredentialsId::new("").is_err() && CredentialsId::new("a_b").is_err());
        assert_eq!(BuildSha::new("latest"), Ok(BuildSha::Latest));
        assert!(BuildSha::new(&"a".repeat(40)).is_ok() && BuildSha::new(&"a".repeat(39)).is_err());
    }

    fn image() -> impl Strategy<Value = ImagePath> {
        "[a-z0-9]{1,9}(/[a-z0-9]{1,9})?(:[A-Za-z0-9._]{1,9}|@sha256:[0-9a-f]{64})"
            .prop_filter_map("not an image", |text| ImagePath::new(&text).ok())
    }

    fn external() -> impl Strategy<Value = External> {
        let credentials = option::of("[A-Za-z0-9-]{1,20}".prop_map(|text| CredentialsId::new(&text).unwrap()));
        (credentials, image()).prop_map(|(credentials, image_path)| External { credentials, image_path })
    }

    fn internal() -> impl Strategy<Value = Internal> {
        let sha = option::of("latest|.{40}".prop_map(|text| BuildSha::new(&text).unwrap()));
        let id = "[a-zA-Z][a-zA-Z0-9]{2,53}".prop_map(|text| BuildServiceId::new(&text).unwrap());
        (option::of(".*"), option::of(".*"), sha, id).prop_map(|(branch, build_id, build_sha, id)| Internal {
            branch,
            build_id,
            build_sha,
            id,
        })
    }

    fn docker() -> impl Strategy<Value = Docker> {
        let config = prop::sample::select(&DockerConfig::ALL[..]);
        (config, option::of(".*"), option::of(".*"))
            .prop_filter_map("a text is missing", |(config, one, other)| Docker::new(config, one, other).ok())
    }

    fn buildpack() -> impl Strategy<Value = Buildpack> {
        let config = prop::sample::select(&BuildpackConfig::ALL[..]);
        let texts = (option::of(".*"), option::of(".*"), option::of(".*"));
        (config, texts).prop_filter_map("a text is missing", |(config, (process, entrypoint, command))| {
            Buildpack::new(config, process, entrypoint, command).ok()
        })
    }

    fn updates() -> impl Strategy<Value = DeploymentUpdate> {
        prop_oneof![
            (option::of(docker()), external())
                .prop_map(|(docker, external)| DeploymentUpdate::External { docker, external }),
            (option::of(buildpack()), option::of(docker()), internal())
                .prop_map(|(buildpack, docker, internal)| DeploymentUpdate::Internal { buildpack, docker, internal }),
            docker().prop_map(|docker| DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker })),
            buildpack().prop_map(|buildpack| DeploymentUpdate::Runtime(RuntimeUpdate::Buildpack { buildpack })),
            (buildpack(), docker())
                .prop_map(|(buildpack, docker)| DeploymentUpdate::Runtime(RuntimeUpdate::Both { buildpack, docker })),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_down_reads_back_as_the_same_update(update in updates()) {
            let key: ServiceKey = "acme/shop/web".parse().unwrap();
            let read: DeploymentUpdate = serde_json::from_str(&serde_json::to_string(&update).unwrap()).unwrap();
            prop_assert_eq!(Digest::of_update(&key, &read), Digest::of_update(&key, &update));
            prop_assert_eq!(read, update);
        }
    }

    #[test]
    fn a_body_that_no_manifest_could_give_does_not_read_back() {
        for body in [
            "{}",
            r#"{"external": {"imagePath": "nginx"}}"#,
            r#"{"external": {"imagePath": "nginx:1", "more": 1}}"#,
            r#"{"external": {"imagePath": "nginx:1"}, "internal": {"id": "api"}}"#,
            r#"{"external": {"imagePath": "nginx:1"}, "buildpack": {"configType": "default"}}"#,
            r#"{"internal": {"id": "a_b"}}"#,
            r#"{"docker": {"configType": "customCommand"}}"#,
            r#"{"docker": {"configType": "default", "customProcess": "web"}}"#,
            r#"{"buildpack": {"configType": "new"}}"#,
        ] {
            assert!(serde_json::from_str::<DeploymentUpdate>(body).is_err(), "{body} was accepted");
        }
    }
}
