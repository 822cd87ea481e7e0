//! The deployment update: the body of the update call, in the three forms that the contract allows.
//!
//! The rules are those of `DeploymentUpdate` in the API's contract (`src/sandbox/openapi.yaml`), which follows the
//! provider's page "Update service deployment". Serialising a value gives the body of the call; its keys are declared
//! in alphabetical order, because the digest is taken over the same text. Moving a field changes every digest.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use thiserror::Error;

use super::ImagePath;

/// The body of the update call: exactly one of three forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DeploymentUpdate {
    /// Deploy an image from a registry.
    External {
        /// How the container starts.
        #[serde(skip_serializing_if = "Option::is_none")]
        docker: Option<Docker>,
        /// Which image.
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
        /// Which build.
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
    #[must_use]
    pub fn docker(&self) -> Option<&Docker> {
        match self {
            Self::External { docker, .. } | Self::Internal { docker, .. } => docker.as_ref(),
            Self::Runtime(RuntimeUpdate::Docker { docker } | RuntimeUpdate::Both { docker, .. }) => Some(docker),
            Self::Runtime(RuntimeUpdate::Buildpack { .. }) => None,
        }
    }

    /// The buildpack's settings, in whichever form.
    #[must_use]
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
    #[must_use]
    pub fn has_several_parts(&self) -> bool {
        !matches!(self, Self::Runtime(_)) && (self.docker().is_some() || self.buildpack().is_some())
    }

    /// How it starts, as an update of its own: what is deployed stays. Nothing where it does not say how it starts.
    #[must_use]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
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
    /// Both.
    Both {
        /// How a buildpack image starts.
        buildpack: Buildpack,
        /// How the container starts.
        docker: Docker,
    },
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct External {
    /// Id of saved registry credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsId>,
    /// Image to deploy, with a tag or a digest.
    #[serde(rename = "imagePath")]
    pub image_path: ImagePath,
}

/// A build of a build service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The build service.
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

    /// The text.
    #[must_use]
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
    /// Fewest characters.
    pub const MIN_CHARS: usize = 3;
    /// Most characters.
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

    /// The text.
    #[must_use]
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
    #[must_use]
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

/// A runtime setting whose type asks for a text that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("configType {config_type} requires {field}")]
pub struct MissingCommand {
    /// The type as the manifest writes it.
    pub config_type: &'static str,
    /// The field that it requires.
    pub field: &'static str,
}

/// What of a docker image is overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DockerConfig {
    /// Nothing: the image's own entrypoint and command.
    Default,
    /// The entrypoint.
    CustomEntrypoint,
    /// The command.
    CustomCommand,
    /// Both.
    CustomEntrypointCustomCommand,
}

impl DockerConfig {
    /// Every value, in the order of the contract.
    pub const ALL: [Self; 4] =
        [Self::Default, Self::CustomEntrypoint, Self::CustomCommand, Self::CustomEntrypointCustomCommand];

    /// The word in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::CustomEntrypoint => "customEntrypoint",
            Self::CustomCommand => "customCommand",
            Self::CustomEntrypointCustomCommand => "customEntrypointCustomCommand",
        }
    }

    /// From the word in a manifest.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|config| config.as_str() == word)
    }

    /// The fields that it requires.
    #[must_use]
    pub fn requires(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::CustomEntrypoint => &["customEntrypoint"],
            Self::CustomCommand => &["customCommand"],
            Self::CustomEntrypointCustomCommand => &["customEntrypoint", "customCommand"],
        }
    }
}

/// How a docker image starts. What the type requires is there; a text that it does not use may be there too, as the
/// contract allows, and is sent as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Docker {
    config_type: DockerConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_entrypoint: Option<String>,
}

impl Docker {
    /// Puts a setting together.
    ///
    /// # Errors
    /// Names the first field that the type requires and that is missing.
    pub fn new(
        config_type: DockerConfig,
        custom_entrypoint: Option<String>,
        custom_command: Option<String>,
    ) -> Result<Self, MissingCommand> {
        let given = [("customEntrypoint", custom_entrypoint.is_some()), ("customCommand", custom_command.is_some())];
        require(config_type.as_str(), config_type.requires(), &given)?;
        Ok(Self { config_type, custom_command, custom_entrypoint })
    }

    /// What is overridden.
    #[must_use]
    pub fn config_type(&self) -> DockerConfig {
        self.config_type
    }

