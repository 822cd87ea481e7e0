//! How a container starts: what of an image is overridden, and with which texts.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::words;

/// A runtime setting whose type asks for a text that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("configType {config_type} requires {field}")]
pub struct MissingCommand {
    /// The type as the manifest writes it.
    pub config_type: &'static str,
    /// The field that it requires.
    pub field: &'static str,
}

words! {
    /// What of a docker image is overridden.
    pub enum DockerConfig {
        /// Nothing: the image's own entrypoint and command.
        Default = "default",
        CustomEntrypoint = "customEntrypoint",
        CustomCommand = "customCommand",
        CustomEntrypointCustomCommand = "customEntrypointCustomCommand",
    }
}

impl DockerConfig {
    /// The fields that it requires.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Written<DockerConfig>")]
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

    pub fn config_type(&self) -> DockerConfig {
        self.config_type
    }

    /// The entrypoint, where one is written.
    pub fn custom_entrypoint(&self) -> Option<&str> {
        self.custom_entrypoint.as_deref()
    }

    /// The command, where one is written.
    pub fn custom_command(&self) -> Option<&str> {
        self.custom_command.as_deref()
    }
}

words! {
    /// How the process of a buildpack image is chosen.
    pub enum BuildpackConfig {
        /// The image's default process.
        Default = "default",
        /// Another process that the image names.
        CustomProcess = "customProcess",
        /// A command of its own.
        CustomCommand = "customCommand",
        /// An entrypoint and a command of its own.
        CustomEntrypointCustomCommand = "customEntrypointCustomCommand",
        /// The image's entrypoint with a command of its own.
        OriginalEntrypointCustomCommand = "originalEntrypointCustomCommand",
    }
}

impl BuildpackConfig {
    /// The fields that it requires.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Written<BuildpackConfig>")]
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
    pub fn config_type(&self) -> BuildpackConfig {
        self.config_type
    }

    /// The process, where one is written.
    pub fn custom_process(&self) -> Option<&str> {
        self.custom_process.as_deref()
    }

    /// The entrypoint, where one is written.
    pub fn custom_entrypoint(&self) -> Option<&str> {
        self.custom_entrypoint.as_deref()
    }

    /// The command, where one is written.
    pub fn custom_command(&self) -> Option<&str> {
        self.custom_command.as_deref()
    }
}

/// Either of them as it was written down, before it is checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written<C> {
    config_type: C,
    custom_command: Option<String>,
    custom_entrypoint: Option<String>,
    custom_process: Option<String>,
}

impl TryFrom<Written<DockerConfig>> for Docker {
    type Error = String;

    fn try_from(written: Written<DockerConfig>) -> Result<Self, String> {
        if written.custom_process.is_some() {
            return Err("docker has no customProcess".to_owned());
        }
        let made = Self::new(written.config_type, written.custom_entrypoint, written.custom_command);
        made.map_err(|missing| missing.to_string())
    }
}

impl TryFrom<Written<BuildpackConfig>> for Buildpack {
    type Error = MissingCommand;

    fn try_from(written: Written<BuildpackConfig>) -> Result<Self, MissingCommand> {
        let Written { config_type, custom_command, custom_entrypoint, custom_process } = written;
        Self::new(config_type, custom_process, custom_entrypoint, custom_command)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
