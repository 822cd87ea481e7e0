//! From the words that were typed and the variables that are set to [`Arguments`]. Options may stand before the command
//! or after it, an empty variable counts as not set, and all mistakes are told at once, each with where it came from.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::args::Arguments;
use super::config::{self, ConfigFile};
use super::elsewhere;
use super::settings::Variable;

/// What was typed.
pub(super) enum Typed {
    /// It can be understood.
    Understood(Box<Understood>),
    /// It asks for help or the version.
    Asked(Error),
    /// It cannot be understood: one mistake or more, and what can be understood without them.
    Mistaken(Vec<Error>, Option<Box<Understood>>),
    /// The config file cannot be used.
    Misconfigured(anyhow::Error),
}

/// What was typed, with what stands behind it.
pub(super) struct Understood {
    pub(super) arguments: Arguments,
    /// The same as clap has it, which knows from where each value is.
    pub(super) matches: ArgMatches,
    pub(super) config: Option<ConfigFile>,
}

/// Most mistakes that are told.
const MOST: usize = 20;

/// Options that commands share, and that may stand before any: where a command has no use for one, it is left out.
const SHARED: [&str; 7] =
    ["manifests", "state-dir", "api-url", "token-file", "request-timeout", "log-format", "log-level"];

/// Reads what was typed.
pub(super) fn read(words: impl IntoIterator<Item = OsString>, variable: Variable<'_>) -> Typed {
    let mut command = Arguments::command();
    command.build();
    let mut words = in_order(&command, words.into_iter().collect());
    let config = match config::named(&words, variable).map(|path| ConfigFile::read(&command, &path)).transpose() {
        Ok(config) => config,
        Err(error) => return Typed::Misconfigured(error),
    };
    let command = Arguments::command();
    let command = match &config {
        Some(config) => config.as_defaults(command),
        None => command,
    };
    let mut command = without_variables(command, &|name| variable(name).is_some_and(|set| set.is_empty()));
    if named(&command, &words).is_some() {
        // clap reads the variables of the daemon's options for each command. They are not that command's.
        command = command.mut_args(|arg| if arg.is_global_set() { arg } else { arg.env(None::<&'static str>) });
    }
    let mut mistakes = Vec::new();
    loop {
        let read = command.clone().try_get_matches_from(&words).and_then(|matches: ArgMatches| {
            let arguments = Arguments::from_arg_matches(&matches).map_err(|error| error.with_cmd(&command))?;
            Ok((arguments, matches))
        });
        let mut error = match read {
            Ok((arguments, matches)) if mistakes.is_empty() => {
                return Typed::Understood(Box::new(Understood { arguments, matches, config }));
            }
            Ok((arguments, matches)) => {
                return Typed::Mistaken(mistakes, Some(Box::new(Understood { arguments, matches, config })));
            }
            Err(error) if mistakes.is_empty() && !error.use_stderr() => return Typed::Asked(error),
            Err(error) => error,
        };
        let without = leave_out(command.clone(), &words, &mut error);
        let mut built = command.clone();
        built.build();
        elsewhere::explain(&mut error, &built, named(&built, &words));
        // What is asked for beside mistakes, and what is missing after one was left out, is not another mistake.
        if mistakes.is_empty() || (error.use_stderr() && error.kind() != ErrorKind::MissingRequiredArgument) {
            mistakes.push(error);
        }
        match without {
            Some(without) if mistakes.len() < MOST => {
                (command, words) = without;
            }
            _ => return Typed::Mistaken(mistakes, None),
        }
    }
}

/// The command that is named, where the words are in order.
fn named<'c>(command: &'c Command, words: &[OsString]) -> Option<&'c Command> {
    words.get(1).and_then(|word| command.find_subcommand(word))
}

/// Puts the options that stand before a command behind it.
fn in_order(command: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let Some(option) = Dashed::of(word) else {
            break;
        };
        if matches!(option, Dashed::Long { name: "version", .. } | Dashed::Short { letter: 'V', .. }) {
            return words;
        }
        at += 1;
        let takes = anywhere(command, &option).and_then(|arg| arg.get_num_args().filter(|_| takes_value(arg)));
        let Some(count) = takes.filter(|_| !option.has_value()) else { continue };
        let next = words.get(at).filter(|next| Dashed::of(next).is_none());
        let is_command = next.is_some_and(|next| command.find_subcommand(next).is_some());
        // A value that may be left out is, where the name of a command follows.
        if next.is_some() && (count.min_values() > 0 || !is_command) {
            at += 1;
        }
    }
    let Some(to) = words.get(at).and_then(|word| command.find_subcommand(word)) else { return words };
    let before: Vec<OsString> = words.drain(1..at).collect();
    let mut behind = 2;
    let mut before = before.into_iter().peekable();
    while let Some(word) = before.next() {
        let mut moved = vec![word];
        while let Some(value) = before.next_if(|next| Dashed::of(next).is_none()) {
            moved.push(value);
        }
        let useless = Dashed::of(&moved[0]).is_some_and(|option| {
            let shared = anywhere(command, &option).and_then(Arg::get_long).is_some_and(|long| SHARED.contains(&long));
            shared && of(to, &option).is_none()
        });
        if !useless {
            let count = moved.len();
            words.splice(behind..behind, moved);
            behind += count;
        }
    }
    words
}

