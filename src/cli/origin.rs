//! From where the value of an option is, for errors about it: whoever reads one has to know what to change.

use std::ffi::OsString;
use std::sync::OnceLock;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _};

use super::args::Arguments;

/// What was given to this process, kept once, as its command line and its environment are one.
static GIVEN: OnceLock<Given> = OnceLock::new();

struct Given {
    matches: ArgMatches,
    configured: Vec<Configured>,
}

/// An option that the config file sets.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) option: String,
    /// Options of several commands may have one name; this tells them apart.
    pub(super) variable: Option<OsString>,
    /// File and line.
    pub(super) place: String,
}

/// Keeps what was given, for errors to come.
pub(super) fn keep(matches: ArgMatches, configured: Vec<Configured>) {
    // Whoever came first is the command line of this process.
    let _ = GIVEN.set(Given { matches, configured });
}

/// The variable, or the line of the config file, that a value of the command's option is from. Nothing where it was
/// typed, or is the default.
pub(super) fn of(option: &str) -> Option<String> {
    GIVEN.get()?.origin(option)
}

/// What names a value: as `of`, or else the option as it is typed.
pub(super) fn named(option: &str) -> String {
    of(option).unwrap_or_else(|| format!("--{option}"))
}

/// The same behind a message; nothing where it was typed, or is the default: then the hint names the option.
pub(super) fn behind(option: &str) -> String {
    of(option).map(|origin| format!(" ({origin})")).unwrap_or_default()
}

/// Whether the command's option was typed.
pub(super) fn is_typed(option: &str) -> bool {
    GIVEN.get().and_then(|given| given.source(option)).is_some_and(|(_, source)| source == ValueSource::CommandLine)
}

impl Given {
    fn origin(&self, option: &str) -> Option<String> {
        match self.source(option)? {
            (arg, ValueSource::EnvVariable) => Some(arg.get_env()?.to_string_lossy().into_owned()),
            (arg, ValueSource::DefaultValue) => {
                let is_meant = |set: &&Configured| set.option == option && set.variable.as_deref() == arg.get_env();
                let Configured { place, .. } = self.configured.iter().find(is_meant)?;
                Some(format!("{place}: {option}"))
            }
            _ => None,
        }
    }

    fn source(&self, option: &str) -> Option<(Arg, ValueSource)> {
        let (mut command, mut matches) = (Arguments::command(), &self.matches);
        while let Some((name, below)) = matches.subcommand() {
            (command, matches) = (command.find_subcommand(name)?.clone(), below);
        }
        let arg = option_of(&command, option)?.clone();
        let source = matches.value_source(arg.get_id().as_str())?;
        Some((arg, source))
    }
}

fn option_of<'c>(command: &'c Command, option: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(option))
}