    /// The entrypoint, where one is written.
    #[must_use]
    pub fn custom_entrypoint(&self) -> Option<&str> {
        self.custom_entrypoint.as_deref()
    }

    /// The command, where one is written.
    #[must_use]
    pub fn custom_command(&self) -> Option<&str> {
        self.custom_command.as_deref()
    }
}

/// How the process of a buildpack image is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BuildpackConfig {
    /// The image's default process.
    Default,
    /// Another process that the image names.
    CustomProcess,
    /// A command of its own.
    CustomCommand,
    /// An entrypoint and a command of its own.
    CustomEntrypointCustomCommand,
    /// The image's entrypoint with a command of its own.
    OriginalEntrypointCustomCommand,
}

impl BuildpackConfig {
    /// Every value, in the order of the contract.
    pub const ALL: [Self; 5] = [
        Self::Default,
        Self::CustomProcess,
        Self::CustomCommand,
        Self::CustomEntrypointCustomCommand,
        Self::OriginalEntrypointCustomCommand,
    ];

    /// The word in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::CustomProcess => "customProcess",
            Self::CustomCommand => "customCommand",
            Self::CustomEntrypointCustomCommand => "customEntrypointCustomCommand",
            Self::OriginalEntrypointCustomCommand => "originalEntrypointCustomCommand",
        }
    }

    /// From the word in a manifest.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|config| config.as_str() == word)
    }

    /// The fields that it requires.
    #[must_use]
    pub fn requires(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::CustomProcess => &["customProcess"],
            Self::CustomCommand | Self::OriginalEntrypointCustomCommand => &["customCommand"],
            Self::CustomEntrypointCustomCommand => &["customEntrypoint", "customCommand"],
        }
    }
}

/// How a buildpack image starts. What the type requires is there; see [`Docker`] for what else may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Buildpack {
    config_type: BuildpackConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_entrypoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_process: Option<String>,
}

impl Buildpack {
    /// Puts a setting together.
    ///
    /// # Errors
    /// Names the first field that the type requires and that is missing.
    pub fn new(
        config_type: BuildpackConfig,
        custom_process: Option<String>,
        custom_entrypoint: Option<String>,
        custom_command: Option<String>,
    ) -> Result<Self, MissingCommand> {
        let given = [
            ("customProcess", custom_process.is_some()),
            ("customEntrypoint", custom_entrypoint.is_some()),
            ("customCommand", custom_command.is_some()),
        ];
        require(config_type.as_str(), config_type.requires(), &given)?;
        Ok(Self { config_type, custom_command, custom_entrypoint, custom_process })
    }

    /// How the process is chosen.
    #[must_use]
    pub fn config_type(&self) -> BuildpackConfig {
        self.config_type
    }

    /// The process, where one is written.
    #[must_use]
    pub fn custom_process(&self) -> Option<&str> {
        self.custom_process.as_deref()
    }

    /// The entrypoint, where one is written.
    #[must_use]
    pub fn custom_entrypoint(&self) -> Option<&str> {
        self.custom_entrypoint.as_deref()
    }

    /// The command, where one is written.
    #[must_use]
    pub fn custom_command(&self) -> Option<&str> {
        self.custom_command.as_deref()
    }
}

fn require(
    config_type: &'static str,
    required: &[&'static str],
    given: &[(&'static str, bool)],
) -> Result<(), MissingCommand> {
    match required.iter().find(|field| !given.contains(&(**field, true))) {
        Some(field) => Err(MissingCommand { config_type, field }),
        None => Ok(()),
    }
}

#[allow(clippy::expect_used, reason = "the patterns are constants, and each is used by a test")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the contract's patterns are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_runtime_holds_what_its_type_requires() {
        assert_eq!(
            Docker::new(DockerConfig::CustomCommand, None, None),
            Err(MissingCommand { config_type: "customCommand", field: "customCommand" })
        );
        for config in BuildpackConfig::ALL {
            let all = Buildpack::new(config, Some("p".into()), Some("e".into()), Some("c".into()));
            assert!(all.is_ok());
            assert_eq!(Buildpack::new(config, None, None, None).is_ok(), config.requires().is_empty());
        }
    }

    #[test]
    fn the_words_of_a_type_are_those_of_its_serialisation() {
        for config in DockerConfig::ALL {
            assert_eq!(serde_json::to_value(config).ok(), Some(config.as_str().into()));
        }
        for config in BuildpackConfig::ALL {
            assert_eq!(serde_json::to_value(config).ok(), Some(config.as_str().into()));
        }
    }
}
