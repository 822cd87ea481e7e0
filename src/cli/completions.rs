//! `truenorth completions` and `truenorth schema`: what shells and editors want to know.

use clap::{CommandFactory as _, ValueEnum};

use super::args::Arguments;
use super::config;
use super::exit::Exit;
use crate::manifest;

/// What `truenorth schema` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// A manifest
    Manifest,
    /// The file that --config names
    Config,
}

/// Prints completions for a shell.
pub(super) fn run(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "truenorth", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(Exit::Converged)
}

/// Prints the JSON Schema of a manifest or of the config file.
pub(super) fn schema(of: SchemaOf) -> anyhow::Result<Exit> {
    let schema = match of {
        SchemaOf::Manifest => manifest::schema(),
        SchemaOf::Config => config::schema(&Arguments::command()),
    };
    let text = serde_json::to_string_pretty(&schema)?;
    std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes())?;
    Ok(Exit::Converged)
}
