//! Which options there are, read from the command line's own definition.

use std::ffi::OsStr;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

/// Options that name what is read before any other, or that end at once.
const NOT_IN_A_FILE: [&str; 3] = ["config", "help", "version"];

/// What a name means in a config file.
pub(super) enum Named<'c> {
    /// This option.
    One(&'c Arg),
    /// Several commands have options of this name that mean different things; their variables.
    Several(Vec<&'c OsStr>),
    Unknown,
}

/// The option with a long name: truenorth's own, or else that of its commands.
pub(super) fn named<'c>(command: &'c Command, name: &str) -> Named<'c> {
    if let Some(own) = of(command).find(|arg| arg.get_long() == Some(name)) {
        return Named::One(own);
    }
    let below: Vec<&Arg> = command.get_subcommands().flat_map(of).filter(|arg| arg.get_long() == Some(name)).collect();
    let mut variables: Vec<&OsStr> = below.iter().filter_map(|arg| arg.get_env()).collect();
    variables.dedup();
    match (below.first(), variables.len()) {
        (None, _) => Named::Unknown,
        (Some(first), 1) => Named::One(first),
        (Some(_), _) => Named::Several(variables),
    }
}

/// The names that a config file may have.
pub(super) fn names(command: &Command) -> Vec<&str> {
    let all = std::iter::once(command).chain(command.get_subcommands()).flat_map(of);
    let mut names: Vec<&str> = all.filter_map(Arg::get_long).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| matches!(named(command, name), Named::One(_)));
    names
}

/// The options of a command that a config file may have. What has no variable is for the command line alone.
pub(super) fn of(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_option =
        |arg: &&Arg| arg.get_env().is_some() && arg.get_long().is_some_and(|name| !NOT_IN_A_FILE.contains(&name));
    command.get_arguments().filter(is_option)
}

/// Whether an option is given or not, without a value.
pub(super) fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Whether an option may be given several times.
pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether its values are whole numbers.
pub(super) fn is_number(arg: &Arg) -> bool {
    use std::any::TypeId;
    let parser: &ValueParser = arg.get_value_parser();
    [TypeId::of::<u16>(), TypeId::of::<u32>()].iter().any(|number| parser.type_id() == *number)
}