/// A word that is an option.
enum Dashed<'w> {
    Long { name: &'w str, has_value: bool },
    Short { letter: char, has_value: bool },
}

impl<'w> Dashed<'w> {
    fn of(word: &'w OsStr) -> Option<Self> {
        let word = word.to_str()?;
        if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            return Some(Self::Long { name, has_value: value.is_some() });
        }
        let mut letters = word.strip_prefix('-')?.chars();
        let letter = letters.next().filter(|letter| *letter != '-')?;
        Some(Self::Short { letter, has_value: letters.next().is_some() })
    }

    fn has_value(&self) -> bool {
        match self {
            Self::Long { has_value, .. } | Self::Short { has_value, .. } => *has_value,
        }
    }

    fn is(&self, arg: &Arg) -> bool {
        match self {
            Self::Long { name, .. } => arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(name)),
            Self::Short { letter, .. } => {
                arg.get_short_and_visible_aliases().is_some_and(|letters| letters.contains(letter))
            }
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// The option of a command.
fn of<'c>(command: &'c Command, option: &Dashed<'_>) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| option.is(arg))
}

/// The option of that name, of truenorth or of any command.
fn anywhere<'c>(command: &'c Command, option: &Dashed<'_>) -> Option<&'c Arg> {
    std::iter::once(command).chain(command.get_subcommands()).find_map(|command| of(command, option))
}

/// The same command line without those of its variables.
fn without_variables(command: Command, without: &dyn Fn(&str) -> bool) -> Command {
    let forget = |arg: Arg| match arg.get_env().and_then(OsStr::to_str).is_some_and(without) {
        true => arg.env(None::<&'static str>),
        false => arg,
    };
    command.mut_args(forget).mut_subcommands(|command| without_variables(command, without))
}

/// The command line without what an error is about, so that the next mistake shows; nothing where that cannot be told
/// apart. Has the error say that a value came from a variable.
fn leave_out(command: Command, words: &[OsString], error: &mut Error) -> Option<(Command, Vec<OsString>)> {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else { return None };
    let arg = {
        // Only then does an option know how it is written in a message.
        let mut built = command.clone();
        built.build();
        let owner = named(&built, words).unwrap_or(&built);
        owner.get_arguments().find(|arg| arg.to_string() == *wrong).cloned()
    };
    let typed = |word: &OsString| match (&arg, Dashed::of(word)) {
        (Some(arg), Some(option)) => option.is(arg),
        (None, Some(Dashed::Long { name, .. })) => wrong.strip_prefix("--") == Some(name),
        (None, _) => word.to_str() == Some(wrong),
        (Some(_), None) => false,
    };
    if let Some(at) = words.iter().position(typed) {
        let mut words = words.to_vec();
        let word = words.remove(at);
        let has_value = Dashed::of(&word).is_none_or(|option| option.has_value());
        // A negative number is a value of an option that says so itself.
        let takes_negative = arg.as_ref().is_some_and(clap::Arg::is_allow_negative_numbers_set);
        let is_value = |next: &OsString| {
            let is_number = next.to_str().is_some_and(|next| next.parse::<f64>().is_ok());
            Dashed::of(next).is_none() || takes_negative && is_number
        };
        if !has_value && words.get(at).is_some_and(is_value) {
            words.remove(at);
        }
        return Some((command, words));
    }
    let (arg, variable) = arg.and_then(|arg| Some((arg.clone(), arg.get_env()?.to_str()?.to_owned())))?;
    let named = format!("{variable} ({arg})");
    error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    Some((without_variables(command, &|name| name == variable), words.to_vec()))
}
