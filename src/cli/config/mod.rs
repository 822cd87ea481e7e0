//! The config file (`--config`): options by their long names, as defaults below the environment.
//!
//! It goes in through clap: what the file says of an option becomes the default of that option, wherever a command has
//! it. So the command line and the environment go before it without a word of ours, and each value is checked by the very
//! parser that checks the command line. Two options are the same one where they have one variable.

mod file;
mod options;
mod schema;
mod show;
mod windows;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;

use super::settings::Variable;
pub(super) use file::ConfigFile;
pub(super) use schema::schema;
pub(super) use show::run;

/// The config file that the command line names, or else the environment.
pub(super) fn named(words: &[OsString], variable: Variable<'_>) -> Option<PathBuf> {
    let mut words = words.iter().take_while(|word| *word != "--");
    let typed = words.find_map(|word| match word.to_str()?.strip_prefix("--config")? {
        "" => Some(None),
        value => value.strip_prefix('=').map(|path| Some(OsString::from(path))),
    });
    let typed = match typed {
        // The path is the next word; without one the mistake is told with all others.
        Some(None) => Some(words.next().cloned().unwrap_or_default()),
        Some(path) => path,
        None => variable("TRUENORTH_CONFIG"),
    };
    typed.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// What was given to the command that was named last.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, below)| innermost(below))
}
